// Chance that can be repeated: everything random in these tests comes from a seed, which a failure prints.

import Testing

/// splitmix64 (Steele et al., OOPSLA'14).
struct Random: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }

  mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
  mutating func pick<C: RandomAccessCollection>(_ things: C) -> C.Element {
    things[things.index(things.startIndex, offsetBy: below(things.count))]
  }
  mutating func pickAny<C: RandomAccessCollection>(_ things: C) -> C.Element? { things.isEmpty ? nil : pick(things) }

  /// Bytes that do not compress.
  mutating func bytes(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      var at = 0
      while at < count {
        var word = next()
        for _ in 0..<min(8, count - at) {
          buffer[at] = UInt8(truncatingIfNeeded: word)
          word >>= 8
          at += 1
        }
      }
      filled = count
    }
  }

  static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = Random(seed: seed)
    return random.bytes(count)
  }

  /// Bytes as files have them: noise, text that repeats, or zeros.
  mutating func content(_ count: Int) -> [UInt8] {
    switch below(4) {
    case 0: return [UInt8](repeating: 0, count: count)
    case 1:
      let line = bytes(1 + below(60))
      return (0..<count).map { line[$0 % line.count] }
    default: return bytes(count)
    }
  }
}

/// The seeds of a parametrised test.
func seeds(_ count: UInt64) -> Range<UInt64> { 0..<count }
