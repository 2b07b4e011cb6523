// A check finds what is wrong, and nothing else; a repair puts it right.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

extension CheckReport {
  var kinds: Set<Finding.Kind> { Set(findings.filter { !$0.isNote }.map(\.kind)) }
  var text: String { findings.map { "\($0.kind.rawValue): \($0.detail) [\($0.file ?? "") \($0.row?.table ?? "")]" }.joined(separator: "\n") }
}
extension CheckOptions {
  static var deep: CheckOptions {
    var options = CheckOptions()
    options.comparesWithJournal = true
    return options
  }
}

struct CheckTests {
  // MARK: In the database

  @Test(arguments: Wound.all)
  func `one wound of the database is found, repaired, and gone`(wound: Wound) throws {
    try Home.run { home in
      let ward = try Ward(home), before = try tree(of: home.vault), small = try home.vault.contents(of: InodeNumber(ward["small"]))
      try home.close()
      try alterDatabase(home.path) { try wound.make(ward, $0) }
      let found = try Vault.check(at: home.path)
      #expect(found.kinds == wound.kinds && found.findings.count { !$0.isNote } == wound.findings, "\(found.text)")
      #expect(found.findings.allSatisfy { !$0.detail.isEmpty && !$0.repair.isEmpty })
      let repaired = try Vault.repair(at: home.path)
      #expect(repaired.isClean, "\(repaired.after.text)\n\(repaired.actions.map(\.done))")
      try home.open()
      if repaired.after.damagedChunks > 0 {
        #expect(throws: VaultError.self) { try home.vault.contents(of: InodeNumber(ward["small"])) }
        try home.vault.unlink([UInt8]("small"), in: .root)
        try home.vault.makeFile("small", small)
      } else {
        // The journal says what was there.
        #expect(try tree(of: home.vault) == before)
      }
      let again = try home.vault.check(.deep)
      #expect(again.isClean, "\(again.text)")
    }
  }

  /// Whoever adds a kind adds a wound.
  @Test func `every kind of finding has a wound`() {
    // Wounds of files, of limits, and those that a scrub finds: below, in QuotaCheckTests and in ScrubTests.
    let others: Set<Finding.Kind> = [
      .chunkPlace, .frameBase, .baseKept, .baseNoted, .packWhole, .packSuperfluous, .containerShort, .journalSegment, .journalSequence, .journalStamp, .journalOperation, .journalPosition,
      .databasePage, .viewStale, .orphan, .linkHome, .usageOwner, .quotaTree, .configuration, .chunkContent, .frameDamaged, .frameSuperfluous,
    ]
    let here = Set(Wound.all.flatMap(\.kinds))
    #expect(here.union(others) == Set(Finding.Kind.allCases) && here.isDisjoint(with: others), "\(Set(Finding.Kind.allCases).symmetricDifference(here.union(others)))")
  }

  @Test func `a journal that cannot be replayed is no fault of the database`() throws {
    try Home.run { home in
      _ = try Ward(home)
      try home.close()
      let segments = try containers(home.path, .segment), segment = try #require(try segments.first { try records($0).filter { $0.header.kind == .operation }.count > 2 })
      let record = try records(segment).filter { $0.header.kind == .operation }[1]
      try flip(segment, at: record.offset + RecordHeader.length + 2)
      let found = try Vault.check(at: home.path, .deep)
      #expect(found.kinds == [.journalSegment] && !found.isComplete, "\(found.text)")
      try flip(segment, at: record.offset + RecordHeader.length + 2)
      #expect(try Vault.check(at: home.path, .deep).isClean)
      try home.open()
    }
  }

