// libfuse's complaints: caught while a mount is made, so that they become part of the error.
//
// libfuse's log function is one for the whole process; between captures it writes to standard error.

import CFuse3
import Glibc
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
}
