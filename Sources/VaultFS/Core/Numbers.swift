// The numbers of a vault, each in a type of its own, so that two of them cannot be swapped.

import Glibc

/// A node's local number: what `ls -i` shows. Never reused. 1 is the root, 0 is none.
public struct InodeNumber: Hashable, Sendable, Comparable {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
  public static let root = InodeNumber(1)
  public static let none = InodeNumber(0)
  public static func < (a: InodeNumber, b: InodeNumber) -> Bool { a.value < b.value }
}

/// A log sequence number: the place of one operation in the journal. The first is 1; 0 is "before any".
public struct LSN: Hashable, Sendable, Comparable {
  public let value: UInt64
  public init(_ value: UInt64) { self.value = value }
  /// Wraps, so that no number a file may hold stops the process; what follows the last one fits nothing.
  public var next: LSN { LSN(value &+ 1) }
  public static let zero = LSN(0)
  public static func < (a: LSN, b: LSN) -> Bool { a.value < b.value }
}

/// What names a vault, and a node on every device: 128 bits. A node's are the 64 random bits of the epoch that made it
/// (Operation.epoch) and its number there.
public struct NodeID: Hashable, Sendable {
  public let high: UInt64
  public let low: UInt64
  public init(high: UInt64, low: UInt64) { (self.high, self.low) = (high, low) }
  public static func random() -> NodeID {
    var generator = SystemRandomNumberGenerator()
    return NodeID(high: generator.next(), low: generator.next())
  }
}

/// SHA-256 of a chunk's plain bytes, as four big-endian words.
public struct ChunkID: Hashable, Sendable {
  public let words: (UInt64, UInt64, UInt64, UInt64)
  public init(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) { words = (a, b, c, d) }
  public static func == (a: ChunkID, b: ChunkID) -> Bool { a.words == b.words }
  public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// A chunk's local number: the first 63 bits of its id, or the next free one after a collision. 0 is none.
struct ChunkNumber: Hashable, Sendable {
  let value: UInt64
  init(_ value: UInt64) { self.value = value }
  static let none = ChunkNumber(0)
}

/// The number of a file that holds frames: a pack or a journal segment; one counter serves both.
struct ContainerNumber: Hashable, Sendable, Comparable {
  let value: UInt64
  init(_ value: UInt64) { self.value = value }
  /// Where a chunk is that something names and that is not stored any more.
  static let none = ContainerNumber(0)
  static func < (a: ContainerNumber, b: ContainerNumber) -> Bool { a.value < b.value }
}

/// Where a frame is: its header's byte offset in a container, and the bytes of header and payload.
struct FramePlace: Hashable, Sendable {
  var container: ContainerNumber
  var offset: UInt64
  var length: UInt32
  /// Where it ends, if that can be anywhere.
  var end: UInt64 { offset.addingReportingOverflow(UInt64(length)).overflow ? .max : offset + UInt64(length) }
}

/// Where a chunk's bytes are: a frame in a container, and the chunk's place in the decoded frame.
struct ChunkPlace: Hashable, Sendable {
  var frame: FramePlace
  /// Where the chunk begins in the decoded frame, bytes.
  var offsetInFrame: UInt32
}

extension Range where Bound == UInt64 {
  /// Bytes of a range of a file. (`count` is an `Int`, and not every range has one.)
  var length: UInt64 { upperBound - lowerBound }
}

/// A time as stat(2) shows it. Any 64-bit second, so nothing a program may set is lost.
public struct Timestamp: Hashable, Sendable, Comparable {
  public var seconds: Int64
  public var nanoseconds: UInt32
  public init(seconds: Int64, nanoseconds: UInt32) { (self.seconds, self.nanoseconds) = (seconds, nanoseconds) }
  public static func < (a: Timestamp, b: Timestamp) -> Bool {
    (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds)
  }
  public static let zero = Timestamp(seconds: 0, nanoseconds: 0)
  /// By the computer's clock, in whole microseconds: a thousand times finer than most kernels' own stamps, and a third
  /// of the bytes in the journal. (What programs set keeps its nanoseconds.)
  public static var now: Timestamp {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec) / 1000 * 1000)
  }
}