  @Test func `a row that is not what the journal says is found when it is compared, and only then`() throws {
    try Home.run { home in
      let ward = try Ward(home), before = try tree(of: home.vault)
      try home.close()
      try alterDatabase(home.path) { try $0.edit(ward["small"]) { $0.mode ^= 0o100 } }
      let shallow = try Vault.check(at: home.path)
      #expect(shallow.isClean, "\(shallow.text)")
      let found = try Vault.check(at: home.path, .deep)
      #expect(found.kinds == [.viewStale] && found.findings.first?.path == "/small", "\(found.text)")
      #expect(try Vault.repair(at: home.path, .deep).isClean)
      try home.open()
      #expect(try tree(of: home.vault) == before)
      #expect(try FileManager.default.contentsOfDirectory(atPath: home.path + "/quarantine").contains { $0.hasSuffix("metadata.db") }, "the old database is kept")
    }
  }

  @Test func `a damaged page is found by itself, without SQLite's meeting it`() throws {
    try Home.run { home in
      _ = try Ward(home)
      try home.close()
      let size = try stored(home.path + "/metadata.db").count
      // A page that opening does not read is damaged while the vault is open.
      try home.open()
      home.vault.keeper?.stop()
      try flipInPlace(home.path + "/metadata.db", at: size - 2000)
      let found = try home.vault.check()
      #expect(found.findings.map(\.kind) == [.databasePage] && found.findings[0].byte == UInt64((size - 1) / 4096 * 4096), "\(found.text)")
      // Whatever else trips over one, it is one finding.
      try flipInPlace(home.path + "/metadata.db", at: size - 2000)
      for page in 1..<size / 4096 {
        try flipInPlace(home.path + "/metadata.db", at: page * 4096)
        // SQLite's own copy of it is another thing.
        if page % 2 == 0 { try home.vault.lock.withLock { () throws in try home.vault.metadata.database.execute("PRAGMA shrink_memory") } }
        let found = try home.vault.check()
        #expect(found.findings.map(\.kind) == [.databasePage] && found.findings[0].byte == UInt64(page * 4096), "page \(page): \(found.text)")
        try flipInPlace(home.path + "/metadata.db", at: page * 4096)
      }
      try flipInPlace(home.path + "/metadata.db", at: size - 2000)
      // Whether it can be closed cleanly is another matter.
      try? home.close()
      #expect(try Vault.repair(at: home.path).isClean)
      try home.open()
    }
  }

  // MARK: In packs

  @Test func `damage of a pack is found chunk by chunk, and noted, so that the same content heals it`() throws {
    try Home.run { home in
      let ward = try Ward(home), big = InodeNumber(ward["big"]), content = try home.vault.contents(of: big)
      try home.close()
      let pack = try #require(try containers(home.path, .pack).first)
      try flip(pack, at: PackHeader.length + 50)
      let found = try Vault.check(at: home.path)
      #expect(found.kinds == [.chunkFrame], "\(found.text)")
      let finding = try #require(found.findings.first { $0.kind == .chunkFrame })
      let file = try #require(finding.file)
      #expect(finding.byte == UInt64(PackHeader.length) && pack.hasSuffix(file) && finding.chunk?.count == 64)
      let repaired = try Vault.repair(at: home.path)
      #expect(repaired.isClean, "\(repaired.after.text)")
      #expect(repaired.after.damagedChunks == 1)
      try home.open()
      #expect(throws: VaultError.self) { try home.vault.contents(of: big) }
      try home.vault.makeFile("the same", content)
      #expect(try home.vault.contents(of: big) == content)
      #expect(try home.vault.check().damagedChunks == 0)
    }
  }

  @Test func `a pack that nothing is read from is told until it is taken away`() throws {
    try Home.run { home in
      try home.forgetEverything()
      try home.vault.makeFile("big", Random.bytes(1_500_000, seed: 5))
      try home.reopen()
      let pack = try #require(try containers(home.path, .pack).first)
      #expect(try home.vault.check().findings.isEmpty)
      try home.vault.unlink([UInt8]("big"), in: .root)
      try home.collect()
      let told = try home.vault.check(), isThere = FileManager.default.fileExists(atPath: pack)
      #expect(told.isClean && told.findings.map(\.kind) == (isThere ? [.packSuperfluous] : []), "\(told.text)")
      try home.optimise()
      #expect(!FileManager.default.fileExists(atPath: pack))
      #expect(try home.vault.check().findings.isEmpty)
    }
  }

