// Room that is the vault's own on a volume that is short of it: allocated and empty, given up when others have taken all
// the rest, so that deleting, committing and mounting again go on from zero bytes free (promise 4).
//
// What must stay true: its bytes count as free, so that nothing is refused earlier because of it. It is there only on a volume that
// could become full: elsewhere it would be space taken for nothing. It stays when the vault is closed, for the next opening.
// Thread-safe.

import Glibc
import Synchronization

final class Reserve: Sendable {
  static let name = "reserve"
  static let bytes: UInt64 = 32 << 20
  /// What a commit of the view may need, as a rule.
  static let needed: UInt64 = 16 << 20
  /// What an opening needs beside its commits.
  private static let little: UInt64 = 4 << 20
  /// What is left to others, and to our own next steps, when the reserve is taken: it is not to be given up at once.
  private static let spare: UInt64 = 8 << 20
  /// Not needed on a volume with this much available.
  private static let plenty: UInt64 = 16 << 30

  private let disk: any Disk
  private let isHeld: Mutex<Bool>
  /// It should be there, and is not, for want of room.
  private let isWanted = Atomic<Bool>(false)
  var isMissing: Bool { isWanted.load(ordering: .relaxed) }

  init(_ disk: any Disk) {
    self.disk = disk
    // What was copied with the vault, or begun when its owner was killed, may be a file without room of its own.
    var isThere = disk.exists(Self.name)
    if isThere, (try? disk.open(Self.name, .update).allocate(Self.bytes)) == nil {
      try? disk.remove(Self.name)
      isThere = false
    }
    isHeld = Mutex(isThere)
  }

  /// The volume's bytes: in all, free, and free for the vault's content. Takes the reserve where there is room for it, and gives it up
  /// where there is plenty.
  func space() throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64) {
    var (total, free, available) = try disk.space()
    isHeld.withLock { isHeld in
      if isHeld, available > Self.plenty { giveUp(&isHeld) } else if isHeld {
        free += Self.bytes
        available += Self.bytes
      } else if available > Self.bytes + Self.spare, available < Self.plenty / 2 { take(&isHeld) }
      isWanted.store(!isHeld && available < Self.plenty / 2, ordering: .relaxed)
    }
    return (total, free, available)
  }

  /// The same of a vault that nobody owns.
  static func space(of disk: any Disk) throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64) {
    let (total, free, available) = try disk.space(), own = disk.exists(name) ? bytes : 0
    return (total, free + own, available + own)
  }

  /// What this process may use of a volume's room in need: root also what a file system keeps back for root (ext4 does, a twentieth), but
  /// for what it needs itself (ext4 calls that free, too: 16 MiB at most).
  static func usable(_ space: (total: UInt64, free: UInt64, available: UInt64)) -> UInt64 {
    geteuid() == 0 ? max(space.available, space.free - min(space.free, fileSystemBytes)) : space.available
  }
  private static let fileSystemBytes: UInt64 = 16 << 20

  /// Gives way where the volume has less than `bytes` for what must go on now.
  func makeRoom(for bytes: UInt64 = Reserve.little) {
    isHeld.withLock { isHeld in
      if isHeld, let space = try? disk.space(), space.available < bytes { giveUp(&isHeld) }
    }
  }

  /// Calls `body`, and once more with the reserve's room where the disk is full.
  func lend<R>(_ body: () throws(VaultError) -> R) throws(VaultError) -> R {
    do throws(VaultError) { return try body() } catch {
      guard case .diskFull = error, giveUp() else { throw error }
      return try body()
    }
  }

  /// Room in the database's log for what the open transaction writes there, before it is committed: of a commit that finds no room half
  /// way SQLite lets nothing stand, and what it held would be gone from the view.
  /// - Throws: `.diskFull`, and nothing has happened.
  func makeRoom(forCommitOf database: Database) throws(VaultError) {
    guard let space = try? disk.space(), space.available < Self.plenty / 2, let log = try? disk.open(Self.name(of: database) + "-wal", .update) else { return }
    let end = try log.size()
    // (The log says 24 bytes of each page of 4096.)
    var bytes: UInt64 { database.bytesCached + database.bytesCached / 128 + 4096 }
    if space.available > bytes + Self.needed, (try? log.keepRoom(end..<end + bytes)) != nil { return }
    database.dropCleanPages()
    try lend { () throws(VaultError) in try log.keepRoom(end..<end + bytes) }
  }

  /// The same for what a checkpoint appends to the database.
  /// - Parameter file: the database's, where it is open for good.
  func makeRoom(forCheckpointOf database: Database, in file: (any DiskFile)? = nil) throws(VaultError) {
    let pages = UInt64(max(0, try database.integer("PRAGMA page_count") ?? 0))
    // (Not by opening it: closing any descriptor of it would end SQLite's locks, fcntl(2).)
    var info = stat()
    let size = unsafe lstat(database.path, &info) == 0 ? UInt64(info.st_size) : 0
    guard let space = try? disk.space(), space.available < Self.plenty / 2, pages * 4096 > size else { return }
    if let file { return try lend { () throws(VaultError) in try file.keepRoom(size..<pages * 4096) } }
    try lend { () throws(VaultError) in if let space = try? disk.space(), Self.usable(space) < pages * 4096 - size + Self.spare / 8 { throw .diskFull } }
  }

  private static func name(of database: Database) -> String { String(database.path[database.path.index(after: database.path.lastIndex(of: "/")!)...]) }

  /// - Returns: whether there was one to give up.
  func giveUp() -> Bool {
    isHeld.withLock { isHeld in
      defer { giveUp(&isHeld) }
      return isHeld
    }
  }

  private func take(_ isHeld: inout Bool) {
    guard let file = try? disk.open(Self.name, .create) else { return }
    isHeld = true
    do throws(VaultError) { try file.allocate(Self.bytes) } catch { giveUp(&isHeld) }
  }

  private func giveUp(_ isHeld: inout Bool) {
    if isHeld {
      try? disk.remove(Self.name)
      isWanted.store(true, ordering: .relaxed)
    }
    isHeld = false
  }
}
