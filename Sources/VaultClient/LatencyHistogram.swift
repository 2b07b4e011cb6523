// How long things took: how many within each power of two of nanoseconds, and all together.

public struct LatencyHistogram: Codable, Sendable, Equatable {
  /// Bucket *i* counts what took less than 2^i nanoseconds and not less than 2^(i − 1).
  public private(set) var buckets: [UInt64]
  public private(set) var nanoseconds: UInt64

  public init(buckets: [UInt64] = [], nanoseconds: UInt64 = 0) { (self.buckets, self.nanoseconds) = (buckets, nanoseconds) }

  public var count: UInt64 { buckets.reduce(0, &+) }

  /// The time that a share of all stayed below, nanoseconds, supposing that a bucket is filled evenly.
  /// - Parameter share: 0.5 for the median.
  /// - Returns: nil where nothing was counted.
  public func percentile(_ share: Double) -> Double? {
    let wanted = share * Double(count)
    var before = 0.0
    for (index, bucket) in buckets.enumerated() where bucket > 0 {
      let here = Double(bucket)
      if before + here >= wanted {
        let low = index == 0 ? 0 : Self.power(index - 1), high = Self.power(index)
        return low + (high - low) * min(max((wanted - before) / here, 0), 1)
      }
      before += here
    }
    return nil
  }

  public var mean: Double? { count > 0 ? Double(nanoseconds) / Double(count) : nil }

  /// What came since `earlier`.
  public func since(_ earlier: LatencyHistogram?) -> LatencyHistogram {
    guard let earlier else { return self }
    let old = earlier.buckets
    return LatencyHistogram(buckets: buckets.enumerated().map { $1 &- ($0 < old.count ? old[$0] : 0) }, nanoseconds: nanoseconds &- earlier.nanoseconds)
  }

  private static func power(_ exponent: Int) -> Double { Double(sign: .plus, exponent: min(exponent, 1000), significand: 1) }
}
