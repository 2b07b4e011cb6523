// A name that leads to what it led to before, where that is no directory.

import Glibc
import Testing
@testable import VaultFS

struct ReplaceTests {
  private func target(_ vault: Vault, _ name: String) throws -> String { String(decoding: try vault.readLink(try #require(try vault.find(name)).inode), as: UTF8.self) }

  /// `link` to `old`, and a moment; then it is deleted.
  private func deletedLink(_ vault: Vault) throws -> (inode: InodeNumber, moment: LSN) {
    try vault.keepEverything()
    let inode = try vault.make("link", S_IFLNK | 0o777, target: "old").inode, moment = vault.present
    try vault.unlink([UInt8]("link"), in: .root)
    return (inode, moment)
  }

  @Test func `a symlink leads where it led, what gave way is in the trash, and that can be undone`() throws {
    try Home.run { home in
      let vault = home.vault, (old, moment) = try deletedLink(vault)
      let new = try vault.make("link", S_IFLNK | 0o777, target: "new").inode, then = vault.present
      #expect(try vault.replace([UInt8]("link"), in: .root, with: old, at: moment, RestoreOptions()))
      #expect(try target(vault, "link") == "old" && vault.trash().map(\.inode) == [new.value])
      #expect(try !vault.replace([UInt8]("link"), in: .root, with: old, at: moment, RestoreOptions()), "it is that")
      #expect(try vault.replace([UInt8]("link"), in: .root, with: new, at: then, RestoreOptions()))
      #expect(try target(vault, "link") == "new" && vault.names() == [[UInt8]("link")])
      // What only changed hands stays what it is.
      let now = try #require(try vault.find("link")).inode, before = vault.present
      try vault.own(now, user: 7, group: nil)
      #expect(try vault.replace([UInt8]("link"), in: .root, with: now, at: before, RestoreOptions()))
      #expect(try vault.find("link")?.inode == now && vault.info(now).user == 0)
      try home.close()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      #expect(try target(home.vault, "link") == "new")
    }
  }

  @Test(arguments: [false, true]) func `a file gives way to a symlink: it stays under its other name, or in the hands of who has it open`(hasOther: Bool) throws {
    try Home.run { home in
      let vault = home.vault, (old, moment) = try deletedLink(vault), file = try vault.makeFile("link", [1, 2, 3])
      if hasOther { _ = try vault.link(file, as: [UInt8]("other"), in: .root) }
      try vault.withOpen(file) { open in
        try vault.write([4], to: open, at: 3)
        #expect(try vault.replace([UInt8]("link"), in: .root, with: old, at: moment, RestoreOptions()))
        #expect(try vault.read(open, at: 0, count: 10) == [1, 2, 3, 4])
      }
      #expect(try target(vault, "link") == "old")
      if hasOther {
        #expect(try vault.find("other").map { ($0.inode == file, $0.links) } ?? (false, 0) == (true, 1) && vault.contents(of: file) == [1, 2, 3, 4])
      } else {
        let item = try #require(try vault.trash().first { $0.inode == file.value })
        #expect(try vault.contents(of: vault.revive(file, at: try vault.momentBefore(item), as: [UInt8]("back"), in: .root)) == [1, 2, 3, 4], "with what was not saved yet")
      }
    }
  }

  @Test func `a limit counts what gives way`() throws {
    try Home.run { home in
      let vault = home.vault, (old, moment) = try deletedLink(vault)
      let new = try vault.make("link", S_IFLNK | 0o777, target: "new", by: Requester(user: 1, group: 1, umask: 0)).inode
      for subject in [QuotaSubject.vault, .user(1)] { try vault.setQuota(QuotaLimits(nodes: QuotaLimit(hard: try vault.usage(by: subject).nodes)), for: subject) }
      #expect(try vault.replace([UInt8]("link"), in: .root, with: old, at: moment, RestoreOptions()))
      let item = try #require(try vault.trash().first { $0.inode == new.value })
      try vault.setQuota(QuotaLimits(nodes: QuotaLimit(hard: try vault.usage(by: .vault).nodes + 1)), for: .vault)
      try vault.make("another", S_IFLNK | 0o777, target: "x", by: Requester(user: 1, group: 1, umask: 0))
      refused(.quotaExceeded(.vault)) { try vault.make("one more", S_IFLNK | 0o777, target: "x", by: Requester(user: 2, group: 2, umask: 0)) }
      refused(.quotaExceeded(.user(1)), "it is another's than what gives way") {
        _ = try vault.replace([UInt8]("link"), in: .root, with: new, at: try vault.momentBefore(item), RestoreOptions())
      }
      #expect(try target(vault, "link") == "old")
    }
  }

  @Test func `a directory does not give way, nor become anything by it; a file is not replaced by a file`() throws {
    try Home.run { home in
      let vault = home.vault, (old, moment) = try deletedLink(vault), name = [UInt8]("link")
      func replace(_ source: InodeNumber, _ moment: LSN) throws { _ = try vault.replace(name, in: .root, with: source, at: moment, RestoreOptions()) }
      refused(.notFound) { try replace(old, moment) }
      let directory = try vault.makeDirectory("link"), then = vault.present
      refused(.isADirectory) { try replace(old, moment) }
      try vault.removeDirectory(name, in: .root)
      let file = try vault.makeFile("link", [1])
      refused(.isADirectory) { try replace(directory, then) }
      refused(.notSupported) { try replace(file, vault.present) }
      var options = RestoreOptions()
      options.mayReplace = { now, _ in now.user == 5 }
      refused(.notPermitted) { _ = try vault.replace(name, in: .root, with: old, at: moment, options) }
      options.mayReplace = nil
      options.plan = RestorePlan()
      let before = vault.present
      #expect(try vault.replace(name, in: .root, with: old, at: moment, options) && vault.present == before)
      #expect(options.plan!.changes.map(\.kind) == [.changes] && options.plan!.changes[0].path == [])
      #expect(try vault.contents(of: file) == [1])
    }
  }

  @Test func `what is told of the trash changes with names, not with what is written`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.makeFile("f", [1])
      func changes(_ body: () throws -> Void) throws -> Bool {
        let before = vault.trashChanged
        try body()
        return vault.trashChanged != before
      }
      #expect(try !changes {
        try vault.withOpen(file) { try vault.write([2], to: $0) }
        try vault.syncAll()
        try vault.makeFile("g", [3])
        try vault.own(file, user: 3, group: nil)
      })
      #expect(try changes { try vault.rename([UInt8]("g"), in: .root, to: [UInt8]("f"), in: .root, mode: .replace) })
      #expect(try changes { try vault.unlink([UInt8]("f"), in: .root) })
      let item = try #require(try vault.trash().first)
      #expect(try changes { try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: item.name, in: .root) })
      #expect(try changes { _ = try vault.link(try #require(try vault.find("f")).inode, as: [UInt8]("h"), in: .root) })
      try vault.unlink([UInt8]("f"), in: .root)
      try vault.makeFile("i", [4])
      try vault.unlink([UInt8]("i"), in: .root)
      #expect(try changes { _ = try vault.emptyTrash() })
      #expect(try changes { try home.forgetEverything() })
    }
  }
}
