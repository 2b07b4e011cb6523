// The limit of history: where the past alone holds more than the policy allows, the oldest of it goes before its age.
//
// What must stay true: no more goes than must, the oldest first, whatever shares its content with what stays, and whatever others pin
// or delete meanwhile: what would be left is weighed before anything is forgotten. What is forgotten is said by an operation (`forget`),
// so a replay forgets the same.

extension Collector {
  /// Beyond the limit so much of it goes, too, in parts of 16: not with every file that is written again.
  private static let slack: UInt64 = 1
  /// What others do meanwhile may need another one.
  private static let roundsMax = 3

  /// As `run`, until history is within its limit.
  func runWithinLimit() throws(VaultError) -> Collection {
    defer { seen = nil }
    var done = try run()
    let limit = vault.historyPolicy.limit
    guard limit > 0, !vault.isReadOnly else { return done }
    for _ in 0..<Self.roundsMax where done.history > limit && mayGoOn() {
      guard let horizon = try horizon(over: limit) else { break }
      try vault.forget(through: horizon.last)
      let next = try run(), excess = try excess(behind: horizon)
      vault.log("history needed \(excess.needed) bytes beside what is held (snapshots, pins, open files), and its limit is \(limit): what ended until \(When.text(of: excess.until)) was forgotten, \(done.history - min(done.history, next.history)) bytes")
      let isLess = next.history < done.history
      done = done.followed(by: next)
      if !isLess { break }
    }
    return done
  }

  /// What a limit would let go of at once; nil where that is nothing, or it may not go on. Changes nothing.
  func excess(over limit: UInt64) throws(VaultError) -> HistoryExcess? {
    defer { seen = nil }
    guard limit > 0, try run(isDry: true).history > limit, let horizon = try horizon(over: limit) else { return nil }
    return try excess(behind: horizon)
  }

  private func excess(behind horizon: Horizon) throws(VaultError) -> HistoryExcess {
    let second = try vault.lock.withLock { () throws(VaultError) in try vault.metadata.second(of: horizon.last, from: vault.configuration.created) }
    return HistoryExcess(needed: horizon.free, forgotten: horizon.free - horizon.left, until: second)
  }

  private struct Horizon {
    /// The operation that is meant.
    let last: LSN
    /// What history needs beside what is held, and what of that is left.
    let free, left: UInt64
  }

  /// The first operation such that, once what ended with it or before is forgotten, history is within its limit.
  /// - Returns: nil where what history needs beside what is held is within the limit, or it may not go on. (What cannot go counts not: else
  ///   all the rest would go for it, whoever's that is.)
  private func horizon(over limit: UInt64) throws(VaultError) -> Horizon? {
    guard let (present, chunks) = seen else { return nil }
    let target = limit / 16 * (16 - Self.slack)
    // Between these, in ever smaller parts. What is pinned or deleted meanwhile moves it, but never out of them.
    var tooEarly: UInt64 = 0, enough = vault.present.value
    while true {
      let ages = PastAges(tooEarly..<enough)
      guard let bytes = try weigh(ages, present, chunks) else { return nil }
      let free = bytes.reduce(0, +)
      guard free > limit else { return nil }
      var left: UInt64 = 0, age = bytes.count - 1
      while left + bytes[age] <= target { (left, age) = (left + bytes[age], age - 1) }
      if let part = ages.operations(of: age), part.count > 1 { (tooEarly, enough) = (part.lowerBound, min(part.upperBound, enough)) } else {
        return Horizon(last: LSN(min(ages.end(of: age), enough)), free: free, left: left)
      }
    }
  }

  /// The bytes that the past alone needs, by the age of what needs them last; nil where it may not go on.
  private func weigh(_ ages: PastAges, _ present: ChunkMarks, _ chunks: Int64) throws(VaultError) -> [UInt64]? {
    var bytes = [UInt64](repeating: 0, count: Int(PastAges.held))
    // Of more chunks than marks can tell apart, one share after the other.
    let shares = UInt64(chunks) / UInt64(ChunkAges.chunksMax) + 1
    for share in 0..<shares {
      var marks = ChunkAges(count: chunks / Int64(shares))
      func isAsked(_ chunk: ChunkNumber) -> Bool { chunk.value % shares == share && !present.contains(chunk) }
      guard try mark(&marks, ages, isAsked) else { return nil }
      var last: UInt64 = 0, isMore = true
      while isMore {
        guard mayGoOn() else { return nil }
        isMore = try vault.lock.withLock { () throws(VaultError) in
          try vault.metadata.eachChunk(after: &last, count: Self.rowsPerHold) { number, _, length in
            let age = marks[number]
            if age > 0, age < PastAges.held, isAsked(number) { bytes[Int(age)] += length }
          }
        }
        pause()
      }
    }
    return bytes
  }

