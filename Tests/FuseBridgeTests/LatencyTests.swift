// How long requests took, as a session counts it.

import Foundation
import Glibc
import Testing
@testable import FuseBridge

@Suite(.serialized) struct LatencyTests {
  @Test func `every request that was answered is in one bucket of its kind`() throws {
    try InProcessMount.run(EmptyFS()) { mount in
      for index in 0..<200 { #expect(access("\(mount.path)/\(index)", F_OK) == -1) }
      // The answer is on its way before the worker has looked at the clock.
      usleep(50_000)
      let latencies = mount.session.requestLatencies, counts = mount.session.requestCounts
      #expect(latencies.kinds.contains(.lookup) && !latencies.kinds.contains(.write))
      for kind in latencies.kinds { #expect(latencies.buckets(kind).reduce(0, +) == counts[kind], "\(kind)") }
      let sum = latencies.nanoseconds(.lookup), buckets = latencies.buckets(.lookup)
      let low = buckets.enumerated().reduce(0.0) { $0 + ($1.offset == 0 ? 0 : Double($1.element) * pow(2, Double($1.offset - 1))) }
      #expect(Double(sum) >= low && Double(sum) <= low * 2)
    }
  }

  @Test func `a bucket holds what is below its power of two`() {
    for (nanoseconds, bucket) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1023, 10), (1024, 11), (.max, 39)] as [(UInt64, Int)] { #expect(LatencyRecorder.bucket(nanoseconds) == bucket) }
  }
}
