// Small numbers for things that have none of their own, so that the kernel can name them.
//
// What must stay true:
// 1. A slot means one thing for as long as the kernel refers to it: it is given to another thing only after the kernel
//    has let go of all that it was told. Who kept its number elsewhere (a file handle) tells by the generation.
// 2. It grows no further than what the kernel refers to at a time, and a number of things that stay known although it
//    does not: so that a thing looked at again soon has the number that it had.

import Synchronization

final class SlotTable<Key: Hashable & Sendable>: Sendable {
  private struct Slot {
    var key: Key
    var generation: UInt32 = 0
    var references: UInt64 = 0
    /// It is in `idle`, where it may be although it is referred to again.
    var isQueued = false
  }
  private struct State {
    var slots: [Slot] = []
    var index: [Key: Int] = [:]
    /// Slots that nobody referred to when they came here, the one that came first at `firstIdle`.
    var idle: [Int] = []
    var firstIdle = 0

    mutating func popIdle() -> Int? {
      while firstIdle < idle.count {
        let slot = idle[firstIdle]
        firstIdle += 1
        if firstIdle > 4096, firstIdle > idle.count / 2 {
          idle.removeFirst(firstIdle)
          firstIdle = 0
        }
        slots[slot].isQueued = false
        if slots[slot].references == 0 { return slot }
      }
      return nil
    }
  }
  private let state = Mutex(State())
  private let kept: Int, countMax: Int

  /// - Parameter kept: slots that are not given to another thing before there are so many.
  init(kept: Int, countMax: Int) { (self.kept, self.countMax) = (kept, countMax) }

  subscript(slot: Int) -> Key? { state.withLock { $0.slots.indices.contains(slot) ? $0.slots[slot].key : nil } }

  /// A thing's slot, with one more reference to it.
  /// - Returns: nil where the kernel refers to all there can be.
  func take(_ key: Key) -> (slot: Int, generation: UInt32)? {
    state.withLock { state in
      let slot: Int
      if let known = state.index[key] { slot = known } else if state.slots.count >= kept, let free = state.popIdle() {
        slot = free
        state.index[state.slots[slot].key] = nil
        state.slots[slot] = Slot(key: key, generation: state.slots[slot].generation &+ 1)
      } else {
        guard state.slots.count < countMax else { return nil }
        slot = state.slots.count
        state.slots.append(Slot(key: key))
      }
      state.index[key] = slot
      state.slots[slot].references += 1
      return (slot, state.slots[slot].generation)
    }
  }

  func release(_ slot: Int, _ count: UInt64) {
    state.withLock { state in
      guard state.slots.indices.contains(slot) else { return }
      state.slots[slot].references -= min(count, state.slots[slot].references)
      guard state.slots[slot].references == 0, !state.slots[slot].isQueued else { return }
      state.slots[slot].isQueued = true
      state.idle.append(slot)
    }
  }
}
