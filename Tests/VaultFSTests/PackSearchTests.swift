// Packs whose frames do not follow on each other any more: a rebuild finds those behind the damage, and believes none
// that a program only made look like a frame.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct PackSearchTests {
  /// The frames of a pack, and where each one is.
  private func frames(of pack: String) throws -> [(header: FrameHeader, offset: Int)] {
    let disk = try RealDisk(path: (pack as NSString).deletingLastPathComponent), file = try disk.open((pack as NSString).lastPathComponent, .read)
    var all: [(header: FrameHeader, offset: Int)] = []
    _ = try PackScanner.frames(of: file, from: 0, verifyPayload: false) { header, at, _ in all.append((header, Int(at))) }
    return all
  }

  @Test(arguments: [false, true])
  func `a rebuild loses the frame whose header is damaged, and none behind it`(optimised: Bool) throws {
    try Home.run { home in
      var random = Random(seed: 11)
      // Larger than what travels in the journal; like each other enough for delta frames.
      let common = random.content(200_000)
      var contents: [String: [UInt8]] = [:]
      for index in 0..<12 { contents["file-\(index)"] = random.bytes(150_000) + common + random.content(30_000) }
      for (name, content) in contents.sorted(by: { $0.key < $1.key }) { try home.vault.makeFile(name, content) }
      if optimised { try home.optimise() } else { try home.vault.syncAll() }
      try home.close()
      let pack = try #require(try containers(home.path, .pack).max { try! stored($0).count < stored($1).count })
      let all = try frames(of: pack), victim = all[all.count / 3]
      #expect(all.count > 6)
      try flip(pack, at: victim.offset + 50)
      try Vault.rebuild(at: home.path) { _ in }
      try opening(home.path) { vault throws in
        let lost = Set(victim.header.chunks.map(\.id))
        var readable = 0
        for (name, content) in contents {
          let inode = try #require(try vault.find(name)).inode
          if let found = try? vault.contents(of: inode) {
            #expect(found == content, "\(name): the right bytes or none")
            readable += 1
          }
        }
        // A frame of the optimiser has chunks of several files, or is the base of other frames.
        #expect(readable >= (optimised ? 1 : contents.count - lost.count), "\(readable)")
        #expect(readable < contents.count, "something was damaged")
      }
    }
  }

  @Test func `bytes that look like a frame are not believed to be one`() throws {
    try Home.run { home in
      var random = Random(seed: 12)
      let truth = random.bytes(20_000), lie = random.bytes(20_000)
      // A frame that says it holds `truth`, and holds `lie`; in a file that does not compress.
      let chunk = truth.withUnsafeBytes { FrameChunk(id: ChunkID(of: $0), length: 20_000, crc: lie.withUnsafeBytes { Checksum.crc32($0) }) }
      var forged = ByteWriter(capacity: 30_000)
      let header = lie.withUnsafeBytes { FrameHeader(codec: .raw, plain: 20_000, stored: $0, chunks: [chunk]) }
      header.encode(into: &forged)
      forged.raw(lie)
      try home.vault.makeFile("before", random.bytes(200_000))
      try home.vault.makeFile("forged", random.bytes(70_000) + forged.bytes + random.bytes(150_000))
      try home.vault.makeFile("after", random.bytes(200_000))
      try home.vault.syncAll()
      try home.close()
      let pack = try #require(try containers(home.path, .pack).first), all = try stored(pack)
      let place = try #require((0..<all.count - forged.bytes.count).first { all[$0..<$0 + forged.bytes.count].elementsEqual(forged.bytes) })
      let frame = try #require(try frames(of: pack).last { $0.offset < place })
      try flip(pack, at: frame.offset + 9)
      try Vault.rebuild(at: home.path) { _ in }
      try opening(home.path) { vault throws in
        // Were the forgery known by now, this would be taken for it.
        let inode = try vault.makeFile("truth", truth)
        #expect(try vault.contents(of: inode) == truth)
        #expect(try vault.contents(of: try #require(try vault.find("after")).inode).count == 200_000)
      }
    }
  }

  /// A pack of nothing but `body` behind its header, in a directory of its own.
  private func withPack<R>(_ body: [UInt8], _ use: (any DiskFile, String) throws -> R) throws -> R {
    let directory = try temporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try store(PackHeader.encoded(vault: NodeID(high: 1, low: 2), number: ContainerNumber(1)) + body, directory + "/p")
    return try use(try RealDisk(path: directory).open("p", .read), directory + "/p")
  }

  /// A frame of one chunk, stored as it is.
  private func frame(_ plain: [UInt8], naming id: ChunkID? = nil) -> [UInt8] {
    var w = ByteWriter(capacity: plain.count + 100)
    plain.withUnsafeBytes { raw in
      let chunk = FrameChunk(id: id ?? ChunkID(of: raw), length: UInt32(raw.count), crc: Checksum.crc32(raw))
      FrameHeader(codec: .raw, plain: raw.count, stored: raw, chunks: [chunk]).encode(into: &w)
    }
    return w.bytes + plain
  }

  private func found(_ file: any DiskFile, believing: (UInt64) -> Bool = { _ in true }) throws -> [UInt64] {
    var found: [UInt64] = []
    try PackScanner.search(file, from: 0) { _, at, _ in
      if believing(at) { found.append(at) }
      return believing(at)
    }
    return found
  }

  @Test func `a frame that is not believed, or whose payload is damaged, hides none of those in it or behind it`() throws {
    var random = Random(seed: 13)
    let good = frame(random.bytes(5000)), start = UInt64(PackHeader.length)
    // What says that it goes on over the good one; its payload checksum right, then wrong.
    let false1 = frame(random.bytes(300) + good + random.bytes(300))
    for isDamaged in [false, true] {
      var body = random.bytes(100) + false1 + random.bytes(50) + good
      if isDamaged { body[100 + FrameHeader.headerLength(chunks: 1) + 10] ^= 1 }
      try withPack(body) { file, _ throws in
        let inner = start + 100 + UInt64(FrameHeader.headerLength(chunks: 1)) + 300
        #expect(try found(file) { $0 != start + 100 } == [inner, start + UInt64(100 + false1.count + 50)], "damaged: \(isDamaged)")
      }
    }
    // Believed, it is passed over as a whole.
    try withPack(random.bytes(100) + false1) { file, _ throws in #expect(try found(file) == [start + 100]) }
    // At the seams of what is read at a time.
    for shift in [-16, -15, -4, -1, 0, 1] {
      let gap = (1 << 20) + shift
      try withPack([UInt8](repeating: 0, count: gap) + good) { file, _ throws in #expect(try found(file) == [start + UInt64(gap)], "shift \(shift)") }
    }
  }

  @Test func `packs full of what might be frames are searched in seconds`() throws {
    var magic = ByteWriter()
    magic.u32(FrameHeader.magic)
    var prefix = magic
    prefix.u8(0); prefix.u8(0); prefix.u16(1); prefix.u32(1); prefix.u32(1)
    // Headers that each name the 2 MiB behind them as their payload.
    var header = ByteWriter()
    FrameHeader(codec: .raw, plain: 1 << 20, stored: UnsafeRawBufferPointer(start: nil, count: 0), chunks: [FrameChunk(id: ChunkID(1, 2, 3, 4), length: 1 << 20, crc: 5)]).encode(into: &header)
    var claims = header.bytes
    claims.replaceSubrange(12..<16, with: [0, 0, 0x20, 0])
    let crc = claims.dropLast(4).withUnsafeBytes { Checksum.crc32($0) }
    claims.replaceSubrange(claims.count - 4..<claims.count, with: withUnsafeBytes(of: crc.littleEndian) { Array($0) })
    for (what, pattern, count) in [("magic", magic.bytes, 64 << 20), ("beginnings of headers", prefix.bytes, 16 << 20), ("headers", claims, 8 << 20)] {
      var body = [UInt8](repeating: 0, count: count / pattern.count * pattern.count)
      for at in stride(from: 0, to: body.count, by: pattern.count) { for index in 0..<pattern.count { body[at + index] = pattern[index] } }
      let last = frame([1, 2, 3])
      try withPack([0] + body + last) { file, _ throws in
        var all: [UInt64] = []
        let took = try ContinuousClock().measure { all = try found(file) }
        #expect(took < .seconds(60), "\(what): \(took)")
        #expect(all == [UInt64(PackHeader.length + 1 + body.count)], "\(what): the frame behind it")
      }
    }
  }

  @Test func `a pack far longer than any vault writes is not searched to its end`() throws {
    let first = frame([1, 2, 3])
    try withPack(first) { file, path throws in
      #expect(truncate(path, 4 << 40) == 0)
      var all: [UInt64] = []
      let took = try ContinuousClock().measure { all = try found(file) }
      #expect(all == [UInt64(PackHeader.length)])
      #expect(took < .seconds(30), "\(took)")
    }
  }
}
