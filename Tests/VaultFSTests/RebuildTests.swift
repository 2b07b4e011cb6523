// What a rebuild must not do: replace a database by one that knows less, leave anything behind where it fails, give a
// number twice, or keep silent about what is lost.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct RebuildTests {
  private func files(_ vault: String) throws -> [String: [UInt8]] {
    var all: [String: [UInt8]] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: vault) where !["owner", "journal", "packs"].contains(name) { all[name] = try stored("\(vault)/\(name)") }
    return all
  }

  @Test func `a rebuild that would know less than the present database is refused, and changes nothing`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.close()
      let segment = try #require(try containers(home.path, .segment).last), all = try stored(segment)
      // Where a record begins: nothing in the journal itself tells that it went on.
      let place = try #require(try records(segment).last { $0.header.kind == .operation }).offset
      try store(Array(all[..<place]), segment)
      let before = try files(home.path)
      #expect { try Vault.rebuild(at: home.path) { _ in } } throws: { error in
        guard case VaultError.journalBehind(let path, let journal, let database) = error else { return false }
        return path == home.path && journal + 1 == database && "\(error)".contains("metadata.db")
      }
      #expect(try files(home.path) == before)
      // Who insists moves the database away.
      for suffix in ["", "-wal"] { try? FileManager.default.removeItem(atPath: "\(home.path)/metadata.db\(suffix)") }
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
    }
  }

  @Test func `a rebuild that fails leaves no new database and cuts nothing`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.close()
      let segment = try #require(try containers(home.path, .segment).last)
      try flip(segment, at: try records(segment).filter { $0.header.kind == .operation }[3].offset + 20)
      let before = try files(home.path)
      #expect { try Vault.rebuild(at: home.path) { _ in } } throws: { if case VaultError.journalDamaged = $0 { true } else { false } }
      #expect(try files(home.path) == before)
    }
  }

  @Test(arguments: [true, false])
  func `a pack that is gone costs what was in it, by name, and its number is never used again`(knowsTheOldDatabase: Bool) throws {
    try Home.run { home in
      let old = Random.bytes(900_000, seed: 1), new = Random.bytes(900_000, seed: 2), directory = try home.vault.makeDirectory("d")
      let kept = try home.vault.makeFile("kept", old)
      try home.reopen()
      let lost = try home.vault.makeFile("lost", in: directory, new)
      _ = try home.vault.makeFile("deleted since", Random.bytes(900_000, seed: 3))
      try home.vault.unlink([UInt8]("deleted since"), in: .root)
      try home.close()
      let pack = try #require(try containers(home.path, .pack).last), name = "packs/" + pack.split(separator: "/").last!
      try FileManager.default.removeItem(atPath: pack)
      if !knowsTheOldDatabase { try FileManager.default.removeItem(atPath: home.path + "/metadata.db") }
      let log = Messages()
      try Vault.rebuild(at: home.path, log: log.add) { _ in }
      #expect(log.all.count == 1 && log.contain("of 1 files") && log.contain("`d/lost`"), "\(log.all)")
      #expect(log.contain("\(name) is missing") == knowsTheOldDatabase, "\(log.all)")
      try home.open()
      #expect(try home.vault.contents(of: kept) == old)
      #expect(throws: VaultError.self) { try home.vault.contents(of: lost) }
      #expect(home.messages.contain("`d/lost`") && home.messages.contain("not stored any more"), "\(home.messages.all)")
      // Stored anew, in another pack, it is whole again.
      try home.vault.makeFile("again", new)
      if knowsTheOldDatabase { #expect(try !containers(home.path, .pack).contains(pack)) }
      #expect(try home.vault.contents(of: lost) == new)
    }
  }

  @Test func `what was compressed against a frame that is gone is lost with it`() throws {
    try Home.run { home in
      // A page of text, and the same with every tenth byte changed: similar, and not the same.
      let first = Array((0..<60_000).map { "line \($0 &* 7919 % 10_007) of a text\n" }.joined().utf8.prefix(1_000_000))
      var second = first
      for place in stride(from: 0, to: second.count, by: 400) { second[place] = 0x23 }
      try home.vault.makeFile("first", first)
      try home.reopen()
      let inode = try home.vault.makeFile("second", second)
      try home.reopen()
      try home.optimise()
      try home.close()
      let bases = try Set(containers(home.path, .pack).flatMap { delta in
        try PackBases.of(delta, home.path).map { "\(home.path)/\(ContainerStore.path($0, .pack))" }.filter { $0 != delta }
      })
      try #require(!bases.isEmpty, "nothing was compressed against a frame of another pack: the test shows nothing")
      for base in bases { try FileManager.default.removeItem(atPath: base) }
      try FileManager.default.removeItem(atPath: home.path + "/metadata.db")
      let log = Messages()
      try Vault.rebuild(at: home.path, log: log.add) { _ in }
      #expect(log.contain("`first`") && log.contain("`second`"), "\(log.all)")
      try home.open()
      try home.vault.makeFile("again", second)
      #expect(try home.vault.contents(of: inode) == second, "the same content written again heals it")
      try home.close()
    }
  }
}

enum PackBases {
  /// The containers that frames of a pack have their base in.
  static func of(_ pack: String, _ vault: String) throws -> Set<ContainerNumber> {
    let file = try RealDisk(path: vault).open("packs/" + pack.split(separator: "/").last!, .read)
    var found: Set<ContainerNumber> = []
    try PackScanner.frames(of: file, from: 0, verifyPayload: false) { header, _, _ in if let base = header.base { found.insert(base.container) } }
    return found
  }
}
