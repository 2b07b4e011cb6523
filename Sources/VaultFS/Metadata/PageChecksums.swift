// Page checksums for SQLite: a VFS that stands before the system's own and gives each page of a database eight bytes
// of checksum, in the space SQLite reserves at a page's end (as SQLite's own extension `cksumvfs` does).
//
// Why: SQLite notices few flipped bits by itself; four of ten give wrong rows and no error. Its log has checksums of
// its own, so pages are stamped when they enter the database file, at a checkpoint, and checked when they are read
// from it.
// What must stay true: a page that fails its check is never handed to SQLite, which is told that the database is damaged there (an
// input error would end the whole open transaction, and with it all that can be read); a database whose
// header does not reserve the eight bytes is refused before it is used (`isProtected`).

internal import CSQLite
import Glibc

enum PageChecksums {
  static let vfsName = "vaultfs"
  /// What SQLite is told of a page that fails its check; its own are smaller.
  static let damagedPage = SQLITE_CORRUPT | 77 << 8
  /// Bytes at the end of each page.
  static let reservedBytes: Int32 = 8
  private static let reservedOffset = 20

  /// Makes the VFS known to SQLite. Calling it again does nothing.
  static func register() { _ = registration }

  /// Whether the header of the database at `path` reserves room for checksums; true of an empty one, which will.
  /// - Throws: where that is no file.
  static func isProtected(_ path: String) throws(VaultError) -> Bool {
    let descriptor: Int32
    do throws(VaultError) { descriptor = try PlainFile.open(path, O_RDONLY, place: path) } catch {
      if case .misplaced = error { throw error }
      return true
    }
    defer { close(descriptor) }
    var header = [UInt8](repeating: 0, count: 100)
    let count = unsafe pread(descriptor, &header, header.count, 0)
    return count == 0 || count == 100 && header[reservedOffset] == UInt8(reservedBytes)
  }

  /// Whether a page of a database, as it is at `offset` of the file, holds the checksum of what is in it.
  static func isSound(_ page: UnsafeRawBufferPointer, at offset: UInt64) -> Bool { unsafe CheckedFile.isSound(page, at: Int64(offset)) }

  private static let registration: Bool = {
    guard let system = unsafe sqlite3_vfs_find(nil) else { return false }
    let ours = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
    unsafe ours.initialize(to: system.pointee)
    unsafe ours.pointee.pNext = nil
    unsafe ours.pointee.zName = unsafe UnsafePointer(strdup(vfsName))
    unsafe ours.pointee.szOsFile = unsafe Int32(CheckedFile.headBytes) + system.pointee.szOsFile
    unsafe ours.pointee.xOpen = { _, name, file, flags, outFlags in
      let system = unsafe sqlite3_vfs_find(nil)!
      guard flags & SQLITE_OPEN_MAIN_DB != 0 else { return unsafe system.pointee.xOpen(system, name, file, flags, outFlags) }
      let inner = unsafe CheckedFile.inner(file!)
      unsafe inner.pointee.pMethods = nil
      let code = unsafe system.pointee.xOpen(system, name, inner, flags, outFlags)
      unsafe file!.pointee.pMethods = unsafe code == SQLITE_OK ? CheckedFile.methods : nil
      return code
    }
    return unsafe sqlite3_vfs_register(ours, 0) == SQLITE_OK
  }()
}

/// A database file as SQLite sees it: our head, then the system's own file.
private enum CheckedFile {
  static let headBytes = 64

  static func inner(_ file: UnsafeMutablePointer<sqlite3_file>) -> UnsafeMutablePointer<sqlite3_file> {
    unsafe (UnsafeMutableRawPointer(file) + headBytes).assumingMemoryBound(to: sqlite3_file.self)
  }

  /// Reads of whole pages are checked; SQLite's first look at the header is not one.
  private static func isPage(_ count: Int32, _ offset: Int64) -> Bool {
    count >= 512 && count & (count - 1) == 0 && offset % Int64(count) == 0
  }

  /// Covers the page and its place, so that a page in another's place is noticed too.
  private static func checksum(_ page: UnsafeRawBufferPointer, at offset: Int64) -> UInt64 {
    let body = unsafe UnsafeRawBufferPointer(rebasing: page[0..<page.count - Int(PageChecksums.reservedBytes)])
    let low = unsafe Checksum.crc32(body, seed: withUnsafeBytes(of: offset.littleEndian) { unsafe Checksum.crc32($0) })
    let half = unsafe UnsafeRawBufferPointer(rebasing: body[(body.count / 2)...])
    return unsafe UInt64(low) | UInt64(Checksum.crc32(half, seed: ~low)) << 32
  }

