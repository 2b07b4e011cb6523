// What a chunk is like: twelve features and six super-features, so that a chunk of a later release is found to
// resemble its predecessor though no byte range of a chunk's size is the same.
//
// Source: Zhang et al., "Finesse" (FAST'19), and Shilane et al., "Delta Compressed and Deduplicated Storage"
// (HotStorage'12): maxima of linear transforms of sampled rolling hashes, grouped so that equal groups mean
// resemblance. Numbers measured in docs/decisions/0002-chunks-and-frames.md.

struct Sketch {
  static let superFeatureCount = 6
  private static let featureCount = 12
  var superFeatures: [UInt32]

  /// Chunks shorter than this are neither like others nor others like them: the saving is not worth a second frame.
  static let bytesMin = 8 << 10

  init(of plain: UnsafeRawBufferPointer) {
    var features = [UInt64](repeating: 0, count: Self.featureCount)
    unsafe Chunker.gear.withUnsafeBufferPointer { gear in
      let table = gear.baseAddress!, base = unsafe plain.baseAddress!.assumingMemoryBound(to: UInt8.self)
      let sampled: UInt64 = 63 << 42
      var hash: UInt64 = 0
      for index in 0..<plain.count {
        hash = unsafe (hash &<< 1) &+ table[Int(base[index])]
        guard hash & sampled == 0 else { continue }
        for k in 0..<Self.featureCount {
          var value = (hash >> 16) &* Self.transforms[k].0 &+ Self.transforms[k].1
          value ^= value >> 32
          features[k] = max(features[k], value)
        }
      }
    }
    superFeatures = (0..<Self.superFeatureCount).map { group in
      var x = UInt64(group + 1)
      for feature in features[2 * group..<2 * group + 2] {
        x = (x ^ feature) &* 0xFF51_AFD7_ED55_8CCD
        x ^= x >> 33
      }
      return UInt32(truncatingIfNeeded: x)
    }
  }

  private static let transforms: [(UInt64, UInt64)] = {
    var state: UInt64 = 77
    func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var word = state
      word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
      word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
      return word ^ (word >> 31)
    }
    return (0..<featureCount).map { _ in (next() | 1, next()) }
  }()
}

/// Which frame a chunk resembles. Bounded; forgets everything when it is full, which costs space and nothing else.
/// Not thread-safe.
struct SimilarityIndex {
  private struct Base {
    var superFeatures: [UInt32]
    var frame: FramePlace
  }
  private static let basesMax = 60_000
  private var bases: [Base] = []
  private var first: [UInt64: Int32] = [:]
  private var last = -1

  mutating func insert(_ sketch: Sketch, in frame: FramePlace) {
    if bases.count >= Self.basesMax { self = SimilarityIndex() }
    let index = Int32(bases.count)
    bases.append(Base(superFeatures: sketch.superFeatures, frame: frame))
    for (group, value) in sketch.superFeatures.enumerated() where first[key(group, value)] == nil { first[key(group, value)] = index }
  }

  /// The frame with the chunk most like this one. A chunk that follows the one found last in its frame's order needs
  /// less likeness: content mostly goes on as it did.
  mutating func frame(like sketch: Sketch) -> FramePlace? {
    var candidates: Set<Int> = []
    for (group, value) in sketch.superFeatures.enumerated() { if let index = first[key(group, value)] { candidates.insert(Int(index)) } }
    let following = last < 0 ? 0..<0 : last..<min(last + 4, bases.count)
    candidates.formUnion(following)
    var best = -1, bestScore = 0
    for index in candidates.sorted() {
      let equal = zip(bases[index].superFeatures, sketch.superFeatures).reduce(0) { $0 + ($1.0 == $1.1 ? 1 : 0) }
      guard equal >= (following.contains(index) ? 1 : 2) else { continue }
      let score = 2 * equal + (index >= last ? 1 : 0)
      if score > bestScore { (best, bestScore) = (index, score) }
    }
    guard best >= 0 else { return nil }
    last = best
    return bases[best].frame
  }

  private func key(_ group: Int, _ value: UInt32) -> UInt64 { UInt64(group) << 32 | UInt64(value) }
}
