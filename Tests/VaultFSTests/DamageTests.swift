// Damage: what is damaged is said, and nothing else suffers.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct DamageTests {
  @Test func `a flipped bit in the journal before what is attested as durable is damage, and is never cut`() throws {
    try Home.run { home in
      let old = try home.copy()  // the view from before
      try plant(home.vault)
      try home.vault.syncAll()
      try home.vault.make("attests that what came before is durable")
      try home.vault.syncAll()
      try home.vault.make("and this one too")
      home.vault.keeper?.stop()
      let copy = try home.copy()
      home.vault.keeper = Keeper(home.vault)
      home.vault.keeper?.start()
      // The database as it was at the beginning: everything must be replayed.
      for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: "\(copy)/metadata.db\(suffix)") }
      for suffix in ["", "-wal", "-shm"] where FileManager.default.fileExists(atPath: "\(old)/metadata.db\(suffix)") {
        try FileManager.default.copyItem(atPath: "\(old)/metadata.db\(suffix)", toPath: "\(copy)/metadata.db\(suffix)")
      }
      let segment = try #require(try containers(copy, .segment).last)
      let all = try stored(segment), placed = try records(segment)
      let operations = placed.filter { $0.header.kind == .operation }
      #expect(operations.count > 30)
      var random = Random(seed: 7)
      for record in [operations[0], operations[1], operations[operations.count / 2], operations[operations.count - 3]] {
        for _ in 0..<3 {
          var wounded = all
          wounded[record.offset + random.below(RecordHeader.length + record.header.bodyLength)] ^= UInt8(1 << random.below(8))
          try store(wounded, segment)
          #expect("record at \(record.offset)") { try opening(copy) { _ in } } throws: { error in
            if case VaultError.journalDamaged(let detail) = error { detail.contains("byte") } else { false }
          }
          #expect(try stored(segment) == wounded, "a refusal leaves the journal as it is")
        }
      }
      try store(all, segment)
      try opening(copy) { vault in
        #expect(try vault.find("and this one too") != nil)
        try expectSound(vault)
      }
    }
  }

  @Test func `a damaged page of the database takes what is on it, whoever meets it, and no more`() throws {
    try Home.run { home in
      var random = Random(seed: 31)
      let contents = (0..<400).map { _ in random.bytes(3000) }
      for (index, content) in contents.enumerated() { try home.vault.makeFile("\(index)", content) }
      try home.close()
      let copy = try home.copy()
      try flipInPlace("\(copy)/metadata.db", at: try aLeaf(of: "chunk", in: copy) * 4096 + 2000)
      try home.open()
      try opening(copy) { vault in
        // Whoever writes what is there already looks where it is.
        for (index, content) in contents.enumerated() { _ = try? vault.makeFile("again-\(index)", content) }
        vault.frames.removeAll()
        let whole = contents.indices.filter { index in (try? vault.contents(of: try #require(try vault.find("\(index)")).inode)) == contents[index] }
        #expect(300..<400 ~= whole.count, "\(whole.count)")
        let names = try? vault.names(in: .root)
        #expect(names?.count ?? 0 >= 400)
      }
    }
  }

  /// The number, from 0, of a page with rows of a table.
  private func aLeaf(of table: String, in vault: String) throws -> Int {
    let root = try #require(try Database(lookingAt: "\(vault)/metadata.db", withLog: false).integer("SELECT rootpage FROM sqlite_schema WHERE name = '\(table)'"))
    let file = try stored("\(vault)/metadata.db"), page = Array(file[(Int(root) - 1) * 4096..<Int(root) * 4096])
    // (SQLite's file format: an interior page, its header, pointers to cells, each beginning with the number of the page below.)
    #expect(page[0] == 5, "it has too few rows")
    let cell = Int(page[12]) << 8 | Int(page[13])
    return page[cell..<cell + 4].reduce(0) { $0 << 8 | Int($1) } - 1
  }

  /// A segment is durable by name before anything refers to it: no power cut takes it away.
  @Test func `a segment that is missing is damage, and nothing is thrown away for it`() throws {
    try Home.run { home in
      try plant(home.vault)
      // The view refers to it, if only in the database's log.
      try home.vault.lock.withLock { () throws in try home.vault.commit() }
      let copy = try home.copy(), expected = try tree(of: home.vault)
      let segment = try #require(try containers(copy, .segment).last)
      try FileManager.default.moveItem(atPath: segment, toPath: copy + "/aside")
      #expect { try opening(copy) { _ in } } throws: { if case VaultError.journalDamaged(let detail) = $0 { detail.contains("missing") } else { false } }
      // Found again, everything is as it was.
      try? FileManager.default.removeItem(atPath: segment)
      try FileManager.default.moveItem(atPath: copy + "/aside", toPath: segment)
      try opening(copy) { vault throws in #expect(try tree(of: vault) == expected) }
    }
  }

  @Test func `a journal that ends before what the database itself holds is refused`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.vault.checkpoint()
      let copy = try home.copy()
      let segment = try #require(try containers(copy, .segment).last), all = try stored(segment)
      try store(Array(all[..<(all.count / 2)]), segment)
      #expect { try opening(copy) { _ in } } throws: { error in
        guard case VaultError.journalBehind(let path, _, _) = error else { return false }
        return path == copy && "\(error)".contains("mount --read-only \(copy)") && "\(error)".contains("vaultfs rebuild \(copy)")
      }
      try FileManager.default.removeItem(atPath: segment)
      #expect { try opening(copy) { _ in } } throws: { if case VaultError.journalDamaged(let detail) = $0 { detail.contains("missing") } else { false } }
    }
  }

  /// Damages the stored form of a file's chunks, one after another.
  private func expectOneFileDamaged(_ home: Home, _ container: String, of inode: InodeNumber, _ content: [UInt8], others: [InodeNumber: [UInt8]]) throws {
    let vault = home.vault
    let places = try vault.frames(of: inode)
    let (extent, place) = try #require(places.last { container.hasSuffix(ContainerStore.path($0.1.container, .pack)) || container.hasSuffix(ContainerStore.path($0.1.container, .segment)) })
    var random = Random(seed: 5)
    for _ in 0..<8 {
      vault.frames.removeAll()
      let at = Int(place.offset) + random.below(Int(place.length)), bit = UInt8(random.below(8))
      try flipInPlace(container, at: at, bit: bit)
      try vault.withOpen(inode) { file throws in
        #expect("byte \(at)") { _ = try vault.read(file, at: extent.offset, count: 1) } throws: { error in
          if case VaultError.chunkDamaged(let detail) = error { container.hasSuffix(detail.split(separator: " ").last.map(String.init) ?? "?") } else { false }
        }
        // All the rest of the file reads right.
        if extent.offset > 0 { #expect(try vault.read(file, count: Int(extent.offset)) == Array(content[..<Int(extent.offset)])) }
        #expect(try vault.read(file, at: extent.end, count: content.count) == Array(content[Int(extent.end)...]))
      }
      for (other, expected) in others { #expect(try vault.contents(of: other) == expected) }
      #expect(home.messages.contain("node \(inode.value)"), "the log names the node: \(home.messages.all)")
      try flipInPlace(container, at: at, bit: bit)
      vault.frames.removeAll()
      #expect(try vault.contents(of: inode) == content)
    }
  }

  @Test func `what damage costs is said by the file's name, once, and remembered`() throws {
    try Home.run { home in
      let directory = try home.vault.makeDirectory("a directory"), inode = try home.vault.makeFile("a file", in: directory, Random.bytes(200_000, seed: 9))
      #expect(home.vault.status().damage == nil)
      let pack = try #require(try containers(home.path, .pack).last)
      try flipInPlace(pack, at: PackHeader.length + 3000)
      try home.vault.withOpen(inode) { file in
        for offset in stride(from: 0, to: 16_000, by: 1000) { #expect(throws: VaultError.self) { _ = try home.vault.read(file, at: UInt64(offset), count: 1000) } }
      }
      let said = home.messages.all.filter { $0.contains("cannot read") }
      #expect(said.count == 1, "\(said)")
      #expect(said.first?.contains("`a directory/a file` (node \(inode.value)) in the vault \(home.path)") == true, "\(said)")
      #expect(home.vault.status().damage == said.first)
      try flipInPlace(pack, at: PackHeader.length + 3000)
    }
  }

  @Test func `whatever is read first of a damaged frame, all that cannot be read for it is named`() throws {
    try Home.run { home in
      // Text: the optimiser puts several of its chunks in a frame. Short saves go into the journal, one chunk after the other: those of a
      // long one are written by several threads, in any order.
      let content = Random.bytes(1_000_000, seed: 12).map { 97 + $0 % 4 }, inode = try home.vault.make("file").inode
      try home.vault.withOpen(inode) { file in
        for start in stride(from: 0, to: content.count, by: 50_000) {
          try home.vault.write(Array(content[start..<start + 50_000]), to: file, at: UInt64(start))
          try home.vault.save(file)
        }
      }
      try home.optimise()
      home.vault.keeper?.stop()
      let extents = try home.vault.frames(of: inode)
      func run(of frame: FramePlace) -> [Extent] { extents.filter { $0.1 == frame }.map(\.0) }
      let place = try #require(extents.map(\.1).last { frame in run(of: frame).count > 1 && zip(run(of: frame), run(of: frame).dropFirst()).allSatisfy { $0.end == $1.offset } }, "a frame holds several chunks")
      let run = run(of: place), middle = run[run.count / 2]
      let pack = home.path + "/" + ContainerStore.path(place.container, .pack), at = Int(place.offset) + Int(place.length) - 100
      home.vault.frames.removeAll()
      try flipInPlace(pack, at: at)
      try home.vault.withOpen(inode) { file throws in
        for offset in [middle.offset + 7, run[0].offset, run[run.count - 1].end - 1] { #expect(throws: VaultError.self) { _ = try home.vault.read(file, at: offset, count: 1) } }
        #expect(try home.vault.read(file, count: Int(run[0].offset)) == Array(content[..<Int(run[0].offset)]))
      }
      let said = home.messages.all.filter { $0.contains("cannot read") }
      #expect(said.count == 1 && said.first?.hasPrefix("cannot read bytes \(run[0].offset) to \(run[run.count - 1].end) of `file`") == true, "\(said)")
      try flipInPlace(pack, at: at)
    }
  }

  @Test func `a database that is empty is damaged, whoever looks, and no computer stopped`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.close()
      try store([], home.path + "/metadata.db")
      func isEmpty(_ body: () throws -> Void) {
        #expect { try body() } throws: { if case VaultError.databaseDamaged = $0 { "\($0)".contains("\(home.path)/metadata.db: it is empty") && "\($0)".contains("vaultfs rebuild \(home.path)") } else { false } }
      }
      for _ in 0..<2 {
        isEmpty { _ = try Vault.status(at: home.path) }
        isEmpty { try home.open() }
      }
      #expect(home.messages.all.isEmpty, "\(home.messages.all)")
      #expect(try stored(home.path + "/metadata.db").isEmpty)
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
    }
  }

  @Test func `a vault whose folder is deleted takes nothing more`() throws {
    try Home.run { home in
      try home.vault.makeFile("file", [UInt8]("content"))
      let moved = home.path + "-moved"
      try FileManager.default.moveItem(atPath: home.path, toPath: moved)
      try home.vault.make("in a folder that was moved")
      usleep(500_000)
      #expect(home.vault.status().readOnlyReason == nil, "it may be moved")
      try FileManager.default.moveItem(atPath: moved, toPath: home.path)
      try FileManager.default.removeItem(atPath: home.path)
      _ = try? home.vault.make("into nothing")
      var reason: String?
      for _ in 0..<20 where reason == nil {
        usleep(100_000)
        reason = home.vault.status().readOnlyReason
      }
      #expect(reason?.contains(home.path) == true && reason?.contains("deleted") == true, "\(reason ?? "none")")
      #expect(throws: VaultError.self) { try home.vault.make("later") }
      try? home.close()
    }
  }

  @Test func `a flipped bit in a pack damages the range it is in, and nothing else`() throws {
    try Home.run { home in
      var random = Random(seed: 3)
      let content = random.bytes(2_000_000), other = random.bytes(2_000_000)
      let file = try home.vault.makeFile("damaged", content), sound = try home.vault.makeFile("sound", other)
      try home.vault.syncAll()
      try expectOneFileDamaged(home, try #require(try containers(home.path, .pack).last), of: file, content, others: [sound: other])
    }
  }

  @Test func `a flipped bit in a frame that is still in the journal damages that file alone`() throws {
    try Home.run { home in
      var random = Random(seed: 4)
      let content = random.bytes(60_000), other = random.bytes(60_000)
      let file = try home.vault.makeFile("damaged", content), sound = try home.vault.makeFile("sound", other)
      try home.vault.syncAll()
      home.vault.keeper?.stop()
      try expectOneFileDamaged(home, try #require(try containers(home.path, .segment).last), of: file, content, others: [sound: other])
      home.vault.keeper = Keeper(home.vault)
      home.vault.keeper?.start()
    }
  }

  @Test func `opening what is left of a damaged vault is refused, not trapped`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.close()
      var random = Random(seed: 11)
      let files = try FileManager.default.subpathsOfDirectory(atPath: home.path).filter { !$0.hasPrefix("packs/") && $0 != "journal" && $0 != "packs" && $0 != "owner" }
      for round in 0..<60 {
        let copy = try home.copy(), name = random.pick(files.sorted())
        var all = try stored("\(copy)/\(name)")
        if all.isEmpty { continue }
        switch random.below(3) {
        case 0: for _ in 0..<20 { all[random.below(all.count)] = UInt8(random.below(256)) }
        case 1: all.removeLast(1 + random.below(all.count))
        default: all = random.bytes(random.below(10_000))
        }
        try store(all, "\(copy)/\(name)")
        // Either it opens and every byte it shows is right or refused, or it says why not.
        do {
          try opening(copy) { vault in
            for entry in try vault.entries(of: .root) where entry.type == S_IFREG { _ = try? vault.contents(of: entry.inode) }
          }
        } catch let error as VaultError { #expect(!"\(error)".isEmpty, "round \(round)") }
        _ = try? Vault.rebuild(at: copy) { _ in }
        try FileManager.default.removeItem(atPath: copy)
      }
    }
  }
}
