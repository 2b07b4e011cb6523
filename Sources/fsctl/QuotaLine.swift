// A limit as it is shown: in words, as a row of a table, as JSON.

import CommandSupport
import FoundationEssentials
import Printable
import VaultClient
import VaultFS

struct QuotaLine: Encodable {
  struct Resource: Encodable {
    var used: UInt64
    var soft: UInt64?
    var hard: UInt64?
    /// Of the hard limit, or where there is none of the soft one.
    var percent: Double?
    /// Seconds that are left of the grace; 0 where it is over, nil where the soft limit is not exceeded.
    var graceLeft: Int64?
  }
  var kind: QuotaReport.Kind
  /// The user's or group's number, the directory's node.
  var id: UInt64?
  /// Of a user or group, where it has one.
  var name: String?
  /// Of a directory, from the vault's root: to be shown, and its bytes, base64.
  var path: String?
  var pathBytes: Data?
  var bytes: Resource
  var inodes: Resource
  var graceSeconds: UInt32?

  init(_ report: QuotaReport) {
    (kind, id, graceSeconds) = (report.kind, report.id, report.graceSeconds)
    switch report.kind {
    case .user: name = report.id.map { Account.name(ofUser: UInt32(truncatingIfNeeded: $0)) }
    case .group: name = report.id.map { Account.name(ofGroup: UInt32(truncatingIfNeeded: $0)) }
    case .tree: (path, pathBytes) = (report.path.map { "\($0)" }, report.path?.bytesForJSON)
    case .vault: break
    }
    let now = Timestamp.now.seconds
    func resource(_ from: QuotaReport.Resource) -> Resource {
      let limit = from.hard ?? from.soft, percent = limit.map { $0 > 0 ? (Double(from.used) / Double($0) * 1000).rounded() / 10 : 100 }
      return Resource(used: from.used, soft: from.soft, hard: from.hard, percent: percent, graceLeft: from.graceEnd.map { max($0 - now, 0) })
    }
    (bytes, inodes) = (resource(report.bytes), resource(report.nodes))
  }

  var whom: String { Account.words(kind, id, path) }

  func text(_ size: (UInt64) -> String = human) -> String {
    guard graceSeconds != nil else { return "\(whom): no limit; \(size(bytes.used)) in \(inodes.used) inodes" }
    var table = Table(["", "USED", "SOFT", "HARD", "%", "GRACE"])
    table.add(["bytes"] + columns(bytes, size) + [grace(bytes)])
    table.add(["inodes"] + columns(inodes) { "\($0)" } + [grace(inodes)])
    return "\(whom)\n\(table.text)"
  }

  func row(_ size: (UInt64) -> String = human) -> [String] {
    let graces = [bytes, inodes].filter { $0.graceLeft != nil }.map(grace)
    return [whom] + columns(bytes, size) + columns(inodes) { "\($0)" } + [graces.isEmpty ? grace(bytes) : graces.joined(separator: ", ")]
  }

  private func columns(_ resource: Resource, _ text: (UInt64) -> String) -> [String] {
    [text(resource.used), resource.soft.map(text) ?? "–", resource.hard.map(text) ?? "–", resource.percent.map { "\(Int($0.rounded(.down)))" } ?? "–"]
  }

  /// How long a soft limit may be exceeded, or still may be.
  private func grace(_ resource: Resource) -> String {
    if let left = resource.graceLeft { return left > 0 ? "\(ProgressLine.duration(Double(left))) left" : "over" }
    return resource.soft != nil ? graceSeconds.map { ProgressLine.duration(Double($0)) } ?? "–" : "–"
  }
}
