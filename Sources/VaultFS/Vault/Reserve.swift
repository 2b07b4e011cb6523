// Room that is the vault's own on a volume that is short of it: allocated and empty, given up when others have taken all
// the rest, so that deleting, committing and mounting again go on from zero bytes free (promise 4).
//
// What must stay true: its bytes count as free, so that nothing is refused earlier because of it. It is there only while
// the vault is open, and only on a volume that could become full: elsewhere it would be space taken for nothing.
// Thread-safe.

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
    isHeld = Mutex(disk.exists(Self.name))
  }

  /// The volume's bytes: in all, free, and free for the vault's content. Takes the reserve where there is room for it.
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
