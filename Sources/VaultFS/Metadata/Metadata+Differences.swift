// Where two manifests differ: what the kernel must forget of a file that becomes another version of itself. To forget a page
// costs it half a microsecond, so a large file that changed here and there is worth the look.
//
// What must stay true: bytes outside of what is found read the same in both files. More may be found than differs.

/// Where a file's content changed.
struct ContentChange {
  var ranges: [Range<UInt64>] = []
  /// The file's before, bytes.
  let size: UInt64
  init(_ ranges: [Range<UInt64>] = [], of size: UInt64 = 0) { (self.ranges, self.size) = (ranges, size) }
  /// Of these, how many were there before.
  var bytes: UInt64 { ranges.reduce(0) { $0 + min($1.upperBound, size) - min($1.lowerBound, size) } }
}

extension Metadata {
  private static let windowBytes: UInt64 = 64 << 20
  /// Longer files, and those with more differences, differ everywhere.
  private static let bytesCompared: UInt64 = 4 << 30
  private static let differencesMax = 4096

  func differences(between a: Node, and b: Node) throws(VaultError) -> [Range<UInt64>] {
    let end = max(a.size, b.size), all = [0..<Limits.fileBytesMax]
    guard end <= Self.bytesCompared else { return all }
    var found: [Range<UInt64>] = [], at: UInt64 = 0
    while at < end {
      let window = at..<min(at + Self.windowBytes, end)
      try extents(of: a, in: window).differences(from: extents(of: b, in: window), in: window, &found)
      if found.count > Self.differencesMax { return all }
      at = window.upperBound
    }
    // Where a file ends is in the kernel's pages, too.
    if a.size != b.size { found.append(min(a.size, b.size)..<Limits.fileBytesMax) }
    return found
  }
}

extension Array where Element == Extent {
  /// Appends the parts of `range` where this list and `other`, both clipped to it, read differently.
  fileprivate func differences(from other: [Extent], in range: Range<UInt64>, _ found: inout [Range<UInt64>]) {
    var at = range.lowerBound, mine = self[...], others = other[...]
    while at < range.upperBound {
      let stop = Swift.min(mine.stretch(from: at, range.upperBound), others.stretch(from: at, range.upperBound))
      if mine.first?.bytes(in: at..<stop) != others.first?.bytes(in: at..<stop) {
        if let last = found.last, last.upperBound == at { found[found.count - 1] = last.lowerBound..<stop } else { found.append(at..<stop) }
      }
      at = stop
    }
  }
}

extension ArraySlice where Element == Extent {
  /// Drops what ends before `at`; up to where the same extent, or the same hole, goes on.
  fileprivate mutating func stretch(from at: UInt64, _ end: UInt64) -> UInt64 {
    while let first, first.end <= at { removeFirst() }
    guard let first else { return end }
    return first.offset > at ? Swift.min(first.offset, end) : first.end
  }
}

extension Extent {
  /// Where the bytes of `range` come from; nil where they are zeros.
  fileprivate func bytes(in range: Range<UInt64>) -> Source? {
    guard let source = clipped(to: range)?.source, source != .reserved else { return nil }
    return source
  }
}
