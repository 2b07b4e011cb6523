// Saving when something is in the way: a disk that fills, damage, a vault that failed, bytes scattered all over.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

@Suite(.serialized) struct SavingTests {
  private func isFull(_ body: () throws -> Void) -> Bool {
    do { try body() } catch VaultError.diskFull { return true } catch { Issue.record("\(error)") }
    return false
  }

  /// Calls `body` with a vault on a small disk; `fill` takes its room away, `free` gives it back.
  private func onFillingDisk(_ body: (_ home: Home, _ fill: () throws -> Void, _ free: () -> Void) throws -> Void) throws {
    try SmallDisk.run { disk in
      // It would save by itself, sooner or later.
      disk.home.vault.keeper?.stop()
      try body(disk.home, { try disk.fill(leaving: -(1 << 20)) }, disk.free)
    }
  }

  @Test func `closing a handle does not give up the bytes of another`() throws {
    try onFillingDisk { home, fill, free in
      var random = Random(seed: 1)
      let content = random.bytes(200_000), inode = try home.vault.make("f").inode
      let writer = try home.vault.open(inode)
      try home.vault.write(content, to: writer)
      try fill()
      home.vault.close(try home.vault.open(inode))
      #expect(isFull { try home.vault.sync(writer) }, "an fsync that succeeds must have saved what was written")
      #expect(try home.vault.read(writer, count: 300_000) == content)
      free()
      try home.vault.sync(writer)
      home.vault.close(writer)
      try home.reopen()
      #expect(try home.vault.contents(of: inode) == content)
      try expectSound(home.vault)
    }
  }

  @Test func `what the last close cannot save is lost, said, and counted no more`() throws {
    try onFillingDisk { home, fill, free in
      let inode = try home.vault.make("f").inode
      let file = try home.vault.open(inode)
      try home.vault.write([1, 2, 3], to: file)
      try fill()
      home.vault.close(file)
      #expect(home.messages.contain("3 bytes written to `f` (node \(inode.value)) in the vault \(home.path) could not be saved and are lost"))
      #expect(home.vault.status().loss?.contains("`f` (node \(inode.value)) in the vault") == true)
      #expect(home.vault.dirtyBytes.load(ordering: .relaxed) == 0 && home.vault.unsaved.isEmpty)
      free()
      #expect(try home.vault.contents(of: inode) == [])
      try expectSound(home.vault)
    }
  }

  @Test func `who opened the file before the last close had ended hears of the loss once`() throws {
    try Home.run { home in
      let file = try home.vault.open(try home.vault.make("f").inode)
      home.vault.lock.withLock { file.draft.loss = .diskFull }
      try home.vault.save(OpenFile(file.node, file.draft))
      #expect(isFull { try home.vault.sync(file) }, "the keeper's saves do not take it away")
      try home.vault.sync(file)
      home.vault.close(file)
    }
  }

  @Test func `damaged crumbs do not keep new bytes out`() throws {
    try Home.run { home in
      var random = Random(seed: 3)
      let lines = (0..<Limits.crumbsMax).map { _ in random.bytes(150) }
      let inode = try home.vault.make("log").inode
      for (index, line) in lines.enumerated() { try home.vault.put(line, at: UInt64(index * 150), in: inode) }
      try home.close()
      let journal = home.path + "/journal"
      for name in try FileManager.default.contentsOfDirectory(atPath: journal) {
        var data = try Data(contentsOf: URL(fileURLWithPath: "\(journal)/\(name)"))
        guard let place = data.range(of: Data(lines[5])) else { continue }
        data[place.lowerBound] ^= 1
        try data.write(to: URL(fileURLWithPath: "\(journal)/\(name)"))
      }
      try home.open()
      let end = UInt64(lines.count * 150)
      try home.vault.withOpen(inode) { file in
        try home.vault.write([7, 8, 9], to: file, at: end)
        try home.vault.sync(file)
        #expect(try home.vault.read(file, at: end, count: 10) == [7, 8, 9])
        #expect(throws: VaultError.self, "the damage is where it was") { try home.vault.read(file, at: 5 * 150, count: 150) }
      }
      // A vault with damage is not sound.
      try home.close()
    }
  }

  @Test func `a vault that failed writes no more packs`() throws {
    try Home.run { home in
      var random = Random(seed: 4)
      let file = try home.vault.open(try home.vault.make("f").inode)
      try home.vault.write(random.bytes(1_000_000), to: file)
      home.vault.lock.withLock { _ = home.vault.fail(.chunkDamaged(detail: "made up")) }
      let before = home.vault.status().packBytes
      for _ in 0..<5 { #expect(throws: VaultError.self) { try home.vault.save(file) } }
      #expect(home.vault.status().packBytes == before)
      home.vault.close(file)
      try? home.close()
    }
  }

  @Test func `scattered bytes are counted by the memory they take, and are all kept`() throws {
    try Home.run { home in
      let count = 12_000, step = 5003
      let inode = try home.vault.make("f").inode, file = try home.vault.open(inode)
      var runsMax = 0
      for index in 0..<count {
        let at = index * 7919 % count
        try home.vault.write([UInt8(truncatingIfNeeded: at) | 1], to: file, at: UInt64(at * step))
        if index % 16 == 0 {
          file.draft.lock.reading {
            let runs = file.draft.dirty.count + file.draft.saving.count
            runsMax = max(runsMax, runs)
            #expect(home.vault.dirtyBytes.load(ordering: .relaxed) >= runs * 4096)
          }
        }
      }
      #expect(runsMax <= 4 * Limits.draftBytes / 4096, "\(runsMax) runs in memory")
      try home.vault.sync(file)
      let all = try home.vault.read(file, count: count * step)
      #expect(all.count == (count - 1) * step + 1)
      #expect((0..<count).allSatisfy { all[$0 * step] == UInt8(truncatingIfNeeded: $0) | 1 })
      #expect(all.count { $0 != 0 } == count)
      home.vault.close(file)
      let copy = try home.copy()
      #expect(try opening(copy) { try $0.contents(of: inode) } == all, "after a kill right after the fsync")
    }
  }

  @Test func `a save of many runs lets others have the vault in between`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.open(try vault.make("f").inode)
      vault.keeper?.stop()
      for index in 0..<500 { try vault.write([1], to: file, at: UInt64(index * 10_000)) }
      let isSaved = Atomic<Bool>(false), turns = Atomic<Int>(0), first = vault.lock.withLock { vault.journal.lastLSN.value }
      let other = startThread("other") {
        while !isSaved.load(ordering: .acquiring) {
          let done = vault.lock.withLock { vault.journal.lastLSN.value } - first
          if done > 0, done < 500 { turns.add(1, ordering: .relaxed) }
          usleep(20)
        }
      }
      try vault.save(file)
      isSaved.store(true, ordering: .releasing)
      pthread_join(other, nil)
      #expect(turns.load(ordering: .relaxed) > 0)
      vault.close(file)
      vault.keeper = Keeper(vault)
      vault.keeper?.start()
    }
  }
}
