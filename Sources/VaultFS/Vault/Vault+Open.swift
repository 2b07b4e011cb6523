// Opening a vault after whatever happened to it, and closing it.
//
// Opening: own it, read what it is, open the view, replay the operations it has not seen, sweep what was open when
// the last owner was killed, begin a new journal segment. After a power cut (an unclean end in another boot of the
// computer) the database's log is not trusted: it may be ahead of the journal. The database itself never is. Only where
// the cut came in a checkpoint is the log kept: then it is durable, the journal has all of it, and the database needs it.

import Glibc

extension Vault {
  static let databaseName = "metadata.db"
  private static let stateName = "boot"
  /// There while the database's log is being copied into the database.
  static let checkpointName = "checkpointing"

  /// Who owns the vault at `path` now; nil if nobody does.
  public static func owner(of path: String) -> String? { OwnerLock.owner(of: path) }

  /// Whether the last owner put everything on disk before it ended. False while there is one.
  public static func endedCleanly(_ path: String) -> Bool { unsafe access("\(path)/\(stateName)", F_OK) != 0 }

  /// - Parameter purpose: what this process does with the vault, for those who are refused it meanwhile.
  public static func open(at path: String, purpose: String, readOnly: Bool = false,
                          log: @escaping @Sendable (String) -> Void) throws(VaultError) -> Vault {
    try open(at: path, purpose: purpose, readOnly: readOnly, disk: { path throws(VaultError) in try RealDisk(path: path) }, log: log)
  }

  /// - Parameter disk: makes the disk, once the vault is owned.
  static func open(at path: String, purpose: String, readOnly: Bool, disk makeDisk: (String) throws(VaultError) -> any Disk,
                   log: @escaping @Sendable (String) -> Void) throws(VaultError) -> Vault {
    let configuration = try readConfiguration(path)
    let owner = try OwnerLock(vault: path, purpose: purpose)
    let disk = try makeDisk(path)
    // On a full disk this makes the room that opening needs.
    Reserve(disk).makeRoom()
    if try isViewOutdated(path) {
      log("the metadata database is from an earlier program; making it anew from the journal")
      try rebuild(path, configuration: configuration, disk: disk, log: log) { _ in }
    }
    let containers = try ContainerStore(disk: disk)
    let thisBoot = contents(of: "/proc/sys/kernel/random/boot_id"), lastBoot = try readState(disk)
    // A clean end leaves neither: a log without `boot` is from an opening whose first write a power cut took away.
    let afterPowerCut = lastBoot.map { $0 != thisBoot } ?? hasDatabaseLog(path)
    if afterPowerCut {
      log("the computer stopped while the vault was in use; recovering from the journal")
      if !disk.exists(checkpointName) { try discardDatabaseLog(disk) }
    }
    // Until a recovery is done, it is one: if it is interrupted, the next opening must not take this for a mere kill.
    try writeState(afterPowerCut ? [] : thisBoot, disk)

    var view = try openView(path, configuration, containers, afterPowerCut, log)
    if view == nil {
      // The database's log is ahead of the journal: the journal is the truth.
      try discardDatabaseLog(disk)
      view = try openView(path, configuration, containers, afterPowerCut, log)
    }
    guard let (metadata, end, old) = view else {
      throw .journalDamaged(detail: "it ends before what the database has; files are missing from \(path)/journal, or were cut short")
    }
    if let torn = end.torn {
      log("cut off \(torn.detail)")
      try JournalReader(containers: containers, vault: configuration.id).cut(torn)
    }
    containers.raiseNext(to: metadata.state.nextContainer)
    let journal = try Journal(containers: containers, vault: configuration.id, number: containers.takeNumber(), after: end,
                              unsynced: try containers.files(old.segments))
    let packs = PackWriter(containers: containers, vault: configuration.id, settled: ContainerNumber(containers.next), unsynced: old.packs)
    let vault = Vault(configuration: configuration, path: path, metadata: metadata, journal: journal, containers: containers,
                      packs: packs, owner: owner, isReadOnly: readOnly, log: log)
    do throws(VaultError) {
      try vault.lock.withLock { () throws(VaultError) in
        try metadata.begin()
        vault.notePosition()
        try vault.commit()
      }
      if afterPowerCut { try writeState(thisBoot, disk) }
      try vault.sweepOrphans()
    } catch {
      // Its threads must not outlive it.
      vault.saveQueue.close()
      throw error
    }
    vault.keeper = Keeper(vault)
    vault.keeper?.start()
    return vault
  }

  private static let closedReason = "it is closed"

  /// Saves and syncs everything and lets go of the vault. Calling it again does nothing.
  /// - Throws: what kept the vault from being clean; also what made it read-only long before.
  public func shutDown() throws(VaultError) {
    keeper?.stop()
    saveQueue.close()
    defer { lock.withLock { failure = failure ?? Self.closedReason } }
    if let reason = lock.withLock({ failure }) {
      if reason == Self.closedReason { return }
      throw .readOnly(reason: reason)
    }
    reserve.makeRoom()
    var lost: VaultError?
    do throws(VaultError) { try syncAll() } catch { lost = error }
    // Nothing that is read depends on the footer: a full disk may do without.
    do throws(VaultError) { try packs.seal() } catch { if case .diskFull = error {} else { throw error } }
    try checkpoint()
    try mark()
    if let lost { throw lost }
    if containers.disk.exists(Self.stateName) { try containers.disk.remove(Self.stateName) }
    _ = reserve.giveUp()
    owner.release()
  }

