// How many requests of each kind the kernel sent: for statistics, and for tests of what caching saves.

import Synchronization

/// A kind of request. Values are the kernel's opcodes.
public enum RequestKind: UInt32, CaseIterable, Sendable {
  case lookup = 1, forget, attributes, setAttributes, readLink, makeSymlink
  case makeNode = 8, makeDirectory, unlink, removeDirectory, rename, link, open, read, write, statistics, release
  case sync = 20, setXattr, xattr, xattrNames, removeXattr, flush, initialize
  case openDirectory, readDirectory, releaseDirectory, syncDirectory, getLock, setLock, setLockWaiting, access
  case create, interrupt, blockMap, destroy, control, poll, notifyReply, forgetMany
  case allocate, readDirectoryPlus, renameWithFlags, seek, copyRange
}

/// Counts since the mount, as of one moment. Each is exact; together they are not one instant.
public struct RequestCounts: Sendable {
  fileprivate var counts = [RequestKind: UInt64]()
  /// Bytes of files that reads were answered with and writes accepted; what the kernel's cache answers is not among them.
  public fileprivate(set) var bytesRead: UInt64 = 0
  public fileprivate(set) var bytesWritten: UInt64 = 0
  public subscript(kind: RequestKind) -> UInt64 { counts[kind, default: 0] }
  /// All requests of known kinds.
  public var total: UInt64 { counts.values.reduce(0, +) }
}

/// Written by every worker with each request: hence relaxed counters, a few nanoseconds each.
@safe final class RequestCounters: Sendable {
  private static let room = 64
  nonisolated(unsafe) private let counters: UnsafeMutablePointer<Atomic<UInt64>>
  private let bytesRead = Atomic<UInt64>(0)
  private let bytesWritten = Atomic<UInt64>(0)

  init() {
    unsafe counters = .allocate(capacity: Self.room)
    for index in 0..<Self.room { unsafe (counters + index).initialize(to: Atomic(0)) }
  }

  deinit {
    unsafe counters.deinitialize(count: Self.room)
    unsafe counters.deallocate()
  }

  func count(_ opcode: UInt32) {
    if opcode < Self.room { unsafe counters[Int(opcode)].add(1, ordering: .relaxed) }
  }

  func countRead(_ bytes: Int) { bytesRead.add(UInt64(bytes), ordering: .relaxed) }
  func countWritten(_ bytes: Int) { bytesWritten.add(UInt64(bytes), ordering: .relaxed) }

  var snapshot: RequestCounts {
    var snapshot = RequestCounts()
    (snapshot.bytesRead, snapshot.bytesWritten) = (bytesRead.load(ordering: .relaxed), bytesWritten.load(ordering: .relaxed))
    for kind in RequestKind.allCases { snapshot.counts[kind] = unsafe counters[Int(kind.rawValue)].load(ordering: .relaxed) }
    return snapshot
  }
}
