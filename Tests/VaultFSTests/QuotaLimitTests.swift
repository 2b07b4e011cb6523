// What limits refuse, and what they must let pass.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

private let someone = Requester(user: 1000, group: 1000, umask: 0o022)

struct QuotaLimitTests {
  @Test(arguments: ["user", "group", "tree", "vault"])
  func `beyond a hard limit of nodes nothing can be made, and deleting makes room`(whose: String) throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t", by: someone), sub = try vault.makeDirectory("s", in: tree, by: someone)
      let subject: QuotaSubject = switch whose {
      case "user": .user(1000)
      case "group": .group(1000)
      case "tree": .tree(tree)
      default: .vault
      }
      let used = try vault.usage(by: subject).nodes
      try vault.setQuota(.nodes(used + 2), for: subject)
      let file = try vault.make("f", in: sub, by: someone).inode
      try vault.makeDirectory("d", in: tree, by: someone)
      for mode in [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR] {
        refused(.quotaExceeded(subject), "\(mode)") { try vault.make("x", in: sub, mode | 0o644, target: "t", by: someone) }
      }
      #expect(try vault.find("x", in: sub) == nil)
      _ = try vault.link(file, as: [UInt8]("name"), in: sub)
      #expect(try vault.usage(by: subject).nodes == used + 2, "another name is not another node")
      try vault.removeDirectory([UInt8]("d"), in: tree)
      try vault.make("x", in: sub, by: someone)
      refused(.quotaExceeded(subject)) { try vault.make("y", in: sub, by: someone) }
      try vault.removeQuota(of: subject)
      try vault.make("y", in: sub, by: someone)
    }
  }

  @Test(arguments: ["user", "group", "tree", "vault"])
  func `unsaved bytes count: no write is accepted that cannot be saved within the limit`(whose: String) throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t", by: someone)
      let subject: QuotaSubject = switch whose {
      case "user": .user(1000)
      case "group": .group(1000)
      case "tree": .tree(tree)
      default: .vault
      }
      try vault.setQuota(.bytes(100_000), for: subject)
      // Two files: root writes into them too, and is bound like their owner.
      let files = try ["f", "g"].map { try vault.open(try vault.make($0, in: tree, by: someone).inode) }
      try vault.write(full(60_000), to: files[0])
      try vault.write(full(40_000), to: files[1])
      for file in files { refused(.quotaExceeded(subject)) { try vault.write([1], to: file, at: 60_000) } }
      // Not more than there is: overwriting, and a larger size.
      try vault.write(full(60_000, 8), to: files[0])
      try vault.truncate(files[0].inode, to: 1 << 40, clearsPrivileges: false)
      #expect(try vault.quota(of: subject)?.used.bytes == 100_000)
      for file in files { try vault.save(file) }
      #expect(try vault.usage(by: subject).bytes == 100_000)
      try vault.write(full(10_000, 9), to: files[1], at: 30_000)
      refused(.quotaExceeded(subject)) { try vault.write(full(10_001), to: files[1], at: 30_000) }
      // Holes give back.
      try vault.allocate(files[0], offset: 0, length: 20_000, .punchHole, clearsPrivileges: false)
      try vault.write(full(20_000), to: files[0], at: 1 << 30)
      refused(.quotaExceeded(subject)) { try vault.write([1], to: files[0], at: 1 << 31) }
      try vault.truncate(files[0].inode, to: 0, clearsPrivileges: false)
      try vault.write(full(60_000), to: files[0])
      for file in files { vault.close(file) }
      #expect(try vault.usage(by: subject).bytes == 100_000)
    }
  }

  @Test func `zeros are holes in the end, and take no room of a limit`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      try vault.setQuota(.bytes(3 << 20), for: .tree(tree))
      let file = try vault.open(try vault.make("zeros", in: tree).inode), other = try vault.open(try vault.make("other", in: tree).inode)
      for index in 0..<64 as Range<UInt64> { try vault.write(full(1 << 20, 0), to: file, at: index << 20) }
      // What another file has unsaved is looked at too before something is refused.
      try vault.write(full(3 << 20), to: other)
      refused(.quotaExceeded(.tree(tree))) { try vault.write([1], to: file, at: 0) }
      // Zeros over content give it back.
      try vault.save(other)
      try vault.write(full(1 << 20, 0), to: other)
      try vault.write(full(1 << 20), to: file)
      vault.close(file)
      vault.close(other)
      #expect(try vault.usage(of: tree) == Usage(bytes: 3 << 20, nodes: 2))
    }
  }

  @Test func `zeros that are not saved yet keep no name out`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      try vault.setQuota(.bytes(1 << 20), for: .tree(tree))
      try vault.setQuota(.bytes(64 << 20), for: .vault)
      let file = try vault.open(try vault.make("zeros").inode)
      try vault.write(full(2 << 20, 0), to: file)
      try vault.move("zeros", in: .root, to: "name", in: tree)
      vault.close(file)
    }
  }

  @Test func `a limit counts what was unsaved when it was set`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), file = try vault.open(try vault.make("f", in: tree).inode)
      try vault.write(full(50_000), to: file)
      #expect(vault.lock.withLock { file.node.unsaved?.growth } == 0, "without a limit nothing is counted")
      try vault.setQuota(.bytes(60_000), for: .tree(tree))
      refused(.quotaExceeded(.tree(tree))) { try vault.write(full(10_001), to: file, at: 50_000) }
      try vault.write(full(10_000), to: file, at: 50_000)
      #expect(vault.lock.withLock { file.node.unsaved?.growth } == 10_000)
      vault.close(file)
      #expect(try vault.usage(of: tree).bytes == 60_000)
    }
  }

  @Test func `reserving and copying need room, gaps and attributes do not`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), outside = try vault.makeFile("outside", full(80_000))
      try vault.setQuota(.bytes(100_000), for: .tree(tree))
      let file = try vault.open(try vault.make("f", in: tree).inode), source = try vault.open(outside)
      func allocate(_ offset: UInt64, _ length: UInt64, _ mode: Vault.Allocation) throws { try vault.allocate(file, offset: offset, length: length, mode, clearsPrivileges: false) }
      func clone(at offset: UInt64, _ length: UInt64) throws { _ = try vault.clone(from: source, at: 0, to: file, at: offset, length: length, clearsPrivileges: false) }
      refused(.quotaExceeded(.tree(tree))) { try allocate(0, 100_001, .reserve(keepSize: true)) }
      refused(.quotaExceeded(.tree(tree))) { try allocate(0, 100_001, .zero(keepSize: true)) }
      try allocate(0, 40_000, .reserve(keepSize: false))
      try allocate(20_000, 20_000, .zero(keepSize: false))
      #expect(try vault.usage(of: tree).bytes == 40_000)
      refused(.quotaExceeded(.tree(tree)), "shared content counts in full") { try clone(at: 40_000, 60_001) }
      try clone(at: 40_000, 60_000)
      try clone(at: 0, 80_000)
      refused(.quotaExceeded(.tree(tree))) { try allocate(90_000, 20_000, .reserve(keepSize: true)) }
      try allocate(4096, 1 << 30, .insert)
      try vault.setXattr([UInt8]("user.a"), of: file.inode, to: full(60_000), mode: .set, by: root)
      #expect(try vault.usage(of: tree).bytes == 100_000)
      vault.close(file)
      vault.close(source)
    }
  }

  @Test func `of nested limits each holds`() throws {
    try Home.run { home in
      let vault = home.vault, outer = try vault.makeDirectory("o"), inner = try vault.makeDirectory("i", in: outer), beside = try vault.makeDirectory("b", in: outer)
      try vault.setQuota(.bytes(10_000), for: .tree(outer))
      try vault.setQuota(.bytes(8000), for: .tree(inner))
      refused(.quotaExceeded(.tree(inner))) { try vault.makeFile("f", in: inner, full(8001)) }
      try vault.makeFile("g", in: beside, full(5000))
      refused(.quotaExceeded(.tree(outer))) { try vault.makeFile("h", in: inner, full(5001)) }
      try vault.makeFile("k", in: inner, full(5000))
      #expect(try vault.usage(of: outer).bytes == 10_000)
      try vault.move("k", in: inner, to: "k", in: beside)
      #expect(try vault.usage(of: inner).bytes == 0 && vault.usage(of: outer).bytes == 10_000)
    }
  }

  @Test func `a soft limit may be exceeded for its grace, is warned of once, and is then as hard as another`() throws {
    try Home.run { home in
      let tree = try home.vault.makeDirectory("t\n")
      try home.vault.setQuota(QuotaLimits(bytes: QuotaLimit(soft: 1000), nodes: QuotaLimit(soft: 1, hard: 3), graceSeconds: 1), for: .tree(tree))
      try home.vault.makeFile("a", in: tree, full(900))
      #expect(try home.vault.status().quotaWarnings.isEmpty && home.vault.quota(of: .tree(tree))?.nodesOver == nil)
      let file = try home.vault.open(try home.vault.make("b", in: tree).inode)
      try home.vault.write(full(500), to: file)
      try home.vault.save(file)
      try home.vault.make("c", in: tree)
      refused(.quotaExceeded(.tree(tree)), "the hard one holds in the grace too") { try home.vault.make("d", in: tree) }
      try home.vault.unlink([UInt8]("c"), in: tree)
      let told = home.messages.all.filter { $0.contains("quota of /t\\x0a: ") }
      #expect(told.count == 2 && told.contains { $0.contains("1.37 KiB") } && told.contains { $0.contains("2 nodes") }, "\(told)")
      #expect(home.vault.status().quotaWarnings.count == 2, "\(home.vault.status().quotaWarnings)")
      usleep(1_200_000)
      refused(.quotaExceeded(.tree(tree))) { try home.vault.write(full(1), to: file, at: 5000) }
      refused(.quotaExceeded(.tree(tree))) { try home.vault.make("c", in: tree) }
      try home.vault.write(full(500), to: file)
      home.vault.close(file)
      // A kill does not begin the grace anew.
      try home.move(to: try home.copy())
      refused(.quotaExceeded(.tree(tree))) { try home.vault.make("c", in: tree) }
      #expect(home.messages.all.filter { $0.contains("quota of") }.count == 2, "crossed once, told once")
      try home.vault.unlink([UInt8]("b"), in: tree)
      #expect(try home.vault.status().quotaWarnings.isEmpty && home.vault.quota(of: .tree(tree))?.bytesOver == nil)
      try home.vault.makeFile("c", in: tree, full(200))
      #expect(home.messages.all.filter { $0.contains("quota of") }.count == 4, "\(home.messages.all)")
      try home.close()
      #expect(try Vault.status(at: home.path).quotaWarnings.count == 2, "told of a vault that nobody has open too")
      try home.open()
    }
  }

  @Test func `without grace a soft limit is a hard one`() throws {
    try Home.run { home in
      try home.vault.setQuota(QuotaLimits(nodes: QuotaLimit(soft: 2), graceSeconds: 0), for: .vault)
      try home.vault.make("a")
      refused(.quotaExceeded(.vault)) { try home.vault.make("b") }
    }
  }

  @Test func `a limit below the usage refuses all that adds, and nothing else`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), file = try vault.makeFile("f", in: tree, full(9000))
      try vault.setQuota(.bytes(1000), for: .tree(tree))
      refused(.quotaExceeded(.tree(tree)), "a file that could not be written to") { try vault.make("g", in: tree) }
      refused(.quotaExceeded(.tree(tree))) { try vault.put([1], at: 9000, in: file) }
      try vault.put(full(100), in: file)
      try vault.move("f", in: tree, to: "h", in: tree)
      try vault.truncate(file, to: 500, clearsPrivileges: false)
      try vault.make("g", in: tree)
      #expect(vault.status().quotaWarnings.isEmpty)
      try vault.put(full(500), at: 500, in: file)
      #expect(vault.status().quotaWarnings.count == 1, "at the hard limit")
    }
  }

  @Test func `limits that make no sense are refused, and one ends with its directory`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), file = try vault.make("f").inode
      refused(.invalidArgument) { try vault.setQuota(QuotaLimits(), for: .vault) }
      refused(.invalidArgument) { try vault.setQuota(QuotaLimits(bytes: QuotaLimit(soft: 2, hard: 1)), for: .vault) }
      refused(.notADirectory) { try vault.setQuota(.bytes(1), for: .tree(file)) }
      refused(.staleNode) { try vault.setQuota(.bytes(1), for: .tree(InodeNumber(999))) }
      refused(.notFound) { try vault.removeQuota(of: .vault) }
      try vault.setQuota(.bytes(1), for: .tree(tree))
      try vault.retain(tree)
      try vault.removeDirectory([UInt8]("t"), in: .root)
      #expect(try vault.quotas().isEmpty)
      refused(.notFound) { try vault.setQuota(.bytes(1), for: .tree(tree)) }
      vault.release(tree)
    }
  }

  @Test func `sixteen writers at once never exceed a limit, and use all of it`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), limit: UInt64 = 20 << 20, piece = 40_000
      try vault.setQuota(.bytes(limit), for: .tree(tree))
      let most = Atomic<UInt64>(0), refusals = Atomic<Int>(0)
      let files = try (0..<16).map { try vault.open(try vault.make("f\($0)", in: tree).inode) }
      DispatchQueue.concurrentPerform(iterations: 16) { index in
        var random = Random(seed: UInt64(index)), at: UInt64 = 0
        while refusals.load(ordering: .relaxed) < 200 {
          // Content, zeros, and what overlaps with what is being saved.
          let bytes = random.chance(20) ? full(piece, 0) : random.bytes(piece)
          do {
            try vault.write(bytes, to: files[index], at: random.chance(30) ? at / 2 : at)
            at += UInt64(piece)
            most.max((try? vault.quota(of: .tree(tree)))??.used.bytes ?? 0, ordering: .relaxed)
          } catch VaultError.quotaExceeded { refusals.add(1, ordering: .relaxed) } catch { Issue.record("\(error)") }
          most.max((try? vault.usage(of: tree).bytes) ?? 0, ordering: .relaxed)
        }
      }
      #expect(most.load(ordering: .relaxed) <= limit)
      for file in files { vault.close(file) }
      let used = try vault.usage(of: tree).bytes
      #expect(used <= limit && used > limit - UInt64(17 * piece), "\(used)")
    }
  }

  @Test func `a statfs inside a limited tree tells the tightest limit, or the disk`() throws {
    try Home.run { home in
      let vault = home.vault, outer = try vault.makeDirectory("o"), inner = try vault.makeDirectory("i", in: outer)
      let disk = try vault.space(), file = try vault.makeFile("f", in: inner, full(100_000))
      try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: 1 << 20), nodes: QuotaLimit(hard: 50)), for: .tree(outer))
      for inode in [outer, inner, file] {
        let space = try vault.space(at: inode)
        #expect((space.total, space.free, space.available) == (1 << 20, 1 << 20 - 100_000, 1 << 20 - 100_000))
        #expect((space.nodes, space.nodesFree) == (2, 48))
      }
      #expect(try vault.space(at: .root).total == disk.total)
      try vault.setQuota(.bytes(200_000), for: .tree(inner))
      #expect(try vault.space(at: file).available == 100_000 && vault.space(at: outer).total == 1 << 20)
      #expect(try vault.space(at: file).nodesFree == 48)
      // What is being written is not free any more.
      let open = try vault.open(file)
      try vault.write(full(60_000), to: open, at: 100_000)
      #expect(try vault.space(at: inner).available == 40_000)
      vault.close(open)
      try vault.setQuota(.bytes(1), for: .tree(inner))
      let over = try vault.space(at: inner)
      #expect(over.total == 160_000 && over.free == 0, "what is used is the tree's")
      try vault.setQuota(.bytes(UInt64.max), for: .tree(inner))
      #expect(try vault.space(at: inner).total == 1 << 20)
      try vault.removeQuota(of: .tree(outer))
      let huge = try vault.space(at: inner)
      // Others use the disk, too.
      #expect(try huge.available <= max(disk.available, vault.space().available) + (1 << 30) && huge.total - huge.free == 160_000, "what is used is the tree's")
      try vault.setQuota(.bytes(300_000), for: .vault)
      #expect(try vault.space(at: .root).total == 300_000 && vault.status().availableBytes == 140_000)
    }
  }
}
