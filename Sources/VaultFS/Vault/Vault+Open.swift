// Making a vault, opening it after whatever happened to it, closing it.
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

  /// Makes a vault in `path`: a directory that is empty, or does not exist and can be made.
  @discardableResult
  public static func create(at path: String, name: String, mode: UInt32 = 0o755) throws(VaultError) -> VaultConfiguration {
    try prepareDirectory(path)
    let disk = try RealDisk(path: path)
    for directory in ["journal", "packs"] { try disk.makeDirectory(directory) }
    var generator = SystemRandomNumberGenerator()
    let configuration = VaultConfiguration(id: .random(), name: name, nameKey: (generator.next(), generator.next()), created: now().seconds)
    let containers = try ContainerStore(disk: disk)
    let journal = try Journal(containers: containers, vault: configuration.id, number: containers.takeNumber(), after: .start)
    let root = NewNode(inode: .root, mode: S_IFDIR | mode, user: getuid(), group: getgid(), device: 0, target: [], xattrs: [])
    _ = try journal.append(.epoch(key: generator.next()))
    _ = try journal.append(.create(root, parent: .none, name: [], time: now()))
    for file in journal.takeUnsynced() { try file.sync() }
    try disk.syncDirectory("packs")
    // The configuration comes last: with it, and not before, the directory is a vault.
    let file = try disk.open("vault.new", .create)
    try writeAll(Array(configuration.encoded().utf8), to: file, at: 0)
    try file.sync()
    try rebuild(path, configuration: configuration, disk: disk, log: { _ in }) { _ in }
    try disk.rename("vault.new", to: VaultConfiguration.fileName)
    try disk.syncDirectory(".")
    return configuration
  }

  private static func prepareDirectory(_ path: String) throws(VaultError) {
    if mkdir(path, 0o700) == 0 { return }
    guard errno == EEXIST else { throw .disk(operation: "make directory", path: path, code: errno) }
    let disk: RealDisk
    do throws(VaultError) { disk = try RealDisk(path: path) } catch { throw .directoryInUse(path: path, detail: "it is not a directory") }
    let names = try disk.list(".")
    if names.contains(VaultConfiguration.fileName) { throw .directoryInUse(path: path, detail: "it is a vault already; `vaultfs mount \(path) DIR` mounts it") }
    if !names.isEmpty { throw .directoryInUse(path: path, detail: "it is not empty; a vault is made in an empty directory, so choose another or empty this one") }
    if chmod(path, 0o700) != 0 { throw .disk(operation: "make private", path: path, code: errno) }
  }

  public static func readConfiguration(_ path: String) throws(VaultError) -> VaultConfiguration {
    let disk: RealDisk
    do throws(VaultError) { disk = try RealDisk(path: path) } catch {
      if case .disk(_, _, ENOENT) = error { throw .vaultMissing(path: path) }
      throw error
    }
    guard disk.exists(VaultConfiguration.fileName) else { throw .notAVault(path: path, detail: "it has no file `\(VaultConfiguration.fileName)`") }
    let file = try disk.open(VaultConfiguration.fileName, .read)
    let buffer = Buffer(capacity: 4096)
    defer { withExtendedLifetime(buffer) {} }
    do throws(VaultError) { buffer.count = try file.read(into: buffer.space, at: 0) } catch {
      if case .disk(_, _, EISDIR) = error { throw .notAVault(path: path, detail: "its `\(VaultConfiguration.fileName)` is a directory") }
      throw error
    }
    return try VaultConfiguration(decoding: String(decoding: buffer.bytes, as: UTF8.self), path: path)
  }

  /// Who owns the vault at `path` now; nil if nobody does.
  public static func owner(of path: String) -> String? { OwnerLock.owner(of: path) }

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
    _ = try? Reserve(disk).space()
    let containers = try ContainerStore(disk: disk)
    let bootFile = "\(path)/\(stateName)"
    let lastBoot = readText(bootFile), thisBoot = readText("/proc/sys/kernel/random/boot_id") ?? "unknown"
    // A clean end leaves neither: a log without `boot` is from an opening whose first write a power cut took away.
    let afterPowerCut = lastBoot.map { $0 != thisBoot } ?? hasDatabaseLog(path)
    if afterPowerCut {
      log("the computer stopped while the vault was in use; recovering from the journal")
      if !disk.exists(checkpointName) { try discardDatabaseLog(disk) }
    }
    try writeText(thisBoot, bootFile)

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
    try vault.lock.withLock { () throws(VaultError) in
      try metadata.begin()
      vault.notePosition()
      try vault.commit()
    }
    try vault.sweepOrphans()
    vault.keeper = Keeper(vault)
    vault.keeper?.start()
    return vault
  }

  /// Saves and syncs everything and lets go of the vault.
  public func shutDown() throws(VaultError) {
    keeper?.stop()
    saveQueue.close()
    defer { lock.withLock { failure = failure ?? "it is closed" } }
    if lock.withLock({ failure != nil }) { return }
    try syncAll()
    try packs.seal()
    try checkpoint()
    try lock.withLock { () throws(VaultError) in try journal.mark() }
    try sync()
    unlinkFile("\(path)/\(Self.stateName)")
    _ = reserve.giveUp()
    owner.release()
  }

  /// Nodes without a name that were open when the last owner ended.
  private func sweepOrphans() throws(VaultError) {
    try lock.withLock { () throws(VaultError) in
      let select = try metadata.database.prepare("SELECT inode FROM orphan")
      var orphans: [InodeNumber] = []
      while try select.step() { orphans.append(InodeNumber(select.unsigned(0))) }
      select.reset()
      let wasReadOnly = isReadOnly
      for inode in orphans where !wasReadOnly { try perform(.drop(inode)) }
    }
  }

  /// Opens the database and replays what it has not seen.
  /// - Returns: also what no flush of the last owner may have covered; nil where the journal ends before what the
  ///   database has applied.
  private static func openView(_ path: String, _ configuration: VaultConfiguration, _ containers: ContainerStore, _ afterPowerCut: Bool,
                               _ log: @escaping @Sendable (String) -> Void)
    throws(VaultError) -> (Metadata, JournalReader.End, (segments: [ContainerNumber], packs: [any DiskFile]))? {
    let file = "\(path)/\(databaseName)"
    guard access(file, F_OK) == 0 else { throw .databaseDamaged(detail: "\(file) is missing") }
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
    try metadata.learnPacks(containers, from: state.pack, at: state.packOffset, verifyPayload: true)
    let end = try reader.read(after: state.applied, from: state.segment, at: offset, afterPowerCut: afterPowerCut, metadata.replaying(log))
    try metadata.commit()
    let packs = try containers.files(containers.numbers(.pack).filter { $0 >= state.pack })
    return (metadata, end, (containers.numbers(.segment).filter { $0 >= state.segment }, packs))
  }

  private static func hasDatabaseLog(_ path: String) -> Bool {
    var info = stat()
    return lstat("\(path)/\(databaseName)-wal", &info) == 0 && info.st_size > 0
  }

  private static func discardDatabaseLog(_ disk: any Disk) throws(VaultError) {
    for suffix in ["-wal", "-shm"] where disk.exists(databaseName + suffix) { try disk.remove(databaseName + suffix) }
  }

  private static func readText(_ path: String) -> String? {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { Glibc.close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 128)
    let count = Glibc.read(descriptor, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }
  private static func writeText(_ text: String, _ path: String) throws(VaultError) {
    let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .disk(operation: "write", path: path, code: errno) }
    defer { Glibc.close(descriptor) }
    let bytes = Array(text.utf8)
    guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else { throw .disk(operation: "write", path: path, code: errno) }
  }
}

private func unlinkFile(_ path: String) { _ = unlink(path) }
