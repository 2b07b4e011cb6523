// One connection, as both its sides use it: whole frames out, whole frames in, each with a deadline.
//
// What must stay true:
// 1. A peer that stalls costs a deadline, never more: no call here waits without one.
// 2. After an error a channel is of no use: where in a frame it stands nobody knows. Its user closes it.
// 3. One thread at a time uses a channel; `hangUp` may come from any.

import Glibc
import Synchronization

/// Why a channel is of no use any more.
enum ChannelError: Error {
  /// The peer closed it, or we did.
  case ended
  /// The peer took too long over one frame.
  case stalled
  /// What came is no frame.
  case malformed
  case tooLarge
  case system(Int32)
}

@safe final class Channel: @unchecked Sendable {
  // Sendable: in a pool or with one thread; `descriptor` closes when the last of them lets go.
  private let descriptor: Int32
  /// Small frames on their way.
  private var gathered: [UInt8] = []
  /// For the raw bytes of one frame; made when the first ones come.
  private var room: UnsafeMutableRawPointer?
  var lastUse = ContinuousClock.now

  /// Owns `descriptor` from now on, a connected socket.
  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    Self.setTimeouts(descriptor)
  }
  deinit {
    close(descriptor)
    unsafe room?.deallocate()
  }

  /// So that a peer that stalls in the middle of a frame lets us look at the clock.
  static func setTimeouts(_ descriptor: Int32) {
    var limit = timeval(tv_sec: 2, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] { unsafe setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size)) }
  }

  /// Ends whatever is going on here.
  func hangUp() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  /// Nothing more is asked; what comes is still heard.
  func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Whether the peer has gone, or what is there to read is nothing we asked for.
  var isUsed: Bool { poll(0, POLLIN | POLLRDHUP) }
  var hasEnded: Bool { poll(0, POLLRDHUP) }

  private func poll(_ milliseconds: Int32, _ events: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    return unsafe Glibc.poll(&entry, 1, milliseconds) > 0
  }
  private let POLLRDHUP: Int32 = 0x2000
}

// MARK: out

extension Channel {
  /// - Parameter isUrgent: small frames that are not wait for others to go with.
  func send(_ kind: FrameKind, _ bytes: RawSpan, isUrgent: Bool) throws(ChannelError) {
    guard let header = FrameHeader(kind, count: bytes.byteCount) else { throw .tooLarge }
    gathered += header.bytes
    if bytes.byteCount <= WireLimits.gatherBytes {
      unsafe bytes.withUnsafeBytes { unsafe gathered.append(contentsOf: $0) }
      if isUrgent || gathered.count >= WireLimits.gatherBytes { try flush(RawSpan()) }
    } else { try flush(bytes) }
  }

  func send(_ kind: FrameKind, _ bytes: [UInt8], isUrgent: Bool = true) throws(ChannelError) { try send(kind, unsafe bytes.span.bytes, isUrgent: isUrgent) }

  /// Sends what was gathered, and `bytes` right behind, from where they are.
  private func flush(_ bytes: RawSpan) throws(ChannelError) {
    let deadline = ContinuousClock.now + WireLimits.frameTime, total = gathered.count + bytes.byteCount
    var sent = 0
    while sent < total {
      let count = unsafe gathered.withUnsafeBytes { first in unsafe bytes.withUnsafeBytes { unsafe sendParts(first, $0, from: sent) } }
      if count >= 0 { sent += count } else { try Self.check(errno) }
      if sent < total, ContinuousClock.now > deadline { throw .stalled }
    }
    gathered.removeAll(keepingCapacity: true)
    lastUse = .now
  }

  private func sendParts(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, from start: Int) -> Int {
    let skipped = min(start, first.count), rest = start - skipped
    var parts = unsafe [iovec(iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress.map { unsafe $0 + skipped }), iov_len: first.count - skipped),
                        iovec(iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress.map { unsafe $0 + rest }), iov_len: second.count - rest)]
    return unsafe parts.withUnsafeMutableBufferPointer { parts in
      var message = unsafe msghdr()
      unsafe message.msg_iov = parts.baseAddress
      unsafe message.msg_iovlen = parts.count
      return unsafe sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
    }
  }
}

// MARK: in

extension Channel {
  /// The next frame's header.
  /// - Returns: nil where none has begun within `patience`.
  func header(within patience: Duration) throws(ChannelError) -> FrameHeader? {
    let deadline = ContinuousClock.now + patience
    while !poll(Int32(clamping: (deadline - .now).milliseconds), POLLIN) { if ContinuousClock.now >= deadline { return nil } }
    var bytes = [UInt8](repeating: 0, count: FrameHeader.length)
    try fill(&bytes)
    guard let header = FrameHeader(bytes) else { throw .malformed }
    return header
  }

  /// The bytes that belong to `header`, copied: for JSON.
  func payload(_ header: FrameHeader) throws(ChannelError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: header.count)
    try fill(&bytes)
    return bytes
  }

  /// The bytes that belong to `header`, in this channel's own room, for as long as `body` runs.
  func withPayload(_ header: FrameHeader, _ body: (RawSpan) throws -> Void) throws {
    let start = unsafe room ?? UnsafeMutableRawPointer.allocate(byteCount: WireLimits.bulkBytesMax, alignment: 4096)
    unsafe room = unsafe start
    try unsafe fill(UnsafeMutableRawBufferPointer(start: start, count: min(header.count, WireLimits.bulkBytesMax)))
    try body(unsafe UnsafeRawBufferPointer(start: start, count: min(header.count, WireLimits.bulkBytesMax)).bytes)
  }

  private func fill(_ bytes: inout [UInt8]) throws(ChannelError) {
    let failure: ChannelError? = unsafe bytes.withUnsafeMutableBytes { raw in
      do throws(ChannelError) { try unsafe fill(raw) } catch { return error }
      return nil
    }
    if let failure { throw failure }
  }

  private func fill(_ buffer: UnsafeMutableRawBufferPointer) throws(ChannelError) {
    let deadline = ContinuousClock.now + WireLimits.frameTime
    var got = 0
    while got < buffer.count {
      let count = unsafe recv(descriptor, buffer.baseAddress! + got, buffer.count - got, Int32(MSG_WAITALL))
      if count == 0 { throw .ended }
      if count > 0 { got += count } else { try Self.check(errno) }
      if got < buffer.count, ContinuousClock.now > deadline { throw .stalled }
    }
    lastUse = .now
  }

  /// - Throws: unless trying again may help.
  private static func check(_ code: Int32) throws(ChannelError) {
    switch code {
    case EINTR, EAGAIN: return
    case EPIPE, ECONNRESET, ENOTCONN: throw .ended
    default: throw .system(code)
    }
  }
}

extension Duration {
  var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
