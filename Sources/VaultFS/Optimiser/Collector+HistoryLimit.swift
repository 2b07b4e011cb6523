// The limit of history: where the past alone holds more than the policy allows, the oldest of it goes before its age.
//
// What must stay true: what is forgotten is said by an operation (`forget`), so a replay forgets the same. How much a version
// holds that nothing else does is not known before it is gone: so a guess is made, and looked at with the next collection.

extension Collector {
  /// Beyond the limit so much of it goes, too, in parts of 16: not with every file that is written again.
  private static let slack: UInt64 = 1
  private static let roundsMax = 24

  /// As `run`, until history is within its limit.
  func runWithinLimit() throws(VaultError) -> Collection {
    var done = try run(), share = 0.0
    let limit = vault.historyPolicy.limit
    guard limit > 0, !vault.isReadOnly else { return done }
    // What cannot go counts not: else all the rest would go for it, whoever's that is.
    for _ in 0..<Self.roundsMax where done.free > limit && mayGoOn() {
      share = max(share, Double(done.free - limit / 16 * (16 - Self.slack)) / Double(done.free))
      guard let horizon = try horizon(of: share) else { break }
      try vault.forget(through: horizon)
      let next = try run()
      // Snapshots and pins hold what was meant to go: more of the rest must.
      if next.free < done.free { share = 0 } else if share < 1 { share = min(1, share * 2) } else { break }
      done = done.followed(by: next)
    }
    return done
  }

  /// The operation up to which a share of the past ended, by the bytes of its versions; nil where there is no past.
  private func horizon(of share: Double) throws(VaultError) -> LSN? {
    var histogram = EndHistogram(last: vault.present)
    var from: (inode: UInt64, died: UInt64)? = (0, 0)
    while let start = from {
      guard mayGoOn() else { return nil }
      from = try vault.lock.withLock { () throws(VaultError) in
        try vault.metadata.eachPast(after: start, rows: Self.rowsPerHold) { histogram.add($0, ended: $1) }
      }
      pause()
    }
    return histogram.horizon(of: share)
  }
}

/// How many bytes of versions ended with which operations, in bounded memory.
struct EndHistogram {
  private static let count: UInt64 = 4096
  private let width: UInt64
  private var sums = [Double](repeating: 0, count: Int(count))

  init(last: LSN) { width = last.value / Self.count + 1 }

  mutating func add(_ bytes: UInt64, ended: LSN) { sums[Int(min(ended.value / width, Self.count - 1))] += Double(bytes) }

  /// - Returns: nil where there are no bytes.
  func horizon(of share: Double) -> LSN? {
    let wanted = sums.reduce(0, +) * min(share, 1)
    guard wanted > 0 else { return nil }
    var sum = 0.0
    for (index, bytes) in sums.enumerated() {
      sum += bytes
      if bytes > 0, sum >= wanted * 0.999_999 { return LSN(UInt64(index + 1) * width) }
    }
    return LSN(Self.count * width)
  }
}

extension Collection {
  /// What history holds and may go.
  fileprivate var free: UInt64 { history - min(history, held) }

  /// Both, as one.
  fileprivate func followed(by next: Collection) -> Collection {
    Collection(chunks: chunks + next.chunks, bytes: bytes + next.bytes, history: next.history, held: next.held, packs: packs + next.packs, reclaimed: reclaimed + next.reclaimed)
  }
}

extension Vault {
  /// Forgets what ended with the operation `horizon` or before, but for what snapshots and pins hold.
  func forget(through horizon: LSN) throws(VaultError) {
    try eachPastOfNodes { nodes throws(VaultError) in
      try perform(.forget(nodes: nodes, through: horizon))
      return !metadata.isMoreToForget
    }
  }
}

extension Metadata {
  /// Calls `body` with the bytes of the next `rows` past versions, and when they ended.
  /// - Returns: where to go on; nil at the end.
  func eachPast(after start: (inode: UInt64, died: UInt64), rows: Int, _ body: (UInt64, LSN) -> Void) throws(VaultError) -> (inode: UInt64, died: UInt64)? {
    let select = try database.prepare("SELECT inode, died, record FROM past_node WHERE (inode, died) > (?, ?) ORDER BY inode, died LIMIT ?")
    select.bind(1, start.inode)
    select.bind(2, start.died)
    select.bind(3, UInt64(rows))
    var last: (inode: UInt64, died: UInt64)?, count = 0
    while try select.step() {
      let inode = InodeNumber(select.unsigned(0))
      guard let node = try? unsafe Node(inode: inode, decoding: select.raw(2)) else { throw damaged("a past row of node \(inode.value)") }
      body(node.allocated, LSN(select.unsigned(1)))
      (last, count) = ((inode.value, select.unsigned(1)), count + 1)
    }
    return count < rows ? nil : last
  }
}
