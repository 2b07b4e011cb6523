// Looking back: the tree as it was at a moment, a file's versions, snapshots.
//
// A moment is an operation: what it shows is the state after it. Nothing here changes a node of the present, and what is
// shown of the past is a copy: it stays as it is while it is looked at.

import Glibc
import Synchronization

/// A name for a moment of the tree, or of a part of it.
public struct Snapshot: Sendable, Hashable, Codable {
  public var name: [UInt8]
  /// The operation it was made by.
  public var moment: UInt64
  /// Seconds since 1970.
  public var second: Int64
  /// The directory that it shows.
  public var directory: UInt64
}

/// One version of a file: what it was from an operation on.
public struct FileVersion: Sendable, Hashable, Codable {
  public var inode: UInt64
  /// The operation that began it: its name.
  public var id: UInt64
  /// When that was, seconds since 1970.
  public var second: Int64
  /// The operation that ended it, and when that was, seconds since 1970; nil where it is the present one.
  public var died: UInt64?
  public var ended: Int64?
  public var size: UInt64
  public var mode: UInt32
  public var user: UInt32
  public var isPinned: Bool
}

/// How much of the past is about to be forgotten.
public struct Expiring: Sendable, Hashable, Codable {
  /// Versions: what files, directories and all else were for a while.
  public var nodes: UInt64 = 0
  /// Names that directories had.
  public var names: UInt64 = 0
  public init(nodes: UInt64 = 0, names: UInt64 = 0) { (self.nodes, self.names) = (nodes, names) }
}

extension Vault {
  /// The last operation.
  public var present: LSN { lock.withLock { journal.lastLSN } }

  /// The moment at the end of a second since 1970.
  public func moment(atEndOf second: Int64) throws(VaultError) -> LSN {
    try lock.withLock { () throws(VaultError) in try metadata.lsn(atEndOf: second) }
  }

  /// The last moment up to another of which everything is kept. Of what is older than the policy keeps all of, what stood
  /// between two such moments is kept here and there only: a tree as of then would have holes that nobody could tell from what was not there.
  /// - Parameter now: seconds since 1970; nil: by the journal's clock.
  /// - Returns: nil where nothing is kept that is as old.
  public func keptMoment(upTo moment: LSN, now: Int64? = nil) throws(VaultError) -> KeptMoment? {
    try lock.withLock { () throws(VaultError) in try metadata.keptMoment(upTo: moment, now: now ?? Int64(journal.now() / 1_000_000_000)) }
  }

  /// Whether what a node was then is over: else what changes soon may belong to it.
  public func hasEnded(_ inode: InodeNumber, at moment: LSN) throws(VaultError) -> Bool {
    try lock.withLock { () throws(VaultError) in try metadata.nodeIfThere(inode).map { $0.since > moment } ?? true }
  }

  public func info(_ inode: InodeNumber, at moment: LSN) throws(VaultError) -> NodeInfo {
    try lock.withLock { () throws(VaultError) in
      if let open = metadata.openPast(inode, at: moment) { return open.info }
      return try past(inode, moment).info
    }
  }

  /// `lock` is held.
  private func past(_ inode: InodeNumber, _ moment: LSN) throws(VaultError) -> Node {
    guard let node = try metadata.node(inode, at: moment) else { throw .notFound }
    return node
  }

  /// What a name stood for; nil if for nothing.
  public func lookup(_ name: [UInt8], in parent: InodeNumber, at moment: LSN) throws(VaultError) -> NodeInfo? {
    try checkName(name)
    return try lock.withLock { () throws(VaultError) in
      guard let row = try metadata.entry(name, in: parent, at: moment), !metadata.isStaged(row) else { return nil }
      return try past(row.inode, moment).info
    }
  }

  /// As `list`, of a directory as it was.
  public func list(_ directory: InodeNumber, after cookie: UInt64, count: Int, at moment: LSN) throws(VaultError) -> [DirectoryEntry] {
    try lock.withLock { () throws(VaultError) in
      guard try past(directory, moment).isDirectory else { throw .notADirectory }
      var entries: [DirectoryEntry] = []
      for row in try metadata.entries(of: directory, after: max(cookie, Metadata.cookieFirst - 1), count: count, at: moment) where !metadata.isStaged(row) {
        entries.append(DirectoryEntry(name: row.name, cookie: row.cookie, inode: row.inode, type: row.type, info: try metadata.node(row.inode, at: moment)?.info))
      }
      return entries
    }
  }

