// Bytes of a file, in large raw frames.

import Glibc
import VaultFS

public struct ReadRequest: VaultRequest {
  public static let name = "read"
  public static let access = Access.everyone

  public var node: NodeAddress
  public var offset: UInt64
  /// nil: to the file's end.
  public var length: UInt64?
  public init(_ node: NodeAddress, offset: UInt64 = 0, length: UInt64? = nil) { (self.node, self.offset, self.length) = (node, offset, length) }

  public struct Answer: Codable, Sendable {
    /// Fewer than asked only where the file ends.
    public var bytes: UInt64
  }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Answer {
    let info = try peer.findReadable(node, in: host.vault)
    do { return try host.vault.reading(info.inode) { file in try send(file, host.vault, answer) } } catch let error as VaultError {
      throw ServiceError(error, of: "\(node)")
    }
  }

  private func send(_ file: OpenFile, _ vault: Vault, _ answer: Receiver<Nothing>) throws -> Answer {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: WireLimits.bulkBytesMax, alignment: 4096)
    defer { unsafe buffer.deallocate() }
    var sent: UInt64 = 0
    // No file reaches beyond that, and so no sum of numbers a peer may say does.
    let start = min(offset, Limits.fileBytesMax), wanted = min(length ?? .max, Limits.fileBytesMax - start)
    while sent < wanted {
      let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(wanted - sent, UInt64(buffer.count)))])
      let count = try unsafe vault.read(file, at: start + sent, into: room)
      if count == 0 { break }
      try answer.bytes(unsafe UnsafeRawBufferPointer(rebasing: room[..<count]).bytes)
      sent += UInt64(count)
    }
    return Answer(bytes: sent)
  }
}

extension VaultService {
  /// Reads a part of a file, or all of it, and hands the bytes on as they come.
  /// - Returns: how many there were; fewer than `length` only where the file ends.
  @discardableResult
  public func read(_ node: NodeAddress, offset: UInt64 = 0, length: UInt64? = nil, _ take: @escaping (RawSpan) throws -> Void) throws -> UInt64 {
    try ask(ReadRequest(node, offset: offset, length: length), Receiver(bytes: take)).bytes
  }
}
