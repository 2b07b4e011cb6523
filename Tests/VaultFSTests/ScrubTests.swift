// A scrub reads every stored byte, and finds each one that is wrong.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

extension ScrubReport {
  var kinds: Set<Finding.Kind> { Set(findings.map(\.kind)) }
  var text: String { findings.map { "\($0.kind.rawValue): \($0.detail) [\($0.file ?? "")]" }.joined(separator: "\n") }
}

func eager() -> ScrubOptions {
  var options = ScrubOptions()
  options.isGentle = false
  return options
}

struct ScrubTests {
  @Test func `a sound vault is read to its last byte, and nothing is found`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.optimise()
      try plant(home.vault, directory: "second", seed: 2)
      try home.reopen()
      let report = try home.vault.scrub(eager())
      #expect(report.isClean, "\(report.text)")
      let stored = try FileManager.default.subpathsOfDirectory(atPath: home.path).filter { $0.hasPrefix("packs/") || $0.hasPrefix("journal/") || $0 == "metadata.db" }
        .reduce(0) { sum, name in sum + (try FileManager.default.attributesOfItem(atPath: "\(home.path)/\(name)")[.size] as? Int ?? 0) }
      // The headers of files are not counted.
      #expect(Int(report.bytes) <= stored && Int(report.bytes) > stored - 20_000, "\(report.bytes) of \(stored)")
      #expect(report.frames > 20 && report.chunks > 60)
      #expect(home.vault.lastScrub != nil)
    }
  }

  @Test func `damage of what is deleted hides no damage of what is there`() throws {
    try Home.run { home in
      let gone = try home.vault.makeFile("gone", Random.bytes(3_000_000, seed: 1)), there = try home.vault.makeFile("there", Random.bytes(600_000, seed: 2))
      try home.vault.syncAll()
      home.vault.keeper?.stop()
      func flip(_ inode: InodeNumber) throws {
        let frame = try home.vault.frame(of: inode)
        try flipInPlace("\(home.path)/\(ContainerStore.path(frame.container, .pack))", at: Int(frame.offset) + 3000)
      }
      for inode in [gone, there] { try flip(inode) }
      let isPaged = try home.vault.lock.withLock { () throws in try home.vault.metadata.node(gone).paged }
      #expect(isPaged)
      try home.vault.unlink([UInt8]("gone"), in: .root)
      for _ in 0..<2 {
        let files = try home.vault.scrub(eager()).files
        #expect(files.map(\.path) == ["/there", "/gone"] && files.map(\.inode) == [there.value, gone.value] && files[0].until == nil, "\(files)")
        #expect(abs((files.last?.until ?? 0) - Timestamp.now.seconds) < 300)
      }
      for seed in 1...2 as ClosedRange<UInt64> { try home.vault.makeFile("again \(seed)", Random.bytes(seed == 1 ? 3_000_000 : 600_000, seed: seed)) }
      #expect(try home.vault.contents(of: there) == Random.bytes(600_000, seed: 2))
      home.restartKeeper()
    }
  }

  @Test(arguments: [1, 300]) func `damage of a former version is named as such, by the name that the file has now`(extents: UInt64) throws {
    try Home.run { home in
      let vault = home.vault, directory = try vault.makeDirectory("d"), file = try vault.make("file", in: directory).inode
      for index in 0..<extents { try vault.put(Random.bytes(3000, seed: index), at: index * 10_000, in: file) }
      try vault.keepEverything()
      try vault.syncAll()
      vault.keeper?.stop()
      try vault.put(Random.bytes(3000, seed: 1000), in: file)
      try vault.rename([UInt8]("file"), in: directory, to: [UInt8]("other"), in: .root, mode: .replace)
      try vault.syncAll()
      // What the first version began with, found by what is in it.
      let content = Random.bytes(3000, seed: 0)
      let places = try containers(home.path, .segment).flatMap { segment in
        let bytes = try stored(segment)
        return bytes.indices.dropLast(64).filter { bytes[$0] == content[500] && Array(bytes[$0..<$0 + 64]) == Array(content[500..<564]) }.map { (segment, $0) }
      }
      try #require(places.count == 1)
      try flipInPlace(places[0].0, at: places[0].1)
      vault.frames.removeAll()
      let found = try vault.scrub(eager())
      #expect(found.files.map(\.path) == ["/other"] && found.files.allSatisfy { $0.until != nil } && !found.isClean, "\(found.files)")
      #expect(try vault.contents(of: file).prefix(3000) == Random.bytes(3000, seed: 1000)[...])
      try vault.makeFile("again", content)
      #expect(try vault.scrub(eager()).files.isEmpty)
      try flipInPlace(places[0].0, at: places[0].1)
      home.restartKeeper()
    }
  }

  @Test func `a damaged header of a segment is found`() throws {
    try Home.run { home in
      try home.vault.makeFile("f", Random.bytes(5000, seed: 1))
      try home.close()
      let segment = try #require(try containers(home.path, .segment).first { try records($0).count > 1 })
      for byte in [0, 20, 45] {
        try flip(segment, at: byte)
        try opening(home.path) { vault throws in #expect(try vault.scrub(eager()).kinds == [.journalSegment], "\(byte)") }
        try flip(segment, at: byte)
      }
      let whole = try stored(segment)
      for size in [0, 20] {
        #expect(truncate(segment, size) == 0)
        try opening(home.path) { vault throws in
          let found = try vault.scrub(eager()).findings.filter { !$0.isNote && $0.kind == .journalSegment }
          #expect(found.count == 1 && segment.hasSuffix(found[0].file ?? "?"), "\(size): \(found)")
        }
      }
      try store(whole, segment)
      try opening(home.path) { vault throws in #expect(try vault.scrub(eager()).isClean) }
    }
  }

  @Test(arguments: ["payload", "header", "sealed", "journal"])
  func `a flipped bit of a frame is found, its file is named, and the same content heals it`(where place: String) throws {
    try Home.run { home in
      var random = Random(seed: 31)
      let content = random.bytes(place == "journal" ? 60_000 : 600_000), other = random.bytes(700_000)
      let directory = try home.vault.makeDirectory("d")
      let file = try home.vault.makeFile("damaged", in: directory, content)
      try home.vault.makeFile("sound", other)
      try home.vault.syncAll()
      home.vault.keeper?.stop()
      if place == "sealed" { try home.vault.packs.seal() }
      let frame = try home.vault.frame(of: file)
      let container = "\(home.path)/\(ContainerStore.path(frame.container, try #require(home.vault.containers.kind(frame.container))))"
      try flipInPlace(container, at: Int(frame.offset) + (place == "header" ? 9 : 3000))
      let report = try home.vault.scrub(eager())
      // One wound is one finding.
      #expect(report.findings.filter { !$0.isNote }.map(\.kind) == [place == "sealed" ? .frameDamaged : .chunkContent], "\(report.text)")
      #expect(report.findings.contains { $0.detail.hasSuffix("; 1 chunk in it cannot be read") })
      #expect(report.marked == 1 && report.files == [DamagedFile(inode: file.value, path: "/d/damaged", pathBytes: [UInt8]("/d/damaged"))], "\(report.files)")
      #expect(home.vault.status().damagedChunks == 1)
      #expect(report.findings.contains { $0.byte == frame.offset && container.hasSuffix($0.file ?? "?") })
      // Not what was found bad is referred to, but the content is stored anew.
      #expect(throws: VaultError.self) { try home.vault.contents(of: file) }
      try home.vault.makeFile("again", content)
      #expect(try home.vault.contents(of: file) == content)
      #expect(home.vault.status().damagedChunks == 0)
      // What nobody needs any more harms nobody.
      let healed = try home.vault.scrub(eager())
      #expect(healed.files.isEmpty && healed.isClean == (place != "journal"), "\(healed.text)")
      #expect(healed.kinds.contains(.frameSuperfluous) == (place == "sealed"))
      if place != "journal" {
        home.vault.keeper = Keeper(home.vault)
        home.vault.keeper?.start()
      } else { try flipInPlace(container, at: Int(frame.offset) + 3000) }
      #expect(try home.vault.check().findings.allSatisfy(\.isNote))
      if place == "header" { #expect(try home.vault.repair().isClean) }
    }
  }

  @Test func `checksums of what is stored are looked at alone where that is asked for`() throws {
    try Home.run { home in
      var random = Random(seed: 37)
      let content = random.bytes(600_000), file = try home.vault.makeFile("file", content)
      try home.vault.syncAll()
      home.vault.keeper?.stop()
      try home.vault.packs.seal()
      let frame = try home.vault.frame(of: file)
      let pack = "\(home.path)/\(ContainerStore.path(frame.container, .pack))", range = Int(frame.offset)..<Int(frame.offset) + Int(frame.length)
      var checksums = eager()
      checksums.decodes = false
      let sound = try home.vault.scrub(checksums)
      #expect(sound.isClean && sound.bytes > 600_000 && sound.chunks > 3 && home.vault.lastScrub == nil, "\(sound.text)")
      // It neither goes on from another scrub nor ends one.
      let whole = try home.vault.scrub(eager()), last = try #require(home.vault.lastScrub)
      #expect(whole.frames == sound.frames && whole.chunks == sound.chunks)
      #expect(try home.vault.scrub(checksums).isClean && home.vault.lastScrub == last)
      // What is stored as its checksums say, and is yet another content than its name.
      let all = try stored(pack), header = try all[range].withUnsafeBytes { raw throws in try FrameHeader(decoding: raw) }
      try #require(header.codec == .raw && header.chunks.count == 1)
      var other = Array(all[range].suffix(header.storedLength))
      other[3000] ^= 1
      var chunk = header.chunks[0], writer = ByteWriter()
      chunk.crc = other.withUnsafeBytes { Checksum.crc32($0) }
      other.withUnsafeBytes { FrameHeader(codec: .raw, plain: header.plainLength, stored: $0, chunks: [chunk]).encode(into: &writer) }
      var lying = all
      lying.replaceSubrange(range, with: writer.bytes + other)
      let lyingAlone = lying
      try store(lyingAlone, pack)
      var footer = PackFooter()
      try PackScanner.frames(of: try home.vault.containers.disk.open(ContainerStore.path(frame.container, .pack), .read), from: 0, verifyPayload: false) { header, _, _ in footer.add(header) }
      lying.replaceSubrange(lying.count - PackFooter.length..<lying.count, with: footer.encoded())
      try store(lying, pack)
      #expect(try home.vault.scrub(checksums).isClean)
      // What the disk did is found, and noted.
      try store(all, pack)
      try flipInPlace(pack, at: range.lowerBound + 3000)
      let found = try home.vault.scrub(checksums)
      #expect(found.kinds == [.frameDamaged] && found.marked == 1 && found.files.map(\.path) == ["/file"], "\(found.text)")
      #expect(throws: VaultError.self) { try home.vault.contents(of: file) }
      try home.vault.makeFile("again", content)
      #expect(try home.vault.contents(of: file) == content)
      try store(lying, pack)
      #expect(try home.vault.scrub(eager()).kinds == [.frameSuperfluous])
      // (It is another than those that the pack's footer sums up.)
      try store(lyingAlone, pack)
      #expect(try home.vault.scrub(checksums).kinds == [.packWhole])
      try store(all, pack)
      home.vault.keeper = Keeper(home.vault)
      home.vault.keeper?.start()
    }
  }

  @Test func `damage of an archive, a segment, a page and the configuration is found`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.optimise()
      try plant(home.vault, directory: "second", seed: 2)
      try home.vault.syncAll()
      try home.reopen()
      home.vault.keeper?.stop()
      func find(_ file: String, at place: Int, _ kind: Finding.Kind) throws {
        try flipInPlace(file, at: place)
        let report = try home.vault.scrub(eager())
        #expect(report.kinds == [kind] && file.hasSuffix(report.findings.first?.file ?? "?"), "\(report.text)")
        try flipInPlace(file, at: place)
      }
      let archive = try #require(try containers(home.path, .archive).first)
      try find(archive, at: try stored(archive).count / 2, .journalSegment)
      let segment = try #require(try containers(home.path, .segment).max { try! stored($0).count < stored($1).count })
      let operation = try #require(try records(segment).first { $0.header.kind == .operation })
      try find(segment, at: operation.offset + 20, .journalSegment)
      try find(home.path + "/metadata.db", at: 4096 * 3 + 100, .databasePage)
      try find(home.path + "/vault", at: 30, .configuration)
      #expect(try home.vault.scrub(eager()).isClean)
    }
  }

  @Test func `a scrub that is ended goes on where it was, also after a restart`() throws {
    try Home.run { home in
      var random = Random(seed: 33)
      for index in 0..<6 {
        try home.vault.makeFile("file-\(index)", random.bytes(3_000_000))
        try home.vault.syncAll()
        try home.vault.packs.seal()
      }
      try home.reopen()
      home.vault.keeper?.stop()
      var options = eager()
      let cancellation = options.cancellation
      options.bytesPerSecond = 20_000_000
      options.progress = { if $0.bytesDone > 8_000_000 { cancellation.cancel() } }
      let first = try home.vault.scrub(options)
      #expect(!first.isComplete && !first.isResumed && home.vault.lastScrub == nil)
      try home.reopen()
      let second = try home.vault.scrub(eager())
      #expect(second.isComplete && second.isResumed && second.isClean, "\(second.text)")
      #expect(second.bytes > 18_000_000)
      // What two threads had read of containers that were not done is counted once.
      let whole = try home.vault.scrub(eager())
      #expect(!whole.isResumed && (second.frames, second.chunks) == (whole.frames, whole.chunks), "\(second.frames) and \(whole.frames) frames")
      // What is no position is none.
      try flip(home.path + "/scrub", at: 40)
      #expect(home.vault.lastScrub == nil)
    }
  }

  @Test(arguments: [true, false])
  func `a pack that is gone is one finding, whoever looks, and what was in it is noted`(repairs: Bool) throws {
    try Home.run { home in
      var random = Random(seed: 36)
      let content = random.bytes(3_000_000), file = try home.vault.makeFile("lost", content)
      try home.vault.syncAll()
      try home.reopen()
      home.vault.keeper?.stop()
      try FileManager.default.removeItem(atPath: try #require(try containers(home.path, .pack).first))
      try home.reopen()
      home.vault.keeper?.stop()
      if repairs {
        #expect(try home.vault.check().findings.filter { !$0.isNote }.map(\.kind) == [.containerMissing])
        let repaired = try home.vault.repair()
        #expect(repaired.after.isClean && repaired.after.damagedChunks > 20, "\(repaired.after.text)")
      }
      let scrub = try home.vault.scrub(eager())
      #expect(scrub.findings.map(\.kind) == (repairs ? [] : [.containerMissing]) && (scrub.marked > 20) == !repairs, "\(scrub.text)")
      #expect(scrub.files == [DamagedFile(inode: file.value, path: "/lost", pathBytes: [UInt8]("/lost"))])
      // The same content heals it.
      try home.vault.makeFile("again", content)
      #expect(try home.vault.contents(of: file) == content)
    }
  }

  @Test(arguments: [true, false], [0, 10, 2])
  func `a pack that was cut short is one finding, whoever looks, and what was behind is noted`(repairs: Bool, part: Int) throws {
    try Home.run { home in
      let content = Random.bytes(3_000_000, seed: 37), file = try home.vault.makeFile("lost", content)
      try home.vault.syncAll()
      try home.close()
      let pack = try #require(try containers(home.path, .pack).first), size = part == 2 ? try stored(pack).count / 2 : part
      #expect(truncate(pack, size) == 0)
      try home.open()
      home.vault.keeper?.stop()
      let chunks = home.vault.lock.withLock { home.vault.metadata.state.counters.chunks }
      if repairs {
        let found = try home.vault.check().findings
        #expect(found.map(\.kind) == [.containerShort] && found[0].byte == UInt64(size), "\(found)")
        let after = try home.vault.repair().after
        // What is before the end is sound. (The last may be in the journal.)
        #expect(after.isClean && (part == 2 ? chunks / 4..<chunks * 3 / 4 : chunks - 2..<chunks + 1).contains(Int64(after.damagedChunks)), "\(chunks), \(after.damagedChunks): \(after.text)")
      }
      let scrub = try home.vault.scrub(eager())
      #expect(scrub.findings.filter { !$0.isNote }.map(\.kind) == (repairs ? [] : [.containerShort]) && (scrub.marked > 10) == !repairs, "\(scrub.text)")
      #expect(scrub.files == [DamagedFile(inode: file.value, path: "/lost", pathBytes: [UInt8]("/lost"))])
      try home.vault.makeFile("again", content)
      #expect(try home.vault.contents(of: file) == content)
    }
  }

  @Test func `damage of a record of the journal is one finding, with what was in it`() throws {
    try Home.run { home in
      let content = Random.bytes(60_000, seed: 38), file = try home.vault.makeFile("lost", content)
      try home.close()
      let (segment, at) = try #require(try containers(home.path, .segment).compactMap { segment in
        Data(try stored(segment)).range(of: Data(content[1000..<1064])).map { (segment, $0.lowerBound) }
      }.first)
      try flip(segment, at: at)
      try home.open()
      home.vault.keeper?.stop()
      let scrub = try home.vault.scrub(eager())
      #expect(scrub.findings.map(\.kind) == [.journalSegment] && scrub.marked == 1 && scrub.findings[0].detail.contains("1 chunk in it cannot be read"), "\(scrub.text)")
      #expect(scrub.files == [DamagedFile(inode: file.value, path: "/lost", pathBytes: [UInt8]("/lost"))])
      try home.vault.makeFile("again", content)
      #expect(try home.vault.contents(of: file) == content)
      home.wounds = [.journalSegment]
    }
  }

  @Test func `what a reader doubts meanwhile stays doubted`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.makeFile("file", Random.bytes(6_000_000, seed: 34))
      try vault.syncAll()
      try vault.packs.seal()
      let pack = try vault.frame(of: file).container
      var options = eager()
      options.bytesPerSecond = 5_000_000
      // (It is told once more when the doubts of before are gone.)
      options.progress = { if $0.bytesDone < 4_000_000 { vault.doubt(pack, because: .chunkDamaged(detail: "a reader")) } }
      #expect(try vault.scrub(options).isClean)
      #expect(vault.lock.withLock { vault.metadata.state.containers.isDoubted(pack) })
      #expect(try vault.scrub(eager()).isClean)
      #expect(!vault.lock.withLock { vault.metadata.state.containers.isDoubted(pack) })
    }
  }

  @Test func `a scrub keeps to its rate`() throws {
    try Home.run { home in
      var random = Random(seed: 34)
      try home.vault.makeFile("file", random.bytes(6_000_000))
      try home.vault.syncAll()
      var options = eager()
      options.bytesPerSecond = 5_000_000
      let report = try home.vault.scrub(options)
      #expect(report.isClean && report.seconds > 0.8, "\(report.seconds) s")
    }
  }

  /// `VAULTFS_SCRUB_MIB` makes it larger; the speed is printed, and asserted by nobody.
  @Test(arguments: ["noise", "text"])
  func `a scrub tells its speed`(content: String) throws {
    let mebibytes = ProcessInfo.processInfo.environment["VAULTFS_SCRUB_MIB"].flatMap { Int($0) } ?? 64
    try Home.run { home in
      var random = Random(seed: 35)
      for index in 0..<mebibytes / 8 {
        let part = content == "noise" ? random.bytes(8 << 20) : [UInt8]((0..<280_000).map { "\($0 &* 7919 % 99991) of \(index), \(random.next() % 1000)\n" }.joined().utf8)
        try home.vault.makeFile("file-\(index)", part)
      }
      if content == "text" { try home.optimise() } else { try home.vault.syncAll() }
      _ = try home.vault.scrub(eager())
      let report = try home.vault.scrub(eager())
      print("a scrub of \(content): \(report.bytes >> 20) MiB stored, \(report.chunks) chunks in \(report.seconds) s: \(Int(Double(report.bytes) / report.seconds / 1e6)) MB/s of stored bytes")
      #expect(report.isClean, "\(report.text)")
    }
  }
}
