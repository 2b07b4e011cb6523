// What limits say to what comes as a whole: moved, linked, given to somebody, or taken back.

import Foundation
import Glibc
import Testing
@testable import VaultFS

private let someone = Requester(user: 1000, group: 1000, umask: 0o022)

struct QuotaMovingTests {
  @Test func `what moves into a limited tree must fit as a whole, less what it replaces`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), deep = try vault.makeDirectory("deep", in: tree)
      let large = try vault.makeDirectory("large")
      try vault.makeFile("1", in: large, full(30_000))
      try vault.makeFile("2", in: large, full(30_000))
      try vault.makeFile("3", in: large, full(30_000))
      try vault.makeFile("old", in: deep, full(30_000))
      try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: 70_000), nodes: QuotaLimit(hard: 5)), for: .tree(tree))
      refused(.quotaExceeded(.tree(tree))) { try vault.move("large", in: .root, to: "x", in: deep) }
      refused(.quotaExceeded(.tree(tree))) { try vault.move("old", in: deep, to: "large", in: .root, .exchange) }
      try vault.unlink([UInt8]("3"), in: large)
      try vault.move("2", in: large, to: "old", in: deep)
      #expect(try vault.usage(of: tree) == Usage(bytes: 30_000, nodes: 2), "what was replaced gave back")
      try vault.move("large", in: .root, to: "x", in: deep)
      #expect(try vault.usage(of: tree) == Usage(bytes: 60_000, nodes: 4))
      // Within the tree, and out of it, at any time.
      try vault.setQuota(.nodes(1), for: .tree(tree))
      try vault.move("x", in: deep, to: "y", in: tree)
      try vault.move("old", in: deep, to: "out", in: .root)
      refused(.quotaExceeded(.tree(tree))) { try vault.move("out", in: .root, to: "back", in: tree) }
      // Unsaved bytes move along.
      try vault.setQuota(.bytes(35_000), for: .tree(tree))
      let open = try vault.open(try vault.make("f", in: try vault.makeDirectory("d")).inode)
      try vault.write(full(6000), to: open)
      refused(.quotaExceeded(.tree(tree))) { try vault.move("d", in: .root, to: "d", in: tree) }
      try vault.truncate(open.inode, to: 5000, clearsPrivileges: false)
      try vault.move("d", in: .root, to: "d", in: tree)
      refused(.quotaExceeded(.tree(tree))) { try vault.write(full(1), to: open, at: 5000) }
      vault.close(open)
    }
  }

  @Test func `what is charged elsewhere gets no name in a limited tree, and grows there by no way round`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), deep = try vault.makeDirectory("deep", in: tree), outside = try vault.makeDirectory("o")
      let file = try vault.makeFile("f", in: outside, full(100)), inner = try vault.makeFile("i", in: deep, full(100))
      try vault.setQuota(.bytes(1000), for: .tree(tree))
      refused(.crossesLimit) { _ = try vault.link(file, as: [UInt8]("l"), in: deep) }
      // Within, and not outwards: what goes there would take the charge along.
      _ = try vault.link(inner, as: [UInt8]("i2"), in: tree)
      refused(.crossesLimit) { _ = try vault.link(inner, as: [UInt8]("i3"), in: outside) }
      #expect(try vault.usage(of: tree) == Usage(bytes: 100, nodes: 2))
      let open = try vault.open(inner)
      refused(.quotaExceeded(.tree(tree)), "whichever name it was opened by") { try vault.write(full(901), to: open, at: 100) }
      vault.close(open)
      // One of several names does not move in or out either, whichever is at home, nor does a directory with one of them.
      _ = try vault.link(file, as: [UInt8]("f2"), in: outside)
      for name in ["f", "f2"] { refused(.crossesLimit) { try vault.move(name, in: outside, to: "f2", in: deep) } }
      for name in [("i", deep), ("i2", tree)] { refused(.crossesLimit) { try vault.move(name.0, in: name.1, to: "out", in: outside) } }
      refused(.crossesLimit) { try vault.move("i", in: deep, to: "f2", in: outside, .exchange) }
      refused(.crossesLimit) { try vault.move("deep", in: tree, to: "deep", in: outside) }
      try vault.move("deep", in: tree, to: "deeper", in: tree)
      try vault.move("deeper", in: tree, to: "deep", in: tree)
      let both = try vault.makeDirectory("both", in: outside)
      for name in ["f", "f2"] { try vault.move(name, in: outside, to: name, in: both) }
      try vault.move("both", in: outside, to: "both", in: tree)
      #expect(try vault.usage(of: tree) == Usage(bytes: 200, nodes: 4))
      try vault.move("both", in: tree, to: "both", in: outside)
      try vault.unlink([UInt8]("f2"), in: both)
      try vault.move("f", in: both, to: "f", in: deep)
      #expect(try vault.usage(of: tree) == Usage(bytes: 200, nodes: 3))
      // In a limit within the limit it is the same.
      try vault.setQuota(.bytes(500), for: .tree(deep))
      let middle = try vault.makeFile("m", in: tree, full(10))
      refused(.crossesLimit) { _ = try vault.link(middle, as: [UInt8]("m"), in: deep) }
    }
  }

  @Test func `a directory goes back to what it was within its limits, which it keeps, or nothing changes`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      try vault.keepEverything()
      try vault.makeFile("f", in: inner, full(60_000))
      try vault.makeFile("g", in: tree, full(30_000))
      for inode in [try #require(try vault.find("f", in: inner)).inode] { try vault.own(inode, user: 7) }
      try vault.setQuota(.bytes(100_000), for: .tree(tree))
      try vault.setQuota(.bytes(70_000), for: .tree(inner))
      try vault.setQuota(.bytes(70_000), for: .user(7))
      let then = vault.present
      try vault.removeTree([UInt8]("f"), in: inner)
      try vault.makeFile("new", in: inner, full(65_000))
      // 95,000 of 100,000 are used, and 90,000 shall be there in the end.
      try vault.restoreTree(tree, at: then)
      #expect(try vault.usage(of: tree) == Usage(bytes: 90_000, nodes: 3) && vault.usage(ofUser: 7).bytes == 60_000)
      #expect(try vault.trash().contains { $0.name == [UInt8]("new") && $0.place == [UInt8]("/t/i") })
      let again = try #require(try vault.find("i", in: tree)).inode
      #expect(again == inner)
      #expect(try vault.quota(of: .tree(again))?.limits.bytes.hard == 70_000, "a limit within it holds on")
      // Where there is no room, there is none, and the tree is as it was.
      for (limited, why) in [(QuotaSubject.tree(tree), "tree"), (.user(7), "user"), (.vault, "vault")] {
        try vault.removeTree([UInt8]("i"), in: tree)
        let limits = try vault.quota(of: limited)?.limits
        try vault.setQuota(.bytes(try vault.usage(by: limited).bytes + 59_999), for: limited)
        let names = try vault.names(in: tree), usage = try vault.usage(of: tree)
        refused(.quotaExceeded(limited), why) { try vault.restoreTree(tree, at: then) }
        #expect(try vault.names(in: tree) == names && vault.usage(of: tree) == usage)
        if let limits { try vault.setQuota(limits, for: limited) } else { try vault.removeQuota(of: limited) }
        try vault.restoreTree(tree, at: then)
        #expect(try vault.usage(of: tree) == Usage(bytes: 90_000, nodes: 3))
      }
    }
  }

  @Test(arguments: [0, 1]) func `a file with several names that is taken back grows where it is charged`(limited: Int) throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), homes = try (0..<3).map { try vault.makeDirectory("\($0)", in: tree) }
      try vault.keepEverything()
      // One for each of the three to be its home.
      let files = try (0..<3).map { try vault.makeFile("f\($0)", in: homes[$0], Random.bytes(100_000, seed: UInt64($0))) }
      for (index, file) in files.enumerated() { for other in 0..<3 where other != index { _ = try vault.link(file, as: [UInt8]("f\(index)"), in: homes[other]) } }
      try vault.syncAll()
      let then = vault.present
      for file in files { try vault.truncate(file, to: 10, clearsPrivileges: false) }
      try vault.syncAll()
      let subject = QuotaSubject.tree(homes[limited]), used = try vault.usage(by: subject).bytes
      try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: used + 50_000)), for: subject)
      refused(.quotaExceeded(subject)) { try vault.restoreTree(tree, at: then) }
      #expect(try vault.usage(by: subject).bytes == used)
      try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: used + 110_000)), for: subject)
      try vault.restoreTree(tree, at: then)
      #expect(try vault.contents(of: files[limited]) == Random.bytes(100_000, seed: UInt64(limited)))
    }
  }

  @Test func `what has several names and goes, or comes back, counts where it is charged`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      try vault.keepEverything()
      func makeLinked() throws {
        let file = try vault.makeFile("b", in: tree, Random.bytes(100_000, seed: 1))
        _ = try vault.link(file, as: [UInt8]("a"), in: inner)
      }
      func removeLinked() throws {
        try vault.unlink([UInt8]("b"), in: tree)
        try vault.unlink([UInt8]("a"), in: inner)
      }
      try vault.makeFile("g", in: inner, Random.bytes(100_000, seed: 2))
      try vault.syncAll()
      let alone = vault.present, subject = QuotaSubject.tree(inner)
      try vault.unlink([UInt8]("g"), in: inner)
      try makeLinked()
      try vault.syncAll()
      let linked = vault.present
      try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: 50_000)), for: subject)
      // What goes takes nothing of the limit there is inside.
      refused(.quotaExceeded(subject)) { try vault.restoreTree(tree, at: alone) }
      #expect(try vault.usage(by: subject) == Usage())
      // And what comes back, neither.
      try removeLinked()
      try vault.restoreTree(tree, at: linked)
      #expect(try vault.usage(by: subject) == Usage() && vault.usage(of: tree) == Usage(bytes: 100_000, nodes: 2))
      try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: 100_000)), for: subject)
      try vault.restoreTree(tree, at: alone)
      #expect(try vault.usage(by: subject) == Usage(bytes: 100_000, nodes: 1))
    }
  }

  @Test func `a tree that is taken back from the trash has its limit again, and a copy of one that is there has none`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      try vault.keepEverything()
      try vault.makeFile("f", in: inner, full(60_000))
      // Below what is used: what was there comes back all the same.
      try vault.setQuota(.bytes(50_000), for: .tree(inner))
      let copy = try vault.revive(tree, at: vault.present, as: [UInt8]("copy"), in: .root)
      #expect(try vault.quota(of: .tree(try #require(try vault.find("i", in: copy)).inode)) == nil)
      try vault.removeTree([UInt8]("t"), in: .root)
      try home.reopen()
      let item = try #require(try home.vault.trash().first { $0.name == [UInt8]("t") })
      let again = try home.vault.revive(InodeNumber(item.inode), at: home.vault.momentBefore(item), as: [UInt8]("t"), in: .root)
      let limited = try #require(try home.vault.find("i", in: again)).inode
      #expect(try home.vault.quota(of: .tree(limited))?.limits.bytes.hard == 50_000)
      refused(.quotaExceeded(.tree(limited))) { try home.vault.makeFile("g", in: limited, full(10)) }
      #expect(try home.vault.quota(of: .tree(inner)) == nil)
    }
  }

  @Test func `a user over the limit is given nothing`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.makeFile("f", full(5000)), small = try vault.makeFile("g", full(10))
      try vault.setQuota(.bytes(4000), for: .user(5))
      try vault.setQuota(.nodes(0), for: .group(6))
      refused(.quotaExceeded(.user(5))) { try vault.own(file, user: 5) }
      refused(.quotaExceeded(.group(6))) { try vault.own(small, group: 6) }
      #expect(try vault.info(file).user == 0)
      try vault.own(small, user: 5)
      // Unsaved bytes go along.
      let open = try vault.open(small)
      try vault.write(full(3990), to: open, at: 10)
      refused(.quotaExceeded(.user(5))) { try vault.write(full(1), to: open, at: 4000) }
      try vault.own(small, user: 0)
      try vault.write(full(5000), to: open, at: 4000)
      refused(.quotaExceeded(.user(5))) { try vault.own(small, user: 5) }
      vault.close(open)
    }
  }

  @Test func `taking something back needs room for it`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("d", in: tree)
      try vault.makeFile("f", in: inner, full(5000))
      try vault.makeFile("g", in: inner, full(5000))
      try vault.makeFile("f", in: tree, full(5000))
      try vault.unlink([UInt8]("f"), in: tree)
      let here = try vault.makeFile("here", in: tree, full(100))
      try vault.removeTree([UInt8]("d"), in: tree)
      let items = try vault.trash(), item = try #require(items.first { $0.inode == inner.value }), file = try #require(items.first { $0.name == [UInt8]("f") })
      try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: 9000), nodes: QuotaLimit(hard: 3)), for: .tree(tree))
      func takeBack(_ item: TrashItem) throws { try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8]("back"), in: tree) }
      refused(.quotaExceeded(.tree(tree))) { try takeBack(item) }
      #expect(try vault.names(in: tree) == [[UInt8]("here")] && vault.usage(of: tree) == Usage(bytes: 100, nodes: 1), "nothing is left of the attempt")
      try takeBack(file)
      #expect(try vault.usage(of: tree) == Usage(bytes: 5100, nodes: 2))
      // In place of what is there: the difference counts, and all of it for a new owner.
      refused(.quotaExceeded(.tree(tree))) { try vault.restore(here, from: InodeNumber(file.inode), at: LSN(file.id - 1)) }
      try vault.setQuota(.bytes(10_000), for: .tree(tree))
      try vault.restore(here, from: InodeNumber(file.inode), at: LSN(file.id - 1))
      try vault.own(here, user: 9)
      try vault.setQuota(.nodes(try vault.usage(ofUser: 0).nodes), for: .user(0))
      refused(.quotaExceeded(.user(0))) { try vault.restore(here, from: InodeNumber(file.inode), at: LSN(file.id - 1)) }
    }
  }
}
