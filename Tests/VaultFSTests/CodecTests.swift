// Compression and frames: what is stored comes back, and what was changed on the way is never handed out.

import Testing
@testable import VaultFS

struct CodecTests {
  private enum Way: CaseIterable { case lz4, zstd }
  private func encode(_ encoder: Encoder, _ way: Way, _ plain: UnsafeRawBufferPointer) -> (Codec, UnsafeRawBufferPointer) {
    switch way {
    case .lz4: encoder.lz4(plain)
    case .zstd: encoder.zstd(plain, level: 3)
    }
  }

  @Test(arguments: seeds(24))
  func `what is encoded decodes to the same bytes`(seed: UInt64) {
    var random = Random(seed: seed)
    let encoder = Encoder()
    defer { withExtendedLifetime(encoder) {} }
    for way in Way.allCases {
      for count in [0, 1, 64, 65, 4096, random.below(300_000), Limits.frameBytesMax] {
        let plain = random.content(count)
        plain.withUnsafeBytes { raw in
          let (codec, stored) = encode(encoder, way, raw)
          #expect(stored.count <= count, "seed \(seed), \(count) bytes")
          var back = [UInt8](repeating: 0xAA, count: count)
          let decoded = back.withUnsafeMutableBytes { Decoder().decode(codec, stored, into: $0, prefix: nil) }
          #expect(decoded && back == plain, "seed \(seed), \(way), \(count) bytes")
        }
      }
    }
  }

  @Test func `noise stays raw, text does not`() {
    var random = Random(seed: 3)
    let noise = random.bytes(100_000), text = Array(String(repeating: "int main(void) { return 0; }\n", count: 3000).utf8)
    let encoder = Encoder()
    defer { withExtendedLifetime(encoder) {} }
    for way in Way.allCases {
      noise.withUnsafeBytes { #expect(encode(encoder, way, $0).0 == .raw) }
      text.withUnsafeBytes { raw in
        let (codec, stored) = encode(encoder, way, raw)
        #expect(codec != .raw && stored.count * 20 < raw.count)
      }
    }
  }

  @Test(arguments: seeds(32))
  func `decoding rubbish writes only where it may`(seed: UInt64) {
    var random = Random(seed: seed)
    let decoder = Decoder()
    for codec in [Codec.raw, .lz4, .zstd] {
      for _ in 0..<50 {
        var rubbish = random.bytes(1 + random.below(3000))
        if codec == .zstd, random.chance(70) { rubbish.replaceSubrange(0..<0, with: [0x28, 0xB5, 0x2F, 0xFD]) }
        let declared = random.below(5000), guardBytes = 4096
        var target = [UInt8](repeating: 0xA5, count: declared + 2 * guardBytes)
        let decoded = target.withUnsafeMutableBytes { raw in
          rubbish.withUnsafeBytes { decoder.decode(codec, $0, into: UnsafeMutableRawBufferPointer(rebasing: raw[guardBytes..<guardBytes + declared]), prefix: nil) }
        }
        let outside = target[..<guardBytes] + target[(guardBytes + declared)...]
        #expect(outside.allSatisfy { $0 == 0xA5 }, "seed \(seed), \(codec)")
        if codec == .raw { #expect(decoded == (rubbish.count == declared)) }
      }
    }
  }

  @Test(arguments: seeds(16))
  func `a damaged payload of the right length decodes to its length or is refused`(seed: UInt64) {
    var random = Random(seed: seed)
    let encoder = Encoder(), decoder = Decoder(), plain = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
    for way in Way.allCases {
      let (codec, stored) = plain.withUnsafeBytes { raw in
        let (codec, stored) = encode(encoder, way, raw)
        return (codec, Array(stored))
      }
      for _ in 0..<100 {
        var wounded = stored
        wounded[random.below(wounded.count)] ^= UInt8(1 << random.below(8))
        var target = [UInt8](repeating: 0xA5, count: plain.count + 4096)
        _ = target.withUnsafeMutableBytes { raw in
          wounded.withUnsafeBytes { decoder.decode(codec, $0, into: UnsafeMutableRawBufferPointer(rebasing: raw[..<plain.count]), prefix: nil) }
        }
        #expect(target[plain.count...].allSatisfy { $0 == 0xA5 }, "seed \(seed), \(codec)")
      }
    }
  }

  @Test func `zeros are known as zeros, and one other bit is enough`() {
    for count in [0, 1, 2, 31, 4096, 100_001] {
      var bytes = [UInt8](repeating: 0, count: count)
      #expect(bytes.withUnsafeBytes { $0.isAllZero })
      for place in [0, count / 2, count - 1] where place >= 0 && place < count {
        bytes[place] = 1
        #expect(!bytes.withUnsafeBytes { $0.isAllZero }, "\(count) bytes, a one at \(place)")
        bytes[place] = 0
      }
    }
  }
}

/// A file in memory, to read frames from.
final class MemoryFile: DiskFile {
  let path = "memory"
  let bytes: [UInt8]
  init(_ bytes: [UInt8]) { self.bytes = bytes }
  func size() throws(VaultError) -> UInt64 { UInt64(bytes.count) }
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VaultError) -> Int {
    let part = bytes.dropFirst(Int(offset)).prefix(buffer.count)
    buffer.copyBytes(from: part)
    return part.count
  }
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(VaultError) { throw .notSupported }
  func allocate(_ bytes: UInt64) throws(VaultError) {}
  func keepRoom(_ range: Range<UInt64>) throws(VaultError) {}
  func truncate(to size: UInt64) throws(VaultError) { throw .notSupported }
  func sync() throws(VaultError) { throw .notSupported }
}

struct FrameTests {
  /// A frame of several chunks, as bytes.
  static func frame(of chunks: [[UInt8]]) -> (bytes: [UInt8], header: FrameHeader) {
    let plain = chunks.flatMap { $0 }
    return plain.withUnsafeBytes { raw in
      let encoder = Encoder()
      defer { withExtendedLifetime(encoder) {} }
      let (codec, stored) = encoder.lz4(raw)
      let named = chunks.map { chunk in chunk.withUnsafeBytes { FrameChunk(id: ChunkID(of: $0), length: UInt32($0.count), crc: Checksum.crc32($0)) } }
      let header = FrameHeader(codec: codec, plain: raw.count, stored: stored, chunks: named)
      var w = ByteWriter()
      header.encode(into: &w)
      w.raw(stored)
      return (w.bytes, header)
    }
  }

