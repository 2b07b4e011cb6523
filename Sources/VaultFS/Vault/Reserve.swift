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
  /// What a commit of the view may need; the reserve is given up for it, and not before: others would take it.
  static let needed: UInt64 = 16 << 20
  /// Not needed on a volume with this much available.
  private static let plenty: UInt64 = 16 << 30

  private let disk: any Disk
  private let isHeld: Mutex<Bool>

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
      } else if available > Self.bytes + Self.needed, available < Self.plenty / 2 { take(&isHeld) }
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

  /// Gives way where the volume is too full for what must go on now.
  /// - Parameter bytes: what must go on needs beside a commit.
  func makeRoom(beside bytes: UInt64 = 0) {
    isHeld.withLock { isHeld in
      if isHeld, let space = try? disk.space(), space.available < Self.needed + bytes { giveUp(&isHeld) }
    }
  }

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
    if isHeld { try? disk.remove(Self.name) }
    isHeld = false
  }
}
