// The vault's own room on a volume that others fill: it is there until it is needed, and then it is enough.

import Foundation
import Glibc
import Testing
@testable import VaultFS

@Suite(.serialized) struct ReserveTests {
  private func isThere(_ home: Home) -> Bool { FileManager.default.fileExists(atPath: home.path + "/" + Reserve.name) }

  /// Files until nothing more is taken.
  private func fill(_ home: Home, each size: Int, random: inout Random) throws -> Int {
    for index in 0..<100_000 {
      do { try home.vault.makeFile("file-\(index)", random.bytes(size)) } catch {
        guard isFull(error) else { throw error }
        return index
      }
    }
    return 0
  }

  @Test func `full of its own content, it keeps its reserve through changes, commits and unmounts, for when others take the rest`() throws {
    try SmallDisk.run(mebibytes: 300) { disk in
      let home = disk.home
      var random = Random(seed: 21)
      for index in 0..<4000 { try home.vault.makeFile("small-\(index)", [UInt8(index & 0xFF)]) }
      let count = try fill(home, each: 500_000, random: &random)
      #expect(count > 100)
      for round in 0..<3 as Range<UInt32> {
        for index in 0..<4000 {
          var change = AttributeChange()
          change.mode = 0o600 + round
          _ = try home.vault.change(try #require(try home.vault.find("small-\(index)")).inode, change)
        }
        try home.vault.syncAll()
        try home.vault.checkpoint()
        #expect(isThere(home), "round \(round): nobody else needed room")
      }
      try home.reopen()
      #expect(isThere(home), "a mount needs little")
      disk.fillUp()
      for index in 0..<count where index % 10 > 0 { try home.vault.unlink([UInt8]("file-\(index)"), in: .root) }
      try home.vault.syncAll()
      try home.reopen()
      let found = try home.vault.check(.deep)
      #expect(found.isClean, "\(found.text)")
      try home.forgetEverything()
      #expect(try home.collect().reclaimed > 100 << 20)
      #expect(home.vault.status().readOnlyReason == nil)
      _ = try home.vault.space()
      #expect(isThere(home), "there is room for it again")
      try home.vault.makeFile("after", random.bytes(32 << 20))
      disk.free()
      try expectSound(home.vault)
    }
  }

  @Test func `a commit that finds no room loses nothing, refuses what is new, and is made when there is some`() throws {
    try SmallDisk.run(mebibytes: 200) { disk in
      let home = disk.home, vault = home.vault
      for index in 0..<3000 { try vault.makeFile("file-\(index)", [1]) }
      try vault.syncAll()
      try vault.checkpoint()
      vault.keeper?.stop()
      // What is journaled has its place; the view has none.
      for index in 0..<1500 { try vault.unlink([UInt8]("file-\(index)"), in: .root) }
      _ = vault.reserve.giveUp()
      disk.fillUp()
      #expect { try vault.lock.withLock { () throws in try vault.commit() } } throws: { isFull($0) }
      #expect(vault.status().readOnlyReason == nil && vault.lock.withLock { vault.metadata.inTransaction })
      var refused = 0, gone = 1500
      for index in 1500..<3000 {
        do {
          try vault.unlink([UInt8]("file-\(index)"), in: .root)
          gone += 1
        } catch {
          #expect(isFull(error), "\(error)")
          refused += 1
        }
      }
      #expect(refused > 0 && vault.status().readOnlyReason == nil)
      #expect(try vault.names().count == 3000 - gone)
      // As kill -9 would leave it, and with room.
      disk.free()
      let copy = try home.copy()
      #expect(throws: Never.self) { try vault.lock.withLock { () throws in try vault.commit() } }
      home.restartKeeper()
      try vault.unlink([UInt8]("file-2999"), in: .root)
      try home.move(to: copy)
      #expect(try home.vault.names().count == 3000 - gone)
    }
  }

  @Test func `very much that goes at once goes where the disk is full`() throws {
    try SmallDisk.run(mebibytes: 300) { disk in
      let home = disk.home, large = try home.vault.makeDirectory("large"), value = Random.bytes(60_000, seed: 3)
      for index in 0..<1000 {
        let inode = try home.vault.make("\(index)", in: large).inode
        try home.vault.setXattr([UInt8]("user.big"), of: inode, to: value, mode: .set, by: root)
      }
      var random = Random(seed: 22)
      #expect(try fill(home, each: 1_000_000, random: &random) > 50)
      for name in try home.vault.names(in: large) { try home.vault.unlink(name, in: large) }
      try home.forgetEverything()
      try home.vault.syncAll()
      try home.vault.checkpoint()
      #expect(try home.collect().reclaimed >= 0 && home.vault.status().readOnlyReason == nil && isThere(home))
      try home.reopen()
      try expectSound(home.vault)
    }
  }

  @Test func `an idle vault takes its reserve again when others have made room`() throws {
    try SmallDisk.run(mebibytes: 200) { disk in
      let home = disk.home
      for index in 0..<2000 { try home.vault.makeFile("file-\(index)", [1]) }
      try home.vault.syncAll()
      usleep(300_000)
      disk.fillUp()
      for index in 0..<2000 where isThere(home) { try home.vault.rename([UInt8]("file-\(index)"), in: .root, to: [UInt8]("\(index)"), in: .root, mode: .replace) }
      try home.vault.syncAll()
      disk.fillUp()
      sleep(3)
      #expect(!isThere(home), "it was needed")
      disk.free()
      for _ in 0..<100 where !isThere(home) { usleep(100_000) }
      #expect(isThere(home))
    }
  }

  @Test func `an opening that finds no room changes nothing of how the last one ended`() throws {
    try SmallDisk.run(mebibytes: 200) { disk in
      let home = disk.home
      try home.vault.makeFile("file", [1])
      try home.vault.syncAll()
      let copy = try home.copy()
      try home.close()
      try FileManager.default.removeItem(atPath: home.path)
      try FileManager.default.removeItem(atPath: copy + "/" + Reserve.name)
      disk.fillUp()
      let boot = try stored(copy + "/boot")
      #expect { try home.move(to: copy) } throws: { isFull($0) }
      #expect(try stored(copy + "/boot") == boot && boot.count > 30)
      disk.free()
      try home.open()
      #expect(!home.messages.contain("the computer stopped"))
    }
  }

  @Test func `killed with much to do again, and the disk filled to the last byte, it opens`() throws {
    try SmallDisk.run(mebibytes: 300) { disk in
      let home = disk.home
      for index in 0..<100 { try home.vault.makeFile("file-\(index)", [1]) }
      try home.vault.syncAll()
      try home.vault.checkpoint()
      home.vault.keeper?.stop()
      for index in 0..<20_000 { try home.vault.make("later-\(index)") }
      try home.vault.sync()
      #expect(isThere(home))
      // (The log with what was committed is lost.)
      let copy = try home.copy()
      try home.close()
      try FileManager.default.removeItem(atPath: home.path)
      try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
      disk.fillUp()
      try home.move(to: copy)
      #expect(try home.vault.names().count == 20_100)
      for index in 0..<20_000 { try home.vault.unlink([UInt8]("later-\(index)"), in: .root) }
      try home.vault.sync()
      #expect(home.vault.status().readOnlyReason == nil)
      disk.free()
      try expectSound(home.vault)
    }
  }

  @Test func `from zero bytes free it deletes, commits and opens again`() throws {
    try SmallDisk.run(mebibytes: 200) { disk in
      let home = disk.home
      var random = Random(seed: 5)
      for index in 0..<40 { try home.vault.makeFile("file-\(index)", random.bytes(200_000)) }
      try home.vault.syncAll()
      usleep(300_000)
      #expect(FileManager.default.fileExists(atPath: home.path + "/" + Reserve.name), "a small volume has a reserve")
      // Others take all there is.
      disk.fillUp()
      for index in 0..<30 { try home.vault.unlink([UInt8]("file-\(index)"), in: .root) }
      try home.vault.sync()
      #expect(home.vault.status().readOnlyReason == nil)
      let copy = try home.vault.names()
      try home.reopen()
      #expect(try home.vault.names() == copy)
      for index in 30..<35 { try home.vault.unlink([UInt8]("file-\(index)"), in: .root) }
      disk.free()
      for _ in 0..<30 where (try? home.vault.make("after")) == nil { usleep(100_000) }
      #expect(try home.vault.find("after") != nil)
      try expectSound(home.vault)
    }
  }

  @Test func `put away, and the disk filled by others to the last byte, it opens, also to be looked at, is rebuilt and collected`() throws {
    try SmallDisk.run(mebibytes: 200) { disk in
      let home = disk.home, content = Random.bytes(8 << 20, seed: 3)
      for name in ["kept", "gone"] { try home.vault.makeFile(name, name == "kept" ? content : Random.bytes(8 << 20, seed: 4)) }
      try home.close()
      #expect(FileManager.default.fileExists(atPath: home.path + "/" + Reserve.name), "the next opening may need it")
      for readOnly in [false, true] {
        disk.fillUp()
        try home.open(readOnly: readOnly)
        #expect(try home.vault.contents(of: try #require(try home.vault.find("kept")).inode) == content)
        if !readOnly { try home.vault.unlink([UInt8]("gone"), in: .root) }
        try home.close()
        disk.free()
        try home.reopen()
        try home.close()
      }
      disk.fillUp()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      try home.forgetEverything()
      #expect(try home.collect().reclaimed > 7 << 20)
      #expect(try home.vault.names() == [[UInt8]("kept")])
      disk.free()
    }
  }

  @Test(arguments: ["a hole", "empty"]) func `a reserve that has no room of its own is none`(what: String) throws {
    try SmallDisk.run(mebibytes: 200) { disk in
      let home = disk.home, file = home.path + "/" + Reserve.name
      try home.vault.makeFile("file", Random.bytes(1 << 20, seed: 8))
      try home.close()
      // As a copy of the vault may have it, and a kill may leave it.
      try #require(truncate(file, 0) == 0 && truncate(file, what == "empty" ? 0 : Int(Reserve.bytes)) == 0)
      try home.open()
      disk.fillUp()
      try home.vault.unlink([UInt8]("file"), in: .root)
      try home.reopen()
      #expect(try home.vault.names().isEmpty && home.vault.status().readOnlyReason == nil)
      disk.free()
    }
  }

  @Test func `from zero bytes free a file of very many extents is deleted, and another one emptied`() throws {
    try SmallDisk.run(mebibytes: 300) { disk in
      let home = disk.home
      for name in ["deleted", "emptied"] { try home.vault.fragment(name, extents: 1 << 20) }
      try home.vault.syncAll()
      try home.vault.checkpoint()
      usleep(300_000)
      disk.fillUp()
      try home.vault.unlink([UInt8]("deleted"), in: .root)
      try home.vault.truncate(try #require(try home.vault.find("emptied")).inode, to: 0, clearsPrivileges: false)
      #expect(home.vault.status().readOnlyReason == nil)
      try home.reopen()
      #expect(try home.vault.names() == [[UInt8]("emptied")])
      disk.free()
      try expectSound(home.vault)
    }
  }
}
