// A journal segment that will never change again, kept small: its operations without the frames that once travelled
// with them (the optimiser has moved those to packs), compressed. The byte table is in docs/format.md.
//
//   header { magic u32 · version u16 · 0 u16 · segment length u64 · plain length u64 · CRC-32 u32 · 0 u32 } ·
//   blocks { plain length u32 · stored length u32 · codec u8 · column u8 · 0 u16 · CRC-32 of the payload u32 · payload }
//
// What is alike compresses best together, so the records are taken apart into columns (docs/decisions/0011).
//
// What must stay true: decoding gives the segment's header and its operation and mark records, byte for byte. A
// record's checksum and padding follow from the rest, so they are not kept.

enum JournalArchive {
  private static let magic: UInt32 = 0x5241_4C56  // "VLAR"
  private static let version: UInt16 = 2
  /// What the first vaults have: one column, the records as they stand.
  private static let versionWhole: UInt16 = 1
  private static let blockBytes = 4 << 20
  private static let level: Int32 = 6

  /// The segment's header; of each operation and mark record its kind, LSN, stamp, durable LSN and body's length; the
  /// operations' kinds; and from `bodies` on, for each kind of operation, the rest of the bodies.
  private enum Column {
    static let header = 0, kind = 1, lsn = 2, stamp = 3, durable = 4, length = 5, operation = 6, bodies = 16, count = 256
  }

  /// The archive of a segment that is nothing but its header and operation and mark records.
  static func encode(_ segment: [UInt8]) throws(Malformed) -> [UInt8] {
    let columns = try split(segment), encoder = Encoder()
    var w = ByteWriter(capacity: segment.count / 6 + 64)
    w.u32(magic); w.u16(version); w.u16(0); w.u64(UInt64(segment.count)); w.u64(UInt64(columns.reduce(0) { $0 + $1.count }))
    unsafe w.u32(w.bytes.withUnsafeBytes { unsafe Checksum.crc32($0) })
    w.u32(0)
    for (number, column) in columns.enumerated() {
      unsafe column.bytes.withUnsafeBytes { raw in
        var at = 0
        while at < raw.count {
          let block = unsafe UnsafeRawBufferPointer(rebasing: raw[at..<min(at + blockBytes, raw.count)])
          let (codec, stored) = unsafe encoder.zstd(block, level: level)
          w.u32(UInt32(block.count)); w.u32(UInt32(stored.count)); w.u8(codec.rawValue); w.u8(UInt8(number)); w.u16(0)
          unsafe w.u32(Checksum.crc32(stored))
          unsafe w.raw(stored)
          at += block.count
        }
      }
    }
    withExtendedLifetime(encoder) {}
    return w.bytes
  }

