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
  /// Given up when less than this is left.
  private static let scarce: UInt64 = 8 << 20
  /// Not needed on a volume with this much available.
  private static let plenty: UInt64 = 16 << 30

  private let disk: any Disk
  private let isHeld: Mutex<Bool>

  init(_ disk: any Disk) {
    self.disk = disk
    isHeld = Mutex(disk.exists(Self.name))
  }

  /// The volume's bytes: in all, free, and free for the vault's content. Takes the reserve, or gives it up, as it finds them.
  func space() throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64) {
    var (total, free, available) = try disk.space()
    isHeld.withLock { isHeld in
      if isHeld, available < Self.scarce || available > Self.plenty { giveUp(&isHeld) } else if !isHeld, available > 2 * Self.bytes, available < Self.plenty / 2 { take(&isHeld) } else if isHeld {
        free += Self.bytes
        available += Self.bytes
      }
    }
    return (total, free, available)
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
