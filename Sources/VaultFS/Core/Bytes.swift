// Reading and writing the fields of our formats: little-endian integers, LEB128 varints, counted bytes.
// A reader never trusts a length: every take is checked against what is there, and throws `Malformed`.

import Glibc

/// Bytes that are not what the format says. Where and what is known only to the caller, who names it.
struct Malformed: Error {
  /// An operation's, which a newer program may know.
  var kind: UInt8?
}

struct ByteWriter {
  private(set) var bytes: [UInt8] = []
  init(capacity: Int = 256) { bytes.reserveCapacity(capacity) }
  var count: Int { bytes.count }

  mutating func u8(_ value: UInt8) { bytes.append(value) }
  mutating func u16(_ value: UInt16) { fixed(value) }
  mutating func u32(_ value: UInt32) { fixed(value) }
  mutating func u64(_ value: UInt64) { fixed(value) }
  mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 { bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80); rest >>= 7 }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }
  mutating func signed(_ value: Int64) { varint(zigzag(value)) }
  private func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }
  /// A difference of two moments, nanoseconds: mostly whole microseconds.
  mutating func interval(_ value: Int64) {
    if value % 1000 == 0 { varint(zigzag(value / 1000) + 1) } else { varint(0); signed(value) }
  }
  mutating func raw(_ value: some Sequence<UInt8>) { bytes.append(contentsOf: value) }
  mutating func raw(_ value: UnsafeRawBufferPointer) { unsafe bytes.append(contentsOf: value) }
  mutating func counted(_ value: [UInt8]) { varint(UInt64(value.count)); bytes.append(contentsOf: value) }
  mutating func id(_ value: ChunkID) {
    for word in [value.words.0, value.words.1, value.words.2, value.words.3] { fixed(word.bigEndian) }
  }
  mutating func id(_ value: NodeID) { fixed(value.high.bigEndian); fixed(value.low.bigEndian) }
  mutating func time(_ value: Timestamp) { signed(value.seconds); varint(UInt64(value.nanoseconds)) }
  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }
  mutating func patch(u32 value: UInt32, at offset: Int) {
    for i in 0..<4 { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(i))) }
  }
  mutating func pad(to alignment: Int) { while bytes.count % alignment != 0 { bytes.append(0) } }
  private mutating func fixed<T: FixedWidthInteger>(_ value: T) {
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }
}

@safe struct ByteReader {
  private let base: UnsafeRawBufferPointer
  private(set) var offset = 0
  /// `base` must outlive the reader.
  init(_ base: UnsafeRawBufferPointer) { unsafe self.base = unsafe base }
  var remaining: Int { unsafe base.count - offset }
  var isAtEnd: Bool { remaining == 0 }

  mutating func u8() throws(Malformed) -> UInt8 { try fixed() }
  mutating func u16() throws(Malformed) -> UInt16 { try fixed() }
  mutating func u32() throws(Malformed) -> UInt32 { try fixed() }
  mutating func u64() throws(Malformed) -> UInt64 { try fixed() }
  mutating func varint() throws(Malformed) -> UInt64 {
    var value: UInt64 = 0, shift: UInt64 = 0
    while true {
      let byte = try u8()
      if shift == 63 && byte > 1 { throw Malformed() }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift += 7
      if shift > 63 { throw Malformed() }
    }
  }
  mutating func varint32() throws(Malformed) -> UInt32 {
    guard let value = UInt32(exactly: try varint()) else { throw Malformed() }
    return value
  }
  mutating func signed() throws(Malformed) -> Int64 { unzigzag(try varint()) }
  private func unzigzag(_ raw: UInt64) -> Int64 { Int64(bitPattern: (raw >> 1) ^ (0 &- (raw & 1))) }
  mutating func interval() throws(Malformed) -> Int64 {
    let raw = try varint()
    return raw == 0 ? try signed() : unzigzag(raw - 1) &* 1000
  }
  mutating func counted(max: Int) throws(Malformed) -> [UInt8] {
    let count = try varint()
    guard count <= UInt64(max), count <= UInt64(remaining) else { throw Malformed() }
    return unsafe Array(try take(Int(count)))
  }
  mutating func take(_ count: Int) throws(Malformed) -> UnsafeRawBufferPointer {
    guard count >= 0, count <= remaining else { throw Malformed() }
    defer { offset += count }
    return unsafe UnsafeRawBufferPointer(rebasing: base[offset..<offset + count])
  }
  mutating func chunkID() throws(Malformed) -> ChunkID {
    ChunkID(UInt64(bigEndian: try fixed()), UInt64(bigEndian: try fixed()),
            UInt64(bigEndian: try fixed()), UInt64(bigEndian: try fixed()))
  }
  mutating func nodeID() throws(Malformed) -> NodeID {
    NodeID(high: UInt64(bigEndian: try fixed()), low: UInt64(bigEndian: try fixed()))
  }
  mutating func time() throws(Malformed) -> Timestamp {
    let seconds = try signed()
    let nanoseconds = try varint32()
    guard nanoseconds < 1_000_000_000 else { throw Malformed() }
    return Timestamp(seconds: seconds, nanoseconds: nanoseconds)
  }
  private mutating func fixed<T: FixedWidthInteger>() throws(Malformed) -> T {
    guard MemoryLayout<T>.size <= remaining else { throw Malformed() }
    defer { offset += MemoryLayout<T>.size }
    return unsafe T(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: T.self))
  }
}

/// What the system says of an error number.
func systemMessage(_ code: Int32) -> String {
  var buffer = [CChar](repeating: 0, count: 128)
  // The POSIX form of strerror_r, which is what Glibc's module shows.
  guard unsafe strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
  return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
