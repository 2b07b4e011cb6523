// Moments as people write them: absolute, relative, or a second since 1970.
//
//   2026-11-21   2026-11-21T10:00   2026-11-21 10:00:30   …Z   …+02:00   @1795828648   now   2h ago   90 min ago   3 days ago
//
// A date alone means its last second: what stood at the end of that day. Without a zone it is the computer's.

import Glibc

public enum When {
  /// - Parameter now: seconds since 1970.
  /// - Returns: seconds since 1970; nil where `text` is no moment.
  public static func second(of text: String, now: Int64) -> Int64? {
    let text = text.trimmed
    if text == "now" { return now }
    if text.hasPrefix("@") { return Int64(text.dropFirst()) }
    if text.hasSuffix("ago") { return ago(text.dropLast(3).trimmed).map { now - $0 } }
    return absolute(text)
  }

  /// As `second(of:now:)` reads it again, in the computer's zone.
  public static func text(of second: Int64) -> String {
    var time = time_t(second), parts = unsafe tm(), text = [CChar](repeating: 0, count: 40)
    unsafe localtime_r(&time, &parts)
    unsafe strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S", &parts)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static let units: [(names: [String], seconds: Int64)] = [
    (["s", "sec", "second", "seconds"], 1), (["m", "min", "minute", "minutes"], 60), (["h", "hour", "hours"], 3600),
    (["d", "day", "days"], 86_400), (["w", "week", "weeks"], 7 * 86_400), (["month", "months"], 30 * 86_400), (["y", "year", "years"], 365 * 86_400),
  ]

  /// A duration, such as `2h` or `3 days`; seconds.
  public static func duration(_ text: String) -> Int64? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }, unit = text.dropFirst(digits.count).trimmed
    guard let count = Int64(digits), count < 1 << 32 else { return nil }
    return units.first { $0.names.contains(unit) }.map { count * $0.seconds }
  }
  private static func ago(_ text: String) -> Int64? { duration(text) }

  private static func absolute(_ text: String) -> Int64? {
    var rest = Array(text.utf8)[...]
    func number(_ digits: Int) -> Int32? {
      guard rest.count >= digits, rest.prefix(digits).allSatisfy({ (48...57).contains($0) }) else { return nil }
      defer { rest = rest.dropFirst(digits) }
      return rest.prefix(digits).reduce(0) { $0 * 10 + Int32($1 - 48) }
    }
    func take(_ any: String) -> Bool {
      guard let first = rest.first, any.utf8.contains(first) else { return false }
      rest = rest.dropFirst()
      return true
    }
    guard let year = number(4), take("-"), let month = number(2), take("-"), let day = number(2), (1...12).contains(month), (1...31).contains(day) else { return nil }
    let date = (year, month, day)
    var time: (Int32, Int32, Int32) = (23, 59, 59)
    if take("T ") {
      guard let hour = number(2), take(":"), let minute = number(2), hour < 24, minute < 60 else { return nil }
      time = (hour, minute, 0)
      if take(":") {
        guard let second = number(2), second < 61 else { return nil }
        time.2 = second
      }
    }
    if rest.isEmpty { return seconds(date, time, isLocal: true) }
    if take("Z") { return rest.isEmpty ? seconds(date, time, isLocal: false) : nil }
    let sign: Int64 = rest.first == UInt8(ascii: "-") ? -1 : 1
    guard take("+-"), let hours = number(2) else { return nil }
    _ = take(":")
    guard let minutes = number(2), rest.isEmpty else { return nil }
    return seconds(date, time, isLocal: false) - sign * Int64(hours * 3600 + minutes * 60)
  }

  private static func seconds(_ date: (Int32, Int32, Int32), _ time: (Int32, Int32, Int32), isLocal: Bool) -> Int64 {
    var parts = unsafe tm()
    unsafe (parts.tm_year, parts.tm_mon, parts.tm_mday) = (date.0 - 1900, date.1 - 1, date.2)
    unsafe (parts.tm_hour, parts.tm_min, parts.tm_sec, parts.tm_isdst) = (time.0, time.1, time.2, -1)
    return unsafe Int64(isLocal ? mktime(&parts) : timegm(&parts))
  }
}

extension StringProtocol {
  fileprivate var trimmed: String {
    let start = drop { $0 == " " }
    return String(start.reversed().drop { $0 == " " }.reversed())
  }
}
