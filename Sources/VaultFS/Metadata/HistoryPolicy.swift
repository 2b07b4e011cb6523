// What the vault remembers of what was: which versions are told apart, and for how long they are kept.

/// Set by an operation of the journal, so that a replay remembers the same. Ages are seconds.
/// A moment of which everything is kept.
public struct KeptMoment: Sendable, Hashable {
  public let lsn: LSN
  /// At the end of which second since 1970 that was, where it is not the moment that was asked for.
  public let second: Int64?
  init(lsn: LSN, second: Int64? = nil) { (self.lsn, self.second) = (lsn, second) }
}

public struct HistoryPolicy: Hashable, Sendable, Codable {
  /// Whether anything is kept that no snapshot needs.
  public var isOn = true
  /// Changes of a node within so long after its version began belong to that version.
  public var window: UInt32 = 10
  /// Everything is kept for so long,
  public var all: UInt32 = 86_400
  /// then what stood at the end of each hour,
  public var hourly: UInt32 = 7 * 86_400
  /// of each day,
  public var daily: UInt32 = 31 * 86_400
  /// of each week. What is older goes, but for what a snapshot or a pin holds.
  public var weekly: UInt32 = 366 * 86_400
  /// Plain bytes that only the past refers to, each counted once: where there are more, the oldest versions go before their
  /// age, but for what a snapshot or a pin holds. 0: no limit.
  public var limit: UInt64 = 0
  /// The least limit.
  public static let limitMin: UInt64 = 1 << 20
  public init() {}

  /// How often it is to be applied, seconds: no age is exceeded by much of itself.
  var expiryDelay: Int64 { min(max(Int64(all) / 8, Limits.expiryDelays.lowerBound), Limits.expiryDelays.upperBound) }

  var numbers: [UInt32] {
    get { [isOn ? 1 : 0, window, all, hourly, daily, weekly] }
    set { (isOn, window, all, hourly, daily, weekly) = (newValue[0] != 0, newValue[1], newValue[2], newValue[3], newValue[4], newValue[5]) }
  }

  /// How far back all is kept, what stood at the end of hours, of days, of weeks, at the least.
  var reaches: [UInt32] {
    [all, hourly, daily, weekly].reduce(into: []) { $0.append(max($0.last ?? 0, $1)) }
  }

  /// The seconds at whose end something is kept though not everything is: `now` back to the oldest, unordered.
  /// - Parameter first: before that there was nothing.
  func momentsKept(at now: Int64, from first: Int64 = .min) -> [Int64] {
    var found: [Int64] = []
    for (period, from, to) in [(Int64(3600), all, hourly), (86_400, hourly, daily), (7 * 86_400, daily, weekly)] where to > from {
      var end = (now - Int64(from)) / period * period - 1
      while end >= max(now - Int64(to), first) {
        found.append(end)
        end -= period
      }
    }
    return found
  }
}
