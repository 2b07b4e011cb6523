// The fields of our formats: what is written is read back, and a reader of rubbish never leaves its bytes.

import Testing
@testable import VaultFS

/// Reads fields out of `bytes`.
func reading<R>(_ bytes: [UInt8], _ body: (inout ByteReader) throws -> R) throws -> R {
  try bytes.withUnsafeBytes { raw throws in
    var reader = ByteReader(raw)
    return try body(&reader)
  }
}

struct BytesTests {
  private static let corners: [UInt64] = [0, 1, 127, 128, 16_383, 16_384, UInt64(UInt32.max), 1 << 32, UInt64(Int64.max), 1 << 63, UInt64.max]

  @Test(arguments: seeds(16))
  func `numbers, times, ids and counted bytes come back`(seed: UInt64) throws {
    var random = Random(seed: seed)
    let numbers = Self.corners + (0..<50).map { _ in random.next() >> UInt64(random.below(64)) }
    for number in numbers {
      let time = Timestamp(seconds: Int64(bitPattern: number), nanoseconds: UInt32(number % 1_000_000_000))
      let chunk = ChunkID(number, random.next(), random.next(), random.next()), node = NodeID(high: number, low: random.next())
      let blob = random.bytes(random.below(300))
      var w = ByteWriter()
      w.u8(UInt8(truncatingIfNeeded: number)); w.u16(UInt16(truncatingIfNeeded: number)); w.u32(UInt32(truncatingIfNeeded: number)); w.u64(number)
      w.varint(number); w.signed(Int64(bitPattern: number)); w.time(time); w.id(chunk); w.id(node); w.counted(blob)
      try reading(w.bytes) { r throws in
        #expect(try r.u8() == UInt8(truncatingIfNeeded: number))
        #expect(try r.u16() == UInt16(truncatingIfNeeded: number))
        #expect(try r.u32() == UInt32(truncatingIfNeeded: number))
        #expect(try r.u64() == number)
        #expect(try r.varint() == number)
        #expect(try r.signed() == Int64(bitPattern: number))
        #expect(try r.time() == time)
        #expect(try r.chunkID() == chunk)
        #expect(try r.nodeID() == node)
        #expect(try r.counted(max: 300) == blob)
        #expect(r.isAtEnd, "seed \(seed)")
      }
    }
  }

  @Test func `a varint has at most ten bytes and 64 bits`() throws {
    let tooLarge: [[UInt8]] = [
      [UInt8](repeating: 0xFF, count: 9) + [0x02],
      [UInt8](repeating: 0x80, count: 10) + [0x00],
      [UInt8](repeating: 0x80, count: 100),
      [0x80], [],
    ]
    for bytes in tooLarge {
      #expect(throws: Malformed.self) { try reading(bytes) { try $0.varint() } }
    }
    let largest = [UInt8](repeating: 0xFF, count: 9) + [0x01]
    #expect(try reading(largest) { try $0.varint() } == UInt64.max)
  }

  @Test func `a number too large for 32 bits, a count beyond its limit and a billion nanoseconds are malformed`() {
    func refuses(_ write: (inout ByteWriter) -> Void, _ read: (inout ByteReader) throws -> Void) {
      var w = ByteWriter()
      write(&w)
      #expect(throws: Malformed.self) { try reading(w.bytes, read) }
    }
    refuses({ $0.varint(1 << 32) }, { _ = try $0.varint32() })
    refuses({ $0.counted([1, 2, 3]) }, { _ = try $0.counted(max: 2) })
    refuses({ $0.varint(4); $0.raw([1, 2, 3]) }, { _ = try $0.counted(max: 100) })
    refuses({ $0.varint(UInt64.max) }, { _ = try $0.counted(max: Int.max) })
    refuses({ $0.signed(0); $0.varint(1_000_000_000) }, { _ = try $0.time() })
    refuses({ $0.u8(0) }, { _ = try $0.take(-1) })
  }

