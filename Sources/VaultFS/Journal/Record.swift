// Records of a journal segment. The byte table is in docs/format.md.
//
//   segment: header { magic u32 · version u16 · 0 u16 · vault id 16 · salt u64 · first LSN u64 · device 8 ·
//            incarnation u32 · CRC-32 u32 } then records
//   record:  magic u32 · kind u8 · flags u8 · origin u16 · body length u32 · CRC-32 u32 · LSN u64 · stamp u64 ·
//            durable LSN u64 · body · zeros to a multiple of 8
//
// What must stay true: a record's checksum covers its header, its body and the segment's salt, so a stale block of a
// recycled disk region never validates. `durable` is the last LSN known to be on disk when the record was written:
// it is the witness that tells a torn tail from damage.

struct SegmentHeader {
  static let magic: UInt32 = 0x474F_4C56  // "VLOG"
  static let version: UInt16 = 1
  static let length = 56
  static let saltOffset = 24

  var vault: NodeID
  var salt: UInt64
  var firstLSN: LSN
  var device: UInt64
  var incarnation: UInt32

  func encoded() -> [UInt8] {
    var w = ByteWriter(capacity: Self.length)
    w.u32(Self.magic); w.u16(Self.version); w.u16(0); w.id(vault); w.u64(salt); w.u64(firstLSN.value)
    w.u64(device); w.u32(incarnation)
    unsafe w.u32(w.bytes.withUnsafeBytes { unsafe Checksum.crc32($0) })
    return w.bytes
  }

  init(vault: NodeID, salt: UInt64, firstLSN: LSN, device: UInt64, incarnation: UInt32) {
    (self.vault, self.salt, self.firstLSN, self.device, self.incarnation) = (vault, salt, firstLSN, device, incarnation)
  }

  init(decoding bytes: UnsafeRawBufferPointer) throws(Malformed) {
    guard bytes.count >= Self.length else { throw Malformed() }
    var r = unsafe ByteReader(bytes)
    guard try r.u32() == Self.magic, try r.u16() == Self.version, try r.u16() == 0 else { throw Malformed() }
    vault = try r.nodeID(); salt = try r.u64(); firstLSN = LSN(try r.u64()); device = try r.u64(); incarnation = try r.u32()
    let crc = unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: bytes[0..<r.offset]))
    guard try r.u32() == crc else { throw Malformed() }
  }

  var seed: UInt32 { unsafe withUnsafeBytes(of: salt.littleEndian) { unsafe Checksum.crc32($0) } }
}

struct RecordHeader {
  enum Kind: UInt8 {
    case operation = 1
    /// A frame of chunks that the next operation names.
    case frame = 2
    /// Nothing but the durable mark: written when the journal falls silent, and at a clean end.
    case mark = 3
  }
  static let magic: UInt32 = 0x4352_4C56  // "VLRC"
  static let length = 40

  var kind: Kind
  var bodyLength: Int
  var lsn: LSN
  /// A hybrid logical clock: nanoseconds since 1970, never smaller than that of an earlier record.
  var stamp: UInt64
  var durable: LSN

  var paddedLength: Int { (Self.length + bodyLength + 7) & ~7 }

  /// Appends header, body and padding.
  func encode(into w: inout ByteWriter, body: [UInt8], _ more: UnsafeRawBufferPointer? = nil, seed: UInt32) {
    let start = w.count
    w.u32(Self.magic); w.u8(kind.rawValue); w.u8(0); w.u16(0); w.u32(UInt32(bodyLength)); w.u32(0)
    w.u64(lsn.value); w.u64(stamp); w.u64(durable.value)
    w.raw(body)
    if let more = unsafe more { unsafe w.raw(more) }
    let crc = unsafe w.bytes.withUnsafeBytes { unsafe Self.checksum(UnsafeRawBufferPointer(rebasing: $0[start...]), seed: seed) }
    w.patch(u32: crc, at: start + 12)
    w.pad(to: 8)
  }

  /// Of a record's bytes without padding, its own checksum field left out.
  private static func checksum(_ record: UnsafeRawBufferPointer, seed: UInt32) -> UInt32 {
    let head = unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: record[0..<12]), seed: seed)
    return unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: record[16...]), seed: head)
  }

  init(kind: Kind, bodyLength: Int, lsn: LSN, stamp: UInt64, durable: LSN) {
    (self.kind, self.bodyLength, self.lsn, self.stamp, self.durable) = (kind, bodyLength, lsn, stamp, durable)
  }

  /// - Throws: `Malformed` where `bytes` does not begin with a whole, valid record.
  init(decoding bytes: UnsafeRawBufferPointer, seed: UInt32) throws(Malformed) {
    var r = unsafe ByteReader(bytes)
    guard try r.u32() == Self.magic, let kind = Kind(rawValue: try r.u8()), try r.u8() == 0, try r.u16() == 0 else { throw Malformed() }
    let length = try r.u32(), crc = try r.u32()
    guard length <= Limits.recordBytesMax else { throw Malformed() }
    self.kind = kind
    bodyLength = Int(length)
    lsn = LSN(try r.u64()); stamp = try r.u64(); durable = LSN(try r.u64())
    guard Self.length + bodyLength <= bytes.count,
      unsafe Self.checksum(UnsafeRawBufferPointer(rebasing: bytes[0..<Self.length + bodyLength]), seed: seed) == crc else { throw Malformed() }
  }
}
