// Taking back what was: files, trees, what was deleted.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct RestoreTests {
  @Test func `what was deleted is in the trash, and comes back with all below it`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      try plant(vault)
      let before = try presentTree(of: vault)
      try vault.removeTree([UInt8]("directory"), in: .root)
      try vault.unlink([UInt8]("large"), in: .root)
      let items = try vault.trash()
      #expect(items.map { String(decoding: $0.name, as: UTF8.self) } == ["large", "directory"])
      #expect(items.allSatisfy { $0.place == [] })
      for item in items { try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: item.name, in: .root) }
      let after = try presentTree(of: vault)
      #expect(Set(after.keys) == Set(before.keys))
      for (path, node) in before where path != [UInt8]("/linked") && path != [UInt8]("/directory/again") && !path.isEmpty {
        let found = try #require(after[path])
        #expect(found.content == node.content && found.mode == node.mode && found.times[1] == node.times[1] && found.xattrs == node.xattrs, "\(String(decoding: path, as: UTF8.self))")
      }
      refused(.alreadyExists) { try vault.revive(InodeNumber(items[0].inode), at: try vault.momentBefore(items[0]), as: [UInt8]("large"), in: .root) }
      #expect(try vault.names().count == 5)
    }
  }

  @Test func `a file and a directory go back to what they were, and that can be undone`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      try plant(vault)
      try vault.syncAll()
      let then = vault.present, before = try presentTree(of: vault)
      let large = try #require(try vault.find("large")).inode, directory = try #require(try vault.find("directory")).inode
      try vault.truncate(large, to: 10, clearsPrivileges: false)
      let truncated = vault.present
      try vault.restore(large, from: large, at: then)
      #expect(try vault.contents(of: large).hashValue == before[[UInt8]("/large")]?.content)
      try vault.restore(large, from: large, at: truncated)
      #expect(try vault.info(large).size == 10)
      try vault.unlink([UInt8]("small-1"), in: directory)
      try vault.makeFile("new", in: directory, [1])
      try vault.rename([UInt8]("small-2"), in: directory, to: [UInt8]("other"), in: directory, mode: .replace)
      try vault.restoreTree(directory, at: then)
      let after = try presentTree(of: vault)
      let paths = before.keys.filter { $0.starts(with: [UInt8]("/directory/")) }
      #expect(Set(paths) == Set(after.keys.filter { $0.starts(with: [UInt8]("/directory/")) }))
      for path in paths { #expect(after[path]?.content == before[path]?.content, "\(String(decoding: path, as: UTF8.self))") }
    }
  }

  @Test func `what a restore replaces can be taken back, however young it is`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.makeFile("file", [1])
      let tree = try vault.makeDirectory("tree")
      try vault.makeFile("replaced", in: tree, [1])
      try vault.syncAll()
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment)
      // All of this is within the window, in which a writer's changes make one version.
      try vault.put([2, 2], at: 0, in: file)
      try vault.unlink([UInt8]("replaced"), in: tree)
      try vault.makeFile("replaced", in: tree, [2, 2])
      try vault.syncAll()
      let young = vault.present
      try vault.restore(file, from: file, at: then)
      try vault.restoreTree(tree, at: then)
      #expect(try vault.contents(of: file) == [1])
      #expect(try vault.find("replaced", in: tree).map { try vault.contents(of: $0.inode) } == [1])
      #expect(try vault.versions(of: file).map(\.size).sorted() == [1, 1, 2])
      try vault.restore(file, from: file, at: young)
      try vault.restoreTree(tree, at: young)
      #expect(try vault.contents(of: file) == [2, 2])
      #expect(try vault.find("replaced", in: tree).map { try vault.contents(of: $0.inode) } == [2, 2])
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
      let done = try vault.restoreTree(tree, at: then)
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

  @Test func `a tree in which others are at work is what it was, as a whole, when they pause`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      for index in 0..<20 { try vault.makeFile("\(index)", in: index % 2 == 0 ? tree : inner, [UInt8(index)]) }
      try vault.syncAll()
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment), before = try presentTree(of: vault)
      let isDone = Atomic(false)
      let others = startThread("others") {
        var random = Random(seed: 7)
        while !isDone.load(ordering: .relaxed) {
          let directory = random.below(2) == 0 ? tree : inner, name = [UInt8]("\(random.below(24))"), other = [UInt8]("\(random.below(24))")
          switch random.below(6) {
          case 0: try? vault.unlink(name, in: directory)
          case 1: _ = try? vault.create(name, in: directory, mode: S_IFREG | 0o644, by: root)
          case 2: try? vault.rename(name, in: directory, to: other, in: inner, mode: .replace)
          case 3: if let found = try? vault.lookup(name, in: directory) { try? vault.put([9], at: 0, in: found.inode) }
          case 4: if let found = try? vault.lookup(name, in: directory) { _ = try? vault.link(found.inode, as: other, in: tree) }
          default: usleep(2000)
          }
        }
      }
      for _ in 0..<60 { do { _ = try vault.restoreTree(tree, at: then) } catch VaultError.notFound {} }
      isDone.store(true, ordering: .relaxed)
      pthread_join(others, nil)
      try vault.restoreTree(tree, at: then)
      let after = try presentTree(of: vault)
      #expect(Set(after.keys) == Set(before.keys))
      for path in before.keys { #expect(after[path]?.content == before[path]?.content && after[path]?.mode == before[path]?.mode, "\(String(decoding: path, as: UTF8.self))") }
      try home.reopen()
      #expect(try presentTree(of: home.vault).keys.sorted { $0.lexicographicallyPrecedes($1) } == after.keys.sorted { $0.lexicographicallyPrecedes($1) })
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
        let names = Set(try vault.allEntriesAt(directory, LSN(lsn)).map(\.name).filter { !$0.starts(with: Metadata.stagingPrefix) })
        #expect(names.contains([UInt8]("c")))
        #expect(names.contains([UInt8]("a")) == names.contains([UInt8]("b")), "operation \(lsn)")
        for name in ["x", "y"] { #expect(names.contains([UInt8]("a")) != names.contains([UInt8](name)), "operation \(lsn)") }
      }
      // As a kill in the middle leaves it.
      try vault.lock.withLock { () throws in
        let past = try #require(try vault.metadata.node(directory, at: then)), name = Metadata.stagingPrefix + [UInt8]("7")
        let node = NewNode(inode: try vault.metadata.nextInode, mode: past.mode, user: 0, group: 0, device: 0, target: [], xattrs: [])
        try vault.perform(.revive(node, parent: directory, name: name, from: directory, moment: then, attributes: AttributeSet()))
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

  @Test func `a tree that others take away while it is taken back leaves nothing that cannot be done again`() throws {
    try Home.run { home in
      let vault = home.vault, place = try vault.makeDirectory("place")
      let tree = try vault.makeDirectory("tree", in: place)
      for index in 0..<30 { try vault.makeFile("\(index)", in: tree, [1]) }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment)
      let isDone = Atomic(false)
      let others = startThread("others") {
        while !isDone.load(ordering: .relaxed) {
          for name in (try? vault.names(in: tree)) ?? [] where name.starts(with: Metadata.stagingPrefix) { try? vault.removeTree(name, in: tree) }
        }
      }
      for _ in 0..<300 { do { _ = try vault.restoreTree(tree, at: then) } catch VaultError.notFound {} catch VaultError.staleNode {} }
      isDone.store(true, ordering: .relaxed)
      pthread_join(others, nil)
      #expect(vault.lock.withLock { vault.failure } == nil)
      try home.reopen()
      #expect(try home.vault.restoreTree(tree, at: then).nodes == 31)
    }
  }

  @Test func `the present version that is restored stays, also where no version is kept`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.makeFile("file", [])
      var policy = HistoryPolicy()
      policy.isOn = false
      try vault.setHistoryPolicy(policy)
      for index in 0..<40 { try vault.put([UInt8(index + 1)], at: UInt64(index) << 20, in: file) }
      try vault.setXattr([UInt8]("user.a"), of: file, to: [1], mode: .set, by: root)
      try vault.syncAll()
      let before = try vault.contents(of: file), allocated = try vault.info(file).allocated
      try vault.restore(file, from: file, at: vault.present)
      try home.reopen()
      #expect(try home.vault.contents(of: file) == before && home.vault.info(file).allocated == allocated)
      #expect(try home.vault.xattr([UInt8]("user.a"), of: file) == [1])
    }
  }

  @Test func `what is opened while it ends does not end, and is not changed when it has`() throws {
    try Home.run { home in
      let vault = home.vault
      let file = try vault.makeFile("file", [1, 2, 3]), other = try vault.makeFile("other", [4])
      unsafe vault.awaitsForget = true
      try vault.unlink([UInt8]("file"), in: .root)
      // Between the forgetting and the end, as the kernel may.
      _ = vault.lock.withLock { vault.orphans.insert(file) }
      let opened = try vault.open(file)
      try vault.dropOrphan(file)
      #expect(try vault.contents(of: file) == [1, 2, 3])
      vault.close(opened)
      vault.forget(file)
      #expect(throws: (any Error).self) { try vault.info(file) }
      let source = try vault.open(other)
      #expect(throws: VaultError.self) { _ = try vault.clone(from: source, at: 0, to: opened, at: 0, length: 1, clearsPrivileges: false) }
      #expect(throws: VaultError.self) { try vault.write([1], to: opened, at: 0) }
      vault.close(source)
      #expect(vault.lock.withLock { vault.failure } == nil)
      unsafe vault.awaitsForget = false
    }
  }

  @Test func `of a deleted directory comes back what was in it when it was deleted, not what went before`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      func back(_ make: (InodeNumber) throws -> Void) throws -> Set<String> {
        let directory = try vault.makeDirectory("k")
        try make(directory)
        try vault.removeTree([UInt8]("k"), in: .root)
        let item = try #require(try vault.trash().first)
        let inode = try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8]("k"), in: .root)
        defer { try? vault.removeTree([UInt8]("k"), in: .root) }
        return Set(try vault.names(in: inode).map { String(decoding: $0, as: UTF8.self) })
      }
      #expect(try back { try vault.makeFile("a", in: $0, [1]); try vault.unlink([UInt8]("a"), in: $0); try vault.makeFile("b", in: $0, [2]) } == ["b"])
      #expect(try back { directory in
        for index in 1...5 {
          try vault.makeFile("file\(index)", in: directory, [1])
          try vault.makeFile("lock", in: directory, [])
          try vault.unlink([UInt8]("lock"), in: directory)
        }
        try vault.put([5], at: 0, in: try #require(try vault.find("file2", in: directory)).inode)
      } == ["file1", "file2", "file3", "file4", "file5"])
      // Names of one file stay one file.
      let directory = try vault.makeDirectory("l"), file = try vault.makeFile("a", in: directory, [1])
      _ = try vault.link(file, as: [UInt8]("b"), in: directory)
      try vault.removeTree([UInt8]("l"), in: .root)
      let item = try #require(try vault.trash().first)
      let inode = try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8]("l"), in: .root)
      #expect(try vault.find("a", in: inode)?.inode == vault.find("b", in: inode)?.inode)
      // What came back is not in the trash any more, and emptying that does not touch its past.
      #expect(try !vault.trash().contains { $0.id == item.id })
      let again = try #require(try vault.find("a", in: inode)).inode
      #expect(try vault.lock.withLock { () throws in try vault.metadata.origins(of: again).map(\.inode) } == [file])
      #expect(try vault.emptyTrash(isDry: true) == vault.emptyTrash())
      #expect(try vault.versions(of: file).count > 0)
      try vault.removeTree([UInt8]("l"), in: .root)
      #expect(try vault.emptyTrash() > 0)
    }
  }

  @Test func `a tree is taken back however deep it is`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let top = try vault.makeDirectory("deep")
      var at = top
      for _ in 0..<12_000 { at = try vault.makeDirectory("d", in: at) }
      try vault.removeTree([UInt8]("deep"), in: .root)
      let item = try #require(try vault.trash().first { $0.inode == top.value })
      let inode = try vault.revive(top, at: try vault.momentBefore(item), as: [UInt8]("deep"), in: .root)
      #expect(try vault.usage(of: inode).nodes == 12_000)
      try vault.removeTree([UInt8]("deep"), in: .root)
    }
  }

  @Test func `what a restored directory held before is not charged any more, though the kernel remembers it`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      unsafe vault.awaitsForget = true
      let directory = try vault.makeDirectory("d"), then = vault.present
      try vault.makeFile("f", in: directory, full(100_000))
      try vault.restoreTree(directory, at: then)
      #expect(try vault.usage(by: .vault) == Usage(bytes: 0, nodes: 2))
      unsafe vault.awaitsForget = false
    }
  }
}
