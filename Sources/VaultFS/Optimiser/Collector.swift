// Garbage collection: finds the chunks that nothing refers to any more, forgets them, and gives their space back.
//
// 1. Mark: all rows of the present and the past are walked, and the chunks they refer to marked (ChunkMarks).
// 2. Sweep: chunks that are not marked lose their row. From here on identical content is stored anew.
// 3. Reclaim: what is still read from a pack with enough dead bytes moves to a new one, and what elsewhere is compressed
//    against its frames; then the pack goes. A segment with enough of them becomes an archive (`Optimiser.empty`).
//
// What must stay true:
// 1. Nothing is forgotten that a row, a save under way or an open file of the past refers to; no clock decides.
// 2. The operations that ended the references are durable, and attested in the journal, before a byte goes; the new
//    frames are durable before the view points to them, and that is durable before the old pack goes. The view forgets a
//    pack when it is gone: a note of what is not there heals itself at the next opening, a pack without a note would stay.
//    To make the view durable is what others wait for longest, so several packs go at once.
// 3. The vault's lock is held for fifty rows that are read at a time, or ten that are written: less than a hundred microseconds.
// In the optimiser's thread, one at a time.

import Glibc

/// What a collection found and did.
public struct Collection: Sendable, Hashable, Codable {
  /// Chunks that nothing referred to, and their plain bytes.
  public var chunks = 0
  public var bytes: UInt64 = 0
  /// Plain bytes of chunks that only the past refers to.
  public var history: UInt64 = 0
  /// Packs and segments that went, and bytes that the vault's folder has fewer; of a look only, those that would, of what is known to be dead already.
  public var containers = 0
  public var reclaimed: Int64 = 0
  /// What the vault gave back by itself not long ago.
  public var lately: Lately?
  public struct Lately: Sendable, Hashable, Codable {
    public var reclaimed: Int64
    public var secondsAgo: UInt64
  }
}

final class Collector {
  let vault: Vault
  let mayGoOn: () -> Bool
  private let isQuiet: () -> Bool

  static let rowsPerHold = 50
  /// While others need the vault, it rests so many times as long as it has worked, and no longer than this at once, nanoseconds. Work of
  /// less than `workMin` is put to what follows.
  private static let restsPerWork: UInt64 = 3, restMax: UInt64 = 40_000_000, workMin: UInt64 = 100_000
  private var rested: UInt64 = 0
  /// Told now and then what is being done, and of how much how much is, in bytes, where that is known.
  var tell: (_ what: String, _ done: UInt64, _ total: UInt64?) -> Void = { _, _, _ in }
  /// A pack or a segment is rewritten when this share of it is dead; a segment, when it is so many plain bytes, too. (The one that is being
  /// written ends for more: each is a file for good.)
  private static let deadShareMin = 0.05, segmentDeadMin: UInt64 = 64 << 10, currentDeadMin: UInt64 = 1 << 20
  /// Saves that were under way at the beginning end within this, in steps of 10 ms; else the next collection tries again.
  private static let patience = 3000
  /// Bytes of packs that wait to go together, and how long the first of them does, nanoseconds.
  private static let emptiedBytesMax: Int64 = 2 << 30
  private static let emptiedDelayMax: UInt64 = 20_000_000_000
  /// Of a file that goes the kernel lets go of so many bytes at once: for as long as it takes, that processor is nobody else's.
  private static let uncachedBytes: UInt64 = 4 << 20

  private lazy var optimiser = Optimiser(vault) { [unowned self] in
    pause()
    return mayGoOn()
  }

  /// What the present referred to when the last collection looked, and how many chunks only the past did.
  var seen: (present: ChunkMarks, pastChunks: Int64)?
  /// Those of `allSpent` that were looked at.
  private var spent: [ContainerNumber] = []
  /// Packs that nothing is read from any more; they go together (`removeEmptied`).
  private var emptied: [Emptied] = []
  private struct Emptied {
    let pack: ContainerNumber
    let dependents: [ContainerNumber]
    /// Bytes of the file, and how many of them a new pack took over.
    let size: Int64, added: Int64
    /// How many chunks were noted as damaged when it was looked at for them.
    let damaged: Int64
    let since = monotonicNanoseconds()
  }

