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
}