  public func readLink(_ inode: InodeNumber, at moment: LSN) throws(VaultError) -> [UInt8] {
    try lock.withLock { () throws(VaultError) in
      let node = try past(inode, moment)
      guard node.isSymlink else { throw .invalidArgument }
      return node.target
    }
  }

  public func xattr(_ name: [UInt8], of inode: InodeNumber, at moment: LSN) throws(VaultError) -> [UInt8] {
    try lock.withLock { () throws(VaultError) in
      guard let value = try metadata.xattr(name, of: try past(inode, moment)) else { throw .attributeMissing }
      return value
    }
  }

  public func xattrNames(of inode: InodeNumber, at moment: LSN) throws(VaultError) -> [[UInt8]] {
    try lock.withLock { () throws(VaultError) in try metadata.xattrNames(of: try past(inode, moment)) }
  }

  /// A file as it was, for `read`.
  public func openPast(_ inode: InodeNumber, at moment: LSN) throws(VaultError) -> OpenFile {
    try lock.withLock { () throws(VaultError) in
      let node = try past(inode, moment)
      if node.isDirectory { throw .isADirectory }
      guard node.isRegular else { throw .notSupported }
      metadata.open(past: node)
      return OpenFile(node, Draft())
    }
  }

  // MARK: Snapshots

  public func snapshots() throws(VaultError) -> [Snapshot] {
    try lock.withLock { () throws(VaultError) in try metadata.snapshots() }
  }

  /// Names the present moment of a directory and all below it.
  /// - Throws: `.alreadyExists`.
  @discardableResult
  public func makeSnapshot(_ name: [UInt8], of directory: InodeNumber = .root) throws(VaultError) -> Snapshot {
    try checkName(name)
    try checkSpace()
    // What programs have written by now is part of it.
    for file in lock.withLock({ unsaved.values.compactMap { node in node.draft.map { OpenFile(node, $0) } } }) { try save(file) }
    return try lock.withLock { () throws(VaultError) in
      _ = try metadata.directory(directory)
      if try metadata.snapshot(name) != nil { throw .alreadyExists }
      try perform(.snapshot(name: name, of: directory))
      guard let made = try metadata.snapshot(name) else { throw metadata.damaged("a snapshot that was just made") }
      return made
    }
  }

  /// - Throws: `.notFound`.
  public func deleteSnapshot(_ name: [UInt8]) throws(VaultError) {
    try lock.withLock { () throws(VaultError) in
      guard try metadata.snapshot(name) != nil else { throw .notFound }
      try perform(.dropSnapshot(name: name))
    }
  }

  /// Keeps the version of a node at `moment` whatever the policy says, or not any more.
  /// - Parameter isLimited: what pins hold of its user's is no more than that user may have. (It counts against no limit else.)
  public func pin(_ inode: InodeNumber, at moment: LSN, _ isPinned: Bool, isLimited: Bool = false) throws(VaultError) {
    try lock.withLock { () throws(VaultError) in
      let node = try past(inode, moment)
      if try metadata.isPinned(inode, moment) == isPinned { return }
      if isPinned, isLimited, let hard = metadata.state.quotas[.user(node.user)]?.limits.bytes.hard, try metadata.pinnedBytes(of: node.user) &+ node.allocated > hard {
        throw .quotaExceeded(.user(node.user))
      }
      try perform(.pin(inode, moment: moment, isPinned: isPinned))
    }
  }

  // MARK: Policy

  public var historyPolicy: HistoryPolicy { lock.withLock { metadata.state.history } }

  /// - Throws: `.invalidArgument` for one with a limit that would let nearly all of the past go: meant were other units.
  public func setHistoryPolicy(_ policy: HistoryPolicy) throws(VaultError) {
    guard policy.limit == 0 || (HistoryPolicy.limitMin...UInt64(Int64.max)).contains(policy.limit) else { throw .invalidArgument }
    let isNew = try lock.withLock { () throws(VaultError) in
      guard policy != metadata.state.history else { return false }
      try perform(.setHistory(policy))
      return true
    }
    if isNew { keeper?.applyHistory() }
  }

  /// Forgets all that was of a node but what a snapshot or a pin holds.
  /// - Parameter through: only what ended with this operation or before; nil: all.
  public func forget(pastOf inode: InodeNumber, through: LSN? = nil) throws(VaultError) {
    guard inode.value < UInt64(Int64.max) - 1 else { throw .invalidArgument }
    try forget(pastOf: inode.value..<inode.value + 1, through: through)
  }
  func forget(pastOf nodes: Range<UInt64>, through: LSN? = nil) throws(VaultError) {
    let through = through ?? present
    while try lock.withLock({ () throws(VaultError) in
      try perform(.forget(nodes: nodes, through: through))
      return metadata.isMoreToForget
    }) { letOthers() }
  }

