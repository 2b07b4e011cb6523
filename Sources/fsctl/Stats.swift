// `fsctl stats`: what a vault holds, and what of that deduplication and compression spare.

import ArgumentParser
import CommandSupport
import Printable
import VaultClient
import VaultFS

struct Stats: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Show what a vault holds and what it costs, with what deduplication and compression spare.",
    discussion: """
      logical is what the files hold; unique what is left of it when everything that is there more than once counts once; \
      compressed what that takes; stored all that the vault has on disk. Content that no file has any more stays in unique \
      and what follows. history and reclaimable are as the last collection found them: twice a minute where something may have become free, or history has a limit and something changes.

      Where PATH is a directory, what is below it is told too, and with --user or --group what they own: as limits count it, and what that and \
      its past need of the stored content. That is looked up node by node, and holds also what others need. What nothing needs any more is nobody's. Others than root and the vault's owner are shown what df(1) shows them, what is theirs, and directories that they may read.
      """)

  @OptionGroup var address: PlaceAddress
  @Option(help: "Also what this user owns: a name or a number.") var user: String?
  @Option(help: "Also what this group owns.") var group: String?
  @Flag(help: "One JSON object, sizes in bytes.") var json = false
  @OptionGroup var sizes: SizeOption

  func run() throws {
    let user = try user.map { try Account.user($0) }, group = try group.map { try Account.group($0) }
    Interruption.hear()
    let line = ProgressLine("counting")
    defer { line.end() }
    try address.ask("stats") { vault in
      // The working directory only says which vault is meant: nobody waits for that.
      let request = StatsRequest(tree: vault.place, user: user, group: group, withContent: address.path != nil || user != nil || group != nil)
      let report = try vault.service.ask(request, line.receiver(interrupted: "interrupted") { _ in })
      line.end()
      try say(json ? asJSON(report) : text(report, "\(vault.folder)", vault.place))
      // Where it was asked for, the rest is no answer.
      if let path = address.path, let refusal = report.treeRefusal { throw Failure("\(path): \(printable(refusal.utf8))") }
    }
  }

  private func text(_ report: StatsReport, _ folder: String, _ place: VaultPath?) -> String {
    func size(_ value: some BinaryInteger) -> String { sizes.text(value) }
    var lines = [
      "vault        \(folder) (\(printable(report.name.utf8)))",
      "nodes        \(report.nodes)",
      "logical      \(size(report.logicalBytes))   what the files hold",
    ]
    if let unique = report.uniqueBytes, let compressed = report.compressedBytes, let stored = report.storedBytes {
      lines += [
        "unique       \(size(unique))   \(ratio(report.dedupRatio, "deduplication", "stored content, also of what was deleted since"))",
        "history      \(report.historyBytes.map(size) ?? "–")   \(report.historyBytes == nil ? "not counted yet; `fsctl gc` does that" : "of that only versions, snapshots and the trash need")",
        "reclaimable  \(report.reclaimableBytes.map(size) ?? "–")   beside it nothing needs any more, and is on disk still",
        "compressed   \(size(compressed))   \(ratio(report.compressionRatio, "compression", "after compression"))",
        "stored       \(size(stored))   \(ratio(report.ratio, "all in all", "all that the vault has on disk"))",
      ]
    } else { lines.append("             what of it is unique, and what it costs, is for root and the vault's owner to know") }
    lines.append("available    \(size(report.availableBytes))   for content")
    if let unsaved = report.unsavedBytes, unsaved > 0 { lines.append("unsaved      \(size(unsaved))   being written now") }
    if report.storedBytes != nil { lines.append("scrubbed     \(report.lastScrub.map { When.text(of: $0) } ?? "never to the end, or one is under way; see fsctl scrub")") }
    if let words = report.damagedChunks.flatMap(damagedWords) { lines.append("damaged      \(words)") }
    func add(_ name: String, _ part: StatsReport.Part?) {
      guard let part else { return }
      lines.append("\(name): \(size(part.logicalBytes)) logical in \(part.nodes) nodes")
      guard let content = part.content else { return }
      let about = content.isExact ? "" : "about "
      lines += [
        "  unique     \(about)\(size(content.uniqueBytes))   \(ratio(part.dedupRatio, "deduplication", "what that and its past need"))",
        "  history    \(about)\(size(content.historyBytes))   of that only its past needs",
        "  compressed \(about)\(size(content.compressedBytes))   \(ratio(part.compressionRatio, "compression", "after compression"))",
      ]
    }
    add("below \(place ?? .root)", report.tree)
    if address.path == nil, let refusal = report.treeRefusal { lines.append("below \(place ?? .root): \(printable(refusal.utf8))") }
    add("user \(report.user.map { Account.name(ofUser: UInt32($0.id)) } ?? "")", report.user)
    add("group \(report.group.map { Account.name(ofGroup: UInt32($0.id)) } ?? "")", report.group)
    return lines.joined(separator: "\n")
  }

  /// Below 1 there is nothing to be proud of, only something to explain.
  private func ratio(_ value: Double?, _ what: String, _ otherwise: String) -> String { value.map { $0 >= 1 ? "\(what) \($0) : 1" : otherwise } ?? otherwise }
}
