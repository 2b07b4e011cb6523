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

  @Test func `of content that changed while nobody had it open, the next opening tells, and those after it until one is used`() throws {
    try Home.run { home in
      let vault = home.vault, told = Mutex<[[Range<UInt64>]]>([])
      try vault.keepEverything()
      let size = Int(Limits.staleBytesMin) / 2, before = Random.bytes(2 * size, seed: 1), file = try vault.makeFile("file", before), tree = try vault.makeDirectory("tree")
      let inside = try vault.makeFile("inside", in: tree, before)
      try vault.syncAll()
      let then = vault.present
      unsafe vault.whenContentChanges = { _, ranges in told.withLock { $0.append(ranges) } }
      func restored(_ change: () throws -> Void) throws -> [[Range<UInt64>]] {
        try vault.syncAll()
        told.withLock { $0 = [] }
        try change()
        return told.withLock { $0 }
      }
      func isStale(_ inode: InodeNumber) throws -> Bool {
        let file = try vault.open(inode)
        defer { vault.close(file) }
        // (No program reads before its opening was answered.)
        var one: [UInt8] = [0]; _ = try one.withUnsafeMutableBytes { try vault.read(file, at: 0, into: $0) }
        return file.isStale
      }
      func overwrite(_ inode: InodeNumber, count: Int) throws { try vault.put(Random.bytes(count, seed: 2), at: 0, in: inode) }
      // Little is told at once; the attributes always are.
      try overwrite(file, count: 100)
      #expect(try !restored { try vault.restore(file, from: file, at: then) }[0].isEmpty)
      #expect(try !isStale(file))
      try overwrite(file, count: 2 * size)
      let other = vault.present
      #expect(try restored { try vault.restore(file, from: file, at: then) } == [[]])
      #expect(try restored { try vault.restore(file, from: file, at: other) } == [[]], "nobody has opened it between")
      let first = try vault.open(file), second = try vault.open(file)
      #expect(first.isStale && second.isStale)
      #expect(try restored { try vault.restore(file, from: file, at: then) } == [[0..<UInt64(2 * size)]], "whoever has it open is told at once")
      vault.close(first)
      let third = try vault.open(file)
      #expect(third.isStale, "nobody has used it")
      var one: [UInt8] = [0]; _ = try one.withUnsafeMutableBytes { try vault.read(second, at: 0, into: $0) }
      #expect(try !isStale(file))
      for handle in [second, third] { vault.close(handle) }
      // Where most of it stays, that is worth more than the time it takes.
      let large = try vault.makeFile("large", before + before + before)
      let grown = vault.present
      try overwrite(large, count: 2 * size)
      #expect(try !restored { try vault.restore(large, from: large, at: grown) }[0].isEmpty)
      try vault.put([1], at: UInt64(6 * size), in: large)
      #expect(try !restored { try vault.restore(large, from: large, at: grown) }[0].isEmpty, "what was behind the end is not as much as there could be")
      try overwrite(inside, count: 2 * size)
      #expect(try restored { try vault.restoreTree(tree, at: then) } == [[]])
      #expect(try isStale(inside) && !isStale(inside))
      try overwrite(inside, count: 2 * size)
      let fourth = try vault.open(inside)
      #expect(try restored { try vault.restoreTree(tree, at: then) } == [[0..<UInt64(2 * size)]])
      vault.close(fourth)
      #expect(try !isStale(inside) && vault.contents(of: inside) == before && vault.contents(of: file) == before)
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

  @Test func `what a program has written into a file by the time it is deleted is in the trash`() throws {
    try Home.run { home in
      let vault = home.vault
      home.vault.keeper?.stop()
      let open = try ["deleted", "replaced"].map { try vault.open(try vault.makeFile($0, [1])) }
      for file in open { try vault.write([1, 2, 3], to: file, at: 0) }
      try vault.unlink([UInt8]("deleted"), in: .root)
      try vault.makeFile("new", [4])
      try vault.rename([UInt8]("new"), in: .root, to: [UInt8]("replaced"), in: .root, mode: .replace)
      let item = try #require(try vault.trash().first { $0.name == [UInt8]("deleted") })
      #expect(try vault.contents(of: InodeNumber(item.inode), at: try vault.momentBefore(item)) == [1, 2, 3])
      for file in open { vault.close(file) }
    }
  }

  @Test func `what was deleted from a directory that came back is told to have been there, not in a copy`() throws {
    try Home.run { home in
      let vault = home.vault, above = try vault.makeDirectory("a"), directory = try vault.makeDirectory("d", in: above)
      try vault.keepEverything()
      try vault.makeFile("f", in: directory, [1])
      try vault.makeFile("stays", in: directory, [1])
      try vault.unlink([UInt8]("f"), in: directory)
      let then = vault.present
      try vault.removeTree([UInt8]("a"), in: .root)
      try vault.revive(above, at: then, as: [UInt8]("a"), in: .root)
      try vault.revive(directory, at: then, as: [UInt8]("copy"), in: .root)
      #expect(try vault.trash().first { $0.name == [UInt8]("f") }?.place == [UInt8]("/a/d"))
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
      let dry = try vault.emptyTrash(isDry: true), done = try vault.emptyTrash()
      #expect(done == dry)
      #expect(try vault.versions(of: file).count > 0)
      try vault.removeTree([UInt8]("l"), in: .root)
      #expect(try vault.emptyTrash().forgotten > 0)
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
