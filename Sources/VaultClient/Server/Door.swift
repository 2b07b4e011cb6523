// One listening socket with its name in a directory, and the thread that lets clients in.
//
// What must stay true: the name is removed at the end only where it is still this socket's: a device's number, and so
// the name made of it, may belong to another mount by then.

import Glibc

final class Door: Sendable {
  private let directory: Int32
  private let name: String
  private let listener: Int32
  private let inode: UInt64
  private let thread: pthread_t

  /// - Parameter directory: open; the door owns it from now on.
  /// - Parameter admit: gets each connected socket, which it owns, in the door's thread.
  init(in directory: Int32, _ name: String, mode: UInt32, place: String, admit: @escaping @Sendable (Int32) -> Void) throws(ServiceError) {
    let listener = UnixAddress.makeSocket()
    func failed(_ what: String) -> ServiceError {
      let code = errno
      close(directory)
      if listener >= 0 { close(listener) }
      return ServiceError(.disk, "cannot \(what) \(place): \(systemWords(code))")
    }
    guard listener >= 0 else { throw failed("make the socket") }
    unsafe unlinkat(directory, name, 0)
    var info = stat()
    guard unsafe UnixAddress.with(name, in: directory, { unsafe bind(listener, $0, $1) }) == 0, unsafe fchmodat(directory, name, mode, 0) == 0,
      unsafe fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0, listen(listener, WireLimits.backlog) == 0 else { throw failed("listen on") }
    guard let thread = startThread("vault-door", { Self.letIn(listener, admit) }) else {
      errno = EAGAIN
      throw failed("start a thread for")
    }
    (self.directory, self.name, self.listener, inode, self.thread) = (directory, name, listener, UInt64(info.st_ino), thread)
  }

  private static func letIn(_ listener: Int32, _ admit: (Int32) -> Void) {
    while true {
      let client = accept(listener, nil, nil)
      if client >= 0 {
        _ = fcntl(client, F_SETFD, FD_CLOEXEC)
        admit(client)
        continue
      }
      // Closed by us.
      if [EBADF, EINVAL, ENOTSOCK].contains(errno) { return }
      // No descriptor or memory left: that passes. (ECONNABORTED, EINTR: the next one.)
      if errno != EINTR, errno != ECONNABORTED { usleep(100_000) }
    }
  }

  func shut() {
    var info = stat()
    if unsafe fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0, UInt64(info.st_ino) == inode { unsafe unlinkat(directory, name, 0) }
    shutdown(listener, Int32(SHUT_RDWR))
    pthread_join(thread, nil)
    close(listener)
    close(directory)
  }
}
