// How long requests took, by kind: from the moment one was received until it was answered, so waiting for locks and
// disks counts, and waiting for a free thread does not.
//
// What must stay true: a recorder is written by one thread alone, hence without a locked instruction; anybody may read.

import Glibc
import Synchronization

/// As of one moment, since the mount. Bucket *i* counts what took less than 2^i nanoseconds and not less than 2^(i − 1).
public struct RequestLatencies: Sendable {
  /// The last one has everything from 4.6 minutes on.
  public static let bucketCount = 40
  private var rows: [RequestKind: (buckets: [UInt64], nanoseconds: UInt64)] = [:]
  /// Those that are being answered, each with the nanoseconds since it was received.
  public private(set) var inFlight: [(kind: RequestKind, nanoseconds: UInt64)] = []

  init(_ recorders: [LatencyRecorder]) {
    let now = LatencyRecorder.now
    inFlight = recorders.compactMap { $0.current(at: now) }
    for kind in RequestKind.allCases {
      var buckets = [UInt64](repeating: 0, count: Self.bucketCount), sum: UInt64 = 0
      for recorder in recorders {
        for index in buckets.indices { buckets[index] &+= recorder.value(kind, index) }
        sum &+= recorder.value(kind, Self.bucketCount)
      }
      if buckets.contains(where: { $0 > 0 }) { rows[kind] = (buckets, sum) }
    }
  }

  /// The kinds of which requests came.
  public var kinds: [RequestKind] { rows.keys.sorted { $0.rawValue < $1.rawValue } }
  public func buckets(_ kind: RequestKind) -> [UInt64] { rows[kind]?.buckets ?? [] }
  /// Of all requests of `kind` together.
  public func nanoseconds(_ kind: RequestKind) -> UInt64 { rows[kind]?.nanoseconds ?? 0 }
}

@safe final class LatencyRecorder: Sendable {
  private static let kinds = 64
  /// Buckets, and the sum of all durations.
  private static let width = RequestLatencies.bucketCount + 1
  nonisolated(unsafe) private let values: UnsafeMutablePointer<Atomic<UInt64>>
  /// Of the request that is being answered: when it was received, and 0 where there is none; which it is.
  private let since = Atomic<UInt64>(0), opcode = Atomic<UInt32>(0)

  init() {
    unsafe values = .allocate(capacity: Self.kinds * Self.width)
    for index in 0..<Self.kinds * Self.width { unsafe (values + index).initialize(to: Atomic(0)) }
  }
  deinit {
    unsafe values.deinitialize(count: Self.kinds * Self.width)
    unsafe values.deallocate()
  }

  /// Nanoseconds of a clock that never goes back.
  static var now: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  static func bucket(_ nanoseconds: UInt64) -> Int { min(64 - nanoseconds.leadingZeroBitCount, RequestLatencies.bucketCount - 1) }

  func begin(_ opcode: UInt32, _ now: UInt64) {
    self.opcode.store(opcode, ordering: .relaxed)
    since.store(now, ordering: .releasing)
  }

  fileprivate func current(at now: UInt64) -> (kind: RequestKind, nanoseconds: UInt64)? {
    let began = since.load(ordering: .acquiring)
    return began == 0 ? nil : RequestKind(rawValue: opcode.load(ordering: .relaxed)).map { ($0, now > began ? now - began : 0) }
  }

  func record(_ opcode: UInt32, _ nanoseconds: UInt64) {
    since.store(0, ordering: .relaxed)
    guard opcode < Self.kinds else { return }
    add(1, at: Int(opcode) * Self.width + Self.bucket(nanoseconds))
    add(nanoseconds, at: Int(opcode) * Self.width + RequestLatencies.bucketCount)
  }

  /// Not one step, and need not be: nobody else writes.
  private func add(_ value: UInt64, at index: Int) {
    let old = unsafe values[index].load(ordering: .relaxed)
    unsafe values[index].store(old &+ value, ordering: .relaxed)
  }

  fileprivate func value(_ kind: RequestKind, _ index: Int) -> UInt64 {
    unsafe values[Int(kind.rawValue) * Self.width + index].load(ordering: .relaxed)
  }
}
