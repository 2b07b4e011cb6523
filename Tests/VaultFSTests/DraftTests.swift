// Unsaved bytes of a file, against an array of bytes.

import Testing
@testable import VaultFS

struct DraftTests {
  private func read(_ draft: Draft, over saved: [UInt8]) -> [UInt8] {
    var buffer = saved
    buffer.withUnsafeMutableBytes { draft.overlay($0, at: 0) }
    return buffer
  }

  @Test(arguments: seeds(48))
  func `the newest bytes win, and each is counted once`(seed: UInt64) {
    var random = Random(seed: seed)
    let draft = Draft(), size = 40_000
    var saved = [UInt8](repeating: 0, count: size), model = saved, isDirty = [Bool](repeating: false, count: size), dirty = 0
    for _ in 0..<300 {
      switch random.below(20) {
      case 0 where draft.saving.isEmpty:
        // A save begins: what is dirty now is being saved, and goes on being read.
        draft.saving = draft.dirty
        draft.dirty = []
        isDirty = [Bool](repeating: false, count: size)
        dirty = 0
      case 1 where !draft.saving.isEmpty:
        if random.chance(50) {
          for run in draft.saving { saved.replaceSubrange(Int(run.offset)..<Int(run.end), with: run.bytes) }
          draft.saving = []
        } else {
          // It failed: its bytes are dirty again, but for those that were written over meanwhile.
          let failed = draft.saving
          draft.saving = []
          for run in failed {
            for index in Int(run.offset)..<Int(run.end) { isDirty[index] = true }
            dirty += draft.insert(run.bytes, at: run.offset, onlyGaps: true)
          }
        }
      default:
        let start = random.below(size - 1), count = 1 + random.below(min(size - start, random.chance(10) ? size : 700))
        let bytes = random.bytes(count)
        dirty += bytes.withUnsafeBytes { draft.insert($0, at: UInt64(start)) }
        model.replaceSubrange(start..<start + count, with: bytes)
        for index in start..<start + count { isDirty[index] = true }
      }
      #expect(read(draft, over: saved) == model, "seed \(seed)")
      #expect(zip(draft.dirty, draft.dirty.dropFirst()).allSatisfy { $0.end <= $1.offset }, "seed \(seed)")
      #expect(draft.charge == dirty, "seed \(seed)")
      #expect(draft.dirty.reduce(0) { $0 + $1.count } == isDirty.count { $0 }, "seed \(seed)")
    }
  }

  @Test func `a long stream is a few full runs, not one that grows without end`() {
    let draft = Draft(), block = [UInt8](repeating: 1, count: 100_000)
    for step in 0..<80 { block.withUnsafeBytes { _ = draft.insert($0, at: UInt64(step * block.count)) } }
    #expect(draft.charge == 8_000_000)
    #expect(draft.dirty.allSatisfy { $0.count <= Draft.runBytesMax } && draft.dirty.count <= 5)
  }

  @Test func `what the chunker leaves over goes back in front of what follows`() {
    let draft = Draft(), stream = (0..<Draft.runBytesMax + 500_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
    stream[..<Draft.runBytesMax].withUnsafeBytes { _ = draft.insert($0, at: 0) }
    draft.saving = draft.dirty
    draft.dirty = []
    stream[Draft.runBytesMax...].withUnsafeBytes { _ = draft.insert($0, at: UInt64(Draft.runBytesMax)) }
    let leftover = Draft.runBytesMax - 200_000
    draft.saving = []
    stream[leftover..<Draft.runBytesMax].withUnsafeBytes { _ = draft.insert($0, at: UInt64(leftover), onlyGaps: true) }
    #expect(draft.dirty.count == 1, "in the room kept for it")
    #expect(draft.dirty.first.map { Array($0.bytes) } == Array(stream[leftover...]))
  }
}

struct ZeroRunTests {
  @Test(arguments: seeds(32))
  func `zeros are split off in runs of at least 16 KiB, and nothing else is`(seed: UInt64) {
    var random = Random(seed: seed)
    var bytes: [UInt8] = []
    for _ in 0..<1 + random.below(6) {
      let count = random.below(60_000)
      bytes += random.chance(50) ? [UInt8](repeating: 0, count: count) : random.bytes(count)
    }
    bytes.withUnsafeBytes { raw in
      let parts = ZeroRuns.split(raw, at: 0)
      var at = 0
      for part in parts {
        #expect(part.range.lowerBound == at, "seed \(seed)")
        at = part.range.upperBound
        let slice = UnsafeRawBufferPointer(rebasing: raw[part.range])
        if part.isZero { #expect(slice.isAllZero, "seed \(seed)") } else {
          // Inside data no five aligned blocks of zeros are left (four that are aligned to the file make a hole).
          var run = 0
          for byte in slice { run = byte == 0 ? run + 1 : 0; if run >= 5 * 4096 + 4096 { break } }
          #expect(run < 6 * 4096, "seed \(seed)")
        }
      }
      #expect(at == raw.count, "seed \(seed)")
    }
  }
}
