// Kills and power cuts: what was saved is there, whatever the moment was, and whatever became of the database.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct RecoveryTests {
  @Test(arguments: [false, true])
  func `after a kill or a power cut everything that was saved is there`(powerCut: Bool) throws {
    try Home.run { home in
      try plant(home.vault)
      try home.vault.syncAll()
      let file = try home.vault.open(try #require(try home.vault.find("linked")).inode)
      try home.vault.write([UInt8]("saved"), to: file)
      try home.vault.save(file)
      let before = try tree(of: home.vault)
      let copy = try home.copy()
      home.vault.close(file)
      if powerCut { try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8) }
      let log = Messages()
      try opening(copy, log: log) { vault in
        #expect(try tree(of: vault) == before)
        try expectSound(vault)
      }
      #expect(log.contain("recovering from the journal") == powerCut)
      try opening(copy) { vault throws in #expect(try tree(of: vault) == before) }
    }
  }

  @Test func `a kill after every single operation leaves exactly that operation's tree`() throws {
    try Home.run { home in
      let vault = home.vault
      var copies: [(String, [[UInt8]: Found])] = []
      func step(_ body: () throws -> Void) throws {
        try body()
        copies.append((try home.copy(), try tree(of: vault)))
      }
      try step { try vault.makeDirectory("d") }
      let directory = try #require(try vault.find("d")).inode
      try step { try vault.makeFile("f", in: directory, [UInt8](repeating: 5, count: 70_000)) }
      let file = try #require(try vault.find("f", in: directory)).inode
      try step { try vault.put([1, 2, 3], at: 50_000, in: file) }
      try step { _ = try vault.link(file, as: [UInt8]("g"), in: .root) }
      try step { try vault.rename([UInt8]("f"), in: directory, to: [UInt8]("h"), in: .root, mode: .replace) }
      try step { try vault.rename([UInt8]("g"), in: .root, to: [UInt8]("d"), in: .root, mode: .exchange) }
      try step { try vault.truncate(file, to: 60_000, clearsPrivileges: false) }
      try step { try vault.withOpen(file) { try vault.allocate($0, offset: 4096, length: 8192, .collapse, clearsPrivileges: false) } }
      try step { try vault.setXattr([UInt8]("user.a"), of: file, to: [9], mode: .set, by: root) }
      try step { try vault.removeDirectory([UInt8]("g"), in: .root) }
      try step { try vault.unlink([UInt8]("h"), in: .root) }
      try step { try vault.unlink([UInt8]("d"), in: .root) }
      for (index, (copy, expected)) in copies.enumerated() {
        try opening(copy) { vault in
          #expect(try tree(of: vault) == expected, "after step \(index)")
          try expectSound(vault, "after step \(index)")
        }
      }
    }
  }

  /// The journal's last segment cut or garbled at every kind of place after the last record that is attested.
  @Test(arguments: ["cut", "garbled", "zeroed", "followed by rubbish"])
  func `a torn tail of the journal loses only what was torn`(how: String) throws {
    try Home.run { home in
      try plant(home.vault)
      try home.vault.syncAll()
      let before = try tree(of: home.vault)
      // After the sync: one more operation, whose record will be torn. No sync, no mark follows it.
      home.vault.keeper?.stop()
      try home.vault.make("torn")
      let after = try tree(of: home.vault)
      let copy = try home.copy()
      home.vault.keeper = Keeper(home.vault)
      home.vault.keeper?.start()
      try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
      let segment = try #require(try containers(copy, .segment).last)
      let all = try stored(segment), last = try #require(try records(segment).last)
      #expect(last.header.kind == .operation)
      let length = all.count - last.offset
      for place in [0, 1, 8, RecordHeader.length - 1, RecordHeader.length, RecordHeader.length + 3, last.header.bodyLength + RecordHeader.length - 1] {
        var torn = all, isLost = true
        switch how {
        case "cut": torn = Array(all[..<(last.offset + place)])
        case "garbled": for index in place..<length { torn[last.offset + index] = UInt8(truncatingIfNeeded: index &* 37 &+ 11) }
        case "zeroed": for index in place..<length { torn[last.offset + index] = 0 }
        default:
          torn += [UInt8](repeating: 0x5A, count: place + 1)
          isLost = false
        }
        let another = copy + "-\(place)"
        try FileManager.default.copyItem(atPath: copy, toPath: another)
        try store(torn, segment.replacing(copy, with: another))
        let log = Messages()
        try opening(another, log: log) { vault in
          #expect(try Set(tree(of: vault).keys) == Set((isLost ? before : after).keys), "\(how) at \(place)")
          try expectSound(vault)
          try vault.make("goes on")
        }
        if !(how == "cut" && place == 0) { #expect(log.contain("cut off"), "\(how) at \(place): \(log.all)") }
        // The next opening meets the torn tail again, behind which the journal went on in a new segment.
        try opening(another) { vault in
          #expect(try vault.find("goes on") != nil)
          try expectSound(vault)
        }
        try FileManager.default.removeItem(atPath: another)
      }
    }
  }

  @Test(arguments: [false, true])
  func `without its database a vault is made whole by a rebuild`(afterTheOptimiser: Bool) throws {
    try Home.run { home in
      try plant(home.vault)
      if afterTheOptimiser {
        try home.optimise()
        #expect(try !containers(home.path, .archive).isEmpty)
        try home.vault.makeFile("later", [UInt8]("after the optimiser"))
      }
      let before = try tree(of: home.vault), counters = home.vault.status().counters
      try home.close()
      for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: "\(home.path)/metadata.db\(suffix)") }
      #expect { try home.open() } throws: { error in
        if case VaultError.databaseDamaged = error { "\(error)".contains("rebuild") } else { false }
      }
      var shares: [Double] = []
      try Vault.rebuild(at: home.path) { shares.append($0) }
      #expect(shares.last == 1 && shares == shares.sorted())
      try home.open()
      #expect(try tree(of: home.vault) == before)
      #expect(home.vault.status().counters.logicalBytes == counters.logicalBytes)
      #expect(home.vault.status().counters.nodes == counters.nodes)
    }
  }

  @Test func `a database from before is brought to the newest state`() throws {
    try Home.run { home in
      try home.vault.makeFile("early", [UInt8]("early"))
      try home.vault.checkpoint()
      let old = try home.vault.lock.withLock { () throws in try stored(home.path + "/metadata.db") }
      try plant(home.vault)
      try home.vault.checkpoint()
      try home.vault.makeFile("late", [UInt8]("late"))
      let before = try tree(of: home.vault)
      try home.close()
      for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: "\(home.path)/metadata.db\(suffix)") }
      try store(old, home.path + "/metadata.db")
      try home.open()
      #expect(try tree(of: home.vault) == before)
    }
  }

  /// After a kill it cannot be: then the journal has lost something, and the log may be all that still knows of it.
  @Test(arguments: [false, true])
  func `a database's log that is ahead of the journal is thrown away after a power cut, and kept after a kill`(powerCut: Bool) throws {
    try Home.run { home in
      try home.vault.makeFile("kept", [UInt8]("kept"))
      try home.vault.checkpoint()
      let before = try tree(of: home.vault)
      let end = try home.vault.lock.withLock { () throws in home.vault.journal.end }
      home.vault.keeper?.stop()
      try home.vault.make("in the database's log, but not in the journal")
      try home.vault.lock.withLock { () throws in try home.vault.commit() }
      let copy = try home.copy()
      home.vault.keeper = Keeper(home.vault)
      home.vault.keeper?.start()
      let segment = try #require(try containers(copy, .segment).last)
      try store(Array(try stored(segment)[..<Int(end)]), segment)
      guard powerCut else {
        let log = try stored(copy + "/metadata.db-wal")
        for _ in 0..<2 { #expect { try opening(copy) { _ in } } throws: { if case VaultError.journalBehind = $0 { true } else { false } } }
        #expect { try Vault.rebuild(at: copy) { _ in } } throws: { if case VaultError.journalBehind = $0 { true } else { false } }
        return #expect(try stored(copy + "/metadata.db-wal") == log)
      }
      try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
      try opening(copy) { vault in
        #expect(try tree(of: vault) == before)
        try expectSound(vault)
      }
    }
  }

  /// What SQLite would fold into the database when it is closed, the journal might still lose in a power cut.
  @Test func `to look at a killed vault, or to fail to open it, changes nothing in its database`() throws {
    try Home.run { home in
      try plant(home.vault)
      home.vault.keeper?.stop()
      try home.vault.make("not in the database's log yet")
      let copy = try home.copy(), before = try stored(copy + "/metadata.db")
      home.restartKeeper()
      let counters = try Vault.status(at: copy).counters
      #expect(counters.nodes > 0)
      #expect(try stored(copy + "/metadata.db") == before)
      let segment = try #require(try containers(copy, .segment).last)
      let sound = try stored(segment)
      try store([UInt8](repeating: 0x5A, count: SegmentHeader.length) + sound[SegmentHeader.length...], segment)
      #expect { try opening(copy) { _ in } } throws: { if case VaultError.journalDamaged = $0 { true } else { false } }
      #expect(try stored(copy + "/metadata.db") == before)
      try store(sound, segment)
      let expected = try tree(of: home.vault)
      try opening(copy) { vault throws in #expect(try tree(of: vault) == expected) }
    }
  }

  @Test func `a rebuild from a journal that was cut short keeps the database that knows more`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.vault.syncAll()
      let expected = try tree(of: home.vault)
      try home.close()
      let segment = try #require(try containers(home.path, .segment).max { try! stored($0).count < stored($1).count }), whole = try stored(segment)
      try store(Array(whole.prefix(whole.count / 2)), segment)
      let database = try stored(home.path + "/metadata.db")
      #expect { try Vault.rebuild(at: home.path) { _ in } } throws: { "\($0)".contains("has seen") && "\($0)".contains("Put the journal's files back") }
      #expect(try stored(home.path + "/metadata.db") == database)
      #expect(!FileManager.default.fileExists(atPath: home.path + "/metadata.db.new"))
      // Nothing was cut for good: with its file back, the vault is whole.
      try store(whole, segment)
      try home.open()
      #expect(try tree(of: home.vault) == expected)
    }
  }
}
