// Where content is zeros: it becomes a hole, and costs nothing.

enum ZeroRuns {
  private static let block = 4096
  /// Shorter runs of zeros inside content stay in their chunks, where they compress to nothing.
  private static let blocksMin = 4

  /// - Parameter offset: where the bytes are in the file; blocks are the file's, so the same zeros are found however
  ///   the bytes arrive.
  static func split(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> [(range: Range<Int>, isZero: Bool)] {
    if unsafe bytes.isEmpty { return [] }
    if bytes.count <= block * blocksMin { return unsafe [(0..<bytes.count, bytes.isAllZero)] }
    var parts: [(range: Range<Int>, isZero: Bool)] = []
    var dataStart = 0, at = (block - Int(offset % UInt64(block))) % block
    while at < bytes.count {
      let zeros = unsafe zeroBlocks(bytes, from: at)
      let end = min(at + zeros * block, bytes.count)
      if zeros >= blocksMin || zeros > 0 && end == bytes.count && dataStart == at {
        if dataStart < at { parts.append((dataStart..<at, false)) }
        parts.append((at..<end, true))
        dataStart = end
      }
      at = max(end, at + block)
    }
    if dataStart < bytes.count { parts.append((dataStart..<bytes.count, false)) }
    return parts
  }

  private static func zeroBlocks(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
    var count = 0
    while start + count * block < bytes.count {
      let at = start + count * block
      guard unsafe UnsafeRawBufferPointer(rebasing: bytes[at..<min(at + block, bytes.count)]).isAllZero else { break }
      count += 1
    }
    return count
  }
}
