// A journal segment that will never change again, kept small: its operations without the frames that once travelled
// with them (the optimiser has moved those to packs), compressed. The byte table is in docs/format.md.
//
//   header { magic u32 · version u16 · 0 u16 · segment length u64 · compact length u64 · CRC-32 u32 · 0 u32 } ·
//   blocks { plain length u32 · stored length u32 · codec u8 · 0 u8 ×3 · CRC-32 of the payload u32 · payload }
//   plain:   segment header · records { kind u8 · LSN, stamp and LSN - durable as varints, the first two as differences
//            to the record before · body length varint · body }
//
// What must stay true: decoding gives the segment's header and its operation and mark records, byte for byte. A
// record's checksum and padding follow from the rest, so they are not kept.

enum JournalArchive {
  private static let magic: UInt32 = 0x5241_4C56  // "VLAR"
  private static let version: UInt16 = 1
  private static let blockBytes = 1 << 20
  private static let level: Int32 = 6
  /// More than a segment can be.
  private static let plainBytesMax = 256 << 20

  /// The archive of a segment that is nothing but its header and operation and mark records.
  static func encode(_ segment: [UInt8]) throws(Malformed) -> [UInt8] {
    let plain = try compact(segment)
    var w = ByteWriter(capacity: plain.count / 3 + 64)
    w.u32(magic); w.u16(version); w.u16(0); w.u64(UInt64(segment.count)); w.u64(UInt64(plain.count))
    unsafe w.u32(w.bytes.withUnsafeBytes { unsafe Checksum.crc32($0) })
    w.u32(0)
    let encoder = Encoder()
    unsafe plain.withUnsafeBytes { raw in
      var at = 0
      while at < raw.count {
        let block = unsafe UnsafeRawBufferPointer(rebasing: raw[at..<min(at + blockBytes, raw.count)])
        let (codec, stored) = unsafe encoder.zstd(block, level: level)
        w.u32(UInt32(block.count)); w.u32(UInt32(stored.count)); w.u8(codec.rawValue); w.u8(0); w.u16(0)
        unsafe w.u32(Checksum.crc32(stored))
        unsafe w.raw(stored)
        at += block.count
      }
    }
    withExtendedLifetime(encoder) {}
    return w.bytes
  }

  /// - Returns: the segment; nil where `bytes` is not a whole, valid archive.
  static func decode(_ bytes: UnsafeRawBufferPointer) -> Buffer? {
    do throws(Malformed) {
      var r = unsafe ByteReader(bytes)
      guard try r.u32() == magic, try r.u16() == version, try r.u16() == 0 else { return nil }
      let segmentLength = try r.u64(), length = try r.u64()
      let crc = unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: bytes[0..<r.offset]))
      guard try r.u32() == crc, try r.u32() == 0, length <= plainBytesMax, segmentLength <= plainBytesMax else { return nil }
      let plain = Buffer(capacity: Int(length)), decoder = Decoder()
      while !r.isAtEnd {
        let count = Int(try r.u32()), stored = Int(try r.u32())
        guard let codec = Codec(rawValue: try r.u8()), try r.u8() == 0, try r.u16() == 0 else { return nil }
        let crc = try r.u32(), payload = try unsafe r.take(stored)
        guard unsafe Checksum.crc32(payload) == crc, plain.count + count <= plain.capacity,
          unsafe decoder.decode(codec, payload, into: UnsafeMutableRawBufferPointer(start: plain.base + plain.count, count: count), prefix: nil) else { return nil }
        plain.count += count
      }
      defer { withExtendedLifetime(plain) {} }
      guard plain.count == Int(length) else { return nil }
      let segment = try unsafe expand(plain.bytes, capacity: Int(segmentLength))
      return segment.count == Int(segmentLength) ? segment : nil
    } catch { return nil }
  }

  private static func compact(_ segment: [UInt8]) throws(Malformed) -> [UInt8] {
    var w = ByteWriter(capacity: segment.count)
    var malformed = false
    unsafe segment.withUnsafeBytes { raw in
      do throws(Malformed) {
        let header = try unsafe SegmentHeader(decoding: raw)
        unsafe w.raw(UnsafeRawBufferPointer(rebasing: raw[0..<SegmentHeader.length]))
        var at = SegmentHeader.length, lsn: UInt64 = 0, stamp: UInt64 = 0
        while at < raw.count {
          let rest = unsafe UnsafeRawBufferPointer(rebasing: raw[at...])
          let record = try unsafe RecordHeader(decoding: rest, seed: header.seed)
          w.u8(record.kind.rawValue)
          w.signed(Int64(bitPattern: record.lsn.value &- lsn)); w.signed(Int64(bitPattern: record.stamp &- stamp))
          w.signed(Int64(bitPattern: record.lsn.value &- record.durable.value))
          w.varint(UInt64(record.bodyLength))
          unsafe w.raw(UnsafeRawBufferPointer(rebasing: rest[RecordHeader.length..<RecordHeader.length + record.bodyLength]))
          (lsn, stamp) = (record.lsn.value, record.stamp)
          at += record.paddedLength
        }
      } catch { malformed = true }
    }
    if malformed { throw Malformed() }
    return w.bytes
  }

  private static func expand(_ plain: UnsafeRawBufferPointer, capacity: Int) throws(Malformed) -> Buffer {
    let header = try unsafe SegmentHeader(decoding: plain)
    var w = ByteWriter(capacity: capacity), r = unsafe ByteReader(plain), lsn: UInt64 = 0, stamp: UInt64 = 0
    unsafe w.raw(try r.take(SegmentHeader.length))
    while !r.isAtEnd {
      guard let kind = RecordHeader.Kind(rawValue: try r.u8()) else { throw Malformed() }
      lsn = lsn &+ UInt64(bitPattern: try r.signed())
      stamp = stamp &+ UInt64(bitPattern: try r.signed())
      let durable = lsn &- UInt64(bitPattern: try r.signed())
      guard let length = Int(exactly: try r.varint()), length <= Limits.recordBytesMax, w.count + length <= capacity else { throw Malformed() }
      let record = RecordHeader(kind: kind, bodyLength: length, lsn: LSN(lsn), stamp: stamp, durable: LSN(durable))
      unsafe record.encode(into: &w, body: [], try r.take(length), seed: header.seed)
    }
    let segment = Buffer(capacity: w.count)
    segment.count = w.count
    unsafe w.bytes.withUnsafeBytes { unsafe segment.space.copyMemory(from: $0) }
    return segment
  }
}