  /// Lets the policy forget, finds what nothing refers to any more, and gives its space back.
  /// - Parameter isDry: only says what of that could go now.
  /// - Parameter tell: called now and then, with what is being done, and of how many bytes how many are, where that is known.
  public func collectGarbage(isDry: Bool = false, while mayGoOn: @escaping () -> Bool = { true },
                             tell: @escaping (_ what: String, _ done: UInt64, _ total: UInt64?) -> Void = { _, _, _ in }) throws(VaultError) -> Collection {
    if !isDry { try expire() }
    return try working.withLock { () throws(VaultError) in
      let collector = Collector(self, mayGoOn: mayGoOn) { [self] in isQuiet }
      collector.tell = tell
      var done = isDry ? try collector.run(isDry: true) : try collector.runWithinLimit()
      done.lately = lock.withLock { givenBack }.flatMap { lately in
        let seconds = (monotonicNanoseconds() - lately.at) / 1_000_000_000
        return seconds < Self.lately ? Collection.Lately(reclaimed: lately.bytes, secondsAgo: seconds) : nil
      }
      return done
    }
  }
  /// The vault has collected by itself.
  func note(_ done: Collection) { if done.reclaimed > 0 { lock.withLock { givenBack = (done.reclaimed, monotonicNanoseconds()) } } }

  /// So long, in seconds, what the vault gave back by itself is told to who wants space.
  private static let lately: UInt64 = 600

  /// After the policy was applied, so many times as long passes at least.
  private static let expiryRest: Int64 = 20
  /// Nodes whose past is looked at in one operation.
  private static let nodesPerExpiry = 2000
  /// The same where the disk is full: what an operation changes is written in one commit.
  private static let nodesPerExpiryShort = 100

  /// Whether the policy was not applied for long, and there is a past that it may end. (Where the clock was set back, it is, too.)
  func isExpiryDue(now: Int64 = Timestamp.now.seconds) -> Bool {
    lock.withLock {
      let last = expiryLooked ?? metadata.state.expired
      let delay = max(metadata.state.history.expiryDelay, Self.expiryRest * expirySeconds)
      guard failure == nil, !isReadOnly, now < last || now - last >= delay else { return false }
      return (try? metadata.nextToExpire(from: 0, count: 1)) ?? nil != nil
    }
  }

  /// Forgets what the policy does not keep.
  /// - Parameter now: seconds since 1970; nil: by the journal's clock. An age decides what the past is good for, never whether data is referred to.
  public func expire(now: Int64? = nil) throws(VaultError) {
    let now = now ?? lock.withLock { Int64(journal.now() / 1_000_000_000) }, start = monotonicNanoseconds()
    defer { lock.withLock { (expirySeconds, expiryLooked) = (Int64((monotonicNanoseconds() - start) / 1_000_000_000), now) } }
    // Where nothing is due, nothing is written.
    try eachPastOfNodes { nodes throws(VaultError) in
      guard try metadata.countExpiring(nodes, now: now, most: 1) != Expiring() else { return true }
      try perform(.expire(nodes: nodes, now: now))
      return !metadata.isMoreToForget
    }
  }

  /// What a policy would forget at once, but for what its limit does.
  public func countExpiring(under policy: HistoryPolicy) throws(VaultError) -> Expiring {
    let now = lock.withLock { Int64(journal.now() / 1_000_000_000) }
    var sum = Expiring()
    try eachPastOfNodes { nodes throws(VaultError) in
      let found = try metadata.countExpiring(nodes, under: policy, now: now)
      sum.nodes += found.nodes
      sum.names += found.names
      return true
    }
    return sum
  }

  /// Calls `body` with the numbers of all nodes that have a past, range by range. `lock` is held for each, and let go between.
  /// - Parameter body: tells whether it is done with them.
  func eachPastOfNodes(_ body: (Range<UInt64>) throws(VaultError) -> Bool) throws(VaultError) {
    var first: UInt64 = 0
    while let end = try lock.withLock({ () throws(VaultError) -> UInt64? in
      guard let end = try metadata.nextToExpire(from: first, count: diskIsFull.load(ordering: .relaxed) ? Self.nodesPerExpiryShort : Self.nodesPerExpiry) else { return nil }
      guard end > first else { throw metadata.damaged("it has a past of node \(first) and beyond, which there cannot be") }
      return try body(first..<end) ? end : first
    }) {
      first = end
      letOthers()
    }
  }
}