  /// - Parameter isQuiet: false while somebody else needs the computer: then it goes slowly.
  init(_ vault: Vault, mayGoOn: @escaping () -> Bool, isQuiet: @escaping () -> Bool) {
    (self.vault, self.mayGoOn, self.isQuiet) = (vault, mayGoOn, isQuiet)
  }

  /// Whether references may have ended since the last collection, or history may have come to its limit.
  static func isDue(_ vault: Vault) -> Bool {
    vault.lock.withLock {
      let state = vault.metadata.state
      return state.lapses != state.collected || state.history.limit > 0 && state.applied != vault.historyWeighed
    }
  }

  /// - Parameter isDry: nothing changes; says what would go.
  func run(isDry: Bool = false) throws(VaultError) -> Collection {
    var done = Collection()
    guard !vault.isReadOnly || isDry else { return done }
    spent = isDry ? allSpent : try adopt(allSpent)
    var weighed = LSN.zero
    let lapses = vault.lock.withLock {
      vault.metadata.marks = ChunkMarks(count: vault.metadata.state.counters.chunks)
      weighed = vault.metadata.state.applied
      return vault.metadata.state.lapses
    }
    defer { vault.lock.withLock { vault.metadata.marks = nil } }
    guard waitForSaves(), let present = try mark(), let sweep = try sweep(isDry: isDry, present) else { return done }
    seen = (present, sweep.pastChunks)
    (done.chunks, done.bytes, done.history) = (sweep.chunks, sweep.bytes, sweep.history)
    if isDry {
      let due = due(sweep.live)
      done.containers = due.count
      done.reclaimed = vault.lock.withLock { due.reduce(0) { $0 + Int64(clamping: vault.metadata.state.containers.dead(in: $1)) } }
      return done
    }
    try vault.changeView { metadata in metadata.state.historyBytes = sweep.history }
    vault.lock.withLock { (vault.metadata.marks, vault.historyWeighed) = (nil, weighed) }
    try reclaim(sweep.live, &done)
    // What was left undone is due still.
    if mayGoOn() { try vault.changeView { metadata in metadata.state.collected = lapses } }
    return done
  }

  /// - Returns: those that may go. What cannot be looked at stays, and is no reason not to free what is known to be dead.
  private func adopt(_ packs: [ContainerNumber]) throws(VaultError) -> [ContainerNumber] {
    var adopted: [ContainerNumber] = []
    for pack in packs where mayGoOn() {
      do throws(VaultError) {
        try vault.adopt(pack)
        adopted.append(pack)
      } catch {
        if vault.lock.withLock({ vault.failure != nil }) { throw error }
        if case .diskFull = error { break }
        vault.log("\(ContainerStore.path(pack, .pack)), which nothing is read from, cannot be looked at, and stays: \(error)")
      }
    }
    return adopted
  }

  /// A save that began before there were marks may have found a chunk already.
  private func waitForSaves() -> Bool {
    let open = vault.packs.openBatches
    for _ in 0..<Self.patience {
      if vault.packs.openBatches.isDisjoint(with: open) { return true }
      if !mayGoOn() { return false }
      usleep(10_000)
    }
    return false
  }

  /// - Returns: what the present refers to; nil where it may not go on.
  private func mark() throws(VaultError) -> ChunkMarks? {
    var walk = Metadata.Walk(), present: ChunkMarks?
    while !walk.isDone {
      guard mayGoOn() else { return nil }
      tell("looking for what is in use", 0, nil)
      if present == nil, walk.isInPast { present = vault.lock.withLock { vault.metadata.marks } }
      try vault.lock.withLock { () throws(VaultError) in
        try vault.checkWhole()
        var found: [[Extent]] = []
        try vault.metadata.walk(&walk, rows: Self.rowsPerHold) { extents, _ in found.append(extents) }
        for extents in found { vault.metadata.marks?.insert(extents) }
      }
      pause()
    }
    vault.lock.withLock { for nodes in vault.metadata.pastOpen.values { for node in nodes { vault.metadata.marks?.insert(node.extents) } } }
    return present
  }

  private func sweep(isDry: Bool, _ present: ChunkMarks) throws(VaultError) -> Metadata.Sweep? {
    var sweep = Metadata.Sweep(present: present)
    while !sweep.isDone {
      guard mayGoOn() else { return nil }
      tell("looking for what is not", 0, nil)
      if isDry {
        try vault.lock.withLock { () throws(VaultError) in try vault.metadata.sweep(&sweep, rows: Self.rowsPerHold, isDry: true) }
      } else {
        try vault.changeView { metadata throws(VaultError) in try metadata.sweep(&sweep, rows: Self.rowsPerHold, isDry: false) }
      }
      pause()
    }
    return sweep
  }

