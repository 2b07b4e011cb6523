// The time of the journal where the computer's is wrong.

import Testing
@testable import VaultFS

struct StampClockTests {
  private let second: UInt64 = 1_000_000_000, start: UInt64 = 1_763_000_000_000_000_000

  @Test func `it follows the computer's clock, and never goes back`() {
    var clock = StampClock()
    #expect(clock.now(after: 0, wall: start, steady: 0) == start)
    #expect(clock.now(after: start, wall: start, steady: 1) == start + 1, "each is later than the last")
    #expect(clock.now(after: start + 1, wall: start + 100 * second, steady: 100 * second) == start + 100 * second)
    // Set back a little, as time servers do.
    let next = clock.now(after: start + 100 * second, wall: start + 100 * second - 500_000_000, steady: 100 * second + 1000)
    #expect(next == start + 100 * second + 1)
  }

  @Test func `a leap is not believed before it has lasted, and time goes on meanwhile`() {
    var clock = StampClock()
    let years = 315_360_000 * second
    var last = clock.now(after: 0, wall: start, steady: 0)
    for passed in 1...5 as ClosedRange<UInt64> {
      let now = clock.now(after: last, wall: start + years + passed * second, steady: passed * second)
      #expect(now == start + passed * second)
      last = now
    }
    // It was a mistake.
    last = clock.now(after: last, wall: start + 20 * second, steady: 20 * second)
    #expect(last == start + 20 * second)
    // One that stays: from the second minute on.
    _ = clock.now(after: last, wall: start + years, steady: 30 * second)
    #expect(clock.now(after: last, wall: start + years + 61 * second, steady: 91 * second) == start + years + 61 * second)
  }

  @Test func `behind a clock that was ahead, time passes as it does`() {
    var clock = StampClock()
    let ahead = start + 86_400 * second
    #expect(clock.now(after: ahead, wall: start, steady: 0) == ahead + 1)
    let later = clock.now(after: ahead + 1, wall: start + 60 * second, steady: 60 * second)
    #expect(later == ahead + 1 + 60 * second)
  }
}
