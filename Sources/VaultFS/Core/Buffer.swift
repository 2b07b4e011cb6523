// Memory for content: allocated once and reused.
//
// Large transient arrays make glibc grow its heaps for good, or give memory back and fault it in again with every use.
// So pieces above 32 KiB come straight from the kernel in multiples of 64 KiB, and a bounded amount of them is kept.

import Glibc
import Synchronization

/// A run of bytes with a length, at an address that stays.
///
/// Swift may release an object after its last use, though a pointer into it is still in use: whoever makes a buffer and
/// uses its `bytes` in the same function ends with `withExtendedLifetime(buffer) {}`.
@safe final class Buffer: @unchecked Sendable {
  // Sendable: whoever holds a buffer that others can reach guards it by the lock of what holds it; a decoded
  // frame's buffer is written once, before it is shared.
  let base: UnsafeMutableRawPointer
  let capacity: Int
  var count = 0

  /// - Parameter capacity: at least; bytes.
  init(capacity: Int) {
    if capacity > PagePool.smallMax {
      self.capacity = (capacity + PagePool.unit - 1) / PagePool.unit * PagePool.unit
      unsafe base = unsafe PagePool.shared.take(self.capacity)
    } else {
      self.capacity = max(capacity, 1)
      unsafe base = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: 16)
    }
  }
  deinit {
    if capacity > PagePool.smallMax { unsafe PagePool.shared.give(base, capacity) } else { unsafe base.deallocate() }
  }

  /// There must be room.
  func append(_ more: UnsafeRawBufferPointer) {
    precondition(count + more.count <= capacity)
    if let source = more.baseAddress { unsafe memcpy(base + count, source, more.count) }
    count += more.count
  }

  var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: base, count: count) }
  var space: UnsafeMutableRawBufferPointer { unsafe UnsafeMutableRawBufferPointer(start: base, count: capacity) }
}

private final class PagePool: @unchecked Sendable {
  // Sendable: `state` is a Mutex; the pieces in it belong to nobody else.
  static let shared = PagePool()
  static let smallMax = 32 << 10
  static let unit = 64 << 10
  /// Kept for reuse, bytes.
  private static let keptMax = 8 << 20

  @safe private struct State: @unchecked Sendable {
    var pieces: [Int: [UnsafeMutableRawPointer]] = unsafe [:]
    var bytes = 0
  }
  private let state = Mutex(State())

  func take(_ capacity: Int) -> UnsafeMutableRawPointer {
    let kept: UInt? = state.withLock { state in
      guard let piece = unsafe state.pieces[capacity]?.popLast() else { return nil }
      state.bytes -= capacity
      return UInt(bitPattern: piece)
    }
    if let kept { return unsafe UnsafeMutableRawPointer(bitPattern: kept)! }
    guard let fresh = unsafe mmap(nil, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), unsafe fresh != MAP_FAILED else {
      fatalError("no memory for \(capacity) bytes")
    }
    return unsafe fresh
  }

  /// Where there is no room, pieces of other sizes give way: those of a time when others were needed would stay for ever.
  func give(_ piece: UnsafeMutableRawPointer, _ capacity: Int) {
    let address = UInt(bitPattern: piece)
    let excess: [(address: UInt, capacity: Int)] = state.withLock { state in
      var excess: [(address: UInt, capacity: Int)] = []
      while state.bytes + capacity > Self.keptMax, let other = unsafe state.pieces.first(where: { unsafe $0.key != capacity && !$0.value.isEmpty })?.key {
        unsafe excess.append((UInt(bitPattern: state.pieces[other]!.removeLast()), other))
        state.bytes -= other
      }
      guard state.bytes + capacity <= Self.keptMax else { return excess + [(address, capacity)] }
      unsafe state.pieces[capacity, default: []].append(UnsafeMutableRawPointer(bitPattern: address)!)
      state.bytes += capacity
      return excess
    }
    for piece in excess { unsafe munmap(UnsafeMutableRawPointer(bitPattern: piece.address)!, piece.capacity) }
  }
}
