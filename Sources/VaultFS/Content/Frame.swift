// A frame: what is compressed together, and says what it holds. The byte table is in docs/format.md.
//
//   magic u32 · codec u8 · cipher u8 (0) · chunk count u16 · plain length u32 · stored length u32 ·
//   payload CRC-32 u32 · base container u64 · base offset u64 · base length u32 (the three: zero without a base) ·
//   per chunk { id 32 bytes · length u32 · CRC-32 u32 } · header CRC-32 u32 · payload
//
// A frame may name a base: a frame that itself has none, whose plain bytes are the prefix it was compressed with.
//
// What must stay true: a reader that asks for a chunk compares the id, not only the place; header and payload are
// checked before a byte is decoded; the decoded chunk's CRC-32 is checked before a byte is handed out. Checksums do not
// say who wrote something: every length and place is checked as well before it is used.

struct FrameChunk: Hashable {
  var id: ChunkID
  /// Plain bytes.
  var length: UInt32
  /// CRC-32 of the plain bytes.
  var crc: UInt32
}

struct FrameHeader {
  static let magic: UInt32 = 0x4D52_4656  // "VFRM"
  static let fixedBytes = 40
  static let chunkBytes = 40
  /// What a frame may hold, plain or stored, and how long it may be with its header; bytes.
  static let contentBytesMax = 2 * Limits.frameBytesMax
  static let totalBytesMax = headerLength(chunks: Limits.frameChunksMax) + contentBytesMax

  var codec: Codec
  var plainLength: Int
  var storedLength: Int
  var payloadCRC: UInt32
  /// The frame whose plain bytes are the prefix of this one's compression.
  var base: FramePlace?
  var chunks: [FrameChunk]

  var headerLength: Int { Self.headerLength(chunks: chunks.count) }
  var totalLength: Int { headerLength + storedLength }
  static func headerLength(chunks: Int) -> Int { fixedBytes + chunks * chunkBytes + 4 }

  func encode(into writer: inout ByteWriter) {
    let start = writer.count
    writer.u32(Self.magic)
    writer.u8(codec.rawValue)
    writer.u8(0)
    writer.u16(UInt16(chunks.count))
    writer.u32(UInt32(plainLength))
    writer.u32(UInt32(storedLength))
    writer.u32(payloadCRC)
    writer.u64(base?.container.value ?? 0)
    writer.u64(base?.offset ?? 0)
    writer.u32(base?.length ?? 0)
    for chunk in chunks {
      writer.id(chunk.id)
      writer.u32(chunk.length)
      writer.u32(chunk.crc)
    }
    let crc = unsafe writer.bytes.withUnsafeBytes { unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    writer.u32(crc)
  }

  /// - Throws: `Malformed` where `bytes` does not begin with a whole, valid header.
  init(decoding bytes: UnsafeRawBufferPointer) throws(Malformed) {
    var reader = unsafe ByteReader(bytes)
    guard try reader.u32() == Self.magic, let codec = Codec(rawValue: try reader.u8()), try reader.u8() == 0 else { throw Malformed() }
    let count = Int(try reader.u16())
    plainLength = Int(try reader.u32())
    storedLength = Int(try reader.u32())
    payloadCRC = try reader.u32()
    let place = FramePlace(container: ContainerNumber(try reader.u64()), offset: try reader.u64(), length: try reader.u32())
    base = codec == .zstdDelta ? place : nil
    guard codec == .zstdDelta ? place.isPossible : place == .none else { throw Malformed() }
    guard count > 0, count <= Limits.frameChunksMax, plainLength <= Self.contentBytesMax, storedLength <= Self.contentBytesMax else { throw Malformed() }
    self.codec = codec
    chunks = []
    chunks.reserveCapacity(count)
    var sum = 0
    for _ in 0..<count {
      let chunk = FrameChunk(id: try reader.chunkID(), length: try reader.u32(), crc: try reader.u32())
      guard chunk.length > 0 else { throw Malformed() }
      sum += Int(chunk.length)
      chunks.append(chunk)
    }
    let crc = unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: bytes[0..<reader.offset]))
    guard try reader.u32() == crc, sum == plainLength else { throw Malformed() }
  }

  init(codec: Codec, plain: Int, stored: UnsafeRawBufferPointer, base: FramePlace? = nil, chunks: [FrameChunk]) {
    (self.codec, plainLength, storedLength, self.base, self.chunks) = (codec, plain, stored.count, codec == .zstdDelta ? base : nil, chunks)
    payloadCRC = unsafe Checksum.crc32(stored)
  }
}

extension FramePlace {
  fileprivate static let none = FramePlace(container: ContainerNumber(0), offset: 0, length: 0)
  /// Whether a frame can be as long as this, and where this says.
  fileprivate var isPossible: Bool {
    length > FrameHeader.headerLength(chunks: 1) && Int(length) <= FrameHeader.totalBytesMax && offset <= UInt64(Int64.max) - UInt64(length)
  }
}

