// The thread that looks after a vault: saves files still being written, commits the view, syncs what is unsynced,
// checkpoints the database, watches the disk's space, and tells the optimiser when nobody needs the computer. While there is
// nothing to do it wakes only to see whether something of the past has come of age, or there is room for a reserve that is
// missing: an idle vault costs no processor time to speak of, and no disk traffic.

import CGlibc
import Glibc
import Synchronization

final class Keeper: @unchecked Sendable {
  // Sendable: everything mutable is guarded by `lock` or belongs to the keeper's thread.
  private unowned let vault: Vault
  private let lock = Lock()
  private let changed: Condition
  private let hasWork = Atomic<Bool>(true)
  private var isStopping = false
  private var thread: pthread_t?

  private static let tick: Duration = .milliseconds(100)
  /// After this long without a change everything is brought to rest.
  private static let quietTicks = 10

  // Of the keeper's thread.
  private var lastLSN = LSN.zero
  private var quiet = 0
  private var commitDue: UInt64 = 0
  private var syncDue: UInt64 = 0
  private var collectionDue: UInt64 = 0
  /// On the monotonic clock. A test may not wait for it.
  let expiryDue: Atomic<UInt64>
  private lazy var optimiser = OptimiserThread(vault) { [unowned self] in isAtRest }

  init(_ vault: Vault) {
    self.vault = vault
    changed = Condition(lock)
    expiryDue = Atomic(monotonicNanoseconds() + UInt64(Limits.firstExpiryDelay.components.seconds) * 1_000_000_000)
  }

  /// Nothing has changed for a while, and everything is on disk.
  var isAtRest: Bool { !hasWork.load(ordering: .relaxed) }

  /// A vault that was mounted read-only needs no keeper: there is nothing to save, and nothing may be written.
  func start() {
    if vault.isReadOnly { return }
    optimiser.start()
    thread = startThread("vault-keeper") { [self] in run() }
  }

  /// Something changed. Cheap; called with every operation.
  func wake() {
    if hasWork.load(ordering: .relaxed) || hasWork.exchange(true, ordering: .acquiringAndReleasing) { return }
    lock.withLock { changed.signalAll() }
  }

  /// The history policy has changed.
  func applyHistory() {
    optimiser.expire()
    // What it will let go of next may be soon.
    expiryDue.store(monotonicNanoseconds() + nanoseconds(Limits.firstExpiryDelay), ordering: .relaxed)
    lock.withLock { changed.signalAll() }
  }

  func stop() {
    lock.withLock {
      isStopping = true
      changed.signalAll()
    }
    if let thread { pthread_join(thread, nil) }
    thread = nil
    optimiser.stop()
  }

  private func run() {
    while true {
      let stopping = lock.withLock { () -> Bool in
        if !hasWork.load(ordering: .acquiring) {
          var isTime = false
          while !isStopping && !hasWork.load(ordering: .acquiring) && !isTime { isTime = !changed.wait(untilLook) }
        } else if !isStopping { _ = changed.wait(Self.tick) }
        return isStopping
      }
      if stopping { return }
      if !hasWork.load(ordering: .acquiring) {
        lookAtAges(monotonicNanoseconds())
        if vault.reserve.isMissing { _ = try? vault.reserve.space() }
        continue
      }
      do throws(VaultError) { try work() } catch {
        // What failed has made the vault read-only, or will be met again by whoever saves; either way it is said there.
        quiet += 1
        if quiet > Self.quietTicks { hasWork.store(false, ordering: .releasing) }
      }
    }
  }

