// An extent: a run of a file's bytes and where they come from. What no extent covers is a hole and reads as zeros.
//
// What must stay true of a list of extents: sorted by offset, not overlapping, none empty.
// A reference may name part of a chunk: an overwrite, a punched hole or a cloned range then touches no data at all.

struct Extent: Hashable, Sendable {
  enum Source: Hashable, Sendable {
    /// The chunk's bytes from `offset` on.
    case chunk(ChunkNumber, offset: UInt32)
    /// Allocated by fallocate(2) and not yet written: counts as space, reads as zeros.
    case reserved

    /// Whether there can be so many bytes: a chunk is no longer than a frame.
    fileprivate func mayHold(_ length: UInt64) -> Bool {
      guard case .chunk(_, let offset) = self else { return true }
      return length <= UInt64(FrameHeader.contentBytesMax) && UInt64(offset) <= UInt64(FrameHeader.contentBytesMax) - length
    }
  }
  /// Where it begins in the file, bytes.
  var offset: UInt64
  var length: UInt64
  var source: Source
  var end: UInt64 { offset + length }

  /// The part of it inside `range`; nil if none.
  func clipped(to range: Range<UInt64>) -> Extent? {
    let start = max(offset, range.lowerBound), stop = min(end, range.upperBound)
    guard start < stop else { return nil }
    var part = self
    part.offset = start
    part.length = stop - start
    if case .chunk(let number, let within) = source { part.source = .chunk(number, offset: within + UInt32(start - offset)) }
    return part
  }

  /// Whether `next` goes on exactly where this one ends, in the file and in the source.
  func continues(into next: Extent) -> Bool {
    guard end == next.offset else { return false }
    switch (source, next.source) {
    case (.reserved, .reserved): return true
    case (.chunk(let a, let from), .chunk(let b, let to)): return a == b && UInt64(from) + length == UInt64(to)
    default: return false
    }
  }
}

extension Array where Element == Extent {
  /// Index of the first extent that ends after `offset`.
  func firstIndex(endingAfter offset: UInt64) -> Int {
    var low = 0, high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle].end > offset { high = middle } else { low = middle + 1 }
    }
    return low
  }

  func clipped(to range: Range<UInt64>) -> [Extent] {
    var result: [Extent] = []
    var index = firstIndex(endingAfter: range.lowerBound)
    while index < count, self[index].offset < range.upperBound {
      if let part = self[index].clipped(to: range) { result.append(part) }
      index += 1
    }
    return result
  }

  /// What stands in `range` gives way to `replacement`, which lies within it.
  func replacing(_ range: Range<UInt64>, with replacement: [Extent]) -> [Extent] {
    var result = clipped(to: 0..<range.lowerBound)
    for extent in replacement { result.appendMerging(extent) }
    for extent in clipped(to: range.upperBound..<UInt64.max) { result.appendMerging(extent) }
    return result
  }

  mutating func appendMerging(_ extent: Extent) {
    if let last, last.continues(into: extent) { self[count - 1].length += extent.length } else { append(extent) }
  }

  /// Bytes that are not holes.
  var allocated: UInt64 { reduce(0) { $0 + $1.length } }

  func encoded() -> [UInt8] {
    var writer = ByteWriter(capacity: count * 14 + 8)
    encode(into: &writer)
    return writer.bytes
  }

  func encode(into writer: inout ByteWriter) {
    writer.varint(UInt64(count))
    var at: UInt64 = 0
    for extent in self {
      writer.varint(extent.offset - at)
      writer.varint(extent.length)
      switch extent.source {
      case .reserved: writer.u64(0)
      case .chunk(let number, let offset):
        writer.u64(number.value)
        writer.varint(UInt64(offset))
      }
      at = extent.end
    }
  }

  init(decoding reader: inout ByteReader, max: Int) throws(Malformed) {
    let count = try reader.varint()
    guard count <= UInt64(max) else { throw Malformed() }
    self = []
    reserveCapacity(Int(count))
    var at: UInt64 = 0
    for _ in 0..<count {
      let (offset, overflow) = at.addingReportingOverflow(try reader.varint())
      let length = try reader.varint()
      let number = try reader.u64()
      let source: Extent.Source = number == 0 ? .reserved : .chunk(ChunkNumber(number), offset: try reader.varint32())
      guard !overflow, length > 0, offset <= Limits.fileBytesMax, length <= Limits.fileBytesMax - offset, source.mayHold(length) else { throw Malformed() }
      append(Extent(offset: offset, length: length, source: source))
      at = offset + length
    }
  }
}
