// Walks the frames of a pack: what recovery and `rebuild` learn the chunks from, and the optimiser what it may move.

enum PackScanner {
  /// How a frame was found: behind the one before it, or by its magic behind something damaged. In the second case it
  /// may be part of what a program stored: it must not be believed without a look at its content.
  enum Find { case following, searched }

  /// Calls `visit` for each whole frame from `offset` on, in order.
  /// A frame with a valid header and a damaged payload is passed over: those behind it are as good as any.
  /// - Parameter verifyPayload: also check the payload's checksum. (Always done where no footer says that the pack was finished.)
  /// - Parameter searches: where no valid header follows, look for the next one; else stop there.
  /// - Returns: where the last frame ends; nil where something was passed over.
  @discardableResult
  static func frames(of file: any DiskFile, from offset: UInt64, verifyPayload: Bool, searches: Bool = false,
                     _ visit: (FrameHeader, UInt64, Find) throws(VaultError) -> Void) throws(VaultError) -> UInt64? {
    let footer = try PackFooter(of: file), size = try file.size(), limit = footer?.end ?? size
    var at = max(offset, UInt64(PackHeader.length)), isWhole = true, find = Find.following
    let buffer = Buffer(capacity: FrameHeader.headerLength(chunks: Limits.frameChunksMax))
    defer { withExtendedLifetime(buffer) {} }
    while at < limit {
      guard let header = try header(of: file, at: at, buffer), at + UInt64(header.totalLength) <= limit else {
        guard searches, let next = try nextMagic(in: file, from: at + 1, to: limit) else { break }
        (at, isWhole, find) = (next, false, .searched)
        continue
      }
      if verifyPayload || footer == nil, !(try isPayloadValid(header, at: at, of: file)) { isWhole = false } else { try visit(header, at, find) }
      at += UInt64(header.totalLength)
    }
    return isWhole ? at : nil
  }

  /// Bytes that are searched at a time.
  private static let searchBytes = 1 << 20

  /// The next place from `start` on that may be the beginning of a frame.
  private static func nextMagic(in file: any DiskFile, from start: UInt64, to limit: UInt64) throws(VaultError) -> UInt64? {
    let window = Buffer(capacity: searchBytes), length = MemoryLayout<UInt32>.size
    defer { withExtendedLifetime(window) {} }
    var at = start
    while at + UInt64(length) <= limit {
      let count = Int(min(UInt64(searchBytes), limit - at))
      window.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: window.base, count: count), at: at)
      guard window.count == count else { return nil }
      let last = count - length
      if let found = (0...last).first(where: { unsafe UInt32(littleEndian: window.bytes.loadUnaligned(fromByteOffset: $0, as: UInt32.self)) == FrameHeader.magic }) {
        return at + UInt64(found)
      }
      at += UInt64(last + 1)
    }
    return nil
  }

  /// Every frame of the pack `number` of `vault`, which nobody writes any more.
  /// - Returns: nil where something of it is damaged or missing. A pack is whole if its frames are those its footer
  ///   sums up; one whose owner was killed before it wrote a footer, if they fill the file to the last byte.
  static func whole(_ file: any DiskFile, vault: NodeID, number: ContainerNumber) throws(VaultError) -> [(header: FrameHeader, offset: UInt64)]? {
    guard try PackHeader.check(file, vault: vault, number: number) else { return nil }
    var found = PackFooter(), all: [(header: FrameHeader, offset: UInt64)] = []
    let end = try frames(of: file, from: 0, verifyPayload: false) { header, at, _ in
      found.add(header)
      all.append((header, at))
    }
    if let footer = try PackFooter(of: file) { return footer == found ? all : nil }
    return end == (try file.size()) ? all : nil
  }

  private static func isPayloadValid(_ header: FrameHeader, at offset: UInt64, of file: any DiskFile) throws(VaultError) -> Bool {
    let payload = Buffer(capacity: header.storedLength)
    defer { withExtendedLifetime(payload) {} }
    payload.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: payload.base, count: header.storedLength), at: offset + UInt64(header.headerLength))
    return unsafe payload.count == header.storedLength && Checksum.crc32(payload.bytes) == header.payloadCRC
  }

  /// Reads the header at `offset`: first as if it named one chunk, and again if it names more.
  static func header(of file: any DiskFile, at offset: UInt64, _ buffer: Buffer) throws(VaultError) -> FrameHeader? {
    buffer.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: FrameHeader.headerLength(chunks: 1)), at: offset)
    guard buffer.count >= FrameHeader.fixedBytes else { return nil }
    let count = unsafe Int(UInt16(littleEndian: buffer.bytes.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
    let length = FrameHeader.headerLength(chunks: count)
    guard count > 0, length <= buffer.capacity else { return nil }
    if length > buffer.count {
      buffer.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: length), at: offset)
    }
    return try? unsafe FrameHeader(decoding: buffer.bytes)
  }
}
