// Limits and usage: whom something is charged to, and what is refused.

import Glibc
import Testing
@testable import VaultFS

extension QuotaLimits {
  static func bytes(_ hard: UInt64) -> QuotaLimits { QuotaLimits(bytes: QuotaLimit(hard: hard)) }
  static func nodes(_ hard: UInt64) -> QuotaLimits { QuotaLimits(nodes: QuotaLimit(hard: hard)) }
}

extension Vault {
  func move(_ name: String, in parent: InodeNumber, to newName: String, in newParent: InodeNumber, _ mode: RenameMode = .replace) throws {
    try rename([UInt8](name), in: parent, to: [UInt8](newName), in: newParent, mode: mode)
  }
  func own(_ inode: InodeNumber, user: UInt32? = nil, group: UInt32? = nil) throws {
    var change = AttributeChange()
    (change.user, change.group) = (user, group)
    _ = try self.change(inode, change)
  }
}

/// Bytes that are no holes.
func full(_ count: Int, _ byte: UInt8 = 7) -> [UInt8] { [UInt8](repeating: byte, count: count) }

private let someone = Requester(user: 1000, group: 1000, umask: 0o022)

struct UsageTests {
  @Test func `a directory tells what is below it, and a renamed one takes that along`() throws {
    try Home.run { home in
      let vault = home.vault, a = try vault.makeDirectory("a"), b = try vault.makeDirectory("b"), c = try vault.makeDirectory("c", in: a)
      try vault.makeFile("f", in: c, full(10_000))
      try vault.make("l", in: c, S_IFLNK | 0o777, target: "f")
      #expect(try vault.usage(of: c) == Usage(bytes: 10_000, nodes: 2))
      #expect(try vault.usage(of: a) == Usage(bytes: 10_000, nodes: 3))
      #expect(try vault.usage(of: b) == Usage())
      #expect(try vault.usage(of: .root) == Usage(bytes: 10_000, nodes: 5))
      #expect(try vault.usage(by: .vault) == Usage(bytes: 10_000, nodes: 6), "the root is one of the vault's nodes")
      try vault.move("c", in: a, to: "d", in: b)
      #expect(try vault.usage(of: a) == Usage())
      #expect(try vault.usage(of: b) == Usage(bytes: 10_000, nodes: 3))
    }
  }

  @Test func `usage is the same after a reopening`() throws {
    try Home.run { home in
      let a = try home.vault.makeDirectory("a"), b = try home.vault.makeDirectory("b", in: a)
      try home.vault.makeFile("f", in: b, full(10_000))
      try home.reopen()
      #expect(try home.vault.usage(of: b) == Usage(bytes: 10_000, nodes: 1))
      #expect(try home.vault.usage(of: a) == Usage(bytes: 10_000, nodes: 2))
      #expect(try home.vault.usage(of: .root) == Usage(bytes: 10_000, nodes: 3))
    }
  }

  @Test func `what is charged below a directory changes neither its times nor its version`() throws {
    try Home.run { home in
      let vault = home.vault, a = try vault.makeDirectory("a"), b = try vault.makeDirectory("b", in: a), file = try vault.make("f", in: b).inode
      func seen() throws -> [[Timestamp]] { try [.root, a, b].map { let info = try vault.info($0); return [info.modified, info.changed, info.accessed] } }
      func versions() throws -> [LSN] { try vault.lock.withLock { () throws in try [.root, a, b].map { try vault.metadata.node($0).since } } }
      let before = (try seen(), try versions())
      try vault.put(full(50_000), in: file)
      try vault.own(file, user: 3)
      #expect(try vault.usage(of: a).bytes == 50_000)
      #expect(try seen() == before.0)
      #expect(try versions() == before.1)
      try vault.unlink([UInt8]("f"), in: b)
      #expect(try seen()[0...1] == before.0[0...1] && versions()[0...1] == before.1[0...1], "only the directory that lost a name has changed")
    }
  }