  private func read(_ bytes: [UInt8], length: Int? = nil) throws -> DecodedFrame {
    try DecodedFrame(reading: MemoryFile(bytes), at: FramePlace(container: ContainerNumber(1), offset: 0, length: UInt32(length ?? bytes.count)), decoder: Decoder()) { _ throws(VaultError) in throw .notFound }
  }

  @Test(arguments: seeds(16))
  func `a frame gives each of its chunks back, by name and place`(seed: UInt64) throws {
    var random = Random(seed: seed)
    let chunks = (0..<1 + random.below(20)).map { _ in random.content(1 + random.below(20_000)) }
    let (bytes, header) = Self.frame(of: chunks)
    #expect(bytes.count == header.totalLength)
    let decoded = try read(bytes)
    var at: UInt32 = 0
    for (chunk, named) in zip(chunks, header.chunks) {
      #expect(decoded.withChunk(named.id, at: at) { Array($0) } == chunk, "seed \(seed)")
      #expect(decoded.withChunk(ChunkID(1, 2, 3, 4), at: at) { Array($0) } == nil, "another chunk's name")
      at += named.length
    }
    #expect(decoded.withChunk(header.chunks[0].id, at: at) { Array($0) } == nil, "beyond the last")
    let again = try bytes.withUnsafeBytes { raw throws in try FrameHeader(decoding: raw) }
    #expect(again.chunks == header.chunks && again.codec == header.codec && again.payloadCRC == header.payloadCRC)
    #expect((again.plainLength, again.storedLength) == (header.plainLength, header.storedLength))
  }

  @Test func `every flipped bit of a frame is noticed`() {
    var random = Random(seed: 11)
    for chunks in [[random.bytes(150)], [Array("abcdefgh".utf8), [UInt8](repeating: 9, count: 500)]] {
      let (bytes, _) = Self.frame(of: chunks)
      #expect(throws: Never.self) { try read(bytes) }
      for bit in 0..<bytes.count * 8 {
        var wounded = bytes
        wounded[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(throws: VaultError.self, "bit \(bit) of \(bytes.count * 8)") { try read(wounded) }
      }
    }
  }

  @Test func `a frame cut short or asked for by a wrong length is refused`() {
    let (bytes, _) = Self.frame(of: [Array("some content of a file".utf8)])
    for length in 0..<bytes.count { #expect(throws: VaultError.self) { try read(Array(bytes[..<length]), length: bytes.count) } }
    for length in [0, bytes.count - 1, bytes.count + 1] { #expect(throws: VaultError.self) { try read(bytes + [0, 0], length: length) } }
  }

  @Test(arguments: seeds(32))
  func `a frame header made of rubbish is refused, not believed`(seed: UInt64) {
    var random = Random(seed: seed)
    for _ in 0..<200 {
      var bytes = random.bytes(random.below(200))
      if bytes.count > 4, random.chance(80) { bytes.replaceSubrange(0..<4, with: Array("VFRM".utf8)) }
      #expect(throws: Malformed.self) { try bytes.withUnsafeBytes { raw throws in _ = try FrameHeader(decoding: raw) } }
    }
  }
}