  /// Marks chunks that the past refers to with their age.
  /// - Returns: false where it may not go on.
  private func mark(_ marks: inout ChunkAges, _ ages: PastAges, _ isAsked: (ChunkNumber) -> Bool) throws(VaultError) -> Bool {
    func mark(_ extents: [Extent], _ age: UInt8) {
      for case .chunk(let number, _) in extents.lazy.map(\.source) where isAsked(number) { marks.insert(number, age) }
    }
    var walk = Metadata.Walk.ofPast
    while !walk.isDone {
      guard mayGoOn() else { return false }
      tell("looking for what is too much", 0, nil)
      try vault.lock.withLock { () throws(VaultError) in
        try vault.checkWhole()
        try vault.metadata.walk(&walk, rows: Self.rowsPerHold) { mark($0, ages.age(of: $1)) }
      }
      pause()
    }
    vault.lock.withLock { for nodes in vault.metadata.pastOpen.values { for node in nodes { mark(node.extents, PastAges.held) } } }
    return true
  }
}

/// Operations in parts, from the oldest to the newest: the age of what the past needs until one of them. What it needs until one before all
/// of them has age 1, the parts have those from 2 on, then come one behind all of them, and what is held.
private struct PastAges {
  private static let later: UInt8 = 254
  static let held: UInt8 = 255
  private let first: UInt64
  /// Operations in each part.
  private let length: UInt64

  /// - Parameter operations: those behind the lower bound, with the upper one.
  init(_ operations: Range<UInt64>) { (first, length) = (operations.lowerBound, UInt64(operations.count) / UInt64(Self.later - 2) + 1) }

  func age(of until: LSN) -> UInt8 {
    if until == Metadata.forever { return Self.held }
    return until.value <= first ? 1 : UInt8(min((until.value - first - 1) / length + 2, UInt64(Self.later)))
  }
  /// The last operation of an age.
  func end(of age: Int) -> UInt64 { first + UInt64(max(age - 1, 0)) * length }
  /// The operations of a part, as in `init`.
  func operations(of age: Int) -> Range<UInt64>? { age > 1 && age < Self.later ? end(of: age - 1)..<end(of: age) : nil }
}

/// What a limit of history lets go of: the past needs so much beside what is held, plain bytes; so much of that is forgotten, and it ended
/// until that second since 1970.
public struct HistoryExcess: Sendable, Hashable, Codable {
  public let needed, forgotten: UInt64
  public let until: Int64
}

extension Collection {
  /// Both, as one.
  fileprivate func followed(by next: Collection) -> Collection {
    Collection(chunks: chunks + next.chunks, bytes: bytes + next.bytes, history: next.history, containers: containers + next.containers, reclaimed: reclaimed + next.reclaimed)
  }
}

extension Vault {
  /// What a limit of history would let go of at once; nil where that is nothing. Changes nothing.
  /// - Parameter tell: as in `collectGarbage`.
  public func excess(over limit: UInt64, while mayGoOn: @escaping () -> Bool = { true },
                     tell: @escaping (_ what: String, _ done: UInt64, _ total: UInt64?) -> Void = { _, _, _ in }) throws(VaultError) -> HistoryExcess? {
    try working.withLock { () throws(VaultError) in
      let collector = Collector(self, mayGoOn: mayGoOn) { [self] in isQuiet }
      collector.tell = tell
      return try collector.excess(over: limit)
    }
  }

  /// Forgets what ended with the operation `horizon` or before, but for what snapshots and pins hold.
  func forget(through horizon: LSN) throws(VaultError) {
    try lock.withLock { () throws(VaultError) in _ = try perform(.forget(nodes: 1..<1, through: horizon)) }
    try eachPastOfNodes { nodes throws(VaultError) in
      try perform(.forget(nodes: nodes, through: horizon))
      return !metadata.isMoreToForget
    }
  }
}
