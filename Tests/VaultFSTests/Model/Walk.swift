// Random work on a vault and on the model of it. Each step is drawn from the seed and the step's number, and from what
// the model is by then: so any selection of the steps of a seed can be walked again.

import Glibc
import Testing
@testable import VaultFS

/// What the model and the vault disagree on.
struct Difference: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

final class Walk {
  let home: Home
  private let seed: UInt64
  var random: Random
  var tree = ModelTree()
  var limits = ModelLimits()
  var history = ModelHistory()
  /// The engine's, in seconds: it stands still but for `tick`. (So the keeper must not run: it goes by other clocks.)
  private(set) var clock: Int64
  /// Files that programs have open.
  var held: [OpenFile] = []
  var heldPast: [(file: OpenFile, bytes: [UInt8])] = []
  /// What is written and perhaps not saved: what the file was since it was saved for sure, oldest first. A kill leaves one of these.
  var unsaved: [InodeNumber: [ModelContent]] = [:]
  /// Where what was written last is zeros.
  var hasZeros: Set<InodeNumber> = []
  /// What was done, for whoever looks for the reason of a failure.
  private(set) var trail: [String] = []
  private(set) var accepted = 0, refused = 0

  var vault: Vault { home.vault }

  private init(_ home: Home, seed: UInt64) throws {
    (self.home, self.seed, random) = (home, seed, Random(seed: seed))
    // Ahead of all clocks, so that none moves this one.
    clock = (Timestamp.now.seconds / 86_400 + 2) * 86_400
    try settleIn()
  }

  /// Walks these steps of a seed in a vault of its own.
  /// - Throws: the first difference.
  static func walk(_ steps: some Sequence<Int>, seed: UInt64, trail: (Walk, Int) -> Void = { _, _ in }) throws {
    try Home.run { home in
      let walk = try Walk(home, seed: seed)
      for step in steps {
        defer { trail(walk, step) }
        try walk.take(step)
      }
      try walk.finish()
    }
  }

  private func take(_ step: Int) throws {
    random = Random(seed: seed &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(step))
    try Self.acts.pick(&random)(self)
    try settle()
  }

  /// What was done is over.
  func settle() throws {
    limits.settle(tree, at: clock)
    // A grace begins when what is written is saved: where that matters, it is.
    if limits.hasSoftOnes { try saveAll() }
  }

  /// Does something on the vault, which must refuse it where the model does, for the same reason.
  /// - Parameter isLong: of several limits that refuse it, any may be met first.
  /// - Parameter isSure: else it may be refused so, or not.
  /// - Returns: nil where it is refused.
  @discardableResult
  func attempt<R>(_ what: @autoclosure () -> String, _ refusal: VaultError? = nil, isLong: Bool = false, isSure: Bool = true, _ body: () throws -> R) throws -> R? {
    note(what())
    history.change(at: clock)
    do {
      let result = try body()
      if let refusal, isSure { throw Difference("\(what()) is not refused: \(refusal)") }
      accepted += 1
      return result
    } catch let error as VaultError {
      func words(_ error: VaultError) -> String { if isLong, case .quotaExceeded = error { "a limit" } else { "\(error)" } }
      guard let refusal, words(refusal) == words(error) else { throw Difference("\(what()): \(error); expected: \(refusal.map { "\($0)" } ?? "success")") }
      refused += 1
      return nil
    }
  }

  func note(_ what: String) {
    trail.append(what)
    if trail.count > 400 { trail.removeFirst(200) }
  }

  func require(_ holds: Bool, _ what: @autoclosure () -> String) throws {
    if !holds { throw Difference(what()) }
  }

  // MARK: Time

  /// The clock goes on. What stood before is a moment of the past.
  func tick(_ seconds: Int64) throws {
    note("\(seconds) seconds pass after operation \(vault.present.value)")
    // Writers close: else what they write next belongs to the version that is seen there.
    for file in held { try vault.endVersion(file) }
    unsaved = [:]
    history.add(ModelMoment(lsn: vault.present, seconds: clock..<clock + seconds, tree: tree), &random)
    clock += seconds
    setClock()
  }

  private func setClock() { vault.lock.withLock { vault.journal.advance(to: UInt64(clock) * 1_000_000_000) } }

  /// The vault was opened.
  func settleIn() throws {
    vault.keeper?.stop()
    vault.keeper = nil
    setClock()
  }

  // MARK: What is written

  func saveAll() throws {
    for file in held { try vault.save(file) }
    unsaved = [:]
  }

  func isHeld(_ inode: InodeNumber) -> Bool { held.contains { $0.inode == inode } }

  /// A program closes a file, as a mount does it: the last thing is a flush.
  func close(_ file: OpenFile) throws {
    note("close \(file.inode.value)")
    held.removeAll { $0 === file }
    try vault.endVersion(file)
    vault.close(file)
    unsaved[file.inode] = nil
    if tree[file.inode].links == 0, !isHeld(file.inode) { tree.forget(file.inode) }
  }
}

/// What is drawn now and then, each as often as its weight says.
struct Weighted<T: Sendable>: Sendable {
  private var things: [(weight: Int, thing: T)]
  private let sum: Int
  init(_ things: [(weight: Int, thing: T)]) { (self.things, sum) = (things, things.reduce(0) { $0 + $1.weight }) }

  func pick(_ random: inout Random) -> T {
    var at = random.below(sum)
    for (weight, thing) in things {
      if at < weight { return thing }
      at -= weight
    }
    fatalError("the weights are the sum")
  }
}

extension Walk {
  typealias Act = @Sendable (Walk) throws -> Void

  /// What programs do.
  static let programs = Weighted<Act>([
    (100, { try $0.create() }), (200, { try $0.write() }), (60, { try $0.writeHeld() }), (50, { try $0.truncate() }), (50, { try $0.allocate() }),
    (60, { try $0.clone() }), (80, { try $0.rename() }), (35, { try $0.link() }), (70, { try $0.unlink() }), (10, { try $0.removeDirectory() }),
    (8, { try $0.removeTree() }), (40, { try $0.changeAttributes() }), (30, { try $0.open() }), (25, { try $0.closeOne() }),
  ])
  /// What people do with history and limits.
  static let people = Weighted<Act>([
    (14, { try $0.makeSnapshot() }), (9, { try $0.deleteSnapshot() }), (15, { try $0.restore() }), (8, { try $0.replace() }), (12, { try $0.revive() }), (6, { try $0.restoreTree() }),
    (15, { try $0.undelete() }), (6, { try $0.pin() }), (8, { try $0.changePolicy() }), (1, { try $0.emptyTrash() }), (25, { try $0.limit() }),
    (10, { try $0.openPast() }), (8, { try $0.closePast() }),
  ])
  /// What the vault does by itself, and what happens to it.
  static let keeping = Weighted<Act>([
    (60, { try $0.tick() }), (20, { try $0.expire() }), (20, { try $0.flush() }), (6, { try $0.optimise() }), (22, { try $0.collect() }),
    (11, { try $0.remount() }), (14, { try $0.kill() }), (1, { try $0.rebuild() }),
  ])
  static let acts = Weighted<Act>([
    (100, { try programs.pick(&$0.random)($0) }), (16, { try people.pick(&$0.random)($0) }), (18, { try keeping.pick(&$0.random)($0) }),
  ])
}
