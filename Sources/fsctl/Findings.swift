// What a check or a scrub found, as people read it: by kind, each with what a repair would do.

import Printable
import VaultFS

/// As JSON: with what repair would do.
struct FindingLine: Encodable {
  private let finding: Finding
  init(_ finding: Finding) { self.finding = finding }

  private enum Key: CodingKey { case repair }
  func encode(to encoder: any Encoder) throws {
    try finding.encode(to: encoder)
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(finding.repair, forKey: .repair)
  }
}

enum Findings {
  /// Of one kind, so many are shown; --json has them all.
  private static let shownMax = 20

  /// - Parameter counts: of each kind; nil where all were found that there are.
  /// - Parameter isNew: something is known to be wrong already.
  static func text(_ findings: [Finding], _ counts: [String: Int]?, withRepair: Bool, isNew: Bool = false) -> String {
    if findings.isEmpty { return isNew ? "nothing new was found" : "nothing wrong was found" }
    var kinds: [Finding.Kind] = []
    for finding in findings where !kinds.contains(finding.kind) { kinds.append(finding.kind) }
    return kinds.map { kind in
      let those = findings.filter { $0.kind == kind }, count = counts?[kind.rawValue] ?? those.count
      var lines = ["\(kind.rawValue): \(count)\(those[0].isNote ? " (harmless)" : "")"]
      for finding in those.prefix(shownMax) { lines.append("  \(printable(finding.detail.utf8))\(place(finding))") }
      if count > shownMax { lines.append("  … and \(count - min(those.count, shownMax)) more") }
      if withRepair { lines.append("  repair: \(those[0].repair)") }
      return lines.joined(separator: "\n")
    }.joined(separator: "\n")
  }

  static func count(_ number: Int, _ what: String) -> String { "\(number) \(what)\(number == 1 ? "" : "s")" }

  /// Where, as far as it is known.
  static func place(_ finding: Finding) -> String {
    var parts: [String] = []
    if let path = finding.path { parts.append(printable(path.utf8)) } else if let inode = finding.inode { parts.append("node \(inode)") }
    if let file = finding.file { parts.append(printable(file.utf8) + (finding.byte.map { " at byte \($0)" } ?? "")) }
    return parts.isEmpty ? "" : " [\(parts.joined(separator: ", "))]"
  }
}
