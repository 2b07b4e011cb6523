// The limit of history: where the past alone holds more than the policy allows, the oldest of it goes before its age.
//
// What must stay true: no more goes than must, the oldest first, whatever shares its content with what stays: what would be left is counted
// before anything is forgotten. What is forgotten is said by an operation (`forget`), so a replay forgets the same.

extension Collector {
  /// Beyond the limit so much of it goes, too, in parts of 16: not with every file that is written again.
  private static let slack: UInt64 = 1
  /// What others do meanwhile may need another one.
  private static let roundsMax = 3

  /// As `run`, until history is within its limit.
  func runWithinLimit() throws(VaultError) -> Collection {
    defer { present = nil }
    var done = try run()
    let limit = vault.historyPolicy.limit
    guard limit > 0, !vault.isReadOnly else { return done }
    // What cannot go counts not: else all the rest would go for it, whoever's that is.
    for _ in 0..<Self.roundsMax where done.free > limit && mayGoOn() {
      guard let present, let horizon = try horizon(leaving: limit / 16 * (16 - Self.slack), besides: done.held, present) else { break }
      try vault.forget(through: horizon)
      let next = try run()
      let second = try vault.lock.withLock { () throws(VaultError) in try vault.metadata.second(of: horizon, from: vault.configuration.created) }
      vault.log("history needed \(done.free) bytes beside snapshots and pins, and its limit is \(limit): what ended until \(When.text(of: second)) was forgotten, and it needs \(next.free)")
      guard next.free < done.free else { return done.followed(by: next) }
      done = done.followed(by: next)
    }
    return done
  }

  /// The first operation such that, once what ended with it or before is forgotten, history needs no more than `target` bytes beside what is
  /// held; nil where it may not go on.
  private func horizon(leaving target: UInt64, besides held: UInt64, _ present: ChunkMarks) throws(VaultError) -> LSN? {
    var tooEarly: UInt64 = 0, enough = vault.present.value
    while enough - tooEarly > 1 {
      let middle = tooEarly + (enough - tooEarly) / 2
      guard let history = try history(endedAfter: LSN(middle), present) else { return nil }
      if history <= target &+ held { enough = middle } else { tooEarly = middle }
    }
    return LSN(enough)
  }

  /// Bytes that the past would need, with what is held, if what ended until `horizon` were forgotten.
  private func history(endedAfter horizon: LSN, _ present: ChunkMarks) throws(VaultError) -> UInt64? {
    var walk = Metadata.Walk(endedAfter: horizon), marks = present
    while !walk.isDone {
      guard mayGoOn() else { return nil }
      tell("looking for what is too much", 0, nil)
      try vault.lock.withLock { () throws(VaultError) in
        try vault.checkWhole()
        try vault.metadata.walk(&walk, rows: Self.rowsPerHold) { marks.insert($0) }
      }
      pause()
    }
    var bytes: UInt64 = 0, last: UInt64 = 0, isMore = true
    while isMore {
      guard mayGoOn() else { return nil }
      isMore = try vault.lock.withLock { () throws(VaultError) in try vault.metadata.add(marks, besides: present, to: &bytes, after: &last, rows: Self.rowsPerHold) }
      pause()
    }
    return bytes
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
