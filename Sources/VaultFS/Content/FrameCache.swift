// Decoded frames kept for a while, bounded in the memory they take; the least recently used goes first.
// Thread-safe. The kernel's page cache is the real cache: this one only spares decoding a frame once for each of its
// chunks or requests.

import Synchronization

final class FrameCache: Sendable {
  private struct Slot {
    let frame: DecodedFrame
    var used: UInt64
  }
  private struct State {
    var slots: [FramePlace: Slot] = [:]
    var bytes = 0
    var clock: UInt64 = 0
    var hits: UInt64 = 0
    var misses: UInt64 = 0
  }
  private let state = Mutex(State())
  private let bytesMax: Int
  init(bytesMax: Int) { self.bytesMax = bytesMax }

  func frame(_ key: FramePlace) -> DecodedFrame? {
    state.withLock { state in
      guard let found = state.slots[key]?.frame else {
        state.misses += 1
        return nil
      }
      state.hits += 1
      state.clock += 1
      state.slots[key]!.used = state.clock
      return found
    }
  }

  func insert(_ frame: DecodedFrame, _ key: FramePlace) {
    state.withLock { state in
      state.clock += 1
      if let old = state.slots.updateValue(Slot(frame: frame, used: state.clock), forKey: key) { state.bytes -= old.frame.memory }
      state.bytes += frame.memory
      // Tens to a few thousand frames: a scan a few times per megabyte decoded is cheaper than a linked list a hit.
      while state.bytes > bytesMax, state.slots.count > 1 {
        let cut = state.slots.values.map(\.used).sorted()[state.slots.count / 4]
        for (key, slot) in state.slots where slot.used <= cut {
          state.bytes -= slot.frame.memory
          state.slots[key] = nil
        }
      }
    }
  }

  /// Frames that were there when they were asked for, and those that were not, since the vault was opened.
  var uses: (hits: UInt64, misses: UInt64) { state.withLock { ($0.hits, $0.misses) } }

  func removeAll() { state.withLock { $0 = State() } }
}
