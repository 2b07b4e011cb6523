// Where content is cut. The cuts are part of the format: what changes them makes old and new vaults share nothing.

import Testing
@testable import VaultFS

struct ChunkerTests {
  private func cuts(_ bytes: [UInt8]) -> [Int] {
    bytes.withUnsafeBytes { raw in
      var rest = raw[...], lengths: [Int] = []
      while !rest.isEmpty {
        let length = Chunker.firstCut(UnsafeRawBufferPointer(rebasing: rest))
        lengths.append(length)
        rest = rest.dropFirst(length)
      }
      return lengths
    }
  }

  /// The definition, as plainly as it can be written: feed a byte, test, cut after it.
  private func plainCut(_ bytes: ArraySlice<UInt8>) -> Int {
    var state = Random(seed: 0x5661_756C_7446_5331)
    let gear = (0..<256).map { _ in state.next() }
    let count = min(bytes.count, Limits.chunkBytesMax), start = bytes.startIndex
    guard count > Limits.chunkBytesMin else { return count }
    var hash: UInt64 = 0
    for fed in Limits.chunkBytesMin - 64..<count {
      hash = (hash &<< 1) &+ gear[Int(bytes[start + fed])]
      guard fed >= Limits.chunkBytesMin else { continue }
      if hash >> (64 - (fed < Limits.chunkBytesAverage ? 18 : 14)) == 0 { return fed + 1 }
    }
    return count
  }

  @Test func `the format's test vector is cut where it always was`() {
    var random = Random(seed: 1)
    let bytes = random.bytes(1 << 20)
    #expect(cuts(bytes) == [89480, 74675, 26534, 66267, 51660, 80532, 79004, 146998, 97268, 69156, 79443, 101654, 37115, 48790])
  }

  @Test(arguments: seeds(6))
  func `two bytes a step cut where one byte a step would`(seed: UInt64) {
    var random = Random(seed: seed)
    var rest = random.bytes(1_500_000 + random.below(3))[...]
    while !rest.isEmpty {
      let length = rest.withUnsafeBytes { Chunker.firstCut($0) }
      #expect(length == plainCut(rest), "seed \(seed), \(rest.startIndex) bytes in")
      rest = rest.dropFirst(length)
    }
  }

  @Test(arguments: seeds(8))
  func `the same bytes are cut the same, within the limits, and nothing is left out`(seed: UInt64) {
    var random = Random(seed: seed)
    let bytes = random.content(1_000_000 + random.below(2_000_000))
    let lengths = cuts(bytes)
    #expect(lengths == cuts(Array(bytes)), "seed \(seed)")
    #expect(lengths.reduce(0, +) == bytes.count, "seed \(seed)")
    #expect(lengths.allSatisfy { $0 <= Limits.chunkBytesMax }, "seed \(seed)")
    #expect(lengths.dropLast().allSatisfy { $0 > Limits.chunkBytesMin }, "seed \(seed)")
  }

  @Test(arguments: seeds(4))
  func `a byte put in front moves most cuts by one byte and no more`(seed: UInt64) {
    var random = Random(seed: seed)
    let bytes = random.bytes(8 << 20)
    func places(_ lengths: [Int]) -> Set<Int> {
      var at = 0
      return Set(lengths.map { at += $0; return at })
    }
    let before = places(cuts(bytes)), after = places(cuts([7] + bytes).map { $0 })
    let kept = before.intersection(after.map { $0 - 1 })
    #expect(kept.count * 10 >= before.count * 9, "seed \(seed): \(kept.count) of \(before.count) cuts kept")
  }

  @Test func `the average of random content is what the design says`() {
    var random = Random(seed: 99)
    let count = cuts(random.bytes(32 << 20)).count
    let average = (32 << 20) / count
    #expect((60 << 10)...(90 << 10) ~= average, "\(average) bytes")
  }

  @Test(arguments: [0, 1, 63, 64, Limits.chunkBytesMin - 1, Limits.chunkBytesMin, Limits.chunkBytesMin + 1])
  func `what is not longer than the minimum is one chunk`(count: Int) {
    var random = Random(seed: 5)
    let bytes = random.bytes(count)
    #expect(bytes.withUnsafeBytes { Chunker.firstCut($0) } == count)
  }
}
