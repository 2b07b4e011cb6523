// Moments as people write them: absolute, relative, or a second since 1970.
//
//   2026-11-21   2026-11-21T10:00   2026-11-21 10:00:30   …Z   …+02:00   @1795828648   now, present
//   2h ago   1h30m ago   1 hour 5 min ago   an hour ago   3 days ago   10m
//   today   yesterday   yesterday 10:00   10:00   Nov 28   28 Nov 2026 10:00
//
// A day alone means its last second: what stood at the end of that day; of the present day, now. A time alone is today's. A day
// of a month without a year is the last one that has come. Without a zone it is the computer's.

import Glibc

public enum When {
  /// - Parameter now: seconds since 1970.
  /// - Returns: seconds since 1970; nil where `text` is no moment.
  public static func second(of text: String, now: Int64) -> Int64? {
    let text = text.trimmed
    if text == "now" || text == "present" { return now }
    if text.hasPrefix("@") { return Int64(text.dropFirst()).flatMap { (-Self.secondsMax...Self.secondsMax).contains($0) ? $0 : nil } }
    if text.hasSuffix("ago") { return duration(String(text.dropLast(3))).map { now - $0 } }
    return absolute(text, now: now) ?? duration(text).map { now - $0 } ?? spoken(text, now)
  }

  /// Ten thousand years.
  private static let secondsMax: Int64 = 315_569_520_000

  /// As `second(of:now:)` reads it again, in the computer's zone.
  public static func text(of second: Int64) -> String {
    var time = time_t(second), parts = unsafe tm(), text = [CChar](repeating: 0, count: 40)
    unsafe localtime_r(&time, &parts)
    unsafe strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S", &parts)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static let units: [(names: [String], seconds: Int64)] = [
    (["s", "sec", "secs", "second", "seconds"], 1), (["m", "min", "mins", "minute", "minutes"], 60), (["h", "hr", "hrs", "hour", "hours"], 3600),
    (["d", "day", "days"], 86_400), (["w", "week", "weeks"], 7 * 86_400), (["month", "months"], 30 * 86_400), (["y", "year", "years"], 365 * 86_400),
  ]

  /// A duration, such as `2h`, `3 days`, `1h30m`, `an hour and 5 min`; seconds.
  public static func duration(_ text: String) -> Int64? {
    var rest = text.trimmed[...], sum: Int64 = 0, isFirst = true
    while !rest.isEmpty {
      if !isFirst, rest.hasPrefix("and ") { rest = rest.dropFirst(4).drop { $0 == " " } }
      let number = rest.prefix { $0.isASCII && $0.isNumber }, article = rest.prefix { $0 != " " }
      let count: Int64? = ["a", "an"].contains(article) ? 1 : Int64(number)
      rest = rest.dropFirst(number.isEmpty ? article.count : number.count).drop { $0 == " " }
      let unit = rest.prefix { $0.isASCII && $0.isLetter }
      rest = rest.dropFirst(unit.count).drop { $0 == " " }
      guard let count, count < 1 << 32, let length = units.first(where: { $0.names.contains(String(unit)) })?.seconds else { return nil }
      let (next, isTooMuch) = sum.addingReportingOverflow(count * length)
      if isTooMuch { return nil }
      (sum, isFirst) = (next, false)
    }
    return isFirst ? nil : sum
  }

  private static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

  /// Words for a day, a time of a day, or both.
  private static func spoken(_ text: String, _ now: Int64) -> Int64? {
    var words = text.lowercased().split(separator: " ").map(String.init)
    guard !words.isEmpty else { return nil }
    let time = clock(words.last!)
    if time != nil { words.removeLast() }
    let today = day(of: now), date: (Int32, Int32, Int32)
    switch words.count {
    case 0, 1:
      guard let back: Int32 = words.isEmpty ? 0 : ["today": 0, "yesterday": 1][words[0]] else { return nil }
      date = (today.0, today.1, today.2 - back)
    case 2, 3:
      // `Nov 28` and `28 Nov`.
      guard let at = words.prefix(2).firstIndex(where: { word in word.count >= 3 && monthNumber(word) != nil }), let month = monthNumber(words[at]),
        let day = Int32(words[1 - at].hasSuffix(",") ? String(words[1 - at].dropLast()) : words[1 - at]) else { return nil }
      if words.count == 3 {
        guard words[2].utf8.count == 4, let year = Int32(words[2]) else { return nil }
        date = (year, month, day)
      } else { date = (month, day) > (today.1, today.2) ? (today.0 - 1, month, day) : (today.0, month, day) }
      guard isDay(date.0, date.1, date.2) else { return nil }
    default: return nil
    }
    let second = seconds(date, time ?? (23, 59, 59), isLocal: true)
    // The last second of today is still to come.
    return time == nil ? min(second, now) : second
  }

  private static func monthNumber(_ word: String) -> Int32? {
    guard let index = months.firstIndex(of: String(word.prefix(3))) else { return nil }
    let names = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
    return names[index].hasPrefix(word) ? Int32(index + 1) : nil
  }

  /// Whether a month has that day, in the Gregorian calendar.
  private static func isDay(_ year: Int32, _ month: Int32, _ day: Int32) -> Bool {
    guard (1...12).contains(month) else { return false }
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let days: Int32 = month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
    return (1...days).contains(day)
  }

  /// `10:00` or `10:00:30`.
  private static func clock(_ word: String) -> (Int32, Int32, Int32)? {
    let parts = word.split(separator: ":", omittingEmptySubsequences: false).map { part in (1...2).contains(part.utf8.count) && part.allSatisfy { $0.isASCII && $0.isNumber } ? Int32(part) : nil }
    guard (2...3).contains(parts.count), let hour = parts[0], hour < 24, let minute = parts[1], minute < 60, let second = parts.count == 3 ? parts[2] : 0, second < 61 else { return nil }
    return (hour, minute, second)
  }

  /// Year, month and day, in the computer's zone.
  private static func day(of second: Int64) -> (Int32, Int32, Int32) {
    var time = time_t(second), parts = unsafe tm()
    unsafe localtime_r(&time, &parts)
    return unsafe (parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday)
  }

  private static func absolute(_ text: String, now: Int64) -> Int64? {
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
    guard let year = number(4), take("-"), let month = number(2), take("-"), let day = number(2), isDay(year, month, day) else { return nil }
    let date = (year, month, day)
    if rest.isEmpty, seconds(date, (0, 0, 0), isLocal: true) <= now { return min(seconds(date, (23, 59, 59), isLocal: true), now) }
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