  func pause() {
    let now = monotonicNanoseconds()
    if rested > 0, now - rested < Self.workMin { return }
    defer { rested = monotonicNanoseconds() }
    if rested > 0, !isQuiet(), mayGoOn() { usleep(UInt32(min((now - rested) * Self.restsPerWork, Self.restMax) / 1000)) }
  }

  // MARK: Reclaiming

  private func reclaim(_ live: [ContainerNumber: UInt64], _ done: inout Collection) throws(VaultError) {
    try endSegment(live)
    var due = due(live)
    guard !due.isEmpty else { return }
    // What ended the references is durable and attested before anything goes.
    try vault.checkpoint()
    try vault.mark()
    while true {
      let before = done.containers
      due = try reclaim(due, live, &done)
      // On a full disk what has gone may be the room that the next one needs.
      guard !due.isEmpty, mayGoOn() else { return }
      if done.containers == before { throw .diskFull }
    }
  }

  /// What is dead in the segment that is being written goes when that ends.
  private func endSegment(_ live: [ContainerNumber: UInt64]) throws(VaultError) {
    try vault.lock.withLock { () throws(VaultError) in
      let current = vault.journal.segment
      if vault.metadata.state.containers.dead(in: current) >= Self.currentDeadMin, deadShare(of: current, .segment, live) != nil { try vault.rotate() }
    }
  }

  /// What gives most for the room it takes comes first.
  private func due(_ live: [ContainerNumber: UInt64]) -> [ContainerNumber] {
    let spent = Set(spent).intersection(allSpent)
    let shares: [(number: ContainerNumber, dead: Double)] = vault.lock.withLock {
      spent.map { ($0, 1) } + vault.metadata.state.containers.withDead.compactMap { number in
        guard let kind = vault.containers.kind(number), number != vault.journal.segment, let share = deadShare(of: number, kind, live) else { return nil }
        return (number, share)
      }
    }
    return shares.sorted { ($1.dead, $0.number.value) < ($0.dead, $1.number.value) }.map(\.number)
  }

  /// Packs that nothing is read from, and of which it is not known that anything in them is dead: copies that a kill left behind.
  private var allSpent: [ContainerNumber] {
    let packs = vault.containers.numbers(.pack).filter { !vault.packs.isUnsettled($0) }
    return vault.lock.withLock {
      let containers = vault.metadata.state.containers
      return packs.filter { containers.chunks(in: $0) == 0 && containers.dead(in: $0) == 0 && containers.dependents(of: $0).isEmpty }
    }
  }

  /// nil where it is not worth the work. `lock` is held.
  private func deadShare(of number: ContainerNumber, _ kind: ContainerStore.Kind, _ live: [ContainerNumber: UInt64]) -> Double? {
    let containers = vault.metadata.state.containers, dead = containers.dead(in: number), share = Double(dead) / Double(max(dead + (live[number] ?? 0), 1))
    switch kind {
    case .pack: return share >= Self.deadShareMin ? share : nil
    case .segment: return share >= Self.deadShareMin && dead >= Self.segmentDeadMin && !containers.isKept(number) ? share : nil
    case .archive: return nil
    }
  }

  /// - Returns: those for which there is no room.
  private func reclaim(_ due: [ContainerNumber], _ live: [ContainerNumber: UInt64], _ done: inout Collection) throws(VaultError) -> [ContainerNumber] {
    var waiting: [ContainerNumber] = [], seen: UInt64 = 0
    let sizes = due.map { (try? vault.containers.file($0).size()) ?? 0 }, total = sizes.reduce(0, +)
    for (number, size) in zip(due, sizes) {
      guard mayGoOn() else { break }
      tell("making packs and the journal smaller", seen, total)
      seen += size
      do throws(VaultError) {
        do throws(VaultError) { try empty(number, live[number] ?? 0, &done) } catch {
          // What waits to go may be the room that is wanting.
          guard case .diskFull = error, !emptied.isEmpty else { throw error }
          try removeEmptied(&done)
          try empty(number, live[number] ?? 0, &done)
        }
      } catch {
        if vault.lock.withLock({ vault.failure != nil }) { throw error }
        if case .diskFull = error { waiting.append(number) } else {
          vault.log("\(ContainerStore.path(number, vault.containers.kind(number) ?? .pack)) keeps what nobody needs of it: \(error)")
        }
      }
      if isEmptiedDue { try removeEmptied(&done) }
    }
    try removeEmptied(&done)
    return waiting
  }

