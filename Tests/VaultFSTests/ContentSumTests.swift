// What a directory or a user needs of the stored content.

import Glibc
import Testing
@testable import VaultFS

struct ContentSumTests {
  private func sum(_ vault: Vault, _ scope: ContentScope) throws -> ContentSum {
    try vault.syncAll()
    return try #require(try vault.content(of: scope) { _ in true })
  }

  @Test func `content counts once, and apart where only the past needs it`() throws {
    try Home.run { home in
      let vault = home.vault
      home.vault.keeper?.stop()
      try vault.keepEverything()
      var random = Random(seed: 51)
      let one = random.bytes(600_000), two = random.bytes(500_000)
      let tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      let a = try vault.makeFile("a", in: inner, one)
      try vault.makeFile("b", in: tree, one)
      try vault.own(a, user: 5)
      try vault.makeFile("elsewhere", two)
      var found = try sum(vault, .tree(tree))
      #expect(found.uniqueBytes == 600_000 && found.historyBytes == 0 && found.isExact)
      #expect(found.compressedBytes > 600_000 && found.compressedBytes < 602_000, "\(found.compressedBytes)")
      try vault.truncate(a, to: 0, clearsPrivileges: false)
      try vault.put(two, in: a)
      found = try sum(vault, .tree(tree))
      #expect(found.uniqueBytes == 1_100_000 && found.historyBytes == 0, "b needs it still")
      found = try sum(vault, .user(5))
      #expect(found.uniqueBytes == 1_100_000 && found.historyBytes == 600_000, "\(found)")
      try vault.unlink([UInt8]("b"), in: tree)
      #expect(try sum(vault, .tree(tree)).historyBytes == 600_000)
      try vault.removeTree([UInt8]("i"), in: tree)
      found = try sum(vault, .tree(tree))
      #expect(found.uniqueBytes == 1_100_000 && found.historyBytes == 1_100_000, "also of what is deleted")
      #expect(try sum(vault, .tree(.root)).uniqueBytes == UInt64(vault.status().counters.uniqueBytes))
      #expect(try sum(vault, .user(6)).uniqueBytes == 0 && sum(vault, .group(0)).uniqueBytes == 1_100_000)
      #expect(try vault.content(of: .tree(.root)) { _ in false } == nil)
      // What has moved away is there.
      let moved = try vault.makeFile("moved", in: tree, random.bytes(100_000))
      try vault.rename([UInt8]("moved"), in: tree, to: [UInt8]("moved"), in: .root, mode: .replace)
      #expect(try sum(vault, .tree(tree)).uniqueBytes == 1_100_000 && vault.info(moved).size == 100_000)
    }
  }

  @Test func `a long manifest is looked at in parts`() throws {
    try Home.run { home in
      let vault = home.vault
      home.vault.keeper?.stop()
      try vault.keepEverything()
      var random = Random(seed: 52)
      let file = try vault.make("long").inode, page = 4096, count = 6000
      try vault.withOpen(file) { open throws in for index in 0..<count { try vault.write(random.bytes(page), to: open, at: UInt64(index * 3 * page)) } }
      #expect(try sum(vault, .user(0)).uniqueBytes == UInt64(count * page))
      try vault.truncate(file, to: 0, clearsPrivileges: false)
      let found = try sum(vault, .tree(.root))
      #expect(found.uniqueBytes == UInt64(count * page) && found.historyBytes == found.uniqueBytes, "\(found)")
      try vault.withOpen(file) { open throws in for index in 0..<count { try vault.write(random.bytes(page), to: open, at: UInt64(index * 3 * page)) } }
      try vault.syncAll()
      try vault.unlink([UInt8]("long"), in: .root)
      for scope in [ContentScope.tree(.root), .user(0)] {
        let gone = try sum(vault, scope)
        #expect(gone.uniqueBytes == UInt64(2 * count * page) && gone.historyBytes == gone.uniqueBytes, "also of what is deleted: \(gone)")
      }
    }
  }
}
