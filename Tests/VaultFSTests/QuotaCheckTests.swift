// A check finds usages that are wrong: each kind of wound, and nothing in a sound vault.

import Glibc
import Testing
@testable import VaultFS

struct QuotaCheckTests {
  /// A vault with trees, owners, limits and nodes with several names.
  private func plant(_ vault: Vault) throws -> (tree: InodeNumber, file: InodeNumber) {
    let tree = try vault.makeDirectory("t"), other = try vault.makeDirectory("o"), file = try vault.makeFile("f", in: tree, full(5000))
    _ = try vault.link(file, as: [UInt8]("g"), in: other)
    _ = try vault.link(file, as: [UInt8]("h"), in: tree)
    try vault.own(try vault.makeFile("theirs", in: other, full(70_000)), user: 7, group: 8)
    try vault.setQuota(QuotaLimits(bytes: QuotaLimit(soft: 100, hard: 1 << 20)), for: .tree(tree))
    try vault.setQuota(.nodes(99), for: .user(7))
    try vault.checkpoint()
    return (tree, file)
  }

  /// What a check tells once `wound` has changed the committed view.
  private func found(_ wound: (Metadata, InodeNumber, InodeNumber) throws -> Void) throws -> Set<Finding.Kind> {
    var kinds: Set<Finding.Kind> = []
    try Home.run { home in
      let (tree, file) = try plant(home.vault)
      try home.vault.lock.withLock { () throws in
        try home.vault.metadata.begin()
        try wound(home.vault.metadata, tree, file)
        try home.vault.metadata.commit()
      }
      kinds = Set(try home.vault.check().findings.filter { !$0.isNote }.map(\.kind))
      try home.close()
      let repaired = try Vault.repair(at: home.path)
      #expect(repaired.isClean, "\(repaired.after.text)")
      try home.open()
      #expect(try home.vault.check(.deep).isClean)
    }
    return kinds
  }

  @Test func `a sound vault with limits and links passes`() throws {
    try Home.run { home in
      _ = try plant(home.vault)
      var options = CheckOptions()
      options.comparesWithJournal = true
      let report = try home.vault.check(options)
      #expect(report.isClean, "\(report.findings)")
    }
  }

  @Test func `each wound of a usage is found as what it is`() throws {
    #expect(try found { metadata, tree, _ in
      let node = try metadata.node(tree)
      node.below.bytes += 1
      metadata.touch(node)
    } == [.usageTree])
    #expect(try found { metadata, tree, _ in
      // Of two directories above each other, both: the one no longer counts what the other says.
      let node = try metadata.node(tree)
      node.below.nodes -= 1
      metadata.touch(node)
    } == [.usageTree])
    #expect(try found { metadata, _, _ in metadata.state.accounts.add(Usage(bytes: 1), to: .group(8)) } == [.usageOwner])
    #expect(try found { metadata, _, _ in metadata.state.accounts.add(Usage(nodes: 1), to: .user(77)) } == [.usageOwner])
    #expect(try found { metadata, _, _ in try metadata.database.execute("DELETE FROM link WHERE parent = (SELECT max(parent) FROM link)") } == [.linkHome])
    #expect(try found { metadata, _, file in try metadata.database.execute("UPDATE link SET cookie = cookie + 1 WHERE inode = \(file.value)") } == [.linkHome])
    #expect(try found { metadata, _, file in try metadata.database.execute("INSERT INTO orphan VALUES (\(file.value))") } == [.orphan])
    #expect(try found { metadata, _, _ in try metadata.database.execute("INSERT INTO orphan VALUES (777777)") } == [.orphan])
    #expect(try found { metadata, _, file in metadata.state.quotas.set(.nodes(1), for: .tree(file)) } == [.quotaTree])
  }
}
