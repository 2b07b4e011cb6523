// A journal segment that will never change again, kept small: its operations without the frames that once travelled
// with them (the optimiser has moved those to packs), compressed. The byte table is in docs/format.md.
//
//   header { magic u32 · version u16 · 0 u16 · plain length u64 · CRC-32 u32 · 0 u32 } ·
//   blocks { plain length u32 · stored length u32 · codec u8 · 0 u8 ×3 · CRC-32 of the payload u32 · payload }
//
// What must stay true: the plain bytes are the segment's header and its operation and mark records, byte for byte.

enum JournalArchive {
  private static let magic: UInt32 = 0x5241_4C56  // "VLAR"
  private static let version: UInt16 = 1
  private static let headerLength = 24
  private static let blockHeaderLength = 16
  private static let blockBytes = 1 << 20
  private static let level: Int32 = 6
  /// More than a segment can be.
  private static let plainBytesMax = 256 << 20

  /// The archive of the segment in `plain`.
  static func encode(_ plain: [UInt8]) -> [UInt8] {
    var w = ByteWriter(capacity: plain.count / 3 + 64)
    w.u32(magic); w.u16(version); w.u16(0); w.u64(UInt64(plain.count))
    w.u32(w.bytes.withUnsafeBytes { Checksum.crc32($0) })
    w.u32(0)
    let encoder = Encoder()
    plain.withUnsafeBytes { raw in
      var at = 0
      while at < raw.count {
        let block = UnsafeRawBufferPointer(rebasing: raw[at..<min(at + blockBytes, raw.count)])
        let (codec, stored) = encoder.zstd(block, level: level)
        w.u32(UInt32(block.count)); w.u32(UInt32(stored.count)); w.u8(codec.rawValue); w.u8(0); w.u16(0)
        w.u32(Checksum.crc32(stored))
        w.raw(stored)
        at += block.count
      }
    }
    withExtendedLifetime(encoder) {}
    return w.bytes
  }

  /// - Returns: the segment; nil where `bytes` is not a whole, valid archive.
  static func decode(_ bytes: UnsafeRawBufferPointer) -> Buffer? {
    do throws(Malformed) {
      var r = ByteReader(bytes)
      guard try r.u32() == magic, try r.u16() == version, try r.u16() == 0 else { return nil }
      let length = try r.u64()
      let crc = Checksum.crc32(UnsafeRawBufferPointer(rebasing: bytes[0..<r.offset]))
      guard try r.u32() == crc, try r.u32() == 0, length <= plainBytesMax else { return nil }
      let plain = Buffer(capacity: Int(length)), decoder = Decoder()
      while !r.isAtEnd {
        let count = Int(try r.u32()), stored = Int(try r.u32())
        guard let codec = Codec(rawValue: try r.u8()), try r.u8() == 0, try r.u16() == 0 else { return nil }
        let crc = try r.u32(), payload = try r.take(stored)
        guard Checksum.crc32(payload) == crc, plain.count + count <= plain.capacity,
          decoder.decode(codec, payload, into: UnsafeMutableRawBufferPointer(start: plain.base + plain.count, count: count), prefix: nil) else { return nil }
        plain.count += count
      }
      return plain.count == Int(length) ? plain : nil
    } catch { return nil }
  }
}
