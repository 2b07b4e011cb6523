// Kills, power cuts, damage: what was saved is there, what is damaged is said, and nothing else suffers.

import Foundation
import Glibc
import Testing
@testable import VaultFS

/// The bytes of a file of a vault that nobody has open.
private func bytes(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }
private func write(_ bytes: [UInt8], _ path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
private func flip(_ path: String, at place: Int, bit: UInt8 = 0) throws {
  var all = try bytes(path)
  all[place] ^= 1 << bit
  try write(all, path)
}
private func containers(_ vault: String, _ kind: ContainerStore.Kind) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: "\(vault)/\(kind.directory)").filter { $0.hasSuffix(kind.suffix) }.sorted().map { "\(vault)/\(kind.directory)/\($0)" }
}

/// A record of a segment, and where it is.
private struct Placed {
  var offset: Int
  var header: RecordHeader
}
private func records(_ segment: String) throws -> [Placed] {
  try bytes(segment).withUnsafeBytes { raw throws in
    let header = try SegmentHeader(decoding: raw)
    var all: [Placed] = [], at = SegmentHeader.length
    while at < raw.count, let record = try? RecordHeader(decoding: UnsafeRawBufferPointer(rebasing: raw[at...]), seed: header.seed) {
      all.append(Placed(offset: at, header: record))
      at += record.paddedLength
    }
    return all
  }
}

