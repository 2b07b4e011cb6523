// Walks the frames of a pack: what recovery and `rebuild` learn the chunks from, and the optimiser what it may move.

enum PackScanner {
  /// How a frame was found: behind the one before it, or by its magic behind something damaged. In the second case it
  /// may be part of what a program stored: it must not be believed without a look at its content.
  enum Find { case following, searched }

  /// Calls `visit` for each whole frame from `offset` on, in order, up to where no valid header follows.
  /// A frame with a valid header and a damaged payload is passed over: those behind it are as good as any.
  /// - Parameter verifyPayload: also check the payload's checksum. (Always done where no footer says that the pack was finished.)
  /// - Returns: where the last frame ends; nil where something was passed over.
  @discardableResult
  static func frames(of file: any DiskFile, from offset: UInt64, verifyPayload: Bool,
                     _ visit: (FrameHeader, UInt64, Find) throws(VaultError) -> Void) throws(VaultError) -> UInt64? {
    try walk(file, from: offset, verifyPayload: verifyPayload, searches: false) { header, at, find throws(VaultError) in
      try visit(header, at, find)
      return true
    }
  }

  /// As `frames`; and where no valid header follows, it looks for the next one.
  /// - Parameter visit: returns whether it believes the frame. Where it does not believe one that was searched for, the
  ///   search goes on right behind that one's first byte: its length is worth no more than the rest of it.
  /// - Returns: whether nothing was passed over.
  @discardableResult
  static func search(_ file: any DiskFile, from offset: UInt64, verifyPayload: Bool = true,
                     _ visit: (FrameHeader, UInt64, Find) throws(VaultError) -> Bool) throws(VaultError) -> Bool {
    try walk(file, from: offset, verifyPayload: verifyPayload, searches: true, visit) != nil
  }

  /// For each byte of a pack, so many of payloads are looked at that turn out to be none; from then on, lengths are
  /// believed. (A program can store headers that each name the next ones as their payload.)
  private static let doubtsMax: UInt64 = 64

  private static func walk(_ file: any DiskFile, from offset: UInt64, verifyPayload: Bool, searches: Bool,
                           _ visit: (FrameHeader, UInt64, Find) throws(VaultError) -> Bool) throws(VaultError) -> UInt64? {
    let footer = try PackFooter(of: file), size = try file.size(), limit = footer?.end ?? size
    var at = max(offset, UInt64(PackHeader.length)), isWhole = true, find = Find.following
    var search = FrameSearch(file, limit: min(limit, Limits.packBytesMax)), doubts = Self.doubtsMax * min(limit, Limits.packBytesMax)
    let buffer = Buffer(capacity: FrameHeader.headerLength(chunks: Limits.frameChunksMax))
    defer { withExtendedLifetime(buffer) {} }
    while at < limit {
      let header = try header(of: file, at: at, buffer).flatMap { at + UInt64($0.totalLength) <= limit ? $0 : nil }
      if let header {
        var isBelieved = true
        if verifyPayload || footer == nil { isBelieved = try isPayloadValid(header, at: at, of: file) }
        if isBelieved { isBelieved = try visit(header, at, find) }
        if !isBelieved { isWhole = false }
        if isBelieved || find == .following || doubts < UInt64(header.totalLength) {
          at += UInt64(header.totalLength)
          continue
        }
        doubts -= UInt64(header.totalLength)
      }
      guard searches, let next = try search.next(from: at + 1) else { break }
      (at, isWhole, find) = (next, false, .searched)
    }
    return isWhole ? at : nil
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

/// Looks for what may be the beginning of a frame. It reads forwards, and keeps what it has read.
private struct FrameSearch {
  private static let windowBytes = 1 << 20
  /// Of a header, what is looked at here: up to and with the lengths.
  private static let prefixBytes = 16
  private let file: any DiskFile
  private let limit: UInt64
  private let window = Buffer(capacity: windowBytes)
  /// Where the window is in the file.
  private var start: UInt64 = 0

  init(_ file: any DiskFile, limit: UInt64) { (self.file, self.limit) = (file, limit) }

  mutating func next(from first: UInt64) throws(VaultError) -> UInt64? {
    var at = first
    while at + UInt64(FrameHeader.headerLength(chunks: 1)) <= limit {
      if at < start || at + UInt64(Self.prefixBytes) > start + UInt64(window.count) { guard try read(at) else { return nil } }
      let bytes = unsafe window.bytes
      for place in Int(at - start)...bytes.count - Self.prefixBytes {
        if unsafe mayBegin(bytes, place) { return start + UInt64(place) }
      }
      at = start + UInt64(bytes.count - Self.prefixBytes + 1)
    }
    return nil
  }

  /// - Returns: false where the file is shorter by now.
  private mutating func read(_ at: UInt64) throws(VaultError) -> Bool {
    let count = Int(min(UInt64(Self.windowBytes), limit - at))
    (start, window.count) = (at, 0)
    window.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: window.base, count: count), at: at)
    return window.count == count
  }

  /// What most that is none fails by, so that little of it is read again.
  private func mayBegin(_ bytes: UnsafeRawBufferPointer, _ place: Int) -> Bool {
    func word(_ offset: Int) -> UInt32 { unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: place + offset, as: UInt32.self)) }
    return unsafe word(0) == FrameHeader.magic && Codec(rawValue: bytes[place + 4]) != nil && bytes[place + 5] == 0
      && word(8) <= UInt32(FrameHeader.contentBytesMax) && word(12) <= UInt32(FrameHeader.contentBytesMax)
  }
}
