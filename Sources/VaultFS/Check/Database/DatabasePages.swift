// Every page of the database's file holds its checksum.
//
// What must stay true: a page that looked wrong is read again with the vault's lock held: a checkpoint may have been writing it.

enum DatabasePages {
  static let pageBytes = 4096
  /// Pages that are read at a time.
  private static let batch = 256

  /// - Parameter pace: called with the bytes just read.
  static func look(_ vault: Vault, _ found: (Finding) -> Void, pace: (Int) throws -> Void) throws {
    let file = try vault.databaseFile(), buffer = Buffer(capacity: batch * pageBytes)
    defer { withExtendedLifetime(buffer) {} }
    var at: UInt64 = 0
    let size = try file.size()
    while at < size {
      buffer.count = try unsafe file.read(into: buffer.space, at: at)
      for start in stride(from: 0, to: buffer.count, by: pageBytes) where !isSound(buffer, start, at) {
        let offset = at + UInt64(start)
        let isSo = try vault.lock.withLock { () throws(VaultError) in
          guard offset < (try file.size()) else { return false }
          let again = Buffer(capacity: pageBytes)
          defer { withExtendedLifetime(again) {} }
          again.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: again.base, count: pageBytes), at: offset)
          return !isSound(again, 0, offset)
        }
        if isSo { found(Finding(.databasePage, file: Vault.databaseName, byte: offset, "page \(offset / UInt64(pageBytes) + 1) of the database fails its checksum")) }
      }
      try pace(buffer.count)
      at += UInt64(max(buffer.count, pageBytes))
    }
  }

  private static func isSound(_ buffer: Buffer, _ start: Int, _ base: UInt64) -> Bool {
    defer { withExtendedLifetime(buffer) {} }
    guard start + pageBytes <= buffer.count else { return false }
    return unsafe PageChecksums.isSound(UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<start + pageBytes]), at: base + UInt64(start))
  }
}
