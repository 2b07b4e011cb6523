// Which chunks something refers to, and until when, in bounded memory: Bloom filters (Bloom, CACM 1970), of bits and of ages.
//
// What must stay true: a chunk that was marked is always found to be, with no lower age than it was marked with. One in some
// hundreds that was not may be found, too: it stays until the next collection, which asks with another seed.

struct ChunkMarks {
  private static let bitsPerChunk = 16, bytesMin = 64 << 10, bytesMax = 16 << 20
  private var words: [UInt64]
  private let places: ChunkPlaceSet

  /// - Parameter count: of the chunks there are, about.
  init(count: Int64) {
    places = ChunkPlaceSet(count: count, perChunk: Self.bitsPerChunk, in: Self.bytesMin * 8...Self.bytesMax * 8)
    words = [UInt64](repeating: 0, count: places.count / 64)
  }

  mutating func insert(_ chunk: ChunkNumber) {
    for bit in places.places(of: chunk) { words[bit >> 6] |= 1 << UInt64(bit & 63) }
  }
  func contains(_ chunk: ChunkNumber) -> Bool { places.places(of: chunk).allSatisfy { words[$0 >> 6] & 1 << UInt64($0 & 63) != 0 } }

  mutating func insert(_ extents: [Extent]) {
    for extent in extents { if case .chunk(let number, _) = extent.source { insert(number) } }
  }
}

/// The highest age that each chunk was marked with.
struct ChunkAges {
  private static let bytesPerChunk = 8, bytesMin = 64 << 10, bytesMax = 32 << 20
  /// So many are told apart well.
  static let chunksMax = bytesMax / bytesPerChunk
  private var ages: [UInt8]
  private let places: ChunkPlaceSet

  /// - Parameter count: of the chunks that will be marked, about.
  init(count: Int64) {
    places = ChunkPlaceSet(count: count, perChunk: Self.bytesPerChunk, in: Self.bytesMin...Self.bytesMax)
    ages = [UInt8](repeating: 0, count: places.count)
  }

  mutating func insert(_ chunk: ChunkNumber, _ age: UInt8) {
    for place in places.places(of: chunk) where ages[place] < age { ages[place] = age }
  }
  /// 0 where it was not marked.
  subscript(_ chunk: ChunkNumber) -> UInt8 { places.places(of: chunk).reduce(.max) { min($0, ages[$1]) } }
}

/// The places of chunks in a filter.
private struct ChunkPlaceSet {
  private static let probes = 4
  let count: Int
  private let seed = UInt64.random(in: 0 ... .max)

  init(count: Int64, perChunk: Int, in range: ClosedRange<Int>) {
    var places = range.lowerBound
    while places < range.upperBound, Int64(places) < count.multipliedReportingOverflow(by: Int64(perChunk)).partialValue { places *= 2 }
    self.count = places
  }

  func places(of chunk: ChunkNumber) -> [Int] {
    // A chunk's number is part of a hash already: two multiplications spread it anew for each seed.
    var x = (chunk.value ^ seed) &* 0x9E37_79B9_7F4A_7C15
    x ^= x >> 29
    let y = (x &* 0xBF58_476D_1CE4_E5B9) | 1
    return (0..<UInt64(Self.probes)).map { Int((x &+ $0 &* (y ^ y >> 31)) & UInt64(count - 1)) }
  }
}
