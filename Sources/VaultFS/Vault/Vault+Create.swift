// Making a vault.
//
// What must stay true: the configuration comes last: with it, and not before, the directory is a vault. An attempt that
// fails leaves the directory as it was, so that it can be repeated. What one that was killed left is recognised by the
// file `owner`, which says so, and gives way to the next; a vault that lost its configuration is never taken for that.

import Glibc

extension Vault {
  private static let purpose = "making it"

  /// Makes a vault in `path`: a directory that is empty, or does not exist and can be made.
  @discardableResult
  public static func create(at path: String, name: String, mode: UInt32 = 0o755) throws(VaultError) -> VaultConfiguration {
    let isNew = try prepareDirectory(path)
    // Whoever makes it owns it meanwhile: of two that begin at once, one is refused before it made anything.
    let owner: OwnerLock, disk: RealDisk
    do throws(VaultError) {
      disk = try RealDisk(path: path)
      let isUnfinished = isUnfinished(disk)
      owner = try OwnerLock(vault: path, purpose: purpose)
      // Another may have finished it since.
      if isUnfinished, disk.exists(VaultConfiguration.fileName) { try refuseVault(path) }
      if isUnfinished { clear(path, disk, but: OwnerLock.fileName) }
    } catch {
      if isNew { unsafe rmdir(path) }
      throw error
    }
    defer { withExtendedLifetime(owner) {} }
    do throws(VaultError) { return try fill(path, disk, name: name, mode: mode) } catch {
      clear(path, disk)
      if isNew { unsafe rmdir(path) }
      throw error
    }
  }

  /// Removes what an attempt has made.
  private static func clear(_ path: String, _ disk: any Disk, but kept: String? = nil) {
    for directory in directories {
      for name in (try? disk.list(directory)) ?? [] { try? disk.remove("\(directory)/\(name)") }
      unsafe rmdir("\(path)/\(directory)")
    }
    for file in (try? disk.list(".")) ?? [] where made(file) && file != kept { try? disk.remove(file) }
  }

  /// Whether all there is in a directory is what an attempt left that was killed.
  private static func isUnfinished(_ disk: any Disk) -> Bool {
    guard let names = try? disk.list("."), !names.isEmpty, !names.contains(VaultConfiguration.fileName), names.allSatisfy({ made($0) || directories.contains($0) }),
      let owner = try? disk.open(OwnerLock.fileName, .read) else { return false }
    let buffer = Buffer(capacity: 512)
    defer { withExtendedLifetime(buffer) {} }
    buffer.count = (try? unsafe owner.read(into: buffer.space, at: 0)) ?? 0
    // Its first act is to make that file, its second to write there who it is.
    if buffer.count == 0 { return names == [OwnerLock.fileName] }
    return unsafe String(decoding: buffer.bytes, as: UTF8.self).hasSuffix(", \(purpose)\n") && ((try? disk.list("packs"))?.isEmpty ?? true)
  }

  private static func made(_ file: String) -> Bool { ["vault.new", VaultConfiguration.fileName, OwnerLock.fileName].contains(file) || file.hasPrefix(databaseName) }

  private static func fill(_ path: String, _ disk: RealDisk, name: String, mode: UInt32) throws(VaultError) -> VaultConfiguration {
    for directory in directories { try disk.makeDirectory(directory) }
    var generator = SystemRandomNumberGenerator()
    let configuration = VaultConfiguration(id: .random(), name: name, nameKey: (generator.next(), generator.next()), created: now().seconds)
    let containers = try ContainerStore(disk: disk)
    let journal = try Journal(containers: containers, vault: configuration.id, number: containers.takeNumber(), after: .start)
    let root = NewNode(inode: .root, mode: S_IFDIR | mode, user: getuid(), group: getgid(), device: 0, target: [], xattrs: [])
    _ = try journal.append(.epoch(key: generator.next()))
    _ = try journal.append(.create(root, parent: .none, name: [], time: now()))
    for file in journal.takeUnsynced() { try file.sync() }
    try disk.syncDirectory("packs")
    let file = try disk.open("vault.new", .create)
    try writeAll(Array(configuration.encoded().utf8), to: file, at: 0)
    try file.sync()
    try rebuild(path, configuration: configuration, disk: disk, lastEnd: try LastEnd(path, disk), log: { _ in }) { _ in }
    // SQLite leaves the log of a database that was renamed.
    for suffix in [".new-wal", ".new-shm"] where disk.exists(databaseName + suffix) { try disk.remove(databaseName + suffix) }
    try disk.rename("vault.new", to: VaultConfiguration.fileName)
    try disk.syncDirectory(".")
    return configuration
  }

  /// - Returns: whether the directory was made; it was empty otherwise, or holds what a killed attempt left.
  private static func prepareDirectory(_ path: String) throws(VaultError) -> Bool {
    if unsafe mkdir(path, 0o700) == 0 { return true }
    let failure = errno
    if failure == ENOENT {
      let parent = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ".", exists = unsafe access(parent, F_OK) == 0
      throw .directoryInUse(path: path, detail: exists ? "nobody makes directories in \(parent), which is the kernel's own; choose another place"
        : "the directory it would be in does not exist; make that first, or choose another place")
    }
    if failure == ENOTDIR { throw .directoryInUse(path: path, detail: "what its path goes through is a file; give a directory that exists, and a name in it") }
    guard failure == EEXIST else { throw .disk(operation: "make directory", path: path, code: failure) }
    let disk: RealDisk
    do throws(VaultError) { disk = try RealDisk(path: path) } catch {
      if case .disk(_, _, ENOTDIR) = error { throw .directoryInUse(path: path, detail: "it is not a directory; give a new or an empty one") }
      throw refusal(path) ?? error
    }
    if let refusal = refusal(path) { throw refusal }
    let names = try disk.list(".")
    if names.contains(VaultConfiguration.fileName) { try refuseVault(path) }
    if !names.isEmpty, !isUnfinished(disk) { throw .directoryInUse(path: path, detail: "it is not empty; a vault is made in an empty directory, so choose another or empty this one") }
    if unsafe chmod(path, 0o700) != 0 { throw .disk(operation: "make private", path: path, code: errno) }
    return false
  }

  /// Why no vault of this user's can be at `path`, if it is somebody else's.
  private static func refusal(_ path: String) -> VaultError? {
    foreignOwner(of: path).map { .directoryInUse(path: path, detail: "it belongs to \($0); choose a place of your own") }
  }

  /// - Throws: where there is a vault at `path`, sound or damaged. Any other file may be called as a vault's is.
  private static func refuseVault(_ path: String) throws(VaultError) {
    do throws(VaultError) { _ = try readConfiguration(path) } catch {
      if case .notAVault = error { return }
      throw error
    }
    throw .directoryInUse(path: path, detail: "it is a vault already; `vaultfs mount` mounts it")
  }
}
