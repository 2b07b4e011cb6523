// Where the journal ends, and what is not an end but damage: after a kill, after a power cut, after a write that failed;
// and what a damaged journal still shows.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct JournalEndTests {
  /// A copy of a vault as a kill leaves it, with a few operations that nothing attests and that are not in its view.
  func killed(_ home: Home, makes names: [String]) throws -> (copy: String, segment: String) {
    try plant(home.vault)
    home.vault.keeper?.stop()
    try home.vault.syncAll()
    try home.vault.lock.withLock { () throws in try home.vault.commit() }
    for name in names { try home.vault.make(name) }
    let copy = try home.copy()
    home.restartKeeper()
    return (copy, try #require(try containers(copy, .segment).last))
  }
  func isJournal(_ error: any Error) -> Bool { (error as? VaultError)?.isOfJournal == true }
  func cuts(_ copy: String) throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: copy + "/journal").filter { $0.hasSuffix(".cut") } }
  /// What matters of a vault, byte by byte.
  func files(_ copy: String) throws -> [String: [UInt8]] {
    var all: [String: [UInt8]] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: copy) where !["owner", "boot", "journal", "packs"].contains(name) && !name.hasPrefix("metadata.db-") {
      all[name] = try stored("\(copy)/\(name)")
    }
    return all
  }

  @Test(arguments: [false, true])
  func `an unattested record that others follow is damage after a kill, and cut off, kept and said after a power cut`(powerCut: Bool) throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["one", "two", "three"])
      let place = try #require(try records(segment).suffix(2).first).offset, all = try stored(segment)
      try flip(segment, at: place + RecordHeader.length + 3)
      let wounded = try stored(segment)
      if !powerCut {
        #expect { try opening(copy) { _ in } } throws: { isJournal($0) && "\($0)".contains("byte \(place)") && "\($0)".contains("\(copy)/boot") }
        #expect { try Vault.rebuild(at: copy) { _ in } } throws: { isJournal($0) }
        #expect(try stored(segment) == wounded && cuts(copy).isEmpty)
        #expect(!FileManager.default.fileExists(atPath: copy + "/metadata.db.new"))
      }
      // The message says how to have it cut all the same.
      try (powerCut ? "another boot" : "").write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
      let told = Messages()
      let vault = try Vault.open(at: copy, purpose: "tested", log: { _ in }, tell: told.add)
      defer { try? vault.shutDown() }
      #expect(try vault.find("one") != nil && vault.find("two") == nil && vault.find("three") == nil)
      #expect(told.contain("cut off \(all.count - place) bytes") && told.contain("operation \(vault.status().operations)"), "\(told.all)")
      #expect(try cuts(copy).map { try stored("\(copy)/journal/\($0)") } == [Array(wounded[place...])])
    }
  }

  @Test func `whoever only looks leaves no segment behind`() throws {
    try Home.run { home in
      try home.vault.make("one")
      try home.reopen()
      home.vault.keeper?.stop()
      // (Older ones become archives.)
      func journal() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: home.path + "/journal").map { String($0.prefix { $0 != "." }) }.sorted() }
      let before = try journal().dropLast()
      for _ in 0..<3 {
        try home.close()
        let after = try journal()
        #expect(after == Array(before))
        try home.open()
        home.vault.keeper?.stop()
      }
      home.restartKeeper()
    }
  }

  @Test(arguments: ["written", "rotated", "marked", "killed"]) func `a segment stays where something stands in it, or the last end was none`(how: String) throws {
    try Home.run { home in
      try home.vault.make("one")
      if how == "killed" {
        home.vault.keeper?.stop()
        try home.vault.checkpoint()
        try home.kill(isPowerCut: false)
      } else { try home.reopen() }
      home.vault.keeper?.stop()
      let segment = try #require(try containers(home.path, .segment).last)
      if ["written", "rotated"].contains(how) { try home.vault.make("two") }
      if how == "rotated" { try home.vault.lock.withLock { () throws in try home.vault.rotate() } }
      if how == "marked" { try home.vault.mark() }
      try home.close()
      let kinds = try records(segment).map(\.header.kind)
      #expect(kinds.last == (how == "rotated" ? .operation : .mark))
      try opening(home.path) { vault throws in
        let check = try vault.check(.deep)
        #expect(check.isClean, "\(check.text)")
      }
      // After a power cut, the database lost, all of it is there again.
      try FileManager.default.removeItem(atPath: home.path + "/metadata.db")
      try "another boot".write(toFile: home.path + "/boot", atomically: false, encoding: .utf8)
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      let found = try ["one", "two"].map { name in try home.vault.find(name) != nil }
      #expect(found == [true, ["written", "rotated"].contains(how)])
    }
  }

  @Test func `where the journal ends in an archive, that is kept and becomes a segment again`() throws {
    try Home.run { home in
      for name in ["one", "two"] { try home.vault.make(name) }
      try home.optimise()
      try home.reopen()
      try home.optimise()
      try home.close()
      let path = try #require(try VaultFSTests.containers(home.path, .archive).last), number = try #require(UInt64(path.split(separator: "/").last!.prefix { $0 != "." }, radix: 16)), archive = try stored(path)
      let disk = try RealDisk(path: home.path), containers = try ContainerStore(disk: disk), id = try Vault.readConfiguration(home.path).id
      let segment = try Segment(ContainerNumber(number), in: containers, vault: id)
      let operation = try #require(unsafe segment.record(at: SegmentHeader.length)), end = SegmentHeader.length + operation.0.paddedLength
      let kept = unsafe Array(segment.bytes[..<end])
      let said = try JournalReader(containers: containers, vault: id, path: home.path).cut(.init(segment: ContainerNumber(number), offset: UInt64(end), what: "a test", last: operation.0.lsn))
      #expect(said.contains(".ops.0.cut") && said.contains(".log.\(end).cut"), "\(said)")
      let place = path.replacingOccurrences(of: ".ops", with: ".log")
      #expect(try stored(place) == kept && stored(path + ".0.cut") == archive && !FileManager.default.fileExists(atPath: path))
      #expect(containers.kind(ContainerNumber(number)) == .segment)
      // Another cut there takes nothing from what is kept of this one.
      let first = try stored("\(place).\(end).cut")
      try store(kept + [1, 2, 3, 4, 5, 6, 7, 8], place)
      _ = try JournalReader(containers: try ContainerStore(disk: disk), vault: id, path: home.path).cut(.init(segment: ContainerNumber(number), offset: UInt64(end), what: "a test", last: operation.0.lsn))
      #expect(try stored("\(place).\(end).cut") == first && stored("\(place).\(end)-2.cut") == [1, 2, 3, 4, 5, 6, 7, 8] && stored(place) == kept)
      home.remove()
    }
  }

  @Test func `an operation of a kind that a newer program knows is named, and nothing is cut off`() throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["one"]), all = try stored(segment)
      let last = try #require(try records(segment).last { $0.header.kind == .operation }).header
      var w = ByteWriter()
      w.raw(all)
      let header = try all.withUnsafeBytes { raw throws in try SegmentHeader(decoding: raw) }
      RecordHeader(kind: .operation, bodyLength: 3, lsn: last.lsn.next, stamp: last.stamp, durable: last.durable).encode(into: &w, body: [200, 1, 2], seed: header.seed)
      try store(w.bytes, segment)
      for _ in 0..<2 {
        for open in [{ try opening(copy) { _ in } }, { try Vault.rebuild(at: copy) { _ in } }] {
          #expect { try open() } throws: { "\($0)".contains("operation \(last.lsn.value + 1)") && "\($0)".contains("kind 200") && "\($0)".contains("newer") }
        }
      }
      #expect(try stored(segment) == w.bytes && cuts(copy).isEmpty)
    }
  }

  @Test(arguments: [false, true])
  func `an operation that cannot be done was refused and is cut off, but where others follow it is damage`(isFollowed: Bool) throws {
    try Home.run { home in
      let (copy, _) = try killed(home, makes: ["one"]), killed = copy + ".killed"
      let failed = try Vault.open(at: copy, purpose: "tested", log: { _ in })
      failed.keeper?.stop()
      let refused = try failed.lock.withLock { () throws in
        let (lsn, _) = try failed.journal.append(.drop(InodeNumber(999_999)))
        if isFollowed { _ = try failed.journal.append(.dropSnapshot(name: [1])) }
        return lsn
      }
      try FileManager.default.copyItem(atPath: copy, toPath: killed)
      defer { try? FileManager.default.removeItem(atPath: killed) }
      try? failed.shutDown()
      let says = "operation \(refused.value)"
      if isFollowed {
        for _ in 0..<2 { #expect { try opening(killed) { _ in } } throws: { isJournal($0) && "\($0)".contains("\(says) cannot be done") } }
        #expect { try Vault.rebuild(at: killed) { _ in } } throws: { isJournal($0) && "\($0)".contains(says) }
        let shown = try Vault.open(at: killed, purpose: "tested", readOnly: true, log: { _ in })
        defer { try? shown.shutDown() }
        #expect(try shown.find("one") != nil)
      } else {
        // By a rebuild, or by opening.
        let rebuilt = killed + ".rebuilt"
        try FileManager.default.copyItem(atPath: killed, toPath: rebuilt)
        defer { try? FileManager.default.removeItem(atPath: rebuilt) }
        let told = Messages()
        try Vault.rebuild(at: rebuilt, log: told.add) { _ in }
        #expect(told.contain("cut off") && told.contain(says), "\(told.all)")
        for place in [killed, rebuilt] {
          let vault = try Vault.open(at: place, purpose: "tested", log: told.add)
          defer { try? vault.shutDown() }
          #expect(try vault.find("one") != nil)
          try vault.make("two")
          try vault.syncAll()
        }
        #expect(try opening(killed) { try $0.find("two") } != nil)
      }
    }
  }

  @Test func `after a kill the very last record may be torn, and is cut off by a rebuild, too, which says so`() throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["one", "two"])
      let all = try stored(segment), last = try #require(try records(segment).last).offset
      try store(Array(all[..<(all.count - 12)]), segment)
      let another = copy + "-rebuilt", log = Messages()
      try FileManager.default.copyItem(atPath: copy, toPath: another)
      try Vault.rebuild(at: another, log: log.add) { _ in }
      #expect(log.contain("cut off \(all.count - 12 - last) bytes"), "\(log.all)")
      for path in [copy, another] {
        try opening(path) { vault in
          #expect(try vault.find("one") != nil && vault.find("two") == nil)
          try expectSound(vault)
          try vault.make("goes on")
        }
        #expect(try cuts(path).map { try stored("\(path)/journal/\($0)") } == [Array(all[last..<(all.count - 12)])])
        try Vault.rebuild(at: path) { _ in }
        try opening(path) { vault throws in #expect(try vault.find("goes on") != nil) }
      }
    }
  }

  @Test func `what a failed write left is not taken for a record that was there`() throws {
    try Home.run { home in
      try home.close()
      let disk = FullingDisk(try RealDisk(path: home.path))
      home.disk = disk
      try home.open()
      home.disk = nil
      try plant(home.vault)
      try home.vault.syncAll()
      home.vault.keeper?.stop()
      let file = try home.vault.open(try home.vault.make("file").inode)
      try home.vault.write(Random.bytes(90_000, seed: 4), to: file)
      // The frames are written, the operation is not.
      disk.isFull.store(true, ordering: .relaxed)
      #expect(throws: VaultError.self) { try home.vault.save(file) }
      disk.isFull.store(false, ordering: .relaxed)
      try home.vault.mark()
      let copy = try home.copy()
      home.restartKeeper()
      home.vault.close(file)
      try opening(copy) { vault throws in
        #expect(try vault.find("file") != nil)
        try expectSound(vault)
      }
    }
  }

  @Test(arguments: ["damaged", "missing", "short"])
  func `a vault whose journal is damaged can be looked at, and nothing of it changes`(how: String) throws {
    try Home.run { home in
      let made = ["one", "two", "three"], (copy, segment) = try killed(home, makes: made), all = try stored(segment), before = try tree(of: home.vault)
      switch how {
      case "damaged": try flip(segment, at: try #require(try records(segment).suffix(2).first).offset + RecordHeader.length)
      case "missing": try FileManager.default.removeItem(atPath: segment)
      default: try store(Array(all[..<(SegmentHeader.length + 8)]), segment)
      }
      #expect { try opening(copy) { _ in } } throws: { isJournal($0) }
      let files = try files(copy)
      // Everything up to the damage; where the journal cannot be read, what the database knows.
      var names = try home.vault.names().subtracting(made.map { [UInt8]($0) })
      if how == "damaged" { names.insert([UInt8]("one")) }
      try look(at: copy, expecting: names)
      #expect(try self.files(copy) == files)
      #expect(Vault.owner(of: copy) == nil)
      try store(all, segment)
      try opening(copy) { vault throws in #expect(try tree(of: vault) == before) }
    }
  }

  func look(at copy: String, expecting names: Set<[UInt8]>) throws {
    let told = Messages(), vault = try Vault.open(at: copy, purpose: "tested", readOnly: true, log: { _ in }, tell: told.add)
    #expect(told.all.count == 1 && told.contain("nothing is written"), "\(told.all)")
    #expect(try vault.names() == names)
    // What is in packs can be read.
    #expect(try vault.withOpen(try #require(try vault.find("large")).inode) { try vault.read($0, count: 500_000) }.count == 500_000)
    #expect(throws: VaultError.self) { try vault.make("new") }
    let status = vault.status()
    #expect(status.damage?.contains("journal") == true && status.readOnlyReason != nil)
    try vault.shutDown()
  }
}

/// A disk that becomes full in the middle of a write to the journal.
private final class FullingDisk: Disk {
  private let real: RealDisk
  let isFull = Atomic<Bool>(false)
  init(_ real: RealDisk) { self.real = real }
  func open(_ path: String, _ mode: OpenMode) throws(VaultError) -> any DiskFile { FullingFile(try real.open(path, mode), on: self) }
  func exists(_ path: String) -> Bool { real.exists(path) }
  func list(_ directory: String) throws(VaultError) -> [String] { try real.list(directory) }
  func makeDirectory(_ path: String) throws(VaultError) { try real.makeDirectory(path) }
  func rename(_ path: String, to newPath: String) throws(VaultError) { try real.rename(path, to: newPath) }
  func remove(_ path: String) throws(VaultError) { try real.remove(path) }
  func syncDirectory(_ path: String) throws(VaultError) { try real.syncDirectory(path) }
  func space() throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64) { try real.space() }
}

private final class FullingFile: DiskFile {
  private let real: any DiskFile
  private let disk: FullingDisk
  var path: String { real.path }
  init(_ real: any DiskFile, on disk: FullingDisk) { (self.real, self.disk) = (real, disk) }
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(VaultError) {
    guard disk.isFull.load(ordering: .relaxed), path.hasPrefix("journal/") else { return try real.write(bytes, at: offset) }
    try real.write(UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count - 8)]), at: offset)
    throw .diskFull
  }
  func size() throws(VaultError) -> UInt64 { try real.size() }
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VaultError) -> Int { try real.read(into: buffer, at: offset) }
  func truncate(to size: UInt64) throws(VaultError) { try real.truncate(to: size) }
  func allocate(_ bytes: UInt64) throws(VaultError) { try real.allocate(bytes) }
  func keepRoom(_ range: Range<UInt64>) throws(VaultError) { try real.keepRoom(range) }
  func sync() throws(VaultError) { try real.sync() }
}
