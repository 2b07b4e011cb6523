// libfuse's complaints, and those of the fusermount3 it starts: caught while a mount is made, so that they become part of
// the error.
//
// libfuse's log function is one for the whole process; between captures it writes to standard error.

import CFuse3
import Glibc
import Printable
import Synchronization

enum LibraryLog {
  private static let caught = Mutex<[String]>([])
  /// One capture at a time.
  private static let turn = Mutex<Void>(())

  /// Runs `body` and returns what libfuse said meanwhile, one line.
  static func capture<Result>(_ body: () -> Result) -> (Result, said: String) {
    turn.withLock { _ in
      caught.withLock { $0 = [] }
      unsafe fuse_set_log_func { _, format, arguments in
        var line = [CChar](repeating: 0, count: 512)
        unsafe vsnprintf(&line, line.count, format!, arguments!)
        let text = unsafe String(decoding: bytes(of: line), as: UTF8.self)
        LibraryLog.caught.withLock { $0.append(text.split(separator: "\n").joined(separator: " ")) }
      }
      let result = body()
      fuse_set_log_func(nil)
      return (result, caught.withLock { $0.joined(separator: "; ") })
    }
  }

  /// The same, and what programs that `body` starts say on standard error, which gets that too.
  static func captureWithHelpers<Result>(_ body: () -> Result) -> (Result, said: String) {
    var ends: [Int32] = [-1, -1]
    let original = fcntl(2, F_DUPFD_CLOEXEC, 3)
    defer { for descriptor in ends + [original] where descriptor >= 0 { close(descriptor) } }
    guard original >= 0, unsafe pipe(&ends) == 0 else { return capture(body) }
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      // It is read when all has been said: more than it holds is lost, and nobody waits.
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    guard dup2(ends[1], 2) == 2 else { return capture(body) }
    let (result, said) = capture(body)
    dup2(original, 2)
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = unsafe read(ends[0], &bytes, bytes.count)
    guard count > 0 else { return (result, said) }
    _ = unsafe write(2, bytes, count)
    let lines = bytes.prefix(count).split(separator: 10).map { printable($0) }
    return (result, ([said] + lines).filter { !$0.isEmpty }.joined(separator: "; "))
  }
}
