// Where content is cut: normalised content-defined chunking over a gear hash.
//
// Sources: Xia et al., "FastCDC" (USENIX ATC'16) for normalised chunking and the skipped minimum, and its 2020
// revision for two bytes a step; dbaarda/rollsum-chunking for testing the *high* bits of a gear hash.
// What must stay true: the same bytes after the same cut give the same cuts, on every machine and for ever. The
// table, the masks and the sizes are therefore part of the format.

enum Chunker {
  /// 2^16 on average beyond the minimum; two bits harder before the average size, two bits easier after it.
  private static let hardBits: UInt64 = 18
  private static let easyBits: UInt64 = 14

  /// - Returns: the length of the first chunk of `bytes`; all of them if nothing cuts earlier. A chunk that ends
  ///   because the bytes ended (and is shorter than the maximum) may be cut elsewhere once more bytes follow.
  static func firstCut(_ bytes: UnsafeRawBufferPointer) -> Int {
    let count = min(bytes.count, Limits.chunkBytesMax)
    guard count > Limits.chunkBytesMin else { return count }
    let base = unsafe bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
    return unsafe gear.withUnsafeBufferPointer { table in
      let table = table.baseAddress!
      let hard: UInt64 = ~0 << (64 - hardBits)
      let easy: UInt64 = ~0 << (64 - easyBits)
      var hash: UInt64 = 0
      // A gear hash remembers 64 bytes: fed before the first test, the cut depends on content alone.
      for warm in Limits.chunkBytesMin - 64..<Limits.chunkBytesMin { hash = unsafe (hash &<< 1) &+ table[Int(base[warm])] }
      var at = Limits.chunkBytesMin
      let normal = min(count, Limits.chunkBytesAverage)
      while at + 1 < normal {
        let first = unsafe (hash &<< 1) &+ table[Int(base[at])]
        if first & hard == 0 { return at + 1 }
        hash = unsafe (first &<< 1) &+ table[Int(base[at + 1])]
        if hash & hard == 0 { return at + 2 }
        at += 2
      }
      while at + 1 < count {
        let first = unsafe (hash &<< 1) &+ table[Int(base[at])]
        if first & easy == 0 { return at + 1 }
        hash = unsafe (first &<< 1) &+ table[Int(base[at + 1])]
        if hash & easy == 0 { return at + 2 }
        at += 2
      }
      return count
    }
  }

  /// 256 words of splitmix64 (Steele et al., OOPSLA'14) from the seed "VaultFS1".
  static let gear: [UInt64] = {
    var state: UInt64 = 0x5661_756C_7446_5331
    return (0..<256).map { _ in
      state &+= 0x9E37_79B9_7F4A_7C15
      var word = state
      word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
      word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
      return word ^ (word >> 31)
    }
  }()
}
