// A disk that is full: said as such, at the latest when the file is saved; and everything that was there stays.

import Foundation
import Glibc
import Testing
@testable import VaultFS

@Suite(.serialized) struct FullDiskTests {
  /// SQLite reports it as any other error of a disk, and a vault that met that would be read-only.
  @Test func `a quota that ends in the database is a full disk`() {
    let write: Int32 = 10 | 3 << 8, flush: Int32 = 10 | 4 << 8, open: Int32 = 14, page = PageChecksums.damagedPage
    for code in [write, flush, open] {
      for system in [ENOSPC, EDQUOT] { #expect(isFull(Database.error(code, system: system, "disk I/O error", "/v")), "\(code) \(system)") }
      #expect(!isFull(Database.error(code, system: EIO, "disk I/O error", "/v")))
    }
    // What the system said last is then of something else.
    for code in [page, 11, 1] { #expect(!isFull(Database.error(code, system: ENOSPC, "", "/v"))) }
  }

  @Test func `filled to the last byte it refuses, deletes, goes on, and is sound`() throws {
    try SmallDisk.run { disk in
      let home = disk.home
      var random = Random(seed: 1)
      let kept = random.bytes(300_000)
      try home.vault.makeFile("kept", kept)
      var written: [(String, [UInt8])] = [], refusal: (any Error)?
      for index in 0..<400 where refusal == nil {
        let content = random.bytes(index % 3 == 0 ? 2_000_000 : 100_000)
        do {
          let inode = try home.vault.make("file-\(index)").inode
          let file = try home.vault.open(inode)
          defer { home.vault.close(file) }
          try home.vault.write(content, to: file)
          try home.vault.save(file)
          written.append(("file-\(index)", content))
        } catch { refusal = error }
      }
      let error = try #require(refusal, "a disk of 150 MiB took more than it has")
      #expect(isFull(error), "\(error)")
      #expect(home.vault.status().readOnlyReason == nil, "full is not broken")
      for (name, content) in written { #expect(try home.vault.contents(of: try #require(try home.vault.find(name)).inode) == content, "\(name)") }
      // Deleting works with nothing left.
      for (name, _) in written.prefix(20) { try home.vault.unlink([UInt8](name), in: .root) }
      try home.vault.syncAll()
      try home.reopen()
      for (name, content) in written.dropFirst(20) { #expect(try home.vault.contents(of: try #require(try home.vault.find(name)).inode) == content, "\(name)") }
      #expect(try home.vault.contents(of: try #require(try home.vault.find("kept")).inode) == kept)
      try expectSound(home.vault)
    }
  }

  @Test func `it takes writes again as soon as others have made room`() throws {
    try SmallDisk.run { disk in
      let home = disk.home
      try home.vault.makeFile("before", [UInt8]("before"))
      try disk.fill(leaving: -(4 << 20))
      // The keeper notices while it works; then everything falls quiet.
      var refusals = 0
      for index in 0..<40 where refusals == 0 {
        do { try home.vault.make("probe-\(index)") } catch { refusals += isFull(error) ? 1 : 0 }
        usleep(100_000)
      }
      #expect(refusals > 0, "less than the reserve is left: nothing new is taken")
      sleep(3)
      disk.free()
      var isTaken = false
      for _ in 0..<30 where !isTaken {
        isTaken = (try? home.vault.make("after")) != nil
        if !isTaken { usleep(100_000) }
      }
      #expect(isTaken, "3 s after there was room again, and with nothing else going on, it still refuses")
    }
  }

  @Test func `a full disk gets its room back also where every pack has survivors`() throws {
    try SmallDisk.run(mebibytes: 300) { disk in
      let home = disk.home
      var random = Random(seed: 6), count = 0
      while try home.vault.reserve.space().available > Limits.reserveBytes + 2 << 20 {
        try home.vault.makeFile("file-\(count)", random.bytes(1 << 20))
        count += 1
      }
      for index in 0..<count where index % 10 > 0 { try home.vault.unlink([UInt8]("file-\(index)"), in: .root) }
      try home.forgetEverything()
      let done = try home.collect()
      let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)") }
      #expect(!open.contains { $0.hasPrefix(home.path + "/packs/") && $0.hasSuffix("(deleted)") }, "what has gone is not held open: its room is free")
      #expect(done.reclaimed > 200 << 20, "of a disk of 300 MiB, nine tenths of it deleted")
      try home.vault.makeFile("after", random.bytes(64 << 20))
      try expectSound(home.vault)
    }
  }

  @Test func `filled by others while nobody looked, it still shows what it holds, and goes on when there is room`() throws {
    try SmallDisk.run { disk in
      let home = disk.home, vault = home.vault, file = try vault.makeFile("file", [1, 2, 3])
      try vault.syncAll()
      while vault.lock.withLock({ vault.metadata.operationsSinceCommit }) > 0 { usleep(50_000) }
      sleep(2)
      // On a large volume there would be none.
      _ = vault.reserve.giveUp()
      disk.fillUp()
      _ = vault.reserve.giveUp()
      vault.accessTimes = .always
      #expect(try vault.contents(of: file) == [1, 2, 3])
      #expect { try vault.unlink([UInt8]("file"), in: .root) } throws: { isFull($0) }
      #expect(try vault.contents(of: file) == [1, 2, 3])
      #expect(vault.status().readOnlyReason == nil)
      disk.free()
      try vault.unlink([UInt8]("file"), in: .root)
      try expectSound(vault)
    }
  }

  @Test func `a rename does not put what cannot be saved in the place of what is whole`() throws {
    try SmallDisk.run { disk in
      let home = disk.home, vault = home.vault
      var random = Random(seed: 7)
      let whole = random.bytes(300_000)
      try vault.makeFile("good", whole)
      try vault.syncAll()
      let inode = try vault.make("new").inode, open = try vault.open(inode)
      try vault.write(random.bytes(700_000), to: open, at: 0)
      try disk.fill(leaving: -1)
      #expect { try vault.rename([UInt8]("new"), in: .root, to: [UInt8]("good"), in: .root, mode: .replace) } throws: { isFull($0) }
      #expect(try vault.find("good").map { try vault.contents(of: $0.inode) } == whole)
      // Where nothing gives way, names change.
      try vault.rename([UInt8]("new"), in: .root, to: [UInt8]("other"), in: .root, mode: .replace)
      disk.free()
      vault.close(open)
    }
  }

  @Test func `names and attributes change where nothing can be saved`() throws {
    try SmallDisk.run(mebibytes: 200) { disk in
      let home = disk.home
      let inode = try home.vault.makeFile("saved", [UInt8]("saved"))
      let file = try home.vault.open(try home.vault.make("unsaved").inode)
      defer { home.vault.close(file) }
      try home.vault.syncAll()
      usleep(300_000)
      home.vault.keeper?.stop()
      try home.vault.write([UInt8]("not saved yet"), to: file)
      disk.fillUp()
      try? home.vault.checkRoom(for: 0)
      // More than fits into the last block of the journal.
      for index in 0..<200 {
        try home.vault.rename([UInt8]("saved"), in: .root, to: [UInt8]("renamed"), in: .root, mode: .replace)
        try home.vault.rename([UInt8]("renamed"), in: .root, to: [UInt8]("saved"), in: .root, mode: .replace)
        var change = AttributeChange()
        change.mode = UInt32(0o600 + index % 8)
        _ = try home.vault.change(inode, change)
      }
      try home.vault.rename([UInt8]("unsaved"), in: .root, to: [UInt8]("still unsaved"), in: .root, mode: .replace)
      #expect(try home.vault.seek(file, from: 0, to: .data) == 0)
      #expect(try home.vault.seek(file, from: 0, to: .hole) == 13)
      #expect(try home.vault.read(file, count: 100) == [UInt8]("not saved yet"))
      disk.free()
      home.vault.keeper = Keeper(home.vault)
      home.vault.keeper?.start()
      try home.vault.save(file)
      #expect(try home.vault.contents(of: try #require(try home.vault.find("still unsaved")).inode) == [UInt8]("not saved yet"))
    }
  }

  @Test func `what it says of its space is true`() throws {
    try SmallDisk.run { disk in
      let home = disk.home
      let before = try home.vault.space()
      #expect(before.total == 150 << 20)
      #expect(before.available + Limits.reserveBytes <= before.total)
      var random = Random(seed: 2)
      try home.vault.makeFile("f", random.bytes(20 << 20))
      try home.vault.syncAll()
      let after = try home.vault.space()
      let taken = before.available - after.available
      #expect((20 << 20)...(22 << 20) ~= taken, "\(taken) bytes")
      #expect(after.nodes == before.nodes + 1)
    }
  }
}

extension Vault {
  /// A file whose every other byte is an extent of its own.
  func fragment(_ name: String, extents: UInt64) throws {
    let file = try open(try make(name).inode)
    defer { close(file) }
    for index in 0..<UInt64(256) { try write([UInt8(index % 2)], to: file, at: 2 * index) }
    try save(file)
    var count: UInt64 = 256
    while count < extents {
      var done: UInt64 = 0
      while done < 2 * count { done += try clone(from: file, at: done, to: file, at: 2 * count + done, length: 2 * count - done, clearsPrivileges: false) }
      count *= 2
    }
  }
}