  /// - Parameter live: plain bytes that are read from it.
  private func empty(_ number: ContainerNumber, _ live: UInt64, _ done: inout Collection) throws(VaultError) {
    guard vault.containers.kind(number) == .segment else { return try empty(number) }
    try vault.makeRoom(moving: Int(clamping: live))
    let bytes = try optimiser.empty(number)
    if bytes == 0 { return }
    done.containers += 1
    done.reclaimed += bytes
  }

  /// Moves what is read from `pack`, or needs a base in it, elsewhere.
  private func empty(_ pack: ContainerNumber) throws(VaultError) {
    // The pack that saves write to is no longer that one afterwards.
    if vault.packs.begun == pack { try vault.packs.seal() }
    let damaged = vault.damagedChunks
    guard !vault.packs.isUnsettled(pack), try vault.rescue(from: pack) else { return }
    let file = try vault.containers.file(pack), size = Int64(try file.size())
    let (chunks, dependents) = vault.lock.withLock { (vault.metadata.state.containers.chunks(in: pack), vault.metadata.state.containers.dependents(of: pack)) }
    var added: Int64 = 0
    if chunks > 0 || !dependents.isEmpty {
      added = try move(from: pack, dependents)
    }
    guard vault.lock.withLock({ vault.metadata.state.containers.chunks(in: pack) == 0 }) else { return }
    emptied.append(Emptied(pack: pack, dependents: dependents, size: size, added: added, damaged: damaged))
  }

  /// A pack that cannot be removed keeps no other from it; the next collection tries again.
  private func removeEmptied(_ done: inout Collection) throws(VaultError) {
    let all = emptied
    emptied = []
    if all.isEmpty { return }
    // That nothing is read from them any more.
    try vault.checkpoint()
    var gone: [Emptied] = []
    for one in all {
      uncache(one)
      // It takes a while.
      guard isRescued(one), isStillEmpty(one) else { continue }
      do throws(VaultError) { try vault.containers.remove(one.pack) } catch {
        vault.log("\(ContainerStore.path(one.pack, .pack)), which nobody needs, cannot be removed: \(error)")
        continue
      }
      vault.packs.forget(one.pack)
      gone.append(one)
      done.containers += 1
      done.reclaimed += one.size - one.added
    }
    try vault.changeView { metadata in
      for one in gone {
        metadata.state.containers.forget(one.pack)
        for dependent in one.dependents { metadata.state.containers.removeBase(one.pack, of: dependent) }
      }
    }
  }

  /// What is noted as damaged since it was looked at for that may be whole in it.
  private func isRescued(_ one: Emptied) -> Bool { vault.damagedChunks <= one.damaged || (try? vault.rescue(from: one.pack)) == true }

  /// A repair may have found a use for it meanwhile.
  private func isStillEmpty(_ one: Emptied) -> Bool {
    vault.lock.withLock {
      let uses = vault.metadata.state.containers
      return uses.chunks(in: one.pack) == 0 && Set(uses.dependents(of: one.pack)).isSubset(of: one.dependents)
    }
  }

  private func uncache(_ one: Emptied) {
    guard let file = try? vault.containers.file(one.pack) else { return }
    for start in stride(from: 0, to: UInt64(one.size), by: Int(Self.uncachedBytes)) {
      file.uncache(start..<start + Self.uncachedBytes)
      pause()
    }
  }

  /// Whether what waits to go should go now.
  private var isEmptiedDue: Bool {
    guard let first = emptied.first else { return false }
    let bytes = emptied.reduce(0) { $0 + $1.size }
    if bytes >= Self.emptiedBytesMax || monotonicNanoseconds() - first.since >= Self.emptiedDelayMax { return true }
    guard let space = try? vault.reserve.space() else { return true }
    return space.available < Limits.reserveBytes + 2 * UInt64(bytes)
  }
}
