// Makes what was acknowledged durable: one flush serves everyone who waits for one (group commit).
//
// What must stay true: packs are synced before the journal that names their chunks; a failed sync is never repeated
// and believed (Rebello et al., ATC'20): the vault turns read-only.

import Glibc

final class Syncer: @unchecked Sendable {
  // Sendable: guarded by `lock`.
  private let lock = Lock()
  private let done: Condition
  private var isRunning = false
  private var durable: LSN
  /// One flush at a time, checkpoints among them: whoever finds nothing left to flush must not overtake the flush that
  /// is at it. Taken before the vault's lock.
  let flushing = Lock()

  init(durable: LSN) {
    self.durable = durable
    done = Condition(lock)
  }

  /// Returns when `target` is durable; `flush` makes everything so that was appended when it began, and says up to where.
  func sync(to target: LSN, _ flush: () throws(VaultError) -> LSN) throws(VaultError) {
    while true {
      let leads = lock.withLock { () -> Bool? in
        while isRunning && durable < target { done.wait() }
        if durable >= target { return nil }
        isRunning = true
        return true
      }
      guard leads != nil else { return }
      let result: Result<LSN, VaultError>
      do throws(VaultError) { result = .success(try flush()) } catch { result = .failure(error) }
      lock.withLock {
        isRunning = false
        if case .success(let lsn) = result { durable = max(durable, lsn) }
        done.signalAll()
      }
      _ = try result.get()
    }
  }
}

extension Vault {
  /// Makes everything acknowledged so far durable. What is still unsaved in drafts is not part of that.
  public func sync() throws(VaultError) {
    let target = try lock.withLock { () throws(VaultError) in
      if let failure, !isReadOnly { throw .readOnly(reason: failure) }
      return journal.lastLSN
    }
    try syncer.sync(to: target) { () throws(VaultError) in try flush() }
  }

  /// Makes a file durable: content, attributes and its name (promise 2).
  public func sync(_ file: OpenFile) throws(VaultError) {
    try save(file)
    try sync()
  }

  /// Saves every draft and makes everything durable. A draft that cannot be saved keeps no other from it.
  /// - Throws: the first error, when all that could be done is done.
  public func syncAll() throws(VaultError) {
    let files = lock.withLock { unsaved.values.compactMap { node in node.draft.map { OpenFile(node, $0) } } }
    var first: VaultError?
    for file in files { do throws(VaultError) { try save(file) } catch { first = first ?? error } }
    try sync()
    if let first { throw first }
  }

  /// What needs a flush now: where its bytes are, and how far it goes.
  private struct Unflushed {
    var covered: LSN
    var segment: ContainerNumber
    var files: [any DiskFile]
  }

  /// `lock` is held, and `syncer.flushing`.
  private func takeUnflushed() throws(VaultError) -> Unflushed {
    // The kernel tells of a lost write once: after a flush that failed, the next would succeed and mean nothing.
    if let failure { throw .readOnly(reason: failure) }
    return Unflushed(covered: journal.lastLSN, segment: journal.segment, files: journal.takeUnsynced())
  }

  /// Packs before the segments whose operations name their chunks.
  /// - Returns: the pack that was being written.
  private func write(_ unflushed: Unflushed) throws(VaultError) -> ContainerNumber {
    let pack = try packs.sync()
    for file in unflushed.files { try file.sync() }
    return pack
  }

  /// `lock` is held.
  private func note(_ unflushed: Unflushed, _ pack: ContainerNumber) {
    journal.durable = max(journal.durable, unflushed.covered)
    metadata.state.flushedSegment = unflushed.segment
    metadata.state.flushedPack = pack
  }

  @discardableResult
  func flush() throws(VaultError) -> LSN {
    try syncer.flushing.withLock { () throws(VaultError) in
      let unflushed = try lock.withLock { () throws(VaultError) in try takeUnflushed() }
      let pack: ContainerNumber
      do throws(VaultError) { pack = try write(unflushed) } catch { throw lock.withLock { fail(error) } }
      lock.withLock { note(unflushed, pack) }
      return unflushed.covered
    }
  }

  /// Brings the database itself up to date, so that its log can go. Nothing enters it that the journal could lose.
  func checkpoint() throws(VaultError) {
    try sync()
    try syncLog()
    try syncer.flushing.withLock { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in try checkpointLocked() }
    }
  }

  /// Most of the database's log reaches the disk while nobody waits for it.
  private func syncLog() throws(VaultError) {
    try lock.withLock { () throws(VaultError) in try commit() }
    let name = "\(path)/\(Self.databaseLogName)"
    guard let log = try? PlainFile.open(name, O_RDONLY, place: name) else { return }
    defer { Glibc.close(log) }
    // Told once, and to this descriptor only.
    if fdatasync(log) != 0 { throw lock.withLock { fail(.disk(operation: "sync", path: name, code: errno)) } }
  }

  /// Attests in the journal what is durable, and makes that durable.
  func mark() throws(VaultError) {
    try lock.withLock { () throws(VaultError) in
      // (On a full disk nothing has been written, and the next mark says what this one would have.)
      do throws(VaultError) { try reserve.lend { () throws(VaultError) in try journal.mark() } } catch { if case .diskFull = error { throw error } else { throw fail(error) } }
    }
    try flush()
  }

  private func checkpointLocked() throws(VaultError) {
    let disk = containers.disk
    do throws(VaultError) {
      // Operations may have come in since. They are few: flushing them here, under the lock, keeps the rule simple.
      let unflushed = try takeUnflushed()
      if unflushed.covered > journal.durable { note(unflushed, try write(unflushed)) }
    } catch { throw fail(error) }
    try commit()
    try reserve.makeRoom(forCheckpointOf: metadata.database, in: try databaseFileLocked())
    do throws(VaultError) {
      if !disk.exists(Self.checkpointName) { try reserve.lend { () throws(VaultError) in _ = try disk.open(Self.checkpointName, .create) } }
    } catch {
      // Nothing has happened yet, and the next checkpoint may find room, or a descriptor.
      if case .diskFull = error { throw error }
      if case .disk(_, _, EMFILE) = error { throw error }
      if case .disk(_, _, ENFILE) = error { throw error }
      throw fail(error)
    }
    do throws(VaultError) {
      // While pages are copied, the log is what would mend a half-copied database; it holds nothing here that the
      // journal could lose. The marker tells the next opening to keep it, and is gone before the log grows again.
      try disk.syncDirectory(".")
      // The log stays whole, whatever ends this: it can be done again.
      try reserve.lend { () throws(VaultError) in try metadata.database.checkpoint() }
      try disk.remove(Self.checkpointName)
      try disk.syncDirectory(".")
    } catch { throw fail(error) }
  }
}
