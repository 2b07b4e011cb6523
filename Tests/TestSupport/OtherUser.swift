// A thread that is another user's: the kernel's credentials are each thread's own (Glibc changes all threads at once).

import Foundation
import Glibc

private final class Outcome<Value>: @unchecked Sendable {
  // Sendable: written before the semaphore, read after it.
  var value: Result<Value, any Error>?
}

/// Only root becomes another.
public struct NotRoot: Error {}

/// Runs `body` in such a thread; the first of `groups` is the effective one.
public func asUser<R>(_ user: UInt32, groups: [UInt32], _ body: @escaping @Sendable () throws -> R) throws -> R {
  let result = Outcome<R>(), ended = DispatchSemaphore(value: 0)
  Thread.detachNewThread {
    result.value = Result {
      typealias Call = @convention(c) (Int, Int, Int, Int) -> Int
      let call = unsafeBitCast(dlsym(nil, "syscall")!, to: Call.self)
      #if arch(x86_64)
      let (setgroups, setresgid, setresuid) = (116, 119, 117)
      #else
      let (setgroups, setresgid, setresuid) = (159, 149, 147)
      #endif
      let set = groups.withUnsafeBytes { call(setgroups, groups.count, Int(bitPattern: $0.baseAddress), 0) }
      let group = Int(groups.first ?? 65534)
      guard set == 0, call(setresgid, group, group, group) == 0, call(setresuid, Int(user), Int(user), Int(user)) == 0 else { throw NotRoot() }
      return try body()
    }
    ended.signal()
  }
  ended.wait()
  return try result.value!.get()
}
