// The trash of deep trees.

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
