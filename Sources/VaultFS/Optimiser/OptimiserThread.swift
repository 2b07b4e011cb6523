// The optimiser's thread: sleeps until the keeper finds the vault quiet, and works for as long as it stays so. A thread
// of its own, because the keeper must save, commit and sync as soon as somebody writes again, and the end of a pack takes a while.

import Glibc
import Synchronization

final class OptimiserThread: @unchecked Sendable {
  // Sendable: `isWanted`, `isCollectionWanted` and `isExpiryWanted` are guarded by `lock`; `thread` belongs to whoever starts and stops it, the rest is immutable or thread-safe.
  private unowned let vault: Vault
  private let isQuiet: @Sendable () -> Bool
  private let lock = Lock()
  private let changed: Condition
  private var isWanted = false
  private var isCollectionWanted = false
  private var isExpiryWanted = false
  private let isStopping = Atomic<Bool>(false)
  private var thread: pthread_t?

  /// - Parameter isQuiet: false as soon as someone else needs the computer.
  init(_ vault: Vault, isQuiet: @escaping @Sendable () -> Bool) {
    (self.vault, self.isQuiet) = (vault, isQuiet)
    changed = Condition(lock)
  }

  func start() { thread = startThread("vault-optimise") { [self] in work() } }

  /// The vault is quiet: make it smaller.
  func begin() {
    lock.withLock {
      isWanted = true
      changed.signalAll()
    }
  }

  /// References may have ended: give back what nothing refers to, whether the vault is quiet or not.
  func collect() {
    lock.withLock {
      isCollectionWanted = true
      changed.signalAll()
    }
  }

  /// The history policy may let go of something: apply it, and give back what nothing refers to then.
  func expire() {
    lock.withLock {
      (isExpiryWanted, isCollectionWanted) = (true, true)
      changed.signalAll()
    }
  }

  /// Returns when the thread has ended: after the frame it is at, or the last steps of a container.
  func stop() {
    lock.withLock {
      isStopping.store(true, ordering: .relaxed)
      changed.signalAll()
    }
    if let thread { pthread_join(thread, nil) }
    thread = nil
  }

  private func work() {
    Priority.giveWay()
    let goesOn = { [self] in !isStopping.load(ordering: .relaxed) }
    let optimiser = Optimiser(vault) { [self] in goesOn() && isQuiet() }
    let collector = Collector(vault, mayGoOn: goesOn) { [self] in vault.isQuiet }
    do throws(VaultError) { try vault.removeAbandoned(while: goesOn) } catch { say(error) }
    while true {
      let (quiet, collection, expiry) = lock.withLock {
        while !isWanted && !isCollectionWanted && goesOn() { changed.wait() }
        defer { (isWanted, isCollectionWanted, isExpiryWanted) = (false, false, false) }
        return (isWanted, isCollectionWanted, isExpiryWanted)
      }
      if !goesOn() { return }
      do throws(VaultError) {
        if expiry { try vault.expire() }
        try vault.working.withLock { () throws(VaultError) in
          if collection || quiet && Collector.isDue(vault) { try vault.note(collector.runWithinLimit()) }
          if quiet { try optimiser.run() }
        }
      } catch { say(error) }
    }
  }

  /// A full disk is said by whoever needs the space.
  private func say(_ error: VaultError) {
    if case .diskFull = error { return }
    vault.log("cannot make the vault smaller now: \(error)")
  }
}
