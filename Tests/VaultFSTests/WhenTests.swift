// Moments as people write them.

import Glibc
import Testing
import VaultFS

struct WhenTests {
  /// 2026-11-28 12:00:00 on this computer.
  private let noon = When.second(of: "2026-11-28 12:00:00", now: 0)!

  private func second(_ text: String) -> Int64? { When.second(of: text, now: noon) }

  @Test(arguments: [
    ("now", 0), ("2h ago", 7200), ("90 min ago", 5400), ("1h30m ago", 5400), ("1 hour 5 min ago", 3900), ("1 hour and 5 min ago", 3900), ("an hour ago", 3600),
    ("a day ago", 86_400), ("3 days ago", 259_200), ("1m", 60), ("2 hours", 7200), ("1d12h", 129_600), ("  1 h ago  ", 3600),
  ] as [(String, Int64)])
  func `so long ago`(text: String, seconds: Int64) { #expect(second(text) == noon - seconds) }

  @Test(arguments: [
    ("10:00", "2026-11-28T10:00:00"), ("9:05:30", "2026-11-28T09:05:30"), ("today", "2026-11-28T12:00:00"), ("today 08:15", "2026-11-28T08:15:00"),
    ("yesterday", "2026-11-27T23:59:59"), ("Yesterday 10:00", "2026-11-27T10:00:00"), ("Nov 28", "2026-11-28T12:00:00"), ("Nov 27", "2026-11-27T23:59:59"),
    ("27 november", "2026-11-27T23:59:59"), ("Dec 24", "2025-12-24T23:59:59"), ("Jan 2 2024", "2024-01-02T23:59:59"), ("Nov 3, 2025 10:00", "2025-11-03T10:00:00"),
    ("2026-11-21", "2026-11-21T23:59:59"), ("2026-11-21T10:00", "2026-11-21T10:00:00"),
  ])
  func `a day, a time of a day, or both`(text: String, means: String) { #expect(second(text).map { When.text(of: $0) } == means) }

  @Test(arguments: [
    "", "ago", "soon", "1 ago", "h ago", "1 fortnight ago", "a", "an", "1h30", "25:00", "10:60", "10:", ":10", "Nov", "Nov 32", "28", "Smarch 3", "mars 3", "Nov 28 26", "today yesterday",
    "1h and", "99999999999h", "and 1h", "2026-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "2026-11-00", "Feb 30", "31 Apr 2025",
  ])
  func `no moment at all`(text: String) { #expect(second(text) == nil) }

  @Test func `durations are sums`() {
    #expect(When.duration("1h30m") == 5400 && When.duration("30 days") == 2_592_000 && When.duration("0s") == 0 && When.duration("1y") == 31_536_000)
    #expect(When.duration("90") == nil && When.duration("") == nil && When.duration("-1h") == nil)
  }
}
