// Limits and usages as callers see them. Who may set a limit is the caller's to decide.

import Glibc

/// A limit, and how its subject stands.
public struct Quota: Sendable {
  public var subject: QuotaSubject
  public var limits: QuotaLimits
  /// With what is written and not saved yet, as if none of it were zero.
  public var used: Usage
  /// Since when the soft limits are exceeded, and from when on they are as hard as the others.
  public var bytesOver: Grace?
  public var nodesOver: Grace?

  public struct Grace: Sendable, Hashable {
    public var since: Timestamp
    public var end: Timestamp
  }
}

extension Vault {
  /// Sets limits in place of those that `subject` has. One below its usage is allowed: then nothing can be added.
  public func setQuota(_ limits: QuotaLimits, for subject: QuotaSubject) throws(VaultError) {
    for limit in [limits.bytes, limits.nodes] {
      if let soft = limit.soft, let hard = limit.hard, soft > hard { throw .invalidArgument }
    }
    if limits.bytes == QuotaLimit(), limits.nodes == QuotaLimit() { throw .invalidArgument }
    let drafts = try lock.withLock { () throws(VaultError) in
      if case .tree(let inode) = subject, try metadata.directory(inode).links == 0 { throw .notFound }
      let isFirst = metadata.state.quotas.isEmpty
      try perform(.setQuota(subject, limits))
      return isFirst ? countUnsaved() : []
    }
    for file in drafts { try? save(file) }
  }

  /// What was written while there was no limit was not counted: all of it is taken to add, until it is saved. `lock` is held.
  /// - Returns: the files, to be saved now.
  private func countUnsaved() -> [OpenFile] {
    for node in unsaved.values {
      guard var now = node.unsaved else { continue }
      now.growth = max(now.growth, now.bytes)
      setUnsaved(now, of: node)
    }
    return unsaved.values.compactMap { node in node.draft.map { OpenFile(node, $0) } }
  }

  /// - Throws: `.notFound` where `subject` has no limit.
  public func removeQuota(of subject: QuotaSubject) throws(VaultError) {
    try lock.withLock { () throws(VaultError) in
      if metadata.state.quotas[subject] == nil { throw .notFound }
      try perform(.removeQuota(subject))
    }
  }

  /// - Returns: nil where `subject` has no limit.
  public func quota(of subject: QuotaSubject) throws(VaultError) -> Quota? {
    try lock.withLock { () throws(VaultError) in
      guard let entry = metadata.state.quotas[subject] else { return nil }
      return Quota(subject, entry, try used(by: subject))
    }
  }

  /// All limits that are set: the vault's, users', groups', trees', by their numbers.
  public func quotas() throws(VaultError) -> [Quota] {
    try lock.withLock { () throws(VaultError) in
      var all: [Quota] = []
      for (subject, entry) in metadata.state.quotas.entries { all.append(Quota(subject, entry, try used(by: subject))) }
      return all.sorted { $0.subject.row < $1.subject.row }
    }
  }

  /// What is below a directory, itself not included.
  public func usage(of directory: InodeNumber) throws(VaultError) -> Usage { try usage(by: .tree(directory)) }
  public func usage(ofUser user: UInt32) throws(VaultError) -> Usage { try usage(by: .user(user)) }
  public func usage(ofGroup group: UInt32) throws(VaultError) -> Usage { try usage(by: .group(group)) }
  /// What a subject takes, limited or not, as far as it is saved.
  public func usage(by subject: QuotaSubject) throws(VaultError) -> Usage {
    try lock.withLock { () throws(VaultError) in try metadata.usage(of: subject) }
  }

  /// Of a limited subject, what is unsaved included. `lock` is held.
  private func used(by subject: QuotaSubject) throws(VaultError) -> Usage {
    try metadata.usage(of: subject) &+ Usage(bytes: try growth(of: subject))
  }
}

extension Quota {
  init(_ subject: QuotaSubject, _ entry: Quotas.Entry, _ used: Usage) {
    func grace(_ resource: QuotaResource) -> Grace? {
      guard let since = entry[since: resource], let end = entry.end(of: resource) else { return nil }
      return Grace(since: Timestamp(stamp: since), end: Timestamp(stamp: end))
    }
    (self.subject, limits, self.used, bytesOver, nodesOver) = (subject, entry.limits, used, grace(.bytes), grace(.nodes))
  }
}

extension Timestamp {
  /// A record's stamp, nanoseconds since 1970.
  init(stamp: UInt64) { self.init(seconds: Int64(stamp / 1_000_000_000), nanoseconds: UInt32(stamp % 1_000_000_000)) }
}
