// What was: versions, moments, snapshots, the trash; taking it back and letting it go.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

/// The tree as it was at a moment: path by path.
func tree(of vault: Vault, at moment: LSN) throws -> [[UInt8]: Found] {
  var all: [[UInt8]: Found] = [:]
  var waiting: [(NodeInfo, [UInt8])] = [(try vault.info(.root, at: moment), [])]
  while let (info, path) = waiting.popLast() {
    var found = Found(inode: info.inode.value, mode: info.mode, links: info.links, user: info.user, group: info.group, device: info.device,
                      size: info.size, allocated: info.allocated, times: [info.accessed, info.modified, info.changed, info.born], id: NodeID(high: 0, low: 0),
                      content: 0, xattrs: [])
    switch info.mode & S_IFMT {
    case S_IFREG: found.content = try vault.contents(of: info.inode, at: moment).hashValue
    case S_IFLNK: found.content = try vault.readLink(info.inode, at: moment).hashValue
    case S_IFDIR: for entry in try vault.allEntriesAt(info.inode, moment) { waiting.append((try #require(entry.info), path + [0x2F] + entry.name)) }
    default: break
    }
    found.xattrs = try vault.xattrNames(of: info.inode, at: moment).map { XattrPair(name: $0, value: try vault.xattr($0, of: info.inode, at: moment)) }
    all[path] = found
  }
  return all
}

/// The same of the present, without what the past does not tell.
func presentTree(of vault: Vault) throws -> [[UInt8]: Found] {
  try tree(of: vault).mapValues { found in
    var found = found
    found.id = NodeID(high: 0, low: 0)
    return found
  }
}

extension Vault {
  func contents(of inode: InodeNumber, at moment: LSN) throws -> [UInt8] {
    let file = try openPast(inode, at: moment)
    defer { close(file) }
    var all: [UInt8] = []
    while true {
      let part = try read(file, at: UInt64(all.count), count: 1 << 20)
      all += part
      if part.count < 1 << 20 { return all }
    }
  }
  /// Each closing makes a version, however soon.
  func keepEverything() throws {
    var policy = HistoryPolicy()
    policy.window = 0
    try setHistoryPolicy(policy)
  }
  func rewrite(_ name: String, _ content: [UInt8]) throws {
    let inode = try #require(try find(name)).inode
    try truncate(inode, to: 0, clearsPrivileges: false)
    let file = try open(inode)
    defer { close(file) }
    try write(content, to: file)
    try endVersion(file)
  }
}

struct HistoryTests {
  @Test func `every moment shows the tree as it was, also after a rebuild`() throws {
    try Home.run { home in
      let moments = try live(home.vault)
      func check(_ vault: Vault) throws {
        for (index, (moment, expected)) in moments.enumerated() {
          let found = try tree(of: vault, at: moment)
          #expect(Set(found.keys) == Set(expected.keys), "after step \(index)")
          for (path, node) in expected { #expect(found[path] == node, "\(String(decoding: path, as: UTF8.self)) after step \(index)") }
        }
      }
      try check(home.vault)
      try home.reopen()
      try check(home.vault)
      try home.close()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      try check(home.vault)
    }
  }

  /// A life of changes of all kinds, and what the tree was after each.
  private func live(_ vault: Vault) throws -> [(LSN, [[UInt8]: Found])] {
    try vault.keepEverything()
    var random = Random(seed: 4), moments: [(LSN, [[UInt8]: Found])] = []
    func step(_ body: () throws -> Void) throws {
      try body()
      try vault.syncAll()
      moments.append((vault.present, try presentTree(of: vault)))
    }
    try step { try plant(vault) }
    let directory = try #require(try vault.find("directory")).inode, linked = try #require(try vault.find("linked")).inode
    let large = try #require(try vault.find("large")).inode
    try step { try vault.put(random.bytes(70_000), at: 1_000_000, in: large) }
    for index in 0..<20 { try step { try vault.put(random.bytes(40), at: UInt64(index) * 130_000, in: large) } }
    try step { try vault.setXattr([UInt8]("user.x"), of: linked, to: [9], mode: .set, by: root) }
    try step { try vault.removeXattr([UInt8]("user.x"), of: linked) }
    try step { try vault.setXattr([UInt8]("user.y"), of: linked, to: [1], mode: .set, by: root) }
    try step { try vault.truncate(large, to: 100_000, clearsPrivileges: false) }
    try step { try vault.rename([UInt8]("medium"), in: .root, to: [UInt8]("moved"), in: directory, mode: .replace) }
    try step { try vault.rename([UInt8]("moved"), in: directory, to: [UInt8]("small-3"), in: directory, mode: .replace) }
    try step { try vault.rename([UInt8]("large"), in: .root, to: [UInt8]("directory"), in: .root, mode: .exchange) }
    try step { try vault.unlink([UInt8]("linked"), in: .root) }
    try step { try vault.unlink([UInt8]("directory"), in: .root) }
    try step { try vault.makeFile("directory", [UInt8]("again")) }
    try step { var change = AttributeChange(); change.mode = 0o711; _ = try vault.change(directory, change) }
    try step { try vault.removeTree([UInt8]("large"), in: .root) }
    return moments
  }

  @Test func `rewriting soon after is one version, a snapshot keeps what stands between`() throws {
    try Home.run { home in
      let vault = home.vault
      let inode = try vault.makeFile("f", [1])
      for value in 2..<5 { try vault.rewrite("f", [UInt8(value)]) }
      #expect(try vault.versions(of: inode).count == 1)
      let first = try vault.makeSnapshot([UInt8]("first"))
      try vault.rewrite("f", [9, 9])
      try vault.rewrite("f", [9, 9, 9])
      #expect(try vault.versions(of: inode).map(\.size) == [3, 1])
      #expect(try vault.contents(of: inode, at: LSN(first.moment)) == [4])
      refused(.alreadyExists) { try vault.makeSnapshot([UInt8]("first")) }
      refused(.notFound) { try vault.deleteSnapshot([UInt8]("other")) }
      try vault.deleteSnapshot([UInt8]("first"))
      #expect(try vault.snapshots().isEmpty)
    }
  }

  @Test func `a name's versions are those of what has it, and what others were while they had it`() throws {
    try Home.run { home in
      let vault = home.vault, name = [UInt8]("f"), copy = [UInt8]("copy")
      try vault.keepEverything()
      func sizes(_ name: [UInt8], _ user: UInt32 = 0) throws -> [UInt64] {
        try vault.versions(named: name, in: .root, for: Viewer(user: user) { _ in false }).map(\.size).filter { $0 > 0 }
      }
      try vault.makeFile("f", [1])
      try vault.rename(name, in: .root, to: copy, in: .root, mode: .replace)
      try vault.makeFile("f", [2, 2])
      try vault.rewrite("copy", [3, 3, 3])
      #expect(try sizes(name) == [2, 1] && Set(sizes(copy)) == [3, 1])
      #expect(try vault.versions(named: name, in: .root, for: Viewer(user: 0) { _ in false }).filter { $0.died == nil }.map(\.size) == [2])
      try vault.rename(copy, in: .root, to: name, in: .root, mode: .exchange)
      #expect(try sizes(name).contains(3) && sizes(name).contains(2) && sizes(name, 4001) == sizes(name))
      try vault.unlink(name, in: .root)
      #expect(try sizes(name).contains(3) && sizes(name, 4001).isEmpty, "of what is gone others see nothing")
    }
  }

  @Test func `a file that is saved many times while it is written has one version`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let inode = try vault.makeFile("f", [1])
      let file = try vault.open(inode)
      for index in 0..<10 {
        try vault.write([UInt8](repeating: 7, count: 50), to: file, at: UInt64(index) * 50)
        try vault.sync(file)
      }
      #expect(try vault.versions(of: inode).count == 3, "made, written once, written again")
      try vault.endVersion(file)
      try vault.write([8], to: file)
      try vault.save(file)
      vault.close(file)
      #expect(try vault.versions(of: inode).count == 4)
    }
  }

  @Test func `what is done to a file that somebody else holds open is a version, too`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let inode = try vault.makeFile("f", [0]), reader = try vault.open(inode)
      defer { vault.close(reader) }
      var moments: [(LSN, [UInt8])] = []
      func step(_ body: (OpenFile) throws -> Void) throws {
        try vault.withOpen(inode) {
          try body($0)
          try vault.endVersion($0)
        }
        moments.append((vault.present, try vault.contents(of: inode)))
      }
      for value in 1..<4 as Range<UInt8> {
        let source = try vault.makeFile("source-\(value)", full(5000, value))
        try step { file in
          try vault.withOpen(source) { _ = try vault.clone(from: $0, at: 0, to: file, at: 0, length: 5000, clearsPrivileges: false) }
        }
        try step { try vault.allocate($0, offset: UInt64(value) * 100, length: 50, .punchHole, clearsPrivileges: false) }
        try step { try vault.truncate($0.inode, to: 6000 - UInt64(value), clearsPrivileges: false) }
        // What is refused changes nothing, nor what the next change does to the version before.
        try step { file in refused(.invalidArgument) { try vault.allocate(file, offset: 0, length: 7, .collapse, clearsPrivileges: false) } }
        try step { try vault.write([value], to: $0, at: 9) }
      }
      for (moment, content) in moments { #expect(try vault.contents(of: inode, at: moment) == content) }
    }
  }

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
      }
      // As a kill in the middle leaves it.
      try vault.lock.withLock { () throws in
        let past = try #require(try vault.metadata.node(directory, at: then)), name = Metadata.stagingPrefix + [UInt8]("7")
        let node = NewNode(inode: try vault.metadata.nextInode, mode: past.mode, user: 0, group: 0, device: 0, target: [], xattrs: [])
        try vault.perform(.revive(node, parent: directory, name: name, from: directory, moment: then, attributes: AttributeSet()))
      }
      let staged = try #require(try vault.find(".vaultfs-restoring-7", in: directory)).inode
      try vault.makeFile("half", in: staged, [1])
      try vault.makeDirectory(".vaultfs-restoring-8", in: directory)
      try home.move(to: try home.copy())
      for _ in 0..<200 where try home.vault.find(".vaultfs-restoring-7", in: directory) != nil { usleep(20_000) }
      #expect(try home.vault.names(in: directory) == Set(["a", "b", "c", ".vaultfs-restoring-8"].map { [UInt8]($0) }), "a user's own directory of such a name stays")
      // What was finished or given up is not noted any more.
      #expect(try home.vault.lock.withLock { () throws in try home.vault.metadata.database.integer("SELECT count(*) FROM staging") } == 0)
    }
  }

  @Test func `what is replaced soon leaves no gap: the name is in every moment's tree`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 9)
      try vault.makeFile("state", [0])
      let first = vault.present
      for value in 1..<6 {
        // More than a row holds, so that there are pages, too.
        let file = try vault.makeFile("new", value == 3 ? random.bytes(2_000_000) : [UInt8](repeating: UInt8(value), count: value))
        if value == 3 { try vault.setXattr([UInt8]("user.a"), of: file, to: [1], mode: .set, by: root) }
        try vault.move("new", in: .root, to: "state", in: .root)
      }
      let names = try (first.value...vault.present.value).map { try vault.lookup([UInt8]("state"), in: .root, at: LSN($0)) }
      #expect(names.allSatisfy { $0 != nil })
      // What is shown of then can be read.
      for (index, info) in names.enumerated() {
        let info = try #require(info), moment = LSN(first.value + UInt64(index))
        #expect(try vault.contents(of: info.inode, at: moment).count == Int(info.size))
      }
      try vault.makeFile("other", [7])
      try vault.move("other", in: .root, to: "state", in: .root, .exchange)
      for lsn in first.value...vault.present.value { #expect(try vault.lookup([UInt8]("state"), in: .root, at: LSN(lsn)) != nil) }
    }
  }

  @Test func `an open file of the past shows what it was, whatever is forgotten, changed or collected`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 10)
      try vault.keepEverything()
      let content = random.bytes(3_000_000), inode = try vault.makeFile("f", content), then = vault.present
      let held = try vault.openPast(inode, at: then)
      try vault.rewrite("f", random.bytes(2_500_000))
      let second = try vault.contents(of: inode), later = try vault.openPast(inode, at: vault.present)
      // Within the window: the version that is open is the one that changes.
      var policy = HistoryPolicy()
      policy.window = 1000
      try vault.setHistoryPolicy(policy)
      try vault.truncate(inode, to: 0, clearsPrivileges: false)
      try home.forgetEverything()
      try vault.forget(pastOf: inode)
      try home.collect()
      #expect(try vault.read(held, count: 4 << 20) == content)
      #expect(try vault.read(later, count: 4 << 20) == second)
      vault.close(held)
      vault.close(later)
      #expect(try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT count(*) FROM held_page") } == 0)
      try home.collect()
      #expect(vault.status().counters.uniqueBytes == 0)
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

  @Test func `the limit of history lets the oldest go first, not what is pinned, and no more than it must`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 5), policy = HistoryPolicy()
      (policy.window, policy.limit) = (0, 6_500_000)
      try vault.setHistoryPolicy(policy)
      let inode = try vault.makeFile("f", random.bytes(1_000_000))
      for size in 1...10 {
        try vault.rewrite("f", random.bytes(1_000_000 + size))
        if size == 2 { try vault.pin(inode, at: vault.present, true) }
      }
      #expect(try home.collect().history > 9_900_000, "what was collected alone is only counted")
      #expect(vault.status().historyBytes > 9_900_000)
      vault.keeper?.stop()
      _ = try vault.collectGarbage()
      home.restartKeeper()
      let sizes = try vault.versions(of: inode).map(\.size).filter { $0 > 0 }
      #expect(sizes.contains(1_000_002), "pinned")
      #expect(sizes.prefix(5) == [1_000_010, 1_000_009, 1_000_008, 1_000_007, 1_000_006], "\(sizes)")
      #expect(!sizes.contains(1_000_000) && !sizes.contains(1_000_001), "\(sizes)")
      #expect((4_000_000...6_500_000).contains(vault.status().historyBytes), "\(vault.status().historyBytes)")
      // A rebuild keeps the same, and the limit.
      try home.close()
      try Vault.rebuild(at: home.path, log: home.messages.add) { _ in }
      try home.open()
      #expect(try home.vault.versions(of: inode).map(\.size).filter { $0 > 0 } == sizes && home.vault.historyPolicy == policy)
      // What only a pin holds cannot go: that is said.
      policy.limit = 1000
      try home.vault.setHistoryPolicy(policy)
      home.vault.keeper?.stop()
      _ = try home.vault.collectGarbage()
      home.restartKeeper()
      #expect(try home.vault.versions(of: inode).map(\.size).filter { $0 > 0 } == [1_000_010, 1_000_002])
      #expect(home.messages.contain("its limit is 1000"))
    }
  }

  @Test func `the policy lets go of what no kept moment sees, and of nothing else`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let inode = try vault.makeFile("f", [0])
      var random = Random(seed: 3)
      let large = try vault.makeFile("large", random.bytes(2_000_000))
      for value in 1..<10 {
        try vault.rewrite("f", [UInt8](repeating: UInt8(value), count: value + 1))
        try vault.put(random.bytes(100), at: UInt64(value) * 100_000, in: large)
        if value == 5 { try vault.makeSnapshot([UInt8]("five")) }
        if value == 7 { try vault.pin(inode, at: vault.present, true) }
      }
      try vault.unlink([UInt8]("large"), in: .root)
      let snapshot = LSN(try #require(try vault.snapshots().first).moment), seen = try tree(of: vault, at: snapshot)
      try vault.expire()
      #expect(try vault.versions(of: inode).count > 10, "all of a day is kept")
      try vault.expire(now: Timestamp.now.seconds + 2 * 366 * 86_400)
      #expect(try vault.versions(of: inode).map(\.size) == [10, 8, 6])
      #expect(try tree(of: vault, at: snapshot) == seen)
      #expect(try vault.trash().isEmpty, "the snapshot sees the file, but not as it was deleted")
      try vault.deleteSnapshot([UInt8]("five"))
      try vault.expire(now: Timestamp.now.seconds + 2 * 366 * 86_400)
      #expect(try vault.versions(of: inode).map(\.size) == [10, 8])
      #expect(try vault.trash().isEmpty)
      try vault.checkpoint()
      let left = try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT (SELECT count(*) FROM past_page) + (SELECT count(*) FROM page) + (SELECT count(*) FROM past_xattr)") }
      #expect(left == 0, "nothing of the large file is left")
    }
  }

  @Test func `what only forgotten versions saw is not kept when it is replaced`() throws {
    try Home.run { home in
      let vault = home.vault, name = [UInt8]("user.x")
      try vault.keepEverything()
      var random = Random(seed: 8)
      let inode = try vault.makeFile("f", [])
      for index in 0..<20 as Range<UInt64> { try vault.put(random.bytes(1000), at: index * 50_000, in: inode) }
      try vault.setXattr(name, of: inode, to: [1], mode: .set, by: root)
      var change = AttributeChange()
      change.mode = 0o600
      _ = try vault.change(inode, change)
      // What is changed from here on belongs to the version that the chmod began.
      try vault.setHistoryPolicy(HistoryPolicy())
      try vault.expire(now: Timestamp.now.seconds + 2 * 366 * 86_400)
      #expect(try vault.versions(of: inode).count == 1)
      try vault.put(random.bytes(1000), at: 0, in: inode)
      try vault.removeXattr(name, of: inode)
      let left = try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT (SELECT count(*) FROM past_page) + (SELECT count(*) FROM past_xattr)") }
      #expect(left == 0)
    }
  }

  /// Versions of a file that a policy which keeps everything for a second lets go of, once it is applied.
  private func withOldVersions(_ body: (Vault, InodeNumber, HistoryPolicy) throws -> Void) throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let inode = try vault.makeFile("f", [0])
      for value in 1..<5 { try vault.rewrite("f", [UInt8](repeating: UInt8(value), count: value + 1)) }
      #expect(try vault.versions(of: inode).count >= 5)
      sleep(2)
      var policy = HistoryPolicy()
      (policy.window, policy.all, policy.hourly, policy.daily, policy.weekly) = (0, 1, 0, 0, 0)
      try body(vault, inode, policy)
    }
  }

  private func expectForgotten(_ vault: Vault, _ inode: InodeNumber, at location: SourceLocation = #_sourceLocation) throws {
    for _ in 0..<200 where try vault.versions(of: inode).count > 1 {
      usleep(50_000)
      vault.keeper?.wake()
    }
    #expect(try vault.versions(of: inode).count == 1, sourceLocation: location)
  }

  @Test func `a file that takes the name of one just made was not there before`() throws {
    try Home.run { home in
      let vault = home.vault, secret = try vault.makeDirectory("private"), file = try vault.makeFile("f", in: secret, [1])
      let young = try vault.makeFile("f", [2]), moment = vault.present
      try vault.put([3], in: file)
      try vault.rename([UInt8]("f"), in: secret, to: [UInt8]("f"), in: .root, mode: .replace)
      let then = try #require(try vault.lookup([UInt8]("f"), in: .root, at: moment))
      #expect(then.inode == young)
      let open = try vault.openPast(then.inode, at: moment)
      defer { vault.close(open) }
      #expect(try vault.read(open, count: 10) == [2])
      #expect(try vault.contents(of: file) == [3])
    }
  }

  @Test func `an emptied trash is empty, also of what was taken back and deleted again`() throws {
    try Home.run { home in
      let vault = home.vault
      _ = try vault.makeFile("f", in: try vault.makeDirectory("d"), [1])
      for _ in 0..<2 {
        let d = try #require(try vault.find("d")).inode
        try vault.unlink([UInt8]("f"), in: d)
        try vault.removeDirectory([UInt8]("d"), in: .root)
        let item = try #require(try vault.trash().first)
        try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8]("d"), in: .root)
      }
      let d = try #require(try vault.find("d")).inode
      try vault.unlink([UInt8]("f"), in: d)
      try vault.removeDirectory([UInt8]("d"), in: .root)
      let count = try vault.emptyTrash(isDry: true)
      #expect(try vault.emptyTrash() == count)
      #expect(try vault.trash().isEmpty && vault.emptyTrash(isDry: true) == 0)
    }
  }

  @Test func `a policy that is changed is applied at once`() throws {
    try withOldVersions { vault, inode, policy in
      try vault.setHistoryPolicy(policy)
      try expectForgotten(vault, inode)
    }
  }

  @Test func `the policy is applied by itself, once an hour or by how soon it lets go, and not before`() throws {
    try withOldVersions { vault, inode, policy in
      try vault.expire()
      let now = Timestamp.now.seconds
      #expect(!vault.isExpiryDue(now: now + 3500) && vault.isExpiryDue(now: now + 3700) && vault.isExpiryDue(now: now - 100), "a clock that was set back ends no expiry")
      // What changes the policy applies it; what is applied then is too young.
      try vault.setHistoryPolicy(policy)
      try expectForgotten(vault, inode)
      for value in 1..<5 { try vault.rewrite("f", [UInt8](repeating: UInt8(value), count: value + 1)) }
      try vault.expire(now: now - 30)
      #expect(try vault.versions(of: inode).count >= 4 && !vault.isExpiryDue(now: now) && vault.isExpiryDue(now: now + 31))
      // As if a minute had passed.
      sleep(2)
      try vault.expire(now: now - 60)
      vault.keeper?.expiryDue.store(0, ordering: .relaxed)
      try expectForgotten(vault, inode)
    }
  }
}