  @Test func `a damaged footer is found, and the pack is kept`() throws {
    try Home.run { home in
      _ = try Ward(home)
      try home.close()
      let pack = try #require(try containers(home.path, .pack).first)
      for place in [1, 9, 20] {
        let size = try stored(pack).count
        try flip(pack, at: size - PackFooter.length + place)
        let found = try Vault.check(at: home.path)
        #expect(found.isClean && found.findings.map(\.kind) == [.packWhole], "byte \(place): \(found.text)")
        try flip(pack, at: size - PackFooter.length + place)
      }
      try flip(pack, at: try stored(pack).count - 3)
      try home.open()
      for _ in 0..<2 { try home.optimise() }
      #expect(FileManager.default.fileExists(atPath: pack))
    }
  }

  @Test func `a base that is gone, not kept or not noted is found`() throws {
    try Home.run { home in
      let (delta, base, contents) = try makeDelta(in: home)
      // An opening learns what is in the last packs: not from these any more.
      try home.reopen()
      #expect(try home.vault.check().isClean)
      try home.close()
      try alterDatabase(home.path) { try $0.execute("UPDATE container SET bases = x'' WHERE number = \(delta.place.frame.container.value)") }
      let unnoted = try Vault.check(at: home.path)
      #expect(unnoted.kinds == [.baseNoted], "\(unnoted.text)")
      #expect(try Vault.repair(at: home.path).isClean)
      try alterDatabase(home.path) { try $0.execute("UPDATE container SET kept = 0 WHERE number = \(base.container.value)") }
      let unkept = try Vault.check(at: home.path)
      #expect(unkept.kinds == [.baseKept], "\(unkept.text)")
      #expect(try Vault.repair(at: home.path).isClean)
      try flip("\(home.path)/\(ContainerStore.path(base.container, .pack))", at: Int(base.offset) + 9)
      let found = try Vault.check(at: home.path)
      #expect(found.kinds.isSuperset(of: [.frameBase]), "\(found.text)")
      #expect(try Vault.repair(at: home.path).isClean)
      try home.open()
      home.vault.keeper?.stop()
      #expect(throws: VaultError.self) { try home.vault.contents(of: try #require(try home.vault.find("c")).inode) }
      // The same content heals all of it.
      for (name, content) in contents { try home.vault.makeFile(name + "2", content) }
      #expect(try home.vault.contents(of: try #require(try home.vault.find("c")).inode) == contents["c"])
    }
  }

  @Test func `a chunk that is said to be in an archive, which holds none, is found and noted`() throws {
    try Home.run { home in
      let ward = try Ward(home), small = InodeNumber(ward["small"]), content = try home.vault.contents(of: small)
      try home.optimise()
      try home.close()
      let name = try #require(try containers(home.path, .archive).first).split(separator: "/").last!, archive = try #require(UInt64(name.prefix { $0.isNumber }))
      try alterDatabase(home.path) { db in
        let number = try db.firstChunk(of: ward["small"])
        try db.execute("UPDATE container SET chunks = chunks - 1 WHERE number = (SELECT container FROM chunk WHERE number = \(number))")
        try db.execute("INSERT OR REPLACE INTO container VALUES (\(archive), 1, 0, 0, x'', 5000, 0); UPDATE chunk SET container = \(archive) WHERE number = \(number)")
      }
      let found = try Vault.check(at: home.path)
      #expect(found.findings.filter { !$0.isNote }.map(\.kind) == [.chunkPlace], "\(found.text)")
      let repaired = try Vault.repair(at: home.path)
      #expect(repaired.isClean && repaired.after.damagedChunks == 1, "\(repaired.after.text)")
      try home.open()
      try home.vault.makeFile("again", content)
      #expect(try home.vault.contents(of: small) == content)
    }
  }