  /// - Returns: the segment; nil where `bytes` is not a whole, valid archive.
  static func decode(_ bytes: UnsafeRawBufferPointer) -> Buffer? {
    do throws(Malformed) {
      var r = unsafe ByteReader(bytes)
      guard try r.u32() == magic, case let found = try r.u16(), [version, versionWhole].contains(found), try r.u16() == 0 else { return nil }
      let segmentLength = try r.u64(), length = try r.u64()
      let crc = unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: bytes[0..<r.offset]))
      guard try r.u32() == crc, try r.u32() == 0, length <= Limits.segmentBytesMax, segmentLength <= Limits.segmentBytesMax else { return nil }
      let plain = Buffer(capacity: Int(length)), decoder = Decoder()
      defer { withExtendedLifetime(plain) {} }
      // The columns stand one behind the other, in the order of their numbers.
      var columns = [Range<Int>](repeating: 0..<0, count: Column.count), last = 0
      while !r.isAtEnd {
        let count = Int(try r.u32()), stored = Int(try r.u32())
        guard let codec = Codec(rawValue: try r.u8()) else { return nil }
        let column = Int(try r.u8())
        guard try r.u16() == 0, column >= last else { return nil }
        let crc = try r.u32(), payload = try unsafe r.take(stored)
        guard unsafe Checksum.crc32(payload) == crc, plain.count + count <= plain.capacity,
          unsafe decoder.decode(codec, payload, into: UnsafeMutableRawBufferPointer(start: plain.base + plain.count, count: count), prefix: nil) else { return nil }
        columns[column] = (column == last ? columns[column].lowerBound : plain.count)..<plain.count + count
        last = column
        plain.count += count
      }
      guard plain.count == Int(length) else { return nil }
      let readers = columns.map { unsafe ByteReader(UnsafeRawBufferPointer(rebasing: plain.bytes[$0])) }
      let segment = found == version ? try join(readers, capacity: Int(segmentLength)) : try expand(readers[Column.header], capacity: Int(segmentLength))
      return segment.count == Int(segmentLength) ? segment : nil
    } catch { return nil }
  }

  private static func split(_ segment: [UInt8]) throws(Malformed) -> [ByteWriter] {
    var columns = [ByteWriter](repeating: ByteWriter(capacity: 0), count: Column.count)
    var malformed = false
    unsafe segment.withUnsafeBytes { raw in
      do throws(Malformed) {
        let header = try unsafe SegmentHeader(decoding: raw)
        unsafe columns[Column.header].raw(UnsafeRawBufferPointer(rebasing: raw[0..<SegmentHeader.length]))
        var at = SegmentHeader.length, lsn: UInt64 = 0, stamp: UInt64 = 0
        while at < raw.count {
          let rest = unsafe UnsafeRawBufferPointer(rebasing: raw[at...])
          let record = try unsafe RecordHeader(decoding: rest, seed: header.seed)
          columns[Column.kind].u8(record.kind.rawValue)
          columns[Column.lsn].signed(Int64(bitPattern: record.lsn.value &- lsn))
          columns[Column.stamp].interval(Int64(bitPattern: record.stamp &- stamp))
          columns[Column.durable].signed(Int64(bitPattern: record.lsn.value &- record.durable.value))
          columns[Column.length].varint(UInt64(record.bodyLength))
          if record.bodyLength > 0 {
            let kind = unsafe rest[RecordHeader.length]
            guard Column.bodies + Int(kind) < Column.count else { throw Malformed() }
            columns[Column.operation].u8(kind)
            unsafe columns[Column.bodies + Int(kind)].raw(
              UnsafeRawBufferPointer(rebasing: rest[RecordHeader.length + 1..<RecordHeader.length + record.bodyLength]))
          }
          (lsn, stamp) = (record.lsn.value, record.stamp)
          at += record.paddedLength
        }
      } catch { malformed = true }
    }
    if malformed { throw Malformed() }
    return columns
  }

  private static func join(_ given: [ByteReader], capacity: Int) throws(Malformed) -> Buffer {
    var columns = given, w = ByteWriter(capacity: capacity), lsn: UInt64 = 0, stamp: UInt64 = 0
    let head = try unsafe columns[Column.header].take(SegmentHeader.length), header = try unsafe SegmentHeader(decoding: head)
    unsafe w.raw(head)
    while !columns[Column.kind].isAtEnd {
      guard let kind = RecordHeader.Kind(rawValue: try columns[Column.kind].u8()) else { throw Malformed() }
      lsn = lsn &+ UInt64(bitPattern: try columns[Column.lsn].signed())
      stamp = stamp &+ UInt64(bitPattern: try columns[Column.stamp].interval())
      let durable = lsn &- UInt64(bitPattern: try columns[Column.durable].signed())
      guard let length = Int(exactly: try columns[Column.length].varint()), length <= Limits.recordBytesMax, w.count + length <= capacity else { throw Malformed() }
      let record = RecordHeader(kind: kind, bodyLength: length, lsn: LSN(lsn), stamp: stamp, durable: LSN(durable))
      guard length > 0 else {
        unsafe record.encode(into: &w, body: [], seed: header.seed)
        continue
      }
      let operation = try columns[Column.operation].u8()
      guard Column.bodies + Int(operation) < Column.count else { throw Malformed() }
      unsafe record.encode(into: &w, body: [operation], try columns[Column.bodies + Int(operation)].take(length - 1), seed: header.seed)
    }
    guard columns.allSatisfy(\.isAtEnd) else { throw Malformed() }
    return Buffer(w.bytes)
  }

  /// Of an archive in one column.
  private static func expand(_ plain: ByteReader, capacity: Int) throws(Malformed) -> Buffer {
    var r = plain, w = ByteWriter(capacity: capacity), lsn: UInt64 = 0, stamp: UInt64 = 0
    let head = try unsafe r.take(SegmentHeader.length), header = try unsafe SegmentHeader(decoding: head)
    unsafe w.raw(head)
    while !r.isAtEnd {
      guard let kind = RecordHeader.Kind(rawValue: try r.u8()) else { throw Malformed() }
      lsn = lsn &+ UInt64(bitPattern: try r.signed())
      stamp = stamp &+ UInt64(bitPattern: try r.signed())
      let durable = lsn &- UInt64(bitPattern: try r.signed())
      guard let length = Int(exactly: try r.varint()), length <= Limits.recordBytesMax, w.count + length <= capacity else { throw Malformed() }
      let record = RecordHeader(kind: kind, bodyLength: length, lsn: LSN(lsn), stamp: stamp, durable: LSN(durable))
      unsafe record.encode(into: &w, body: [], try r.take(length), seed: header.seed)
    }
    return Buffer(w.bytes)
  }
}

extension Buffer {
  fileprivate convenience init(_ bytes: [UInt8]) {
    self.init(capacity: bytes.count)
    unsafe bytes.withUnsafeBytes { unsafe append($0) }
  }
}