struct RecoveryTests {
  /// A tree with something of everything.
  private func plant(_ vault: Vault, seed: UInt64 = 1) throws {
    var random = Random(seed: seed)
    let directory = try vault.makeDirectory("directory")
    for index in 0..<30 { try vault.makeFile("small-\(index)", in: directory, random.bytes(1 + random.below(5000))) }
    try vault.makeFile("medium", random.bytes(100_000))
    try vault.makeFile("large", random.bytes(3_000_000))
    let file = try vault.makeFile("linked", [UInt8]("linked"))
    _ = try vault.link(file, as: [UInt8]("again"), in: directory)
    try vault.setXattr([UInt8]("user.x"), of: file, to: [1, 2, 3], mode: .set, by: root)
    try vault.make("symlink", S_IFLNK | 0o777, target: "medium")
  }

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
      let all = try bytes(segment), last = try #require(try records(segment).last)
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
        try VaultFSTests.write(torn, segment.replacing(copy, with: another))
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
      let all = try bytes(segment), placed = try records(segment)
      #expect(placed.count > 30)
      var random = Random(seed: 7)
      for record in [placed[0], placed[1], placed[placed.count / 2], placed[placed.count - 3]] {
        for _ in 0..<3 {
          var wounded = all
          wounded[record.offset + random.below(RecordHeader.length + record.header.bodyLength)] ^= UInt8(1 << random.below(8))
          try VaultFSTests.write(wounded, segment)
          #expect("record at \(record.offset)") { try opening(copy) { _ in } } throws: { error in
            if case VaultError.journalDamaged(let detail) = error { detail.contains("byte") } else { false }
          }
          #expect(try bytes(segment) == wounded, "a refusal leaves the journal as it is")
        }
      }
      try VaultFSTests.write(all, segment)
      try opening(copy) { vault in
        #expect(try vault.find("and this one too") != nil)
        try expectSound(vault)
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
      let old = try home.vault.lock.withLock { () throws in try bytes(home.path + "/metadata.db") }
      try plant(home.vault)
      try home.vault.checkpoint()
      try home.vault.makeFile("late", [UInt8]("late"))
      let before = try tree(of: home.vault)
      try home.close()
      for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: "\(home.path)/metadata.db\(suffix)") }
      try VaultFSTests.write(old, home.path + "/metadata.db")
      try home.open()
      #expect(try tree(of: home.vault) == before)
    }
  }

  @Test func `a database's log that is ahead of the journal is thrown away`() throws {
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
      try VaultFSTests.write(Array(try bytes(segment)[..<Int(end)]), segment)
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
      let copy = try home.copy(), before = try bytes(copy + "/metadata.db")
      let counters = try Vault.status(at: copy).counters
      #expect(counters.nodes > 0)
      #expect(try bytes(copy + "/metadata.db") == before)
      let segment = try #require(try containers(copy, .segment).last)
      try flip(segment, at: 20)  // the vault's id, in the segment's header
      #expect { try opening(copy) { _ in } } throws: { if case VaultError.journalDamaged = $0 { true } else { false } }
      #expect(try bytes(copy + "/metadata.db") == before)
      try flip(segment, at: 20)
      let expected = try tree(of: home.vault)
      try opening(copy) { vault throws in #expect(try tree(of: vault) == expected) }
    }
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
      let segment = try #require(try containers(copy, .segment).last), all = try bytes(segment)
      try VaultFSTests.write(Array(all[..<(all.count / 2)]), segment)
      #expect { try opening(copy) { _ in } } throws: { if case VaultError.journalDamaged = $0 { true } else { false } }
      try FileManager.default.removeItem(atPath: segment)
      #expect { try opening(copy) { _ in } } throws: { if case VaultError.journalDamaged(let detail) = $0 { detail.contains("missing") } else { false } }
    }
  }

  /// Damages the stored form of a file's chunks, one after another.
  private func expectOneFileDamaged(_ home: Home, _ container: String, of inode: InodeNumber, _ content: [UInt8], others: [InodeNumber: [UInt8]]) throws {
    let vault = home.vault
    let places = try vault.lock.withLock { () throws in
      try vault.metadata.extents(of: try vault.metadata.node(inode), in: 0..<UInt64.max).compactMap { extent -> (Extent, FramePlace)? in
        guard case .chunk(let number, _) = extent.source else { return nil }
        return (extent, try vault.metadata.place(of: number).place.frame)
      }
    }
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

  /// Without making the file anew, which the vault has open.
  private func flipInPlace(_ path: String, at place: Int, bit: UInt8) throws {
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    defer { try? file.close() }
    try file.seek(toOffset: UInt64(place))
    let byte = try #require(try file.read(upToCount: 1)?.first)
    try file.seek(toOffset: UInt64(place))
    try file.write(contentsOf: [byte ^ (1 << bit)])
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

  @Test func `a kill at any moment of the optimiser loses nothing`() throws {
    try Home.run { home in
      var random = Random(seed: 9)
      // Text, and text like it, so that frames are compressed against each other.
      var text = [UInt8]((0..<60_000).map { "\($0 * 7919 % 100_003) is a number\n" }.joined())
      for version in 0..<4 {
        try home.vault.makeFile("version-\(version)", text)
        for _ in 0..<30 { text[random.below(text.count)] = 0x58 }
        for index in 0..<20 { try home.vault.makeFile("small-\(version)-\(index)", [UInt8]("\(version) \(index) ") + text[..<random.below(3000)]) }
      }
      let before = try tree(of: home.vault)
      var copies: [String] = [], calls = 0
      for _ in 0..<2 {
        try home.optimise {
          calls += 1
          if calls % 9 == 1, copies.count < 40 { copies += (try? [home.copy()]) ?? [] }
          return true
        }
      }
      copies.append(try home.copy())
      #expect(try tree(of: home.vault) == before)
      #expect(try !containers(home.path, .archive).isEmpty && copies.count > 5, "\(calls) calls")
      try home.reopen()
      #expect(try tree(of: home.vault) == before)
      for (index, copy) in copies.enumerated() {
        if index % 2 == 0 { try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8) }
        if index % 5 == 4 { try Vault.rebuild(at: copy) { _ in } }
        try opening(copy) { vault in
          #expect(try tree(of: vault) == before, "copy \(index)")
          try expectSound(vault, "copy \(index)")
        }
      }
    }
  }

  @Test func `the optimiser makes text smaller, and leaves alone what it was stopped in`() throws {
    try Home.run { home in
      let text = [UInt8]((0..<80_000).map { "line \($0 * 31 % 9973) of many\n" }.joined())
      try home.vault.makeFile("text", text)
      let before = home.vault.status().counters.frameBytes, packs = try containers(home.path, .pack)
      try home.optimise { false }
      #expect(home.vault.status().counters.frameBytes == before)
      #expect(try containers(home.path, .pack) == packs)
      try home.optimise()
      #expect(home.vault.status().counters.frameBytes < before * 3 / 4, "\(before) to \(home.vault.status().counters.frameBytes)")
      home.vault.frames.removeAll()
      #expect(try home.vault.contents(of: try #require(try home.vault.find("text")).inode) == text)
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
        var all = try bytes("\(copy)/\(name)")
        if all.isEmpty { continue }
        switch random.below(3) {
        case 0: for _ in 0..<20 { all[random.below(all.count)] = UInt8(random.below(256)) }
        case 1: all.removeLast(1 + random.below(all.count))
        default: all = random.bytes(random.below(10_000))
        }
        try VaultFSTests.write(all, "\(copy)/\(name)")
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
