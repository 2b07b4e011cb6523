// The time that stamps are taken from. History is cut, kept and shown by it, so a computer's clock that is wrong for a
// moment must not end it for years.
//
// What must stay true: it never goes back; it goes on as real time does, also while the computer's clock is behind it; and a
// leap of the computer's clock is believed when it has lasted.

import Glibc

struct StampClock {
  /// Nanoseconds. The computer's clock is followed within this, at once.
  private static let leap: UInt64 = 3_600_000_000_000, behind: UInt64 = 1_000_000_000
  private static let lasting: UInt64 = 60_000_000_000

  /// A moment by both clocks: what was told last, and when, by one that nobody sets.
  private var last: (stamp: UInt64, at: UInt64)?
  private var isStopped = false
  /// Since when the computer's clock is far ahead.
  private var doubtedSince: UInt64?

  /// - Parameter stamp: of the last record; the time is later.
  /// - Parameter wall: the computer's clock, nanoseconds since 1970.
  /// - Parameter steady: a clock that only goes on.
  mutating func now(after stamp: UInt64, wall: UInt64, steady: UInt64) -> UInt64 {
    var now = wall
    if let last = last {
      let expected = last.stamp &+ (steady &- last.at)
      if wall > expected &+ Self.leap {
        let since = doubtedSince ?? steady
        doubtedSince = since
        if steady &- since < Self.lasting { now = expected }
      } else {
        doubtedSince = nil
        if wall &+ Self.behind < expected { now = expected }
      }
    }
    now = max(now, stamp &+ 1)
    last = (now, steady)
    return now
  }

  /// From now on it tells no more than that each stamp is later than the last.
  mutating func stop() { isStopped = true }

  mutating func now(after stamp: UInt64) -> UInt64 {
    if isStopped { return stamp &+ 1 }
    let wall = Timestamp.now
    var steady = timespec()
    // It counts while the computer sleeps, too.
    unsafe clock_gettime(CLOCK_BOOTTIME, &steady)
    return now(after: stamp, wall: UInt64(max(wall.seconds, 0)) &* 1_000_000_000 &+ UInt64(wall.nanoseconds),
               steady: UInt64(steady.tv_sec) &* 1_000_000_000 &+ UInt64(steady.tv_nsec))
  }
}
