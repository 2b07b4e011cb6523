// Opening what a vault's folder has under a name, whatever that is: a symlink is not followed, a FIFO not waited for, a
// device not used. What is not what it should be is refused by its path.

import Glibc

enum PlainFile {
  /// Opens a file.
  /// - Parameter directory: `name` is relative to it.
  /// - Parameter place: its path, for messages.
  static func open(_ name: String, in directory: Int32 = AT_FDCWD, _ flags: Int32, place: String) throws(VaultError) -> Int32 {
    let descriptor = retrying { unsafe openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0o600) }
    var info = stat()
    guard descriptor >= 0 else {
      let error = failure("open", place)
      if unsafe fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0 { try check(info, isDirectory: false, place) }
      throw error
    }
    do throws(VaultError) {
      if unsafe fstat(descriptor, &info) != 0 { throw failure("stat", place) }
      try check(info, isDirectory: false, place)
      if flags & O_ACCMODE != O_RDONLY { try checkUnshared(info, place) }
    } catch {
      close(descriptor)
      throw error
    }
    return descriptor
  }

  /// Opens a directory of the user `owner`.
  static func openDirectory(_ name: String, in directory: Int32, of owner: UInt32, place: String) throws(VaultError) -> Int32 {
    let descriptor = retrying { unsafe openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) }
    var info = stat()
    guard descriptor >= 0 else {
      let error = failure("open", place)
      if unsafe fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0 { try check(info, isDirectory: true, place) }
      throw error
    }
    // Whoever may write there could change what is stored.
    guard unsafe fstat(descriptor, &info) == 0, info.st_uid == owner else {
      close(descriptor)
      throw .directoryInUse(path: place, detail: "it belongs to another user than the vault's folder; give all of the vault to one user, with `chown -R`")
    }
    return descriptor
  }

  /// Refuses what is there and is no file that can be written to.
  static func check(_ path: String) throws(VaultError) {
    var info = stat()
    guard unsafe lstat(path, &info) == 0 else { return }
    try check(info, isDirectory: false, path)
    try checkUnshared(info, path)
  }

  /// What is written here would be written there, too: in a copy made of hard links (`cp -al`), or in what somebody linked here.
  private static func checkUnshared(_ info: stat, _ place: String) throws(VaultError) {
    if info.st_nlink > 1 {
      throw .directoryInUse(path: place, detail: "it has other names (hard links), and writing to it would change them, too; put a copy in its place, as `cp` without --link makes it")
    }
  }

  private static func check(_ info: stat, isDirectory: Bool, _ place: String) throws(VaultError) {
    let type = info.st_mode & S_IFMT
    if type == (isDirectory ? S_IFDIR : S_IFREG) { return }
    let kind = switch type {
    case S_IFREG: "a file"
    case S_IFDIR: "a directory"
    case S_IFLNK: "a symlink"
    case S_IFIFO: "a FIFO"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
    throw .misplaced(path: place, kind: kind, wanted: isDirectory ? "directory" : "plain file")
  }
}

func retrying<T: SignedInteger>(_ call: () -> T) -> T {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}

/// What `errno` says of an operation on a path.
func failure(_ operation: String, _ path: String) -> VaultError {
  let code = errno
  return code == ENOSPC || code == EDQUOT ? .diskFull : .disk(operation: operation, path: path, code: code)
}