  static func isSound(_ page: UnsafeRawBufferPointer, at offset: Int64) -> Bool {
    let stored = unsafe page.loadUnaligned(fromByteOffset: page.count - Int(PageChecksums.reservedBytes), as: UInt64.self)
    return unsafe UInt64(littleEndian: stored) == checksum(page, at: offset)
  }

  nonisolated(unsafe) static let methods: UnsafePointer<sqlite3_io_methods> = {
    let table = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
    unsafe table.initialize(to: sqlite3_io_methods())
    unsafe table.pointee.iVersion = 2
    unsafe table.pointee.xClose = { unsafe inner($0!).pointee.pMethods.pointee.xClose(inner($0!)) }
    unsafe table.pointee.xRead = { file, buffer, count, offset in
      let code = unsafe inner(file!).pointee.pMethods.pointee.xRead(inner(file!), buffer, count, offset)
      guard code == SQLITE_OK, isPage(count, offset) else { return code }
      return unsafe isSound(UnsafeRawBufferPointer(start: buffer, count: Int(count)), at: offset) ? SQLITE_OK : PageChecksums.damagedPage
    }
    unsafe table.pointee.xWrite = { file, buffer, count, offset in
      guard isPage(count, offset) else { return unsafe inner(file!).pointee.pMethods.pointee.xWrite(inner(file!), buffer, count, offset) }
      // SQLite's own copy stays as it is: it may be shared with its cache.
      return unsafe withUnsafeTemporaryAllocation(byteCount: Int(count), alignment: 16) { page in
        unsafe page.copyMemory(from: UnsafeRawBufferPointer(start: buffer, count: Int(count)))
        unsafe page.storeBytes(of: checksum(UnsafeRawBufferPointer(page), at: offset).littleEndian, toByteOffset: page.count - Int(PageChecksums.reservedBytes), as: UInt64.self)
        return unsafe inner(file!).pointee.pMethods.pointee.xWrite(inner(file!), page.baseAddress, count, offset)
      }
    }
    unsafe table.pointee.xTruncate = { unsafe inner($0!).pointee.pMethods.pointee.xTruncate(inner($0!), $1) }
    unsafe table.pointee.xSync = { unsafe inner($0!).pointee.pMethods.pointee.xSync(inner($0!), $1) }
    unsafe table.pointee.xFileSize = { unsafe inner($0!).pointee.pMethods.pointee.xFileSize(inner($0!), $1) }
    unsafe table.pointee.xLock = { unsafe inner($0!).pointee.pMethods.pointee.xLock(inner($0!), $1) }
    unsafe table.pointee.xUnlock = { unsafe inner($0!).pointee.pMethods.pointee.xUnlock(inner($0!), $1) }
    unsafe table.pointee.xCheckReservedLock = { unsafe inner($0!).pointee.pMethods.pointee.xCheckReservedLock(inner($0!), $1) }
    unsafe table.pointee.xFileControl = { unsafe inner($0!).pointee.pMethods.pointee.xFileControl(inner($0!), $1, $2) }
    unsafe table.pointee.xSectorSize = { unsafe inner($0!).pointee.pMethods.pointee.xSectorSize(inner($0!)) }
    unsafe table.pointee.xDeviceCharacteristics = { unsafe inner($0!).pointee.pMethods.pointee.xDeviceCharacteristics(inner($0!)) }
    unsafe table.pointee.xShmMap = { unsafe inner($0!).pointee.pMethods.pointee.xShmMap(inner($0!), $1, $2, $3, $4) }
    unsafe table.pointee.xShmLock = { unsafe inner($0!).pointee.pMethods.pointee.xShmLock(inner($0!), $1, $2, $3) }
    unsafe table.pointee.xShmBarrier = { unsafe inner($0!).pointee.pMethods.pointee.xShmBarrier(inner($0!)) }
    unsafe table.pointee.xShmUnmap = { unsafe inner($0!).pointee.pMethods.pointee.xShmUnmap(inner($0!), $1) }
    return unsafe UnsafePointer(table)
  }()
}
