// Sizes, counts and progress as people write and read them.

import Testing
@testable import CommandSupport
import VaultClient

struct AmountTests {
  @Test(arguments: [
    ("0", 0), ("4096", 4096), ("1k", 1024), ("10G", 10 << 30), ("10g", 10 << 30), ("512MiB", 512 << 20), ("3TB", 3 << 40), ("1.5K", 1536), ("0.5M", 1 << 19), ("7B", 7),
    ("18446744073709551615", UInt64.max), ("15E", 15 << 60),
  ] as [(String, UInt64)]) func `sizes are powers of 1024`(text: String, bytes: UInt64) { #expect(Amount.bytes(text) == bytes) }

  @Test(arguments: ["", "G", "-1", "+1", "1 G", "1Q", "1.5", "1..5G", ".5G", "1.G", "16E", "18446744073709551616", "99999999T", "1e3", "0x10", "٣", "1GG", "inf", "nan", "1iB2"])
  func `what is no size is none`(text: String) { #expect(Amount.bytes(text) == nil) }

  @Test func `counts are thousands`() {
    #expect(Amount.count("5000") == 5000 && Amount.count("100k") == 100_000 && Amount.count("1.5M") == 1_500_000)
    for text in ["", "1.5", "1KiB", "-3", "99999999999999999999"] { #expect(Amount.count(text) == nil, "\(text)") }
  }

  @Test func `users and groups are found by name and number, and nobody is nobody`() throws {
    #expect(try Account.user("root") == 0 && Account.group("root") == 0 && Account.user("4000000000") == 4_000_000_000)
    #expect(Account.name(ofUser: 0) == "root" && Account.name(ofGroup: 0) == "root" && Account.name(ofUser: 4_000_000_000) == "4000000000")
    for text in ["", "-1", "+0", "4294967295", "4294967296", "no such user"] { #expect(throws: Failure.self, "\(text)") { try Account.user(text) } }
  }

  @Test func `progress tells the share, and what is left once that is more than a guess`() {
    var progress = Progress("reading", done: 25, total: 100)
    #expect(ProgressLine.text(progress, after: .seconds(10)) == "reading, 25 %, 30 s left")
    #expect(ProgressLine.text(progress, after: .milliseconds(10)) == "reading, 25 %")
    (progress.isBytes, progress.secondsLeft) = (true, 3700)
    #expect(ProgressLine.text(progress, after: .zero) == "reading, 25 % of 100 B, 1 h 1 min left")
    #expect(ProgressLine.text(Progress("beginning", done: 0), after: .seconds(9)) == "beginning")
    #expect(ProgressLine.text(Progress("x", done: 9, total: 3), after: .seconds(9)) == "x, 100 %, 0 s left")
    for (seconds, text) in [(0, "0 s"), (59.2, "1 min"), (61, "1 min 1 s"), (86_400, "1 d"), (1e300, "11574074 d 1 h"), (-5, "0 s")] as [(Double, String)] { #expect(ProgressLine.duration(seconds) == text) }
  }

  @Test func `a table is as wide as what is in it`() {
    var table = Table(["OF", "N"])
    table.add(["ä\u{301}b", "100"])
    table.add(["long name", "–"])
    #expect(table.text == "OF           N\nä\u{301}b         100\nlong name    –")
  }
}
