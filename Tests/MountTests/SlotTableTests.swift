// The numbers of moments: one means one moment while the kernel may remember it.

import Testing
@testable import VaultMount

struct SlotTableTests {
  @Test func `a slot is given to another only after all references are back`() throws {
    let table = SlotTable<Int>(kept: 4, countMax: 8)
    let slots = try (0..<8).map { try #require(table.take($0)).slot }
    #expect(Set(slots).count == 8 && table.take(8) == nil)
    #expect(try #require(table.take(3)).slot == slots[3])
    table.release(slots[3], 1)
    #expect(table.take(8) == nil, "one reference is left")
    table.release(slots[3], 1)
    #expect(table[slots[3]] == 3, "known until the slot is needed")
    let next = try #require(table.take(8))
    #expect(next.slot == slots[3] && next.generation == 1 && table[slots[3]] == 8)
    #expect(table.take(3) == nil)
    // One that is referred to again is not given away.
    table.release(slots[5], 1)
    #expect(try #require(table.take(5)).slot == slots[5])
    #expect(table.take(9) == nil)
    for slot in slots { table.release(slot, 7) }
    #expect(try #require(table.take(100)).generation > 0 && table[slots[0]] != nil)
  }

  @Test func `a walk over very many moments takes no more than what is held`() throws {
    let table = SlotTable<Int>(kept: 100, countMax: 1000)
    var highest = 0
    for key in 0..<200_000 {
      let slot = try #require(table.take(key)).slot
      highest = max(highest, slot)
      #expect(table[slot] == key)
      table.release(slot, 1)
    }
    #expect(highest < 101)
  }
}
