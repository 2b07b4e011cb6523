// Walks the frames of a container's file: what recovery and `rebuild` learn the chunks from.

enum PackScanner {
  /// Calls `visit` for each whole, valid frame from `offset` on, in order, and stops at the first thing that is not one.
  /// - Parameter verifyPayload: also check the payload's checksum.
  /// - Returns: where the last valid frame ends.
  static func frames(of file: any DiskFile, from offset: UInt64, verifyPayload: Bool,
                     _ visit: (FrameHeader, UInt64) throws(VaultError) -> Void) throws(VaultError) -> UInt64 {
    let size = try file.size()
    var at = max(offset, UInt64(PackHeader.length))
    let buffer = Buffer(capacity: FrameHeader.headerLength(chunks: Limits.frameChunksMax))
    defer { withExtendedLifetime(buffer) {} }
    while at < size {
      let probe = FrameHeader.fixedBytes + FrameHeader.chunkBytes + 4
      guard let header = try header(of: file, at: at, probe: probe, buffer) else { break }
      let end = at + UInt64(header.totalLength)
      guard end <= size else { break }
      if verifyPayload {
        let payload = Buffer(capacity: header.storedLength)
        defer { withExtendedLifetime(payload) {} }
        payload.count = try file.read(into: UnsafeMutableRawBufferPointer(start: payload.base, count: header.storedLength), at: at + UInt64(header.headerLength))
        guard payload.count == header.storedLength, Checksum.crc32(payload.bytes) == header.payloadCRC else { break }
      }
      try visit(header, at)
      at = end
    }
    return at
  }

  /// Reads the header at `offset`: first as if it named one chunk, and again if it names more.
  static func header(of file: any DiskFile, at offset: UInt64, probe: Int, _ buffer: Buffer) throws(VaultError) -> FrameHeader? {
    buffer.count = try file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: probe), at: offset)
    guard buffer.count >= FrameHeader.fixedBytes else { return nil }
    let count = Int(UInt16(littleEndian: buffer.bytes.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
    let length = FrameHeader.headerLength(chunks: count)
    guard count > 0, length <= buffer.capacity else { return nil }
    if length > buffer.count {
      buffer.count = try file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: length), at: offset)
    }
    return try? FrameHeader(decoding: buffer.bytes)
  }
}
