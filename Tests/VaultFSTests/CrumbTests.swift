// Small synced writes: crumbs are joined, and joining never brings old bytes back.

import Testing
@testable import VaultFS

@Suite struct CrumbTests {
  /// Several overwrites in one save, among extents of their own size: the case in which a join once read a range before
  /// a newer edit of the same save and wrote it after.
  @Test(arguments: seeds(8))
  func `overwrites of blocks that are saved together are all kept`(seed: UInt64) throws {
    try Home.run { home in
      var random = Random(seed: seed)
      let blocks = 256, block = 4096
      var expected = random.bytes(blocks * block)
      let inode = try home.vault.makeFile("blocks", expected)
      try home.vault.withOpen(inode) { file in
        for _ in 0..<20 {
          for _ in 0..<60 {
            let at = random.below(blocks) * block
            let bytes = random.bytes(block)
            expected.replaceSubrange(at..<at + block, with: bytes)
            try home.vault.write(bytes, to: file, at: UInt64(at))
          }
          try home.vault.sync(file)
          #expect(try home.vault.read(file, count: expected.count) == expected, "seed \(seed)")
        }
      }
      try home.reopen()
      #expect(try home.vault.contents(of: inode) == expected, "seed \(seed)")
    }
  }

  @Test func `a log that is synced after every line does not become a chunk a line`() throws {
    try Home.run { home in
      var expected: [UInt8] = []
      let inode = try home.vault.make("log").inode
      try home.vault.withOpen(inode) { file in
        for number in 0..<1000 {
          let line = [UInt8]("this is line \(number)\n")
          try home.vault.write(line, to: file, at: UInt64(expected.count))
          try home.vault.sync(file)
          expected += line
        }
      }
      let extents = try home.vault.lock.withLock { () throws(VaultError) in
        try home.vault.metadata.extents(of: try home.vault.metadata.node(inode), in: 0..<UInt64.max).count
      }
      #expect(extents < 40)
      #expect(try home.vault.contents(of: inode) == expected)
    }
  }
}