  /// Nodes without a name that were open when the last owner ended.
  private func sweepOrphans() throws(VaultError) {
    if isReadOnly { return }
    let found = try lock.withLock { () throws(VaultError) in
      let select = try metadata.database.prepare("SELECT inode FROM orphan")
      defer { select.reset() }
      while try select.step() { orphans.insert(InodeNumber(select.unsigned(0))) }
      // What the journal is told must fit it: the drop of what is not there, or has a name, could never be replayed.
      for inode in orphans {
        guard let node = try? metadata.node(inode), node.links == 0 else { throw metadata.damaged("it lists node \(inode.value) among those without a name") }
      }
      return orphans
    }
    for inode in found { try dropOrphan(inode) }
  }

  /// Opens the database and replays what it has not seen.
  /// - Returns: also what no flush of the last owner may have covered; nil where the journal ends before what the
  ///   database has applied.
  private static func openView(_ path: String, _ configuration: VaultConfiguration, _ containers: ContainerStore, _ afterPowerCut: Bool,
                               _ log: @escaping @Sendable (String) -> Void)
    throws(VaultError) -> (Metadata, JournalReader.End, (segments: [ContainerNumber], packs: [any DiskFile]))? {
    let file = "\(path)/\(databaseName)"
    guard unsafe access(file, F_OK) == 0 else { throw .databaseDamaged(detail: "\(file) is missing") }
    let database = try Database(path: file)
    try Schema.prepare(database)
    let disk = containers.disk
    if disk.exists(checkpointName) {
      // Finished before anything else enters the log: all that is in it now is durable in the journal.
      try database.checkpoint()
      try disk.remove(checkpointName)
      try disk.syncDirectory(".")
    }
    let metadata = try Metadata(database: database, nameKey: configuration.nameKey)
    let state = metadata.state
    guard state.applied > .zero else { throw .databaseDamaged(detail: "\(file) holds no vault") }
    let reader = JournalReader(containers: containers, vault: configuration.id)
    // A segment that became an archive is read from its start: what the view has seen of it is skipped by its LSN.
    let offset = containers.kind(state.segment) == .archive ? 0 : state.segmentOffset
    // A segment is durable by name before the view may refer to it: that it is missing is damage, not a power cut.
    guard containers.journal.contains(state.segment) else {
      throw .journalDamaged(detail: "the segment \(ContainerStore.path(state.segment, .segment)), which the database names, is missing from \(path)")
    }
    guard try containers.file(state.segment).size() >= offset else { return nil }
    try metadata.learnPacks(containers, from: state.pack, at: state.packOffset)
    let end = try reader.read(after: state.applied, from: state.segment, at: offset, afterPowerCut: afterPowerCut, metadata.replaying(log))
    try metadata.commit()
    // The view's position moves with every commit; what a flush has covered ends earlier, if nobody flushed since.
    let packs = try containers.files(containers.numbers(.pack).filter { $0 >= min(state.flushedPack, state.pack) })
    return (metadata, end, (containers.numbers(.segment).filter { $0 >= min(state.flushedSegment, state.segment) }, packs))
  }

  /// Whether the computer stopped while the vault was in use, or that cannot be told.
  static func wasPowerCut(_ path: String, _ disk: any Disk) -> Bool {
    guard let lastBoot = try? readState(disk) else { return hasDatabaseLog(path) }
    return lastBoot != contents(of: "/proc/sys/kernel/random/boot_id")
  }

  private static func isViewOutdated(_ path: String) throws(VaultError) -> Bool {
    let file = "\(path)/\(databaseName)"
    guard unsafe access(file, F_OK) == 0 else { return false }
    do throws(VaultError) { try Schema.prepare(try Database(path: file)) } catch {
      if case .databaseOutdated = error { return true }
      throw error
    }
    return false
  }

  private static func hasDatabaseLog(_ path: String) -> Bool {
    var info = stat()
    return unsafe lstat("\(path)/\(databaseName)-wal", &info) == 0 && info.st_size > 0
  }

  private static func discardDatabaseLog(_ disk: any Disk) throws(VaultError) {
    for suffix in ["-wal", "-shm"] where disk.exists(databaseName + suffix) { try disk.remove(databaseName + suffix) }
  }

  /// The boot of the computer in which the vault was in use, if its owner did not end cleanly.
  private static func readState(_ disk: any Disk) throws(VaultError) -> [UInt8]? {
    guard disk.exists(stateName) else { return nil }
    let file = try disk.open(stateName, .read), buffer = Buffer(capacity: 128)
    defer { withExtendedLifetime(buffer) {} }
    buffer.count = try unsafe file.read(into: buffer.space, at: 0)
    return unsafe Array(buffer.bytes)
  }

  /// Durable before anything else of this opening is.
  private static func writeState(_ boot: [UInt8], _ disk: any Disk) throws(VaultError) {
    let isNew = !disk.exists(stateName)
    let file = try disk.open(stateName, isNew ? .create : .update)
    do throws(VaultError) {
      try file.truncate(to: 0)
      try writeAll(boot, to: file, at: 0)
      try file.sync()
      if isNew { try disk.syncDirectory(".") }
    } catch {
      // Nothing has changed yet: a vault that was clean still is.
      if isNew { try? disk.remove(stateName) }
      throw error
    }
  }

  private static func contents(of file: String) -> [UInt8] {
    let descriptor = unsafe Glibc.open(file, O_RDONLY | O_CLOEXEC)
    defer { if descriptor >= 0 { Glibc.close(descriptor) } }
    var bytes = [UInt8](repeating: 0, count: 128)
    return unsafe Array(bytes.prefix(max(0, descriptor < 0 ? 0 : Glibc.read(descriptor, &bytes, bytes.count))))
  }
}