  /// Reads at random from random bytes. The bytes end where the buffer ends: a read beyond it would show in `offset`,
  /// and would trap in the checks of a debug build.
  @Test(arguments: seeds(64))
  func `a reader of rubbish stays inside its bytes`(seed: UInt64) throws {
    var random = Random(seed: seed)
    for _ in 0..<200 {
      let bytes = random.bytes(random.below(40))
      try reading(bytes) { r in
        do {
          while true {
            let before = r.offset
            switch random.below(10) {
            case 0: _ = try r.u8()
            case 1: _ = try r.u16()
            case 2: _ = try r.u32()
            case 3: _ = try r.u64()
            case 4: _ = try r.varint()
            case 5: _ = try r.signed()
            case 6: #expect(try r.counted(max: 20).count <= 20)
            case 7: _ = try r.chunkID()
            case 8: _ = try r.time()
            default: _ = try r.take(random.below(50))
            }
            #expect(r.offset >= before && r.offset <= bytes.count, "seed \(seed)")
            if r.isAtEnd { break }
          }
        } catch { #expect(r.offset <= bytes.count && r.remaining >= 0, "seed \(seed)") }
      }
    }
  }

  @Test func `CRC-32 is the one zip uses, and may be taken in parts`() {
    let check = Array("123456789".utf8)
    #expect(check.withUnsafeBytes { Checksum.crc32($0) } == 0xCBF4_3926)
    check.withUnsafeBytes { raw in
      let head = Checksum.crc32(UnsafeRawBufferPointer(rebasing: raw[..<4]))
      #expect(Checksum.crc32(UnsafeRawBufferPointer(rebasing: raw[4...]), seed: head) == 0xCBF4_3926)
    }
  }

  @Test func `a chunk's id is its SHA-256`() {
    let id = Array("abc".utf8).withUnsafeBytes { ChunkID(of: $0) }
    #expect(id == ChunkID(0xba7816bf8f01cfea, 0x414140de5dae2223, 0xb00361a396177a9c, 0xb410ff61f20015ad))
  }
}

struct SipHashTests {
  /// SipHash-1-3, written once more from the paper, byte by byte: the other way to get it wrong.
  private func reference(_ bytes: [UInt8], _ k0: UInt64, _ k1: UInt64) -> UInt64 {
    var v: [UInt64] = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]
    func rotate(_ x: UInt64, _ by: UInt64) -> UInt64 { (x << by) | (x >> (64 - by)) }
    func round() {
      v[0] &+= v[1]; v[1] = rotate(v[1], 13); v[1] ^= v[0]; v[0] = rotate(v[0], 32)
      v[2] &+= v[3]; v[3] = rotate(v[3], 16); v[3] ^= v[2]
      v[0] &+= v[3]; v[3] = rotate(v[3], 21); v[3] ^= v[0]
      v[2] &+= v[1]; v[1] = rotate(v[1], 17); v[1] ^= v[2]; v[2] = rotate(v[2], 32)
    }
    var padded = bytes
    while padded.count % 8 != 7 { padded.append(0) }
    padded.append(UInt8(truncatingIfNeeded: bytes.count))
    for start in stride(from: 0, to: padded.count, by: 8) {
      let word = (0..<8).reduce(UInt64(0)) { $0 | UInt64(padded[start + $1]) << (8 * UInt64($1)) }
      v[3] ^= word
      round()
      v[0] ^= word
    }
    v[2] ^= 0xFF
    round(); round(); round()
    return v[0] ^ v[1] ^ v[2] ^ v[3]
  }

  @Test func `names of every length hash as the paper says`() {
    for count in 0...255 {
      let name = (0..<count).map { UInt8($0) }
      #expect(SipHash.hash(name, key: (0x0706050403020100, 0x0f0e0d0c0b0a0908)) == reference(name, 0x0706050403020100, 0x0f0e0d0c0b0a0908))
    }
    // The published vectors of SipHash-1-3 for this key begin with these (empty, and the byte 0).
    #expect(SipHash.hash([], key: (0x0706050403020100, 0x0f0e0d0c0b0a0908)) == 0xabac_0158_050f_c4dc)
    #expect(SipHash.hash([0], key: (0x0706050403020100, 0x0f0e0d0c0b0a0908)) == 0xc9f4_9bf3_7d57_ca93)
  }

  @Test func `another key is another order`() {
    let names = (0..<200).map { Array("file-\($0)".utf8) }
    func order(_ key: (UInt64, UInt64)) -> [[UInt8]] { names.sorted { SipHash.hash($0, key: key) < SipHash.hash($1, key: key) } }
    #expect(order((1, 2)) == order((1, 2)))
    #expect(order((1, 2)) != order((1, 3)))
    #expect(order((1, 2)) != order((0, 2)))
    #expect(Set(names.map { SipHash.hash($0, key: (1, 2)) }).count == names.count)
  }
}
