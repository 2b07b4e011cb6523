// The trash of deep trees.

import Glibc
import Testing
@testable import VaultFS

struct TrashTests {
  @Test func `what was deleted from a directory is told where that was then`() throws {
    try Home.run { home in
      let vault = home.vault, above = try vault.makeDirectory("above"), directory = try vault.makeDirectory("a", in: above)
      try vault.keepEverything()
      for name in ["a", "b", "c"] {
        if name != "a" { try vault.rename([UInt8](name == "b" ? "a" : "b"), in: above, to: [UInt8](name), in: above, mode: .noReplace) }
        try vault.makeFile("in \(name)", in: directory, [1])
        try vault.unlink([UInt8]("in \(name)"), in: directory)
      }
      try vault.makeFile("stays", in: directory, [1])
      #expect(try Set(vault.trash().map(\.place)) == [[UInt8]("/above/c")], "where it is now")
      try vault.removeTree([UInt8]("above"), in: .root)
      let told = try vault.trash().map { String(decoding: ($0.place ?? [63]) + [0x2F] + $0.name, as: UTF8.self) }
      #expect(told == ["/above", "/above/c/in c", "/above/b/in b", "/above/a/in a"])
    }
  }

  /// Names that go within the window, in all orders, and what comes in their place.
  @Test(arguments: [["link", "delete a", "replace b"], ["link", "delete b", "replace a"], ["link", "replace b", "delete a"], ["link", "delete a", "write b", "replace b"],
                    ["old", "write a", "move", "replace b"], ["old", "link", "delete a", "replace b"], ["old", "move", "replace b"]])
  func `what was deleted is kept, whatever becomes of its other names`(steps: [String]) throws {
    try Home.run { home in
      let vault = home.vault
      vault.keeper?.stop()
      let file = try vault.makeFile("a", [1])
      // As if it had been written long before.
      if steps.contains("old") {
        try vault.lock.withLock { () throws in
          try vault.metadata.node(file).sinceSeconds -= 3600
          vault.metadata.recent = [(vault.metadata.state.second, vault.metadata.state.applied)]
        }
      }
      var deleted: [UInt64: [UInt8]] = [:], content: [UInt8] = [1], moved: LSN?
      for (number, step) in steps.enumerated() {
        let name = step.split(separator: " ").last.map { [UInt8]($0.utf8) } ?? []
        switch step.split(separator: " ")[0] {
        case "link": _ = try vault.link(file, as: [UInt8]("b"), in: .root)
        case "move":
          moved = vault.present
          try vault.rename([UInt8]("a"), in: .root, to: [UInt8]("b"), in: .root, mode: .noReplace)
        case "delete":
          try vault.unlink(name, in: .root)
          deleted[vault.present.value] = content
        case "write":
          content = [UInt8(number), 2]
          try vault.put(content, in: file)
        case "replace":
          try vault.makeFile("c", [9])
          try vault.rename([UInt8]("c"), in: .root, to: name, in: .root, mode: .replace)
        default: break
        }
      }
      let check = try vault.check()
      #expect(check.isClean, "\(check.text)")
      let items = try vault.trash()
      #expect(Set(items.map(\.id)) == Set(deleted.keys), "\(items)")
      if let moved {
        let isThere = try vault.lock.withLock { () throws in try vault.metadata.entry([UInt8]("a"), in: .root, at: moved)?.inode == file && vault.metadata.node(file, at: moved) != nil }
        #expect(isThere)
      }
      for item in items {
        try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8]("back \(item.id)"), in: .root)
        #expect(try vault.contents(of: try #require(try vault.find("back \(item.id)")).inode) == deleted[item.id])
      }
      home.restartKeeper()
    }
  }

  /// What changes in a directory between the deletion of something in it and its own, soon after, while both are as good as one.
  @Test(arguments: [["write d"], ["chmod d"], ["chmod t"], ["chmod t/s"], ["chmod t", "delete t/g"], ["chmod t/s", "delete t/s/h"], ["xattr t/s"], ["replace link"], []], [UInt32(10), 0])
  func `a directory that was deleted comes back as it was after the last change`(steps: [String], window: UInt32) throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      var policy = vault.historyPolicy
      policy.window = window
      try vault.setHistoryPolicy(policy)
      vault.keeper?.stop()
      let top = try vault.makeDirectory("t"), inner = try vault.makeDirectory("s", in: top), d = try vault.makeFile("d", in: top, [1])
      _ = try vault.link(d, as: [UInt8]("e"), in: top)
      for name in ["f", "g"] { try vault.makeFile(name, in: top, [2]) }
      for name in ["f", "h"] { try vault.makeFile(name, in: inner, [3]) }
      let link = try vault.make("link", in: top, S_IFLNK | 0o777, target: "old").inode, moment = vault.present
      try vault.unlink([UInt8]("link"), in: top)
      try vault.make("link", in: top, S_IFLNK | 0o777, target: "new")
      try vault.syncAll()
      // All of it is old.
      func age(_ seconds: UInt64) { vault.lock.withLock { vault.journal.advance(to: vault.journal.now() + seconds * 1_000_000_000) } }
      age(60)
      for (name, place) in [("e", top), ("f", top), ("f", inner)] { try vault.unlink([UInt8](name), in: place) }
      for step in steps {
        age(1)
        let words = step.split(separator: " ")
        let place = words[1] == "d" ? d : words[1].hasPrefix("t/s") ? inner : top
        switch words[0] {
        case "write": try vault.put([1, 1], in: d)
        case "chmod":
          var change = AttributeChange()
          change.mode = 0o700
          _ = try vault.change(place, change)
        case "xattr": try vault.setXattr([UInt8]("user.k"), of: inner, to: [7], mode: .set, by: root)
        case "replace": #expect(try vault.replace([UInt8]("link"), in: top, with: link, at: moment, RestoreOptions()))
        default: try vault.unlink([UInt8](words[1].split(separator: "/").last!.utf8.map { $0 }), in: place)
        }
      }
      age(1)
      let last = steps.last?.hasPrefix("delete") == true ? String(steps.last!.last!) : ""
      let names = Set(try vault.names(in: top).map { String(decoding: $0, as: UTF8.self) }), innerNames = Set(try vault.names(in: inner).map { String(decoding: $0, as: UTF8.self) })
      let mode = (try vault.info(top).mode, try vault.info(inner).mode, try vault.info(d).mode), content = try vault.contents(of: d)
      try vault.removeTree([UInt8]("t"), in: .root)
      let item = try #require(try vault.trash().first { $0.inode == top.value })
      try vault.revive(top, at: try vault.momentBefore(item), as: [UInt8]("back"), in: .root)
      let back = try #require(try vault.find("back")), s = try #require(try vault.find("s", in: back.inode))
      // Deletions that nothing came after are part of the last one. (Of what is one version, it is not known what came first.)
      let also = steps.isEmpty ? Set(["e", "f"]) : last == "g" ? ["g"] : [], alsoInner = steps.isEmpty ? Set(["f"]) : last == "h" ? ["h"] : []
      for (place, expected, deleted) in [(back.inode, names.union(also), ["e", "f"]), (s.inode, innerNames.union(alsoInner), ["f"])] {
        let found = Set(try vault.names(in: place).map { String(decoding: $0, as: UTF8.self) })
        #expect(window == 0 ? found == expected : found.isSuperset(of: expected) && found.isSubset(of: expected.union(deleted)), "\(found)")
      }
      #expect(try (back.mode, s.mode, vault.find("d", in: back.inode)?.mode) == (mode.0, mode.1, mode.2))
      #expect(try vault.contents(of: try #require(try vault.find("d", in: back.inode)).inode) == content)
      #expect(try vault.xattrNames(of: s.inode) == (steps == ["xattr t/s"] ? [[UInt8]("user.k")] : []))
      let found = try #require(try vault.find("link", in: back.inode)).inode
      #expect(try String(decoding: vault.readLink(found), as: UTF8.self) == (steps == ["replace link"] ? "old" : "new"))
      home.restartKeeper()
    }
  }

  @Test func `what was taken back and deleted again is forgotten once, and counted once`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      try vault.makeFile("file", [1])
      for _ in 0..<3 {
        try vault.unlink([UInt8]("file"), in: .root)
        let item = try #require(try vault.trash().first)
        try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8]("file"), in: .root)
      }
      try vault.unlink([UInt8]("file"), in: .root)
      let told = try vault.trash().count, dry = try vault.emptyTrash(isDry: true), done = try vault.emptyTrash()
      #expect(told == 1 && dry.forgotten == 1 && dry.held == 0 && done.forgotten == 1 && done.held == 0, "\(told), \(dry), \(done)")
      #expect(try vault.trash().isEmpty && vault.emptyTrash().forgotten == 0)
    }
  }

  @Test func `when a deleted directory was whole is found once`() throws {
    try Home.run { home in
      let vault = home.vault, directory = try vault.makeDirectory("d")
      try vault.keepEverything()
      for name in ["a", "b"] { try vault.makeFile(name, in: directory, [1]) }
      let whole = vault.present
      try vault.removeTree([UInt8]("d"), in: .root)
      let item = try #require(try vault.trash().first)
      vault.lock.withLock { vault.deletedWhole = DeletedWhole() }
      for _ in 0..<2 {
        #expect(try vault.momentBefore(item) == whole)
        #expect(vault.lock.withLock { vault.deletedWhole.moment(of: item.id) } == whole)
      }
    }
  }

  @Test func `of directories deeper than others should wait for, all is told and emptied`() throws {
    try Home.run { home in
      let vault = home.vault, depth = 250
      try vault.keepEverything()
      var directory = InodeNumber.root, path: [UInt8] = [], places: Set<[UInt8]> = []
      for _ in 0..<depth {
        try vault.makeFile("gone", in: directory, [1])
        try vault.unlink([UInt8]("gone"), in: directory)
        try vault.makeFile("stays", in: directory, [2])
        places.insert(path)
        directory = try vault.makeDirectory("d", in: directory)
        path += [UInt8]("/d")
      }
      try vault.removeTree([UInt8]("d"), in: .root)
      let items = try vault.trash(), gone = items.filter { $0.name == [UInt8]("gone") }
      #expect(gone.count == depth && Set(gone.map(\.place)) == places && items.count == depth + 1, "\(items.count)")
      for item in [items[0], gone[0], gone[depth - 1]] { #expect(try vault.trash(before: item.id + 1, rows: 1).items == [item]) }

      // The way to the deepest is found in several holds of the lock.
      let deepest = try #require(gone.max { $0.place?.count ?? 0 < $1.place?.count ?? 0 })
      var walk = TrashWalk(vault.metadata, before: deepest.id + 1, tellsPaths: true), holds = 0, found: Int?
      while walk.rows == 0 {
        holds += 1
        try vault.lock.withLock { () throws(VaultError) in
          try walk.step(vault.metadata, rows: 1) { row, whereabouts throws(VaultError) in
            guard case .part(let directories) = try whereabouts.kind(of: row.inode, in: row.parent, deletedBy: row.died) else { return false }
            found = directories.count
            return true
          }
        }
        try #require(holds < 10)
      }
      #expect(holds == 3 && found == DeletedWhole.wayMax)

      #expect(try vault.emptyTrash().held == 0)
      #expect(try vault.trash().isEmpty && vault.names(in: .root) == [[UInt8]("stays")])
    }
  }
}
