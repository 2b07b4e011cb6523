// The disk of this computer: every path is opened beneath the vault's directory, which stays open, so that a vault
// that is moved while in use goes on working.

import Glibc

final class RealDisk: Disk {
  private let root: Int32
  let path: String

  init(path: String) throws(VaultError) {
    self.path = path
    root = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if root < 0 { throw failure("open", path) }
  }
  deinit { close(root) }

  func open(_ path: String, _ mode: OpenMode) throws(VaultError) -> any DiskFile {
    let flags = switch mode {
    case .read: O_RDONLY
    case .update: O_RDWR
    case .create: O_RDWR | O_CREAT | O_EXCL
    }
    let descriptor = retrying { unsafe openat(root, path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600) }
    if descriptor < 0 { throw failure("open", path) }
    return RealFile(descriptor, path: path)
  }

  func exists(_ path: String) -> Bool { unsafe faccessat(root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 }

  func list(_ directory: String) throws(VaultError) -> [String] {
    let descriptor = unsafe openat(root, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0, let stream = unsafe fdopendir(descriptor) else { throw failure("list", directory) }
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
    if unsafe mkdirat(root, path, 0o700) != 0 { throw failure("make directory", path) }
  }
  func rename(_ path: String, to newPath: String) throws(VaultError) {
    if unsafe renameat(root, path, root, newPath) != 0 { throw failure("rename", path) }
  }
  func remove(_ path: String) throws(VaultError) {
    if unsafe unlinkat(root, path, 0) != 0 { throw failure("remove", path) }
  }
  func syncDirectory(_ path: String) throws(VaultError) {
    let descriptor = unsafe openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 { throw failure("open", path) }
    defer { close(descriptor) }
    if fsync(descriptor) != 0 { throw failure("sync", path) }
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
  func sync() throws(VaultError) {
    if fdatasync(descriptor) != 0 { throw failure("sync", path) }
  }
}

private func retrying<T: SignedInteger>(_ call: () -> T) -> T {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}

private func failure(_ operation: String, _ path: String) -> VaultError {
  let code = errno
  return code == ENOSPC || code == EDQUOT ? .diskFull : .disk(operation: operation, path: path, code: code)
}
