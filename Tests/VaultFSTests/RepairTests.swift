// Trees that the journal itself makes unsound: repair mends them by operations, loses nothing, and a rebuild comes to the same.

import Foundation
import Glibc
import Testing
@testable import VaultFS

/// An operation that no sound vault would journal, or several.
struct Misdeed: Sendable, CustomTestStringConvertible {
  let kind: Finding.Kind
  let operations: @Sendable (Ward) -> [VaultFS.Operation]
  init(_ kind: Finding.Kind, _ operations: @escaping @Sendable (Ward) -> [VaultFS.Operation]) { (self.kind, self.operations) = (kind, operations) }
  var testDescription: String { kind.rawValue }

  static let time = Timestamp(seconds: 1_700_000_000, nanoseconds: 0)
  static let all = [
    Misdeed(.entryDangling) { [.drop(InodeNumber($0["small"]))] },
    Misdeed(.entryName) { [.link(InodeNumber($0["small"]), parent: .root, name: [UInt8]("a/b"), time: time)] },
    Misdeed(.directoryNames) { [.link(InodeNumber($0["inner"]), parent: InodeNumber($0["e"]), name: [UInt8]("again"), time: time)] },
    Misdeed(.directoryCycle) {
      [.rename(parent: .root, name: [UInt8]("d"), newParent: InodeNumber($0["inner"]), newName: [UInt8]("d"), drops: false, time: time)]
    },
    Misdeed(.nodeUnreachable) { [.detach(parent: .root, cookie: $0.cookie("small")), .mend(.root)] },
    Misdeed(.directoryEntries) { [.detach(parent: .root, cookie: $0.cookie("small"))] },
    Misdeed(.links) { ward in
      let node = NewNode(inode: InodeNumber(ward["small"]), mode: S_IFREG | 0o600, user: 0, group: 0, device: 0, target: [], xattrs: [])
      return [.create(node, parent: .root, name: [UInt8]("the same again"), time: time)]
    },
    Misdeed(.manifestEnd) { ward in
      [.content(InodeNumber(ward["empty"]), range: 0..<4096, extents: [JournalExtent(offset: 0, length: 4096, source: .chunk(ward.chunk("small"), offset: 0))], size: 0, attributes: AttributeSet())]
    },
  ]
}

extension Ward {
  func cookie(_ name: String) -> UInt64 { (try? home.vault.entries(of: .root).first { $0.name == [UInt8](name) }?.cookie) ?? 0 }
  /// The id of a file's first chunk.
  func chunk(_ name: String) -> ChunkID {
    home.vault.lock.withLock {
      guard let node = try? home.vault.metadata.node(InodeNumber(self[name])), case .chunk(let number, _)? = node.extents.first?.source,
        let row = try? home.vault.metadata.place(of: number) else { return ChunkID(0, 0, 0, 0) }
      return row.id
    }
  }
}

struct RepairTests {
  @Test(arguments: Misdeed.all)
  func `what the journal made wrong is mended by operations, and a rebuild comes to the same`(misdeed: Misdeed) throws {
    try Home.run { home in
      let ward = try Ward(home), vault = home.vault, inner = InodeNumber(ward["inner"])
      let kept = try vault.makeFile("kept", in: inner, [UInt8]("kept"))
      let operations = misdeed.operations(ward)
      try vault.lock.withLock { () throws in for operation in operations { try vault.perform(operation) } }
      let found = try vault.check()
      #expect(found.kinds.contains(misdeed.kind), "\(found.text)")
      let repaired = try vault.repair()
      #expect(repaired.isClean, "\(repaired.after.text)\n\(repaired.actions.map(\.done))\n\(repaired.left ?? "")")
      #expect(try vault.contents(of: kept) == [UInt8]("kept"))
      let deep = try vault.check(.deep)
      #expect(deep.isClean, "\(deep.text)")
      // Everything can be reached: whatever had content has it still.
      let tree = try VaultFSTests.tree(of: vault)
      #expect(tree.values.contains { $0.inode == kept.value })
      if misdeed.kind == .nodeUnreachable {
        #expect(tree.keys.contains { String(decoding: $0, as: UTF8.self).hasPrefix("/lost+found-") && String(decoding: $0, as: UTF8.self).hasSuffix("/node-\(ward["small"])") })
      }
      try home.close()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      #expect(try VaultFSTests.tree(of: home.vault) == tree)
    }
  }

  @Test func `what others made of the name, and a limit that is reached, keep no node from being found`() throws {
    try Home.run { home in
      let ward = try Ward(home), vault = home.vault, day = Quarantine(vault.containers.disk).lostAndFound
      let theirs = Requester(user: 77, group: 77, umask: 0)
      let trap = try vault.create([UInt8](day.utf8), in: .root, mode: S_IFDIR | 0o777, by: theirs).inode
      _ = try vault.create([UInt8]("\(day)-2".utf8), in: .root, mode: S_IFREG | 0o666, by: theirs)
      var limits = QuotaLimits()
      limits.nodes.hard = 3
      try vault.setQuota(limits, for: .vault)
      func lose(_ name: String) throws {
        let operations = [.detach(parent: .root, cookie: ward.cookie(name)), .mend(.root)] as [VaultFS.Operation]
        try vault.lock.withLock { () throws in for operation in operations { try vault.perform(operation) } }
      }
      try lose("small")
      let report = try vault.repair()
      #expect(report.isClean && report.actions.contains { $0.done.contains("/\(day)-3 ") }, "\(report.actions.map(\.done))")
      #expect(try vault.entries(of: trap).isEmpty)
      let refuge = try #require(try vault.find("\(day)-3"))
      #expect(refuge.mode == S_IFDIR | 0o700 && refuge.user == geteuid())
      #expect(try vault.entries(of: refuge.inode).map(\.inode.value) == [ward["small"]])
      // The same one serves again.
      try lose("other")
      #expect(try vault.repair().isClean)
      #expect(try vault.entries(of: refuge.inode).count == 2)
    }
  }

  @Test func `an entry that is taken out is kept with all its bytes`() throws {
    try Home.run { home in
      let ward = try Ward(home)
      try home.vault.lock.withLock { () throws in _ = try home.vault.perform(.drop(InodeNumber(ward["small"]))) }
      #expect(try home.vault.repair().isClean)
      let file = try #require(try FileManager.default.contentsOfDirectory(atPath: home.path + "/quarantine").first)
      let text = try String(contentsOfFile: home.path + "/quarantine/" + file, encoding: .utf8)
      #expect(text.contains("inode \(ward["small"])") && text.contains("name-hex 736d616c6c name small"), "\(text)")
    }
  }

  @Test func `in a vault in use nothing of a tree is changed that the journal does not make`() throws {
    try Home.run { home in
      let ward = try Ward(home), before = try tree(of: home.vault)
      try home.vault.lock.withLock { () throws in
        try home.vault.commit()
        try home.vault.metadata.begin()
        try home.vault.metadata.database.execute("UPDATE entry SET type = \(S_IFIFO) WHERE inode = \(ward["small"])")
      }
      let operations = home.vault.status().operations
      let report = try home.vault.repair()
      #expect(!report.isClean && report.left != nil && report.after.kinds == [.entryType])
      #expect(home.vault.status().operations == operations)
      try home.close()
      #expect(try Vault.repair(at: home.path).isClean)
      try home.open()
      #expect(try tree(of: home.vault) == before)
    }
  }
}
