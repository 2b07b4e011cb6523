// Keeps a scrub to so many bytes a second, all its threads together.
//
// What must stay true: nobody sleeps longer at once than a cancellation may take. Thread-safe.

import Glibc
import Synchronization

final class Pace: Sendable {
  /// When the bytes taken so far are paid for, by the monotonic clock; nanoseconds.
  private let paid = Mutex<UInt64>(0)
  private let bytesPerSecond: UInt64?
  private let cancellation: Cancellation
  private static let nap: UInt64 = 50_000_000
  /// Time that was not used is not saved up beyond this.
  private static let credit: UInt64 = 200_000_000

  init(_ bytesPerSecond: UInt64?, _ cancellation: Cancellation) {
    self.bytesPerSecond = bytesPerSecond.map { max($0, 1) }
    self.cancellation = cancellation
  }

  func take(_ bytes: Int) {
    guard let rate = bytesPerSecond else { return }
    let cost = UInt64(Double(bytes) / Double(rate) * 1e9)
    let until = paid.withLock { paid in
      paid = max(paid, monotonicNanoseconds() - Self.credit) + cost
      return paid
    }
    while !cancellation.isCancelled {
      let now = monotonicNanoseconds()
      if now >= until { return }
      usleep(UInt32(min(until - now, Self.nap) / 1000 + 1))
    }
  }
}
