// Limits and changes of names and owners: what adds nothing is not refused, nor what is zeros that are not saved yet.

import Glibc
import Testing
@testable import VaultFS

struct QuotaNamesTests {
  @Test(arguments: [false, true])
  func `a second name moves within a full tree`(isExchanged: Bool) throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), sub = try vault.makeDirectory("s", in: tree), other = try vault.makeDirectory("o", in: tree)
      // At home outside: the tree has a name of it, and is not charged.
      let file = try vault.makeFile("f", full(50_000))
      _ = try vault.link(file, as: [UInt8]("f"), in: sub)
      if isExchanged { try vault.make("g", in: other) }
      try vault.setQuota(.bytes(1000), for: .tree(tree))
      try vault.move("f", in: sub, to: "g", in: other, isExchanged ? .exchange : .replace)
      #expect(try vault.find("g", in: other)?.inode == file)
      refused(.quotaExceeded(.tree(tree))) { try vault.move("f", in: .root, to: "h", in: tree) }
    }
  }

  @Test func `zeros that are not saved yet keep nobody from owning a file, and no directory out`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), directory = try vault.makeDirectory("d")
      try vault.setQuota(.bytes(1 << 20), for: .tree(tree))
      try vault.setQuota(.bytes(1 << 20), for: .user(7))
      let file = try vault.open(try vault.make("zeros", in: directory).inode)
      defer { vault.close(file) }
      try vault.write(full(2 << 20, 0), to: file)
      try vault.own(file.inode, user: 7)
      try vault.own(file.inode, user: 0)
      try vault.write(full(2 << 20, 0), to: file)
      try vault.move("d", in: .root, to: "d", in: tree)
      try vault.move("d", in: tree, to: "d", in: .root)
      try vault.make("e", in: tree)
      try vault.write(full(2 << 20, 0), to: file)
      try vault.move("e", in: tree, to: "d", in: .root, .exchange)
      #expect(try vault.find("zeros", in: try #require(try vault.find("e", in: tree)).inode)?.inode == file.inode)
    }
  }
}