/// A frame as it is stored: its header and its payload are what their checksums say, and nothing was decoded.
struct StoredFrame {
  let header: FrameHeader
  /// Header and payload.
  let bytes: Buffer

  init(reading file: any DiskFile, at place: FramePlace) throws(VaultError) {
    guard place.isPossible else { throw .damaged("length or place", place, in: file) }
    let length = Int(place.length), raw = Buffer(capacity: length)
    defer { withExtendedLifetime(raw) {} }
    raw.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: raw.base, count: length), at: place.offset)
    guard raw.count == length, let header = try? unsafe FrameHeader(decoding: raw.bytes), header.totalLength == length else { throw .damaged("header", place, in: file) }
    (self.header, bytes) = (header, raw)
    guard unsafe Checksum.crc32(payload) == header.payloadCRC else { throw .damaged("payload checksum", place, in: file) }
  }

  /// For as long as `bytes` lives.
  var payload: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(rebasing: bytes.bytes[header.headerLength...]) }
}

extension VaultError {
  fileprivate static func damaged(_ what: String, _ place: FramePlace, in file: any DiskFile) -> VaultError {
    .chunkDamaged(detail: "\(what) of the frame at \(place.offset) in \(file.path)")
  }
}

/// A frame's plain bytes and what they are; immutable once made.
final class DecodedFrame: Sendable {
  let chunks: [FrameChunk]
  private let hasBase: Bool
  private let buffer: Buffer
  /// Where the plain bytes begin in `buffer`: a raw frame is kept as it was read, header and all.
  private let start: Int
  private var plain: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[start...]) }

  /// What it costs to keep it, about; bytes.
  var memory: Int { Self.overhead + chunks.count * MemoryLayout<FrameChunk>.stride + buffer.count }
  /// Of the objects, and of what remembers them.
  private static let overhead = 512

  /// The frame's plain bytes, for as long as `body` runs.
  func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
    defer { withExtendedLifetime(self) {} }
    return unsafe body(plain)
  }

  /// Reads, checks and decodes the frame at `place`, which is in `file`.
  /// - Parameter isBase: another frame was compressed against it, so it must not name a base.
  /// - Parameter base: finds the frame it was compressed against, if it names one.
  init(reading file: any DiskFile, at place: FramePlace, isBase: Bool = false, decoder: Decoder,
       base: (FramePlace) throws(VaultError) -> DecodedFrame) throws(VaultError) {
    func damaged(_ what: String) -> VaultError { .damaged(what, place, in: file) }
    let stored = try StoredFrame(reading: file, at: place), header = stored.header
    defer { withExtendedLifetime(stored) {} }
    // Bases that have bases could go round in a circle.
    guard !isBase || header.base == nil else { throw damaged("base") }
    chunks = header.chunks
    hasBase = header.base != nil
    if header.codec == .raw {
      guard header.storedLength == header.plainLength else { throw damaged("encoding") }
      (buffer, start) = (stored.bytes, header.headerLength)
      // Of a single chunk, which most raw frames hold, the payload's checksum is the content's.
      if chunks.count == 1 {
        guard header.payloadCRC == chunks[0].crc, Int(chunks[0].length) == header.plainLength else { throw damaged("content") }
        return
      }
    } else {
      (buffer, start) = (Buffer(capacity: header.plainLength), 0)
      buffer.count = header.plainLength
      let plain = unsafe UnsafeMutableRawBufferPointer(start: buffer.base, count: buffer.count)
      let decoded: Bool
      if let place = header.base {
        let base = try base(place)
        guard !base.hasBase else { throw damaged("base") }
        decoded = unsafe base.withBytes { unsafe decoder.decode(header.codec, stored.payload, into: plain, prefix: $0) }
      } else {
        decoded = unsafe decoder.decode(header.codec, stored.payload, into: plain, prefix: nil)
      }
      guard decoded else { throw damaged("encoding") }
    }
    var at = 0
    for chunk in chunks {
      guard unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: plain[at..<at + Int(chunk.length)])) == chunk.crc else { throw damaged("content") }
      at += Int(chunk.length)
    }
  }

  /// Calls `body` with the plain bytes of the chunk that begins at `offset`, if it is the one named.
  /// - Returns: what `body` does; nil where the frame holds no such chunk there.
  func withChunk<R>(_ id: ChunkID, at offset: UInt32, _ body: (UnsafeRawBufferPointer) -> R?) -> R? {
    defer { withExtendedLifetime(self) {} }
    var at: UInt32 = 0
    for chunk in chunks {
      if at == offset {
        guard chunk.id == id else { return nil }
        return unsafe body(UnsafeRawBufferPointer(rebasing: plain[Int(at)..<Int(at) + Int(chunk.length)]))
      }
      at += chunk.length
    }
    return nil
  }
}
