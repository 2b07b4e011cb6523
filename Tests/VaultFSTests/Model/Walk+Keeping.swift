// Steps of what keeps a vault: the clock, retention, the optimiser, garbage collection, and the ends of its owners.

import Foundation
@testable import VaultFS

extension Walk {
  func tick() throws { try tick(random.pick([10, 10, 10, 10, 10, 10, 3600, 3600, 86_400])) }

  /// The policy forgets, and keeps no version that nobody sees.
  func expire() throws {
    let now = clock + (random.chance(15) ? Int64(random.below(40)) * 86_400 : 0)
    try attempt("expire at \(now)") { try vault.expire(now: now) }
    history.expire(now: now)
    // What is open stays.
    guard let inode = file(), !heldPast.contains(where: { $0.file.inode == inode }) else { return }
    let seen = try history.secondsKept(now: now).map { try vault.moment(atEndOf: $0) } + history.snapshots.values.map(\.moment.lsn) + history.pins.filter { $0.inode == inode }.map(\.lsn)
    let horizon = history.policy.isOn ? try vault.moment(atEndOf: now - Int64(history.policy.all)) : vault.present
    for version in try vault.versions(of: inode) {
      guard let died = version.died else { continue }
      try require(died > horizon.value || seen.contains { $0.value >= version.id && $0.value < died }, "node \(inode.value) still has the version \(version.id)..<\(died), which nobody sees")
    }
  }

  func flush() throws {
    note("flush")
    switch random.below(5) {
    case 0:
      try vault.syncAll()
      unsaved = [:]
    case 1: try vault.sync()
    case 2: try vault.lock.withLock { () throws in try vault.commit() }
    case 3: try vault.lock.withLock { () throws in try vault.rotate() }
    default: try vault.checkpoint()
    }
  }

  // MARK: In the background

  func optimise() throws {
    try amid(20) { mayGoOn in try Optimiser(vault, mayGoOn: mayGoOn).run() }
  }

  func collect() throws {
    let isDry = random.chance(10)
    try amid(8) { mayGoOn in _ = try Collector(vault, mayGoOn: mayGoOn, isQuiet: { true }).run(isDry: isDry) }
  }

  /// Amid such work programs go on; or it ends; or all of it does, in a kill.
  /// - Parameter calls: how often it asks whether it may go on, about.
  private func amid(_ calls: Int, _ work: (@escaping () -> Bool) throws -> Void) throws {
    note("in the background")
    let event = random.below(4), at = random.below(calls)
    var call = 0, copy: String?, failure: (any Error)?
    if random.chance(50) {
      try vault.syncAll()
      unsaved = [:]
    }
    let mayGoOn = { [self] () -> Bool in
      defer { call += 1 }
      guard call == at, event > 0 else { return true }
      do {
        switch event {
        case 1:
          for _ in 0..<3 {
            try Self.programs.pick(&random)(self)
            try settle()
          }
        case 2: copy = try home.copy()
        default: return false
        }
      } catch { failure = error }
      return true
    }
    try work(mayGoOn)
    if let failure { throw failure }
    if let copy { try kill(at: copy) }
  }

  // MARK: Ends

  func remount() throws {
    try closeAll()
    try home.reopen()
    try reopened("remounted")
  }

  func rebuild() throws {
    try closeAll()
    try home.close()
    try Vault.rebuild(at: home.path) { _ in }
    try home.open()
    try reopened("rebuilt")
  }

  func kill() throws { try kill(at: nil) }

  /// - Parameter copy: of the vault as it was left.
  private func kill(at copy: String?) throws {
    let copy = try copy ?? home.copy(), maybe = unsaved
    try closePasts()
    for file in held { vault.close(file) }
    held = []
    try home.kill(at: copy, isPowerCut: random.chance(50))
    for (inode, before) in maybe where tree[inode].links > 0 {
      let states = before + [tree[inode].content]
      let info = try vault.info(inode), bytes = try vault.contents(of: inode)
      guard let state = states.last(where: { $0.allocated == Int(info.allocated) && $0.size == Int(info.size) && $0.bytes == bytes }) else {
        throw Difference("after a kill node \(inode.value) is nothing that it ever was")
      }
      tree[inode].content = state
    }
    unsaved = [:]
    for inode in tree.inodes where tree[inode].links == 0 { tree.forget(inode) }
    try reopened("killed")
  }

  private func closeAll() throws {
    while let file = held.last { try close(file) }
    try closePasts()
  }

  private func reopened(_ how: String) throws {
    note(how)
    try settleIn()
    limits.settle(tree, at: clock)
    try compare(how)
  }

  // MARK: The end

  /// Everything is compared, then deleted and forgotten: nothing is left.
  func finish() throws {
    try remount()
    try kill(at: nil)
    try compareHistory(atMost: .max)
    for pin in history.pins { try vault.pin(pin.inode, at: pin.lsn, false) }
    for name in history.snapshots.keys { try vault.deleteSnapshot(name) }
    for name in try vault.names() { try vault.removeTree(name, in: .root) }
    try home.forgetEverything()
    try vault.syncAll()
    // Of what may go a collection leaves one in some hundreds to the next.
    for _ in 0..<4 { _ = try Collector(vault, mayGoOn: { true }, isQuiet: { true }).run() }
    let left = vault.status().counters
    try require(left.chunks == 0 && left.nodes == 1, "\(left.chunks) chunks and \(left.nodes) nodes are left of nothing")
    try require(try vault.trash().isEmpty, "an emptied trash has items")
  }
}
