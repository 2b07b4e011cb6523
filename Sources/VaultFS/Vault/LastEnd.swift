// How the last owner of a vault ended, as far as the file `boot` tells: it holds the boot id of the computer while the
// vault is open, is empty while a power cut is being recovered from, and is gone after a clean end.
//
// After a clean end or a mere kill nothing that was written is missing; after a power cut anything may be that no flush
// has covered.

import Glibc

struct LastEnd {
  static let fileName = "boot"

  /// Nothing was left undone.
  let isClean: Bool
  /// The computer stopped meanwhile.
  let isPowerCut: Bool
  /// The database's log may be ahead of the journal. (Where the cut came in a checkpoint it is not: it is durable then,
  /// the journal has all of it, and the database needs it.)
  let distrustsLog: Bool
  private let thisBoot: [UInt8]

  init(_ path: String, _ disk: any Disk) throws(VaultError) {
    thisBoot = Self.contents(of: "/proc/sys/kernel/random/boot_id")
    let lastBoot = try Self.read(disk)
    // A clean end leaves neither: a log without `boot` is from an opening whose first write a power cut took away.
    isPowerCut = lastBoot.map { [thisBoot] in $0 != thisBoot } ?? Vault.hasDatabaseLog(path)
    isClean = lastBoot == nil && !isPowerCut
    distrustsLog = isPowerCut && !disk.exists(Vault.checkpointName)
  }

  /// Until a recovery is done, it is one: if it is interrupted, the next opening must not take this for a mere kill.
  func noteOpening(_ disk: any Disk) throws(VaultError) { try Self.write(isPowerCut ? [] : thisBoot, disk) }
  func noteRecovered(_ disk: any Disk) throws(VaultError) { if isPowerCut { try Self.write(thisBoot, disk) } }

  private static func read(_ disk: any Disk) throws(VaultError) -> [UInt8]? {
    guard disk.exists(fileName) else { return nil }
    let file = try disk.open(fileName, .read), buffer = Buffer(capacity: 128)
    defer { withExtendedLifetime(buffer) {} }
    buffer.count = try unsafe file.read(into: buffer.space, at: 0)
    return unsafe Array(buffer.bytes)
  }

  /// Durable before anything else of this opening is.
  private static func write(_ boot: [UInt8], _ disk: any Disk) throws(VaultError) {
    let isNew = !disk.exists(fileName)
    let isSame = try read(disk) == boot, file = try disk.open(fileName, isNew ? .create : .update)
    do throws(VaultError) {
      // In place: on a full disk what there is must stay.
      if !isSame {
        try writeAll(boot, to: file, at: 0)
        try file.truncate(to: UInt64(boot.count))
      }
      try file.sync()
      if isNew { try disk.syncDirectory(".") }
    } catch {
      // Nothing has changed yet: a vault that was clean still is.
      if isNew { try? disk.remove(fileName) }
      throw error
    }
  }

  private static func contents(of file: String) -> [UInt8] {
    let descriptor = unsafe Glibc.open(file, O_RDONLY | O_CLOEXEC)
    defer { if descriptor >= 0 { Glibc.close(descriptor) } }
    guard descriptor >= 0 else { return [] }
    let buffer = Buffer(capacity: 128)
    defer { withExtendedLifetime(buffer) {} }
    buffer.count = unsafe max(0, Glibc.read(descriptor, buffer.base, buffer.capacity))
    return unsafe Array(buffer.bytes)
  }
}
