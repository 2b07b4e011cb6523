// The disk of this computer: every path is opened beneath the vault's directory, which stays open, so that a vault
// that is moved while in use goes on working.
//
// What must stay true: nothing outside that directory is reached by a name in it. Its directories are opened for each
// use without following a symlink, and what is done is done in what was opened; files likewise (PlainFile.swift).

import CGlibc
import Glibc

final class RealDisk: Disk {
  private let root: Int32
  /// The user whose directory it is.
  private let owner: UInt32
  let path: String

  init(path: String) throws(VaultError) {
    self.path = path
    root = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    var info = stat()
    let isRead = unsafe root >= 0 && fstat(root, &info) == 0
    owner = info.st_uid
    if !isRead { throw failure("open", path) }
  }
  deinit { if root >= 0 { close(root) } }

  func open(_ path: String, _ mode: OpenMode) throws(VaultError) -> any DiskFile {
    let flags = switch mode {
    case .read: O_RDONLY
    case .update: O_RDWR
    case .create: O_RDWR | O_CREAT | O_EXCL
    }
    let descriptor = try inside(path) { directory, name throws(VaultError) in try PlainFile.open(name, in: directory, flags, place: full(path)) }
    return RealFile(descriptor, path: path)
  }

  func exists(_ path: String) -> Bool {
    (try? inside(path) { directory, name in unsafe faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 }) ?? false
  }

  func changed(_ path: String) -> UInt64? {
    try? inside(path) { directory, name throws(VaultError) in
      var info = stat()
      if unsafe fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) != 0 { throw failure("look at", full(path)) }
      return UInt64(clamping: info.st_ctim.tv_sec) * 1_000_000_000 + UInt64(clamping: info.st_ctim.tv_nsec)
    }
  }

  /// Nobody else enters, or reads.
  func makePrivate() throws(VaultError) {
    if fchmod(root, 0o700) != 0 { throw failure("make private", path) }
  }

  /// Refuses what is no directory of the vault's own.
  func check(directory path: String) throws(VaultError) { close(try directory(path)) }

  func list(_ path: String) throws(VaultError) -> [String] {
    let descriptor = try directory(path)
    guard let stream = unsafe fdopendir(descriptor) else {
      defer { close(descriptor) }
      throw failure("list", full(path))
    }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  func makeDirectory(_ path: String) throws(VaultError) {
    if unsafe mkdirat(root, path, 0o700) != 0 { throw failure("make directory", full(path)) }
  }
  func rename(_ path: String, to newPath: String) throws(VaultError) {
    try inside(path) { from, name throws(VaultError) in
      try inside(newPath) { to, newName throws(VaultError) in
        if unsafe renameat(from, name, to, newName) != 0 { throw failure("rename \(full(path)) to", full(newPath)) }
      }
    }
  }
  func remove(_ path: String) throws(VaultError) {
    try inside(path) { directory, name throws(VaultError) in
      if unsafe unlinkat(directory, name, 0) != 0 { throw failure("remove", full(path)) }
    }
  }
  func syncDirectory(_ path: String) throws(VaultError) {
    if path == "." {
      if fsync(root) != 0 { throw failure("sync", self.path) }
      return
    }
    let descriptor = try directory(path)
    defer { close(descriptor) }
    if fsync(descriptor) != 0 { throw failure("sync", full(path)) }
  }

  private func directory(_ path: String) throws(VaultError) -> Int32 {
    try PlainFile.openDirectory(path, in: root, of: owner, place: full(path))
  }

  private func full(_ path: String) -> String { path == "." ? self.path : "\(self.path)/\(path)" }

  /// Calls `body` with the directory that holds `path`, and the name there.
  private func inside<R>(_ path: String, _ body: (Int32, String) throws(VaultError) -> R) throws(VaultError) -> R {
    guard let slash = path.lastIndex(of: "/") else { return try body(root, path) }
    let directory = try directory(String(path[..<slash]))
    defer { close(directory) }
    return try body(directory, String(path[path.index(after: slash)...]))
  }

  func space() throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64) {
    var info = statvfs()
    if unsafe fstatvfs(root, &info) != 0 { throw failure("stat the volume of", path) }
    let unit = UInt64(info.f_frsize)
    return (UInt64(info.f_blocks) * unit, UInt64(info.f_bfree) * unit, UInt64(info.f_bavail) * unit)
  }
}

private final class RealFile: DiskFile {
  private let descriptor: Int32
  let path: String
  init(_ descriptor: Int32, path: String) { (self.descriptor, self.path) = (descriptor, path) }
  deinit { close(descriptor) }

  func size() throws(VaultError) -> UInt64 {
    var info = stat()
    if unsafe fstat(descriptor, &info) != 0 { throw failure("stat", path) }
    return UInt64(info.st_size)
  }
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VaultError) -> Int {
    var done = 0
    while done < buffer.count {
      let got = retrying { unsafe pread(descriptor, buffer.baseAddress! + done, buffer.count - done, Int(offset) + done) }
      if got < 0 { throw failure("read", path) }
      if got == 0 { break }
      done += got
    }
    return done
  }
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(VaultError) {
    var done = 0
    while done < bytes.count {
      let put = retrying { unsafe pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, Int(offset) + done) }
      if put <= 0 { throw failure("write", path) }
      done += put
    }
  }
  func truncate(to size: UInt64) throws(VaultError) {
    if ftruncate(descriptor, Int(size)) != 0 { throw failure("truncate", path) }
  }
  func allocate(_ bytes: UInt64) throws(VaultError) {
    errno = posix_fallocate(descriptor, 0, Int(bytes))
    if errno != 0 { throw failure("allocate", path) }
  }
  func keepRoom(_ range: Range<UInt64>) throws(VaultError) {
    if retrying({ fallocate(descriptor, FALLOC_FL_KEEP_SIZE, Int(range.lowerBound), range.count) }) == 0 { return }
    guard errno == EOPNOTSUPP || errno == ENOSYS else { throw failure("allocate", path) }
    // A file system that cannot promise it.
    var info = statvfs()
    if unsafe fstatvfs(descriptor, &info) != 0 { throw failure("stat the volume of", path) }
    if UInt64(info.f_bavail) * UInt64(info.f_frsize) < UInt64(range.count) { throw .diskFull }
  }
  func sync() throws(VaultError) {
    if fdatasync(descriptor) != 0 { throw failure("sync", path) }
  }
  func uncache(_ range: Range<UInt64>) { posix_fadvise(descriptor, Int(range.lowerBound), range.count, POSIX_FADV_DONTNEED) }
  var isUnlinked: Bool {
    var info = stat()
    return unsafe fstat(descriptor, &info) == 0 && info.st_nlink == 0
  }
}
