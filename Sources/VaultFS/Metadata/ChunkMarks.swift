// Which chunks something refers to, in bounded memory: a Bloom filter (Bloom, CACM 1970).
//
// What must stay true: a chunk that was marked is always found to be. One in some hundreds that was not may be, too: it
// stays until the next collection, which asks with another seed.

struct ChunkMarks {
  private static let bitsPerChunk = 16, probes = 4
  private static let bytesMin = 64 << 10, bytesMax = 16 << 20
  private var words: [UInt64]
  private let mask: UInt64
  private let seed = UInt64.random(in: 0 ... .max)

  /// - Parameter count: of the chunks there are, about.
  init(count: Int64) {
    var bytes = Self.bytesMin
    while bytes < Self.bytesMax, Int64(bytes) * 8 < count &* Int64(Self.bitsPerChunk) { bytes *= 2 }
    words = [UInt64](repeating: 0, count: bytes / 8)
    mask = UInt64(bytes) * 8 - 1
  }

  mutating func insert(_ chunk: ChunkNumber) {
    for bit in bits(of: chunk) { words[Int(bit >> 6)] |= 1 << (bit & 63) }
  }
  func contains(_ chunk: ChunkNumber) -> Bool { bits(of: chunk).allSatisfy { words[Int($0 >> 6)] & 1 << ($0 & 63) != 0 } }

  mutating func insert(_ extents: [Extent]) {
    for extent in extents { if case .chunk(let number, _) = extent.source { insert(number) } }
  }

  private func bits(of chunk: ChunkNumber) -> [UInt64] {
    // A chunk's number is part of a hash already: two multiplications spread it anew for each seed.
    var x = (chunk.value ^ seed) &* 0x9E37_79B9_7F4A_7C15
    x ^= x >> 29
    let y = (x &* 0xBF58_476D_1CE4_E5B9) | 1
    return (0..<UInt64(Self.probes)).map { (x &+ $0 &* (y ^ y >> 31)) & mask }
  }
}