  // MARK: In the journal

  /// A segment with its records replaced by what `body` makes of them.
  private func rewrite(_ segment: String, _ body: (inout [(header: RecordHeader, body: [UInt8])]) throws -> Void) throws {
    let all = try stored(segment)
    var records: [(header: RecordHeader, body: [UInt8])] = []
    let header = try all.withUnsafeBytes { raw throws in try SegmentHeader(decoding: raw) }
    for record in try VaultFSTests.records(segment) {
      let start = record.offset + RecordHeader.length
      records.append((record.header, Array(all[start..<start + record.header.bodyLength])))
    }
    try body(&records)
    var w = ByteWriter(capacity: all.count)
    w.raw(all.prefix(SegmentHeader.length))
    for (record, body) in records { record.encode(into: &w, body: body, seed: header.seed) }
    try store(w.bytes, segment)
  }

  @Test(arguments: ["flipped", "gap", "stamp", "operation", "missing"])
  func `damage of the journal is found, and never repaired by forgetting`(how: String) throws {
    try Home.run { home in
      _ = try Ward(home)
      try home.reopen()
      try home.vault.make("in a second segment")
      try home.close()
      let segment = try #require(try containers(home.path, .segment).first { try stored($0).count > 5000 })
      let operations = try records(segment).filter { $0.header.kind == .operation }
      let victim = operations[operations.count / 2]
      var expected: Finding.Kind
      switch how {
      case "flipped":
        try flip(segment, at: victim.offset + RecordHeader.length)
        expected = .journalSegment
      case "gap":
        try rewrite(segment) { $0.removeAll { $0.header.kind == .operation && $0.header.lsn == victim.header.lsn } }
        expected = .journalSequence
      case "stamp":
        try rewrite(segment) { all in for index in all.indices where all[index].header.lsn == victim.header.lsn { all[index].header.stamp = 1 } }
        expected = .journalStamp
      case "operation":
        try rewrite(segment) { all in for index in all.indices where all[index].header.kind == .operation && all[index].header.lsn == victim.header.lsn { all[index].body[0] = 200 } }
        expected = .journalOperation
      default:
        try FileManager.default.removeItem(atPath: segment)
        expected = .journalSequence
      }
      let found = try Vault.check(at: home.path)
      #expect(found.kinds.contains(expected), "\(found.text)")
      // Frames that were in the journal are gone with what held them.
      #expect(found.kinds.subtracting([expected, .chunkPlace, .chunkFrame, .containerMissing, .chunkNamed]).isEmpty, "\(found.text)")
      if how != "missing" { #expect(found.findings.contains { $0.kind == expected && segment.hasSuffix($0.file ?? "?") }) }
      let repaired = try Vault.repair(at: home.path)
      #expect(repaired.after.kinds == [expected], "\(repaired.after.text)")
      try opening(home.path) { vault throws in #expect(try vault.find("in a second segment") != nil) }
    }
  }

  @Test(arguments: [false, true]) func `a damaged archive is found, also the last`(isLast: Bool) throws {
    try Home.run { home in
      _ = try Ward(home)
      try home.optimise()
      try home.close()
      let archives = try containers(home.path, .archive), archive = try #require(isLast ? archives.last : archives.first)
      try flip(archive, at: try stored(archive).count / 2)
      let found = try Vault.check(at: home.path)
      #expect(found.kinds == [.journalSegment] && archive.hasSuffix(found.findings.first?.file ?? "?"), "\(found.text)")
    }
  }

  @Test func `a view that goes on from the wrong place is found`() throws {
    try Home.run { home in
      _ = try Ward(home)
      home.vault.keeper?.stop()
      try home.vault.make("last")
      home.vault.lock.withLock { home.vault.metadata.state.segmentOffset -= 8 }
      let found = try home.vault.check()
      #expect(found.kinds == [.journalPosition], "\(found.text)")
      try home.vault.changeView { _ in home.vault.notePosition() }
    }
  }
}