  private func work() throws(VaultError) {
    let now = monotonicNanoseconds()
    try checkPlace()
    try? vault.checkRoom(for: 0)
    saveOldDrafts(now)
    let (lsn, operations, unsynced, anyUnsaved) = vault.lock.withLock {
      (vault.journal.lastLSN, vault.metadata.operationsSinceCommit, vault.journal.bytesUnsynced + vault.packs.bytesUnsynced, !vault.unsaved.isEmpty)
    }
    if lsn != lastLSN || anyUnsaved { quiet = 0 } else { quiet += 1 }
    lastLSN = lsn
    if operations > 0 {
      if commitDue == 0 { commitDue = now + nanoseconds(Limits.commitDelay) }
      if now >= commitDue {
        // (What finds no room is in the journal, which goes on to be synced.)
        do throws(VaultError) { try vault.lock.withLock { () throws(VaultError) in try vault.commit() } } catch { if case .diskFull = error {} else { throw error } }
        commitDue = 0
      }
    }
    if unsynced > 0 {
      if syncDue == 0 { syncDue = now + nanoseconds(Limits.syncDelay) }
      if now >= syncDue || unsynced > Limits.syncBytes {
        try vault.sync()
        syncDue = 0
      }
    } else { syncDue = 0 }
    if vault.logPages > (vault.diskIsFull.load(ordering: .relaxed) ? Limits.checkpointPagesShort : Limits.checkpointPages) { try vault.checkpoint() }
    if now >= collectionDue {
      if collectionDue > 0, Collector.isDue(vault) { optimiser.collect() }
      collectionDue = now + nanoseconds(Limits.collectionDelay)
    }
    lookAtAges(now)
    if quiet >= Self.quietTicks { try rest() }
  }

  /// Until the policy is applied, or others may have made room for the reserve.
  private var untilLook: Duration {
    let now = monotonicNanoseconds(), due = expiryDue.load(ordering: .relaxed), wait = Duration.nanoseconds(Int64(clamping: due - min(due, now)))
    return vault.reserve.isMissing ? min(wait, Limits.reserveDelay) : wait
  }

  private func lookAtAges(_ now: UInt64) {
    guard now >= expiryDue.load(ordering: .relaxed) else { return }
    if vault.isExpiryDue() { optimiser.expire() }
    expiryDue.store(now + UInt64(vault.historyPolicy.expiryDelay) * 1_000_000_000, ordering: .relaxed)
  }

  /// Files that were deleted go on taking what is written to them, and nobody will ever read it.
  private func checkPlace() throws(VaultError) {
    try vault.lock.withLock { () throws(VaultError) in
      guard vault.failure == nil, vault.journal.isUnlinked else { return }
      throw vault.fail(.directoryInUse(path: vault.path, detail: "the vault's folder, or \(ContainerStore.path(vault.journal.segment, .segment)) in it, was deleted while it was in use, so nothing more can be stored. Copy out what can still be read, unmount, and put the vault back from a copy"))
    }
  }

  /// Everything is quiet: make it durable, attest it, empty the database's log, and sleep.
  private func rest() throws(VaultError) {
    hasWork.store(false, ordering: .releasing)
    // What changed before that line woke nobody; what changes from here on does.
    if vault.lock.withLock({ vault.journal.lastLSN != lastLSN || !vault.unsaved.isEmpty }) {
      quiet = 0
      return hasWork.store(true, ordering: .releasing)
    }
    try vault.checkpoint()
    let isNew = vault.lock.withLock { vault.journal.lastLSN == lastLSN && vault.failure == nil }
    if isNew { try vault.mark() }
    // The C library keeps what was freed.
    if vault.lock.withLock({ vault.metadata.rest() }) { malloc_trim(0) }
    quiet = 0
    if isNew { optimiser.begin() }
  }

  /// One that cannot be saved waits for its writer, who will be told; the others do not wait for it.
  private func saveOldDrafts(_ now: UInt64) {
    let old = vault.lock.withLock { vault.unsaved.values.compactMap { node in node.draft.map { OpenFile(node, $0) } } }
    for file in old {
      let since = file.draft.lock.reading { file.draft.since }
      if since > 0, since < now, now - since >= nanoseconds(Limits.draftDelay) { try? vault.save(file, isTimed: true) }
    }
  }

  private func nanoseconds(_ duration: Duration) -> UInt64 {
    let parts = duration.components
    return UInt64(parts.seconds) * 1_000_000_000 + UInt64(parts.attoseconds / 1_000_000_000)
  }
}

extension Vault {
  /// Pages in the database's log.
  var logPages: Int { Self.databaseLogBytes(path) / 4096 }
}
