// A database whose checksums are all right and whose content is not: written by a program with an error, or by someone
// who means harm. It is refused with the way out, or tells wrong numbers; it neither ends the process nor keeps it busy.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct HostileDatabaseTests {
  /// Changes the database of a vault that nobody has open; its checksums will be right.
  private func alter(_ vault: String, _ body: (Database) throws -> Void) throws {
    let database = try Database(path: "\(vault)/metadata.db")
    try Schema.prepare(database)
    try body(database)
    try database.checkpoint()
  }

  /// Changes the row of a node. What it may hold is not checked.
  private func alter(_ vault: String, _ inode: InodeNumber, _ body: (Node) -> Void) throws {
    try alter(vault) { database in
      let select = try database.prepare("SELECT record FROM node WHERE inode = \(inode.value)")
      try #require(try select.step())
      let node = try select.bytes(0).withUnsafeBytes { raw throws in try Node(inode: inode, decoding: raw) }
      select.reset()
      body(node)
      let update = try database.prepare("UPDATE node SET record = ? WHERE inode = \(inode.value)")
      update.bind(1, copying: node.encoded())
      try update.run()
    }
  }

  private func isDamage(_ error: any Error, naming words: String = "") -> Bool {
    if case VaultError.databaseDamaged = error { "\(error)".contains("vaultfs rebuild") && (words.isEmpty || "\(error)".contains(words)) } else { false }
  }

  /// Everything a program may do to a file, whatever comes of it.
  /// - Returns: the damage that was met.
  private func use(_ vault: Vault, _ inode: InodeNumber, other: InodeNumber) -> [VaultError] {
    var met: [VaultError] = []
    func attempt(_ body: () throws -> Void) {
      do { try body() } catch let error as VaultError { met.append(error) } catch { Issue.record("\(error)") }
    }
    attempt { _ = try vault.info(inode) }
    attempt {
      try vault.withOpen(inode) { file throws in
        let source = try vault.open(other)
        defer { vault.close(source) }
        attempt { _ = try vault.read(file, at: 3_000_000, count: 100_000) }
        attempt { _ = try vault.read(file, at: UInt64(Int64.max) - 5, count: 10) }
        attempt { _ = try vault.seek(file, from: 0, to: .hole) }
        attempt { _ = try vault.seek(file, from: 1_000_000, to: .data) }
        attempt { try vault.write([1, 2, 3], to: file, at: 1_234_567); try vault.save(file); _ = try vault.info(inode) }
        attempt { try vault.allocate(file, offset: 0, length: 4_000_000, .reserve(keepSize: true), clearsPrivileges: false) }
        attempt { _ = try vault.clone(from: file, at: 0, to: source, at: 5_000_000, length: 4_000_000, clearsPrivileges: false) }
        attempt { _ = try vault.clone(from: source, at: 0, to: file, at: 2_000_000, length: 100_000, clearsPrivileges: false) }
        attempt { try vault.allocate(file, offset: 4096, length: 8192, .insert, clearsPrivileges: false) }
        attempt { try vault.allocate(file, offset: 4096, length: 8192, .collapse, clearsPrivileges: false) }
      }
    }
    attempt { try vault.truncate(inode, to: 1_500_000, clearsPrivileges: false) }
    attempt { _ = try vault.info(inode) }
    return met
  }

  private static let wrongRows: [(String, @Sendable (Node) -> Void)] = [
    ("a size beyond the largest file", { $0.size = UInt64.max - 4094 }),
    ("a size and as many bytes", { ($0.size, $0.allocated) = (UInt64.max, UInt64.max) }),
    ("more bytes than a file can have", { $0.allocated = UInt64.max - 1 }),
    ("more links than there can be", { $0.links = UInt32.max }),
    ("a mode with unknown bits", { $0.mode |= 1 << 20 }),
    ("a type that there is not", { $0.mode = 0o070644 }),
  ]

  @Test(arguments: wrongRows.indices)
  func `a node's row with impossible values is damage of that node alone`(index: Int) throws {
    try Home.run { home in
      var random = Random(seed: 1)
      let content = random.bytes(50_000)
      let file = try home.vault.makeFile("file", random.bytes(200_000)), other = try home.vault.makeFile("other", content)
      try home.close()
      try alter(home.path, file, Self.wrongRows[index].1)
      try opening(home.path) { vault throws in
        #expect(throws: VaultError.self) { try vault.info(file) }
        let met = use(vault, file, other: other)
        #expect(!met.isEmpty && met.allSatisfy { isDamage($0, naming: "node \(file.value)") }, "\(Self.wrongRows[index].0): \(met)")
        #expect(try vault.entries(of: .root).count == 2)
        #expect(try vault.contents(of: other) == content)
        try vault.makeFile("goes on", content)
      }
    }
  }

  private static let wrongStates: [(String, Int64)] = [
    ("next_inode", .max), ("next_inode", -1), ("next_inode", 3), ("epoch", .max), ("next_container", 1 << 56), ("next_container", -1),
    ("segment", -5), ("segment_offset", -1), ("pack", 1 << 60), ("pack_offset", -1), ("flushed_segment", -1), ("flushed_pack", -1), ("applied", -1),
    ("second", .min), ("last_snapshot", -1), ("nodes", -1), ("chunks", -1), ("unique_bytes", -1),
    ("history", -1), ("history_all", -1), ("history_weekly", 1 << 40),
  ]

  @Test(arguments: wrongStates.indices)
  func `a position or a counter that no vault can have is refused by its name`(index: Int) throws {
    let (key, value) = Self.wrongStates[index]
    try Home.run { home in
      for name in ["a", "b", "c"] { try home.vault.makeFile(name, [1]) }
      try home.close()
      try alter(home.path) { try $0.execute("UPDATE state SET value = \(value) WHERE key = '\(key)'") }
      #expect("\(key) \(value)") { try opening(home.path) { _ in } } throws: { isDamage($0, naming: value == 3 ? "node 4" : key) }
      #expect("\(key) \(value)") { _ = try Vault.status(at: home.path) } throws: { isDamage($0) }
      try Vault.rebuild(at: home.path) { _ in }
      try opening(home.path) { vault in try expectSound(vault) }
    }
  }

  @Test(arguments: [3, -1, -5]) func `another last operation than the journal has is not believed, and nothing is begun for it`(by number: Int) throws {
    try Home.run { home in
      for name in ["a", "b", "c"] { try home.vault.makeFile(name, [1]) }
      let before = try tree(of: home.vault), killed = try home.copy()
      try home.close()
      for path in [killed, home.path] {
        try alter(path) { try $0.execute("UPDATE state SET value = value + \(number) WHERE key = 'applied'") }
        func journal() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path + "/journal").sorted() }
        let files = try journal()
        for _ in 0..<2 { #expect { try opening(path) { _ in } } throws: { isDamage($0, naming: "applied") } }
        #expect(try Vault.check(at: path).kinds == [.databaseStructure] && journal() == files)
        if path == killed { try Vault.rebuild(at: path) { _ in } } else { #expect(try Vault.repair(at: path).isClean) }
        try opening(path) { vault in
          #expect(try tree(of: vault) == before)
          try expectSound(vault)
        }
      }
    }
  }

  @Test func `a row of the past that cannot be written is left out of no view`() throws {
    try Home.run { home in
      try home.vault.keepEverything()
      let names = ["a", "b", "c"], files = try names.map { try home.vault.makeFile($0, [1]) }
      try home.close()
      // The place is taken, whichever operation changes the file next.
      try alter(home.path) { try $0.execute("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 99) INSERT INTO past_node SELECT \(files[0].value), (SELECT value FROM state WHERE key = 'applied') + x, 1, x'00' FROM n") }
      try opening(home.path) { vault in
        for name in names { try? vault.rewrite(name, [2, 2]) }
        #expect(throws: VaultError.self) { try vault.versions(of: files[1]) }
        #expect(throws: VaultError.self) { try vault.shutDown() }
      }
      try Vault.rebuild(at: home.path) { _ in }
      try opening(home.path) { vault in
        for file in files { #expect(try vault.versions(of: file).map(\.size).filter { $0 > 0 } == [2, 1]) }
        try expectSound(vault)
      }
    }
  }

  @Test func `counters at their end go round, and everything goes on`() throws {
    try Home.run { home in
      var random = Random(seed: 2)
      try home.vault.makeFile("first", random.bytes(300_000))
      try home.close()
      let end = Int64.max
      try alter(home.path) { database in
        for key in ["nodes", "chunks", "unique_bytes"] { try database.execute("UPDATE state SET value = \(end - 1) WHERE key = '\(key)'") }
        for key in ["logical_bytes", "frame_bytes"] { try database.execute("UPDATE state SET value = \(end) WHERE key = '\(key)'") }
        try database.execute("UPDATE container SET chunks = \(end)")
        try database.execute("INSERT OR REPLACE INTO container (number, chunks, kept, dead, bases, frames, doubted) VALUES (0, \(end), 0, 0, x'', 0, 0)")
      }
      try home.open()
      let content = random.bytes(3_000_000), file = try home.vault.makeFile("second", content)
      for index in 0..<5 { try home.vault.makeFile("small-\(index)", random.bytes(1000)) }
      #expect(try home.vault.contents(of: file) == content)
      try home.optimise()
      _ = (home.vault.status(), try home.vault.space())
      #expect(try home.vault.contents(of: file) == content)
      try home.close()
    }
  }

  @Test func `epochs end before their number does`() throws {
    try Home.run { home in
      try home.close()
      try alter(home.path) { try $0.execute("UPDATE state SET value = \(Int64.max - 1) WHERE key = 'epoch'; UPDATE state SET value = \(Metadata.inodeEnd - 1) WHERE key = 'next_inode'") }
      try opening(home.path) { vault throws in
        _ = try? vault.make("last")
        #expect { _ = try vault.make("one too many") } throws: { isDamage($0) }
      }
    }
  }

  @Test func `directories that lie in each other are damage, not an endless walk`() throws {
    try Home.run { home in
      let a = try home.vault.makeDirectory("a"), b = try home.vault.makeDirectory("b", in: a), c = try home.vault.makeDirectory("c", in: b)
      let d = try home.vault.makeDirectory("d", in: c), moved = try home.vault.makeDirectory("moved")
      try home.close()
      // d lies in c, in b, in c again; and a directory is its own parent.
      try alter(home.path, b) { $0.parent = c }
      try opening(home.path) { vault throws in
        #expect { try vault.rename([UInt8]("moved"), in: .root, to: [UInt8]("x"), in: d, mode: .replace) } throws: { isDamage($0, naming: "circle") }
        #expect(try vault.info(moved).links == 2)
      }
      try alter(home.path, d) { $0.parent = d }
      try opening(home.path) { vault throws in
        #expect { try vault.rename([UInt8]("moved"), in: .root, to: [UInt8]("x"), in: d, mode: .replace) } throws: { isDamage($0, naming: "circle") }
        #expect(try vault.info(moved).links == 2)
      }
    }
  }

  private static let wrongPages: [(String, String)] = [
    ("a key behind its first extent", "UPDATE page SET start = start + 5 WHERE start = (SELECT start FROM page ORDER BY start LIMIT 1 OFFSET 1)"),
    ("a negative key", "UPDATE page SET start = -7 WHERE start = (SELECT min(start) FROM page)"),
    ("no extents", "UPDATE page SET extents = x'00'"),
    ("pages that overlap", "UPDATE page SET extents = (SELECT extents FROM page ORDER BY start DESC LIMIT 1) WHERE start = (SELECT min(start) FROM page)"),
    ("noise", "UPDATE page SET extents = x'0102030405060708090a0b0c0d0e0f'"),
  ]

  @Test(arguments: wrongPages.indices)
  func `manifest pages out of order are damage of their file`(index: Int) throws {
    let (what, sql) = Self.wrongPages[index]
    try Home.run { home in
      let (file, other) = try withPages(home)
      try home.close()
      try alter(home.path) { try $0.execute(sql) }
      try opening(home.path) { vault throws in
        let met = use(vault, file, other: other)
        #expect(met.contains { isDamage($0, naming: "node \(file.value)") }, "\(what): \(met)")
      }
    }
  }

  @Test func `a file that counts fewer bytes than it has is damage, not an overflow`() throws {
    try Home.run { home in
      let (file, other) = try withPages(home)
      try home.close()
      try alter(home.path, file) { $0.allocated = 0 }
      try opening(home.path) { vault throws in
        #expect { try vault.truncate(file, to: 100_000, clearsPrivileges: false) } throws: { _ in true }
        _ = use(vault, file, other: other)
        #expect(vault.status().readOnlyReason?.contains("node \(file.value)") == true)
      }
      try Vault.rebuild(at: home.path) { _ in }
      try opening(home.path) { vault in try expectSound(vault) }
    }
  }

  /// A file of 4 MB whose manifest is in several pages, and another one.
  private func withPages(_ home: Home) throws -> (InodeNumber, InodeNumber) {
    var random = Random(seed: 3)
    let file = try home.vault.makeFile("paged", random.bytes(4_000_000)), other = try home.vault.makeFile("other", random.bytes(300_000))
    try home.vault.withOpen(file) { open in
      for index in 0..<900 { try home.vault.allocate(open, offset: UInt64(index * 4200), length: 100, .punchHole, clearsPrivileges: false) }
    }
    let pages = try home.vault.lock.withLock { () throws in
      try home.vault.commit()
      return try home.vault.metadata.database.integer("SELECT count(*) FROM page") ?? 0
    }
    #expect(pages > 2)
    return (file, other)
  }

  @Test func `a node with a name is not dropped because a list says it has none`() throws {
    try Home.run { home in
      let file = try home.vault.makeFile("file", [1, 2, 3])
      try home.close()
      for wrong in [file.value, 12_345] {
        try alter(home.path) { try $0.execute("DELETE FROM orphan; INSERT INTO orphan (inode) VALUES (\(wrong))") }
        #expect { try opening(home.path) { _ in } } throws: { isDamage($0, naming: "node \(wrong)") }
      }
      try Vault.rebuild(at: home.path) { _ in }
      try opening(home.path) { vault throws in #expect(try vault.contents(of: file) == [1, 2, 3]) }
    }
  }

  @Test func `a schema of a negative version is refused`() throws {
    let path = try temporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let database = try Database(path: "\(path)/x.db")
    try database.execute("PRAGMA user_version = -5")
    #expect { try Schema.prepare(database) } throws: { isDamage($0, naming: "-5") }
  }

  @Test func `chunks of impossible length, and packs with too much that is dead, keep no collection busy`() throws {
    try Home.run { home in
      var random = Random(seed: 4)
      let content = random.bytes(600_000), file = try home.vault.makeFile("file", content)
      try home.vault.makeFile("gone", random.bytes(400_000))
      try home.vault.unlink([UInt8]("gone"), in: .root)
      try home.close()
      try alter(home.path) { try $0.execute("UPDATE container SET dead = \(Int64.max)") }
      #expect { try opening(home.path) { _ in } } throws: { isDamage($0, naming: "container") }
      try alter(home.path) { try $0.execute("UPDATE container SET dead = \((1 << 50) - 1); UPDATE chunk SET length = -1 WHERE number = (SELECT max(number) FROM chunk)") }
      try opening(home.path) { vault throws in
        vault.keeper?.stop()
        try vault.setHistoryPolicy({ var policy = HistoryPolicy(); policy.isOn = false; return policy }())
        try vault.expire()
        _ = try Collector(vault, mayGoOn: { true }, isQuiet: { true }).run()
        _ = vault.status()
        #expect(try vault.contents(of: file) == content)
        vault.keeper = Keeper(vault)
        vault.keeper?.start()
      }
    }
  }

  @Test func `a past that goes in a circle, or lies behind the last node, keeps nobody busy`() throws {
    try Home.run { home in
      let directory = try home.vault.makeDirectory("d")
      _ = try home.vault.makeDirectory("inner", in: directory)
      try home.vault.removeTree([UInt8]("d"), in: .root)
      let item = try #require(try home.vault.trash().first), moment = try home.vault.momentBefore(item)
      try home.close()
      // The trash says that the directory was in itself.
      try alter(home.path) { try $0.execute("UPDATE trash SET parent = \(directory.value) WHERE parent != 1; UPDATE trash SET aside = -1; INSERT INTO trash (died, inode, parent, name, second, aside) VALUES (1, \(directory.value), \(directory.value), x'61', \(Int64.min), \(Int64.max))") }
      try opening(home.path) { vault throws in _ = try vault.momentBefore(item) }
      // And so do its entries.
      try alter(home.path) { try $0.execute("UPDATE past_entry SET inode = \(directory.value) WHERE parent = \(directory.value)") }
      try opening(home.path) { vault throws in
        #expect { try vault.revive(directory, at: moment, as: [UInt8]("back"), in: .root) } throws: { isDamage($0, naming: "directory \(directory.value)") }
        #expect(try vault.names().isEmpty)
      }
      try alter(home.path) { try $0.execute("INSERT INTO past_node (inode, died, born, record) VALUES (\(Int64.max), 5, 4, x'00')") }
      try opening(home.path) { vault throws in
        #expect { try vault.expire() } throws: { isDamage($0, naming: "past") }
        #expect(try vault.names().isEmpty)
      }
    }
  }
}
