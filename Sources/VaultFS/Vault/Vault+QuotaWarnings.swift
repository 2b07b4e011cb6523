// What people hear of limits before programs are refused: a line in the log when a soft limit is crossed, and in the
// status whoever is above a soft limit or at a hard one.

import Glibc
import Printable

extension Vault {
  /// Says which soft limits the last operation crossed. `lock` is held.
  func reportCrossings() {
    if metadata.state.quotas.crossings.isEmpty { return }
    for crossing in metadata.state.quotas.takeCrossings() {
      guard let warning = try? metadata.quotaWarning(crossing.subject, crossing.resource), let words = try? metadata.words(for: crossing.subject) else { continue }
      log("\(words): \(warning.detail)")
    }
  }
}

/// Somebody is above a soft limit, or at a hard one.
public struct QuotaWarning: Sendable, Hashable {
  public var subject: QuotaSubject
  /// Of a tree, its path; nil where it is too long to be told.
  public var place: [UInt8]?
  /// How it stands, as a sentence without its end.
  public var detail: String
}

extension Metadata {
  /// Who is above a soft limit, or at a hard one.
  func quotaWarnings() throws(VaultError) -> [QuotaWarning] {
    var warnings: [QuotaWarning] = []
    for subject in state.quotas.entries.keys.sorted(by: { $0.row < $1.row }) {
      for resource in QuotaResource.allCases {
        if let warning = try quotaWarning(subject, resource) { warnings.append(warning) }
      }
    }
    return warnings
  }

  func quotaWarning(_ subject: QuotaSubject, _ resource: QuotaResource) throws(VaultError) -> QuotaWarning? {
    guard let entry = state.quotas[subject] else { return nil }
    let used = try usage(of: subject)[resource], limit = entry.limits[resource]
    func shown(_ amount: UInt64) -> String { resource == .bytes ? human(amount) : "\(amount)" }
    let place: [UInt8]? = if case .tree(let inode) = subject { try path(of: inode) } else { nil }
    let all = shown(used) + (resource == .bytes ? "" : " nodes")
    if let hard = limit.hard, used >= hard, used > 0 {
      return QuotaWarning(subject: subject, place: place, detail: "\(all), the hard limit is \(shown(hard)): nothing more can be stored there")
    }
    guard let soft = limit.soft, let since = entry[since: resource], let end = entry.end(of: resource) else { return nil }
    return QuotaWarning(subject: subject, place: place, detail: "\(all), above the soft limit of \(shown(soft)) since \(text(since)): from \(text(end)) on nothing more can be stored there")
  }

  func words(for subject: QuotaSubject) throws(VaultError) -> String {
    guard case .tree(let inode) = subject, let path = try path(of: inode) else { return "quota of \(subject)" }
    return "quota of " + (path.isEmpty ? "/" : displayed(path))
  }

  private func text(_ stamp: UInt64) -> String {
    var seconds = time_t(stamp / 1_000_000_000), parts = unsafe tm()
    guard unsafe gmtime_r(&seconds, &parts) != nil else { return "\(seconds)" }
    var buffer = [CChar](repeating: 0, count: 64)
    let count = unsafe strftime(&buffer, buffer.count, "%Y-%m-%d %H:%M:%S UTC", &parts)
    return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

extension Vault {
  /// In words, a tree by its path.
  public func name(ofQuotaOf subject: QuotaSubject) -> String { lock.withLock { (try? metadata.words(for: subject)) ?? "quota of \(subject)" } }
}