  @Test func `a node with several names is charged once, and finds a home when its own goes`() throws {
    try Home.run { home in
      let places = try ["a", "b", "c"].map { try home.vault.makeDirectory($0) }
      func expect(_ homes: [Int], _ comment: String) throws {
        for (place, count) in zip(places, homes) { #expect(try home.vault.usage(of: place) == Usage(bytes: UInt64(count) * 1000, nodes: UInt64(count)), "\(comment)") }
        try expectSound(home.vault, comment)
      }
      let file = try home.vault.makeFile("1", in: places[0], full(1000))
      _ = try home.vault.link(file, as: [UInt8]("2"), in: places[0])
      _ = try home.vault.link(file, as: [UInt8]("3"), in: places[1])
      try expect([1, 0, 0], "linked")
      try home.vault.move("2", in: places[0], to: "2", in: places[2])
      try expect([1, 0, 0], "a name that is not at home moved")
      try home.vault.unlink([UInt8]("2"), in: places[2])
      try expect([1, 0, 0], "and went")
      try home.vault.move("1", in: places[0], to: "1", in: places[2])
      try expect([0, 0, 1], "the name at home moved")
      try home.reopen()
      try home.vault.unlink([UInt8]("1"), in: places[2])
      try expect([0, 1, 0], "and went")
      try home.vault.unlink([UInt8]("3"), in: places[1])
      try expect([0, 0, 0], "the last name went")
    }
  }

  @Test func `names that change places take their charge along`() throws {
    try Home.run { home in
      let vault = home.vault, a = try vault.makeDirectory("a"), b = try vault.makeDirectory("b"), inner = try vault.makeDirectory("d", in: a)
      try vault.makeFile("f", in: inner, full(3000))
      try vault.makeFile("g", in: b, full(500))
      try vault.move("d", in: a, to: "g", in: b, .exchange)
      #expect(try vault.usage(of: a) == Usage(bytes: 500, nodes: 1))
      #expect(try vault.usage(of: b) == Usage(bytes: 3000, nodes: 2))
      // Two names in one directory: what is at home stays so.
      let twice = try vault.makeFile("1", in: a, full(10))
      _ = try vault.link(twice, as: [UInt8]("2"), in: a)
      try vault.move("1", in: a, to: "g", in: b, .exchange)
      try expectSound(vault)
      try vault.move("2", in: a, to: "g", in: b)
      try expectSound(vault)
    }
  }

  @Test func `an open file without a name is its owner's and the vault's, and in no tree`() throws {
    try Home.run { home in
      let vault = home.vault, a = try vault.makeDirectory("a"), file = try vault.make("f", in: a, by: someone).inode, open = try vault.open(file)
      try vault.write(full(5000), to: open)
      try vault.save(open)
      try vault.unlink([UInt8]("f"), in: a)
      #expect(try vault.usage(of: a) == Usage())
      #expect(try vault.usage(ofUser: 1000) == Usage(bytes: 5000, nodes: 1))
      try vault.write(full(5000), to: open, at: 5000)
      try vault.save(open)
      #expect(try vault.usage(ofGroup: 1000).bytes == 10_000 && vault.usage(of: .root).bytes == 0 && vault.usage(by: .vault).bytes == 10_000)
      try expectSound(vault, unnamed: [file])
      let killed = try home.copy()
      vault.close(open)
      #expect(try vault.usage(ofUser: 1000) == Usage() && vault.usage(by: .vault).bytes == 0)
      try opening(killed) { vault in
        #expect(try vault.usage(ofUser: 1000) == Usage(), "swept at the next opening")
        try expectSound(vault)
      }
    }
  }

  @Test func `who owns more after a chown has it in the account, and the other no longer`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.makeFile("f", full(2000)), directory = try vault.makeDirectory("d")
      try vault.makeFile("g", in: directory, full(100))
      try vault.own(file, user: 5, group: 6)
      try vault.own(directory, user: 5)
      #expect(try vault.usage(ofUser: 5) == Usage(bytes: 2000, nodes: 2), "a directory's content has owners of its own")
      #expect(try vault.usage(ofGroup: 6) == Usage(bytes: 2000, nodes: 1))
      #expect(try vault.usage(ofUser: 0) == Usage(bytes: 100, nodes: 2))
    }
  }

  @Test func `a rebuilt view has the same usages and limits, and the same moments`() throws {
    try Home.run { home in
      let a = try home.vault.makeDirectory("a")
      try home.vault.setQuota(QuotaLimits(bytes: QuotaLimit(soft: 1000, hard: 1 << 20), nodes: QuotaLimit(hard: 9), graceSeconds: 77), for: .tree(a))
      try home.vault.setQuota(.bytes(1 << 30), for: .vault)
      try home.vault.setQuota(.nodes(5), for: .group(12))
      try home.vault.removeQuota(of: .group(12))
      try home.vault.makeFile("f", in: a, full(4000))
      let before = try home.vault.quotas().map { "\($0)" }, over = try home.vault.quota(of: .tree(a))?.bytesOver
      #expect(over.map { $0.end.seconds - $0.since.seconds } == 77)
      #expect(before.count == 2)
      let killed = try home.copy()
      try opening(killed) { vault throws in #expect(try vault.quotas().map { "\($0)" } == before, "replayed after a kill") }
      try home.reopen()
      #expect(try home.vault.quotas().map { "\($0)" } == before, "reopened")
      try home.close()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      #expect(try home.vault.quotas().map { "\($0)" } == before, "rebuilt")
    }
  }

  @Test func `at a hundred thousand files a usage is told at once, and no recount`() throws {
    try Home.run { home in
      let tree = try home.vault.makeDirectory("tree")
      try home.vault.setQuota(.nodes(200_000), for: .tree(tree))
      for index in 0..<100 {
        let directory = try home.vault.makeDirectory("d\(index)", in: tree)
        for file in 0..<999 { try home.vault.make("f\(file)", in: directory) }
      }
      try home.reopen()
      func microseconds(_ body: () throws -> Usage) throws -> (Usage, Double) {
        let start = monotonicNanoseconds(), usage = try body()
        return (usage, Double(monotonicNanoseconds() - start) / 1000)
      }
      let (told, query) = try microseconds { try #require(try home.vault.quota(of: .tree(tree))).used }
      let (counted, recount) = try microseconds {
        var sum = Usage(), waiting = [tree]
        while let directory = waiting.popLast() {
          for entry in try home.vault.entries(of: directory) {
            sum = sum &+ Usage(bytes: entry.info?.allocated ?? 0, nodes: 1)
            if entry.type == S_IFDIR { waiting.append(entry.inode) }
          }
        }
        return sum
      }
      print("usage of a tree of \(counted.nodes) nodes: query \(query) µs, recount \(recount) µs, \(Int(recount / query)) times")
      #expect(told == counted && told.nodes == 100_000)
      #expect(query <= 10_000 && recount >= 10 * query)
    }
  }
}
