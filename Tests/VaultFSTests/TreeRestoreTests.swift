// Taking back a whole tree in place.

import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct TreeRestoreTests {
  @Test(arguments: [false, true]) func `what nothing is kept of takes nothing away that has its name now`(isMuch: Bool) throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("tree")
      try vault.keepEverything()
      let pruned = try vault.makeFile("pruned", in: tree, [1]), other = try vault.makeFile("other", in: tree, [1])
      try vault.syncAll()
      let then = vault.present
      for file in [pruned, other] { try vault.put([2, 2], at: 0, in: file) }
      try vault.syncAll()
      try vault.forget(pastOf: pruned, through: vault.present)
      // Beyond that all of it is made anew.
      if isMuch { for index in 0...TreeDifference.stepsMax { try vault.make("new-\(index)", in: tree) } }
      let plan = RestorePlan()
      var options = RestoreOptions()
      options.plan = plan
      try vault.restoreTree(tree, at: then, options)
      #expect(isMuch || plan.changes.map(\.path) == [[UInt8]("other")])
      let done = try vault.restoreTree(tree, at: then)
      #expect(done.missing == 1 && done.stayed == 1 && done.missingNames == [[UInt8]("pruned")])
      #expect(try vault.find("pruned", in: tree)?.inode == pruned && vault.contents(of: pruned) == [2, 2])
      #expect(try vault.find("other", in: tree).map { try vault.contents(of: $0.inode) } == [1])
      #expect(try vault.list(tree, after: 0, count: 10, withInfo: false).count == 2)
      let again = try vault.restoreTree(tree, at: then)
      #expect(again.isUnchanged || isMuch)
    }
  }

  @Test func `of what has several names, each is told to change`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), places = try ["a", "b"].map { try vault.makeDirectory($0, in: tree) }
      let file = try vault.makeFile("x", in: places[0], [1])
      _ = try vault.link(file, as: [UInt8]("y"), in: places[1])
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment)
      try vault.put([2, 2], in: file)
      var options = RestoreOptions()
      let plan = RestorePlan()
      options.plan = plan
      try vault.restoreTree(tree, at: then, options)
      #expect(Set(plan.changes.map { "\($0.kind) \(String(decoding: $0.path, as: UTF8.self))" }) == ["changes a/x", "changes b/y"] && plan.changes.count == 2)
    }
  }

  @Test func `in a tree that is taken back, what is what it was stays, and what has changed changes in place`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      let same = try vault.makeFile("same", in: inner, [1]), changed = try vault.makeFile("changed", in: inner, [1])
      let gone = try vault.makeFile("gone", in: inner, [1]), linked = try vault.makeFile("linked", in: tree, [1])
      _ = try vault.link(linked, as: [UInt8]("linked too"), in: inner)
      let outside = try vault.makeFile("outside", in: tree, [1])
      _ = try vault.link(outside, as: [UInt8]("outside"), in: .root)
      try vault.syncAll()
      let sub = try vault.makeDirectory("sub", in: inner)
      _ = try vault.link(linked, as: [UInt8]("linked also"), in: sub)
      var change = AttributeChange()
      change.modified = Timestamp(seconds: 5, nanoseconds: 6)
      for directory in [tree, inner, sub] { _ = try vault.change(directory, change) }
      try vault.syncAll()
      let then = vault.present, before = try presentTree(of: vault)
      try vault.removeTree([UInt8]("sub"), in: inner)
      try vault.unlink([UInt8]("gone"), in: inner)
      try vault.unlink([UInt8]("linked too"), in: inner)
      try vault.put([2, 2], at: 0, in: outside)
      try vault.makeFile("new", in: inner, [3])
      let file = try vault.open(changed)
      try vault.write([2, 2], to: file, at: 0)
      let versions = try vault.versions(of: same)
      // What is only told changes nothing; what has too long a path is not told, and that is.
      let standing = try presentTree(of: vault), plan = RestorePlan()
      var options = RestoreOptions()
      options.plan = plan
      try vault.restoreTree(tree, at: then, options)
      #expect(try presentTree(of: vault).mapValues(\.content) == standing.mapValues(\.content) && plan.isComplete)
      let told = Set(plan.changes.map { "\($0.kind) \(String(decoding: $0.path, as: UTF8.self))\($0.isDirectory ? "/" : "")" })
      #expect(told == ["goes outside", "returns outside", "goes i/new", "returns i/sub/", "returns i/gone", "returns i/linked too", "changes i/changed"])
      let done = try vault.restoreTree(tree, at: then)
      let again = RestorePlan()
      options.plan = again
      try vault.restoreTree(tree, at: then, options)
      #expect(again.changes.isEmpty && again.isComplete, "\(again.changes)")
      #expect(done.nodes == 8 && done.missing == 0)
      let after = try presentTree(of: vault)
      for path in before.keys where path != [UInt8]("/outside") { #expect(after[path]?.content == before[path]?.content, "\(String(decoding: path, as: UTF8.self))") }
      #expect(Set(after.keys) == Set(before.keys))
      for path in ["/t", "/t/i", "/t/i/sub"] { #expect(after[[UInt8](path)]?.times[1] == change.modified, "\(path)") }
      // The nodes are the same, and what has not changed has no new version.
      #expect(try vault.find("i", in: tree)?.inode == inner && vault.find("same", in: inner)?.inode == same && vault.find("changed", in: inner)?.inode == changed)
      #expect(try vault.find("linked", in: tree)?.inode == linked && vault.find("linked too", in: inner)?.inode == linked && vault.info(linked).links == 3)
      #expect(try vault.find("gone", in: inner)?.inode != gone)
      #expect(try vault.versions(of: same) == versions)
      // Whoever has it open goes on with it.
      try vault.write([4], to: file, at: 1)
      vault.close(file)
      #expect(try vault.contents(of: changed) == [1, 4])
      // What has a name outside is not changed there.
      #expect(try vault.contents(of: outside) == [2, 2])
      #expect(try vault.find("outside", in: tree).map { try vault.contents(of: $0.inode) } == [1])
      #expect(try vault.trash().contains { $0.name == [UInt8]("new") && $0.place == [UInt8]("/t/i") })
    }
  }

  @Test func `what was two and is one now becomes two again`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      try vault.keepEverything()
      let x = try vault.makeFile("x", in: tree, [1])
      try vault.syncAll()
      try vault.revive(x, at: vault.present, as: [UInt8]("y"), in: tree)
      let y = try #require(try vault.find("y", in: tree)).inode
      try vault.put([2], at: 0, in: y)
      try vault.syncAll()
      let then = vault.present
      try vault.unlink([UInt8]("x"), in: tree)
      _ = try vault.link(y, as: [UInt8]("x"), in: tree)
      try vault.restoreTree(tree, at: then)
      #expect(try vault.find("x", in: tree).map { try vault.contents(of: $0.inode) } == [1])
      #expect(try vault.find("y", in: tree).map { try vault.contents(of: $0.inode) } == [2])
    }
  }

  @Test func `a tree of which more has changed than others should wait for is made anew`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      for index in 0..<5100 { try vault.makeFile("\(index)", in: inner, [1]) }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment)
      try vault.removeTree([UInt8]("i"), in: tree)
      try vault.makeFile("new", in: tree, [2])
      let other = try vault.makeDirectory("i", in: tree)
      #expect(try vault.restoreTree(tree, at: then).nodes == 5102)
      #expect(try vault.names(in: tree) == [[UInt8]("i")])
      let made = try #require(try vault.find("i", in: tree)).inode
      #expect(made != other && made != inner)
      for index in 0..<5100 where index % 2 == 0 { try vault.unlink([UInt8]("\(index)"), in: made) }
      for index in 6000..<9000 { try vault.makeFile("\(index)", in: made, [3]) }
      #expect(try vault.restoreTree(tree, at: then).nodes == 5102)
      #expect(try vault.names(in: try #require(try vault.find("i", in: tree)).inode).count == 5100)
    }
  }

  @Test func `a directory that is taken back changes in one step, with its own attributes, and what was killed in it goes`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let directory = try vault.makeDirectory("d")
      for name in ["a", "b", "c"] { try vault.makeFile(name, in: directory, [1]) }
      let then = vault.present
      for name in ["a", "b"] { try vault.unlink([UInt8](name), in: directory) }
      for name in ["x", "y"] { try vault.makeFile(name, in: directory, [2, 2]) }
      var change = AttributeChange()
      change.mode = 0o700
      _ = try vault.change(directory, change)
      let changed = vault.present
      try vault.restoreTree(directory, at: then)
      #expect(try vault.names(in: directory) == Set(["a", "b", "c"].map { [UInt8]($0) }))
      #expect(try vault.info(directory).mode & 0o777 == 0o755)
      // Whatever moment is looked at, it shows the one or the other: what was to go goes afterwards.
      for lsn in changed.value...vault.present.value {
        let names = Set(try vault.allEntriesAt(directory, LSN(lsn)).map(\.name))
        #expect(names.contains([UInt8]("c")))
        #expect(names.contains([UInt8]("a")) == names.contains([UInt8]("b")), "operation \(lsn)")
        for name in ["x", "y"] { #expect(names.contains([UInt8]("a")) != names.contains([UInt8](name)), "operation \(lsn)") }
      }
      // As a kill in the middle leaves it.
      try vault.lock.withLock { () throws in
        let past = try #require(try vault.metadata.node(directory, at: then)), name = [UInt8](".vaultfs-restoring-7")
        let node = NewNode(inode: try vault.metadata.nextInode, mode: past.mode, user: 0, group: 0, device: 0, target: [], xattrs: [])
        try vault.perform(.stage(node, parent: directory, name: name, from: directory, moment: then, attributes: AttributeSet()))
      }
      let name = [UInt8](".vaultfs-restoring-7"), staged = try #require(try vault.lookup(name, in: directory, isOurs: true)).inode
      #expect(try vault.find(".vaultfs-restoring-7", in: directory) == nil && !vault.names(in: directory).contains(name), "nobody else sees it")
      refused(.notFound) { try vault.rename(name, in: directory, to: [UInt8]("mine"), in: directory, mode: .replace) }
      refused(.notFound) { try vault.removeDirectory(name, in: directory) }
      refused(.alreadyExists) { try vault.makeDirectory(".vaultfs-restoring-7", in: directory) }
      try vault.makeFile("half", in: staged, [1])
      try vault.makeDirectory(".vaultfs-restoring-8", in: directory)
      try home.move(to: try home.copy())
      for _ in 0..<200 where try home.vault.lookup(name, in: directory, isOurs: true) != nil { usleep(20_000) }
      #expect(try home.vault.names(in: directory) == Set(["a", "b", "c", ".vaultfs-restoring-8"].map { [UInt8]($0) }), "a user's own directory of such a name stays")
      // What was finished or given up is not noted any more.
      #expect(try home.vault.lock.withLock { () throws in try home.vault.metadata.database.integer("SELECT count(*) FROM staging") } == 0)
    }
  }

  @Test(arguments: [false, true])
  func `whatever was not there goes, however much, and is in the trash`(isMuch: Bool) throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      for index in 0..<40 { try vault.makeFile("kept \(index)", in: tree, [1]) }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment), count = isMuch ? 12_000 : 30
      for index in 0..<count { try vault.make("extra \(index)", in: tree) }
      try vault.restoreTree(tree, at: then)
      #expect(try vault.names(in: tree).count == 40)
      #expect(try vault.trash().count { $0.name.starts(with: [UInt8]("extra")) } == count)
      #expect(try !vault.trash().contains { $0.name.starts(with: [UInt8]("kept")) })
    }
  }

  @Test func `a name is anybody's, also one that looks like that of a place where a tree is put together`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), name = ".vaultfs-restoring-x"
      try vault.keepEverything()
      let file = try vault.makeFile(name, in: tree, [1]), inner = try vault.makeDirectory("i", in: tree)
      try vault.makeFile("p", in: try vault.makeDirectory(name, in: inner), [1])
      for index in 0..<8 { try vault.makeFile("\(index)", in: inner, [1]) }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment), before = try presentTree(of: vault)
      try vault.put([2, 2], at: 0, in: file)
      try vault.removeTree([UInt8]("i"), in: tree)
      let item = try #require(try vault.trash().first { $0.name == [UInt8]("i") })
      let back = try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8]("back"), in: tree)
      #expect(try vault.names(in: back).count == 9)
      try vault.restoreTree(tree, at: then)
      #expect(Set(try presentTree(of: vault).keys) == Set(before.keys))
      #expect(try vault.contents(of: file) == [1])
      try home.reopen()
      for _ in 0..<20 { usleep(10_000) }
      #expect(Set(try presentTree(of: home.vault).keys) == Set(before.keys))
    }
  }

  @Test func `what gives way is in the trash unless what was made of it took its place`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      try vault.keepEverything()
      for index in 0..<10 { try vault.makeFile("\(index)", in: tree, [1]) }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment)
      // Twice made anew: what was made the first time gives way the second.
      for _ in 0..<2 {
        for index in 0..<10 { try vault.put([2], at: 1, in: try #require(try vault.find("\(index)", in: tree)).inode) }
        for index in 0..<5100 { try vault.make("extra \(index)", in: tree) }
        try vault.restoreTree(tree, at: then)
        #expect(try !vault.trash().contains { !$0.name.starts(with: [UInt8]("extra")) })
        #expect(try vault.names(in: tree).count == 10)
      }
      // Nor is the place where it is put together one of the directory: a copy of that in itself is lost.
      try vault.revive(tree, at: then, as: [UInt8]("of all"), in: tree)
      try vault.restoreTree(tree, at: then)
      let item = try #require(try vault.trash().first { $0.name == [UInt8]("of all") })
      #expect(try vault.allEntriesAt(InodeNumber(item.inode), try vault.momentBefore(item)).count == 10)
      // A copy elsewhere is no successor.
      let copied = try vault.makeFile("copied", in: tree, [1])
      try vault.revive(copied, at: vault.present, as: [UInt8]("copy"), in: .root)
      try vault.put([2], at: 1, in: copied)
      try vault.restoreTree(tree, at: then)
      #expect(try vault.trash().contains { $0.name == [UInt8]("copied") && $0.place == [UInt8]("/t") })
    }
  }

  @Test func `what gives way to another that was made of the same is found where that one is`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), viewer = Viewer(user: 0) { _ in false }
      try vault.keepEverything()
      let first = try vault.makeDirectory("d", in: tree), directory = [UInt8]("d"), file = [UInt8]("f")
      try vault.makeFile("f", in: first, [1])
      try vault.syncAll()
      let a = vault.present
      try vault.removeTree(directory, in: tree)
      try vault.restoreTree(tree, at: a)
      try vault.syncAll()
      let b = vault.present
      try vault.removeTree(directory, in: tree)
      try vault.restoreTree(tree, at: a)
      let second = try #require(try vault.find("d", in: tree)).inode
      try vault.makeFile("new", in: second, [UInt8]("precious"))
      try vault.put([UInt8]("edited"), in: try #require(try vault.find("f", in: second)).inode)
      try vault.syncAll()
      // What was there at `b` and what is there now are both made of what was there at `a`.
      try vault.restoreTree(tree, at: b)
      let third = try #require(try vault.find("d", in: tree)).inode
      func expectFound() throws {
        #expect(try vault.trash().contains { $0.name == [UInt8]("new") && $0.place == [UInt8]("/t/d") })
        #expect(try vault.versions(named: [UInt8]("new"), in: third, for: viewer).map(\.size).contains(8))
        let sizes = try vault.versions(named: file, in: third, for: viewer).map(\.size)
        #expect(sizes.contains(6) && sizes.contains(1), "\(sizes)")
        #expect(try vault.contents(of: try #require(try vault.find("f", in: third)).inode) == [1])
      }
      try expectFound()
      // And so on, with all that was made anew.
      for moment in [a, b, a, b] { try vault.restoreTree(tree, at: moment) }
      let last = try #require(try vault.find("d", in: tree)).inode
      #expect(try vault.versions(named: [UInt8]("new"), in: last, for: viewer).map(\.size).contains(8))
      #expect(try vault.versions(named: file, in: last, for: viewer).map(\.size).contains(6))
    }
  }

  @Test func `a directory that gives way is taken back with all that was in it, also what goes on elsewhere`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      try vault.keepEverything()
      let file = try vault.makeFile("file", in: tree, [1])
      _ = try vault.link(file, as: [UInt8]("outside"), in: .root)
      try vault.syncAll()
      let then = vault.present
      let directory = try vault.makeDirectory("d", in: tree), inner = try vault.makeDirectory("inner", in: directory)
      for place in [directory, inner] {
        for index in 0..<8 {
          try vault.makeFile("f\(index)", in: place, [2])
          // They are other names of one that is made anew: with them nothing is lost.
          _ = try vault.link(file, as: [UInt8]("l\(index)"), in: place)
        }
      }
      try vault.put([3], at: 0, in: file)
      try vault.restoreTree(tree, at: then)
      let item = try #require(try vault.trash().first { $0.inode == directory.value }), moment = try vault.momentBefore(item)
      #expect(try vault.allEntriesAt(directory, moment).count == 17 && vault.allEntriesAt(inner, moment).count == 16)
      let again = try vault.revive(directory, at: moment, as: [UInt8]("again"), in: .root)
      #expect(try vault.allEntries(of: again).count == 17 && vault.allEntries(of: try #require(try vault.find("inner", in: again)).inode).count == 16)
    }
  }

  @Test func `the place where it is put together leaves no trace in the directory`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      try vault.makeFile("f", [1])
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment), before = try vault.info(.root)
      try vault.unlink([UInt8]("f"), in: .root)
      let deleted = vault.present
      try vault.restoreTree(.root, at: then)
      let after = try vault.info(.root)
      #expect(after.modified == before.modified && after.links == before.links)
      // What it was before, and what it is now.
      let cuts = try vault.lock.withLock { () throws in
        try vault.commit()
        return try vault.metadata.database.integer("SELECT count(*) FROM past_node WHERE inode = 1 AND died > \(deleted.value)")
      }
      #expect(cuts == 1)
      for lsn in then.value...vault.present.value { #expect(try vault.allEntriesAt(.root, LSN(lsn)).allSatisfy { $0.name == [UInt8]("f") }) }
    }
  }
}
