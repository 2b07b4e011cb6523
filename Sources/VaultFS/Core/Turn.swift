// A lock for work that takes long: whoever waits for it can be called off.

import Glibc
import Synchronization

final class Turn: Sendable {
  private let isTaken = Mutex(false)
  /// Nothing that takes a turn is over sooner, most of the time.
  private static let nap: UInt32 = 20_000

  /// - Parameter waiting: called now and then as long as others have it; ends the waiting by throwing.
  func take<E: Error>(_ waiting: () throws(E) -> Void) throws(E) {
    while !isTaken.withLock({ taken in
      defer { taken = true }
      return !taken
    }) {
      try waiting()
      usleep(Self.nap)
    }
  }

  func end() { isTaken.withLock { $0 = false } }
}
