// Extents against the plainest model there is: an array that says of each byte of a file where it comes from.

import Testing
@testable import VaultFS

/// Where one byte of a file comes from.
enum Origin: Hashable {
  case hole, reserved
  case chunk(UInt64, UInt32)
}

func origins(_ extents: [Extent], count: Int) -> [Origin] {
  var model = [Origin](repeating: .hole, count: count)
  for extent in extents {
    for step in 0..<extent.length where extent.offset + step < UInt64(count) {
      model[Int(extent.offset + step)] = switch extent.source {
      case .reserved: .reserved
      case .chunk(let number, let offset): .chunk(number.value, offset + UInt32(step))
      }
    }
  }
  return model
}

/// Sorted, not overlapping, none empty, inside the file.
func isSound(_ extents: [Extent]) -> Bool {
  extents.allSatisfy { $0.length > 0 } && zip(extents, extents.dropFirst()).allSatisfy { $0.end <= $1.offset }
}

extension Random {
  /// Extents inside `range`, in order.
  mutating func extents(in range: Range<UInt64>, upTo most: Int = 6) -> [Extent] {
    var at = range.lowerBound, result: [Extent] = []
    for _ in 0..<below(most + 1) where at < range.upperBound {
      at += UInt64(below(20))
      guard at < range.upperBound else { break }
      let length = min(1 + UInt64(below(60)), range.upperBound - at)
      // Few chunks, so that neighbours often continue each other and are merged.
      let source: Extent.Source = chance(15) ? .reserved : .chunk(ChunkNumber(1 + UInt64(below(4))), offset: UInt32(at % 1000))
      result.append(Extent(offset: at, length: length, source: source))
      at += length
    }
    return result
  }
  mutating func range(within limit: UInt64) -> Range<UInt64> {
    let a = UInt64(below(Int(limit))), b = UInt64(below(Int(limit)))
    return min(a, b)..<max(a, b) + 1
  }
}

struct ExtentTests {
  @Test(arguments: seeds(64))
  func `replacing and clipping do to extents what they do to bytes`(seed: UInt64) {
    var random = Random(seed: seed)
    let size: UInt64 = 2000
    var extents: [Extent] = [], model = [Origin](repeating: .hole, count: Int(size))
    for _ in 0..<120 {
      let range = random.range(within: size)
      let replacement = random.extents(in: range)
      extents = extents.replacing(range, with: replacement)
      model.replaceSubrange(Int(range.lowerBound)..<Int(range.upperBound), with: origins(replacement, count: Int(size))[Int(range.lowerBound)..<Int(range.upperBound)])
      #expect(isSound(extents), "seed \(seed)")
      #expect(origins(extents, count: Int(size)) == model, "seed \(seed)")
      #expect(extents.allocated == UInt64(model.count { $0 != .hole }), "seed \(seed)")

      let window = random.range(within: size)
      let clipped = extents.clipped(to: window)
      #expect(isSound(clipped) && clipped.allSatisfy { window.contains($0.offset) && $0.end <= window.upperBound }, "seed \(seed)")
      let expected = model.enumerated().map { window.contains(UInt64($0.offset)) ? $0.element : .hole }
      #expect(origins(clipped, count: Int(size)) == expected, "seed \(seed)")
    }
  }

  @Test(arguments: seeds(16))
  func `the first extent that ends after an offset is found`(seed: UInt64) {
    var random = Random(seed: seed)
    let extents = random.extents(in: 0..<5000, upTo: 80)
    for offset in 0..<UInt64(5000) {
      #expect(extents.firstIndex(endingAfter: offset) == extents.firstIndex { $0.end > offset } ?? extents.count, "seed \(seed)")
    }
  }

  @Test func `neighbours that go on in the same chunk become one`() {
    func chunk(_ offset: UInt64, _ length: UInt64, _ number: UInt64, _ within: UInt32) -> Extent {
      Extent(offset: offset, length: length, source: .chunk(ChunkNumber(number), offset: within))
    }
    var list = [chunk(0, 10, 1, 0)]
    list.appendMerging(chunk(10, 5, 1, 10))
    #expect(list == [chunk(0, 15, 1, 0)])
    list.appendMerging(chunk(15, 5, 1, 16))   // elsewhere in the chunk
    list.appendMerging(chunk(20, 5, 2, 21))   // another chunk
    list.appendMerging(chunk(26, 5, 2, 26))   // a hole between
    list.appendMerging(Extent(offset: 31, length: 5, source: .reserved))
    list.appendMerging(Extent(offset: 36, length: 5, source: .reserved))
    #expect(list.count == 5 && list.last?.length == 10)
  }

  @Test(arguments: seeds(32))
  func `a list of extents is read as it was written, whole or not at all`(seed: UInt64) throws {
    var random = Random(seed: seed)
    var extents = random.extents(in: 0..<100_000, upTo: Limits.pageExtentsMax)
    if random.chance(50) { extents.append(Extent(offset: 1 << 40, length: 1 << 50, source: .reserved)) }
    let bytes = extents.encoded()
    func decode(_ bytes: [UInt8], max: Int = 1000) throws -> [Extent] {
      try bytes.withUnsafeBytes { raw throws in
        var r = ByteReader(raw)
        return try [Extent](decoding: &r, max: max)
      }
    }
    #expect(try decode(bytes) == extents, "seed \(seed)")
    for length in 0..<bytes.count { #expect(throws: Malformed.self, "seed \(seed)") { try decode(Array(bytes[..<length])) } }
    if !extents.isEmpty { #expect(throws: Malformed.self) { try decode(bytes, max: extents.count - 1) } }
    for _ in 0..<200 {
      // Rubbish may be a list, but never one that is out of order, empty in places or longer than a file.
      guard let found = try? decode(random.bytes(random.below(60))) else { continue }
      #expect(isSound(found) && found.allSatisfy { $0.end <= Limits.fileBytesMax }, "seed \(seed)")
    }
  }
}
