// Content that is in the journal, of small files, and is damaged there or was never whole.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct JournalContentTests {
  private func content(of name: String) -> [UInt8] { Random.bytes(3000, seed: UInt64(name.utf8.count)) }

  /// A copy of a vault as a kill leaves it, with files that are in the journal, each in records of its own, and not in the view.
  private func killed(_ home: Home, makes names: [String]) throws -> (copy: String, segment: String) {
    home.vault.keeper?.stop()
    try home.vault.syncAll()
    try home.vault.lock.withLock { () throws in try home.vault.commit() }
    for name in names { try home.vault.makeFile(name, content(of: name)) }
    let copy = try home.copy()
    home.restartKeeper()
    return (copy, try #require(try containers(copy, .segment).last))
  }

  @Test(arguments: ["opened", "rebuilt"])
  func `damaged content in the journal costs that content alone, and is said`(how: String) throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["one", "second", "third"]), names = try home.vault.names(), log = Messages(), frames = try records(segment).filter { $0.header.kind == .frame }
      #expect(frames.count == 3)
      try flip(segment, at: frames[1].offset + RecordHeader.length + 500)
      let wounded = try stored(segment)
      if how == "rebuilt" {
        for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: copy + "/metadata.db" + suffix) }
        try Vault.rebuild(at: copy, log: log.add) { _ in }
      }
      try opening(copy, log: log) { vault throws in
        #expect(try vault.names() == names)
        for name in ["one", "third"] { #expect(try vault.contents(of: try #require(try vault.find(name)).inode) == content(of: name)) }
        #expect(throws: VaultError.self) { try vault.contents(of: try #require(try vault.find("second")).inode) }
        #expect(log.contain("\(segment) is damaged from byte \(frames[1].offset) to ") && log.contain("`second`"), "\(log.all)")
        // The same content heals it.
        try vault.makeFile("again", content(of: "second"))
        #expect(try vault.contents(of: try #require(try vault.find("second")).inode) == content(of: "second"))
        let found = try vault.check(), frames = found.findings.filter { $0.kind == .journalSegment }
        #expect(found.findings.count == 1 && frames.count == 1, "\(found.text)")
      }
      #expect(try stored(segment).prefix(wounded.count) == wounded[...], "what is damaged is kept for who can read it")
    }
  }

  /// What is read by its own place needs no record around it.
  @Test(arguments: ["opened", "rebuilt"])
  func `content whose record is damaged and which is whole is still there`(how: String) throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["one", "second", "third"]), frames = try records(segment).filter { $0.header.kind == .frame }
      // From the middle of one record to the middle of the head of the next frame's, and a stamp.
      var all = try stored(segment)
      all[frames[0].offset + 20] ^= 1
      for at in frames[1].offset..<frames[1].offset + 30 { all[at] = 0 }
      try store(all, segment)
      if how == "rebuilt" {
        for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: copy + "/metadata.db" + suffix) }
        try Vault.rebuild(at: copy) { _ in }
      }
      try opening(copy) { vault throws in
        for name in ["one", "second", "third"] { #expect(try vault.contents(of: try #require(try vault.find(name)).inode) == content(of: name), "\(name)") }
      }
    }
  }

  @Test func `what was given up after a power cut stays given up, also where its segment is put back`() throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["first", "second"]), frames = try records(segment).filter { $0.header.kind == .frame }
      var all = try stored(segment)
      for at in frames[0].offset..<frames[0].offset + frames[0].header.paddedLength { all[at] = 0 }
      try store(all, segment)
      try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
      try opening(copy) { vault throws in
        #expect(try vault.find("second") == nil)
        for name in ["new", "newer"] { try vault.makeFile(name, content(of: name)) }
        try vault.syncAll()
      }
      try store(all, segment)
      try opening(copy) { vault throws in #expect(try vault.check().findings.isEmpty) }
      try Vault.rebuild(at: copy) { _ in }
      try opening(copy) { vault throws in
        for name in ["new", "newer"] { #expect(try vault.contents(of: try #require(try vault.find(name)).inode) == content(of: name), "\(name)") }
        #expect(try vault.find("second") == nil)
      }
    }
  }

  @Test func `content that a power cut took from before the last operation is cut off with it`() throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["first", "second"]), frame = try #require(try records(segment).last { $0.header.kind == .frame })
      try flip(segment, at: frame.offset + RecordHeader.length + 500)
      let wounded = try stored(segment)
      try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
      try opening(copy) { vault throws in
        #expect(try vault.contents(of: try #require(try vault.find("first")).inode) == content(of: "first"))
        #expect(try vault.find("second")?.size ?? 0 == 0)
        #expect(try vault.check().isClean)
      }
      // All of it, from its content on.
      let cut = try #require(try FileManager.default.contentsOfDirectory(atPath: copy + "/journal").first { $0.hasSuffix(".cut") })
      #expect(try stored("\(copy)/journal/\(cut)") == Array(wounded[frame.offset...]))
    }
  }
}
