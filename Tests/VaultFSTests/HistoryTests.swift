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

  @Test func `the policy is applied by itself, once an hour and not before`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let inode = try vault.makeFile("f", [0])
      for value in 1..<5 { try vault.rewrite("f", [UInt8](repeating: UInt8(value), count: value + 1)) }
      try vault.expire()
      let now = Timestamp.now.seconds
      #expect(!vault.isExpiryDue(now: now + 3500) && vault.isExpiryDue(now: now + 3700) && vault.isExpiryDue(now: now - 100), "a clock that was set back ends no expiry")
      #expect(try vault.versions(of: inode).count >= 5)
      // As if an hour had passed.
      try vault.expire(now: now - 7200)
      let all = try vault.versions(of: inode).count
      var policy = HistoryPolicy()
      policy.isOn = false
      try vault.setHistoryPolicy(policy)
      vault.keeper?.expiryDue.store(0, ordering: .relaxed)
      for _ in 0..<200 where try vault.versions(of: inode).count == all {
        usleep(50_000)
        vault.keeper?.wake()
      }
      #expect(try vault.versions(of: inode).count < all)
      #expect(!vault.isExpiryDue())
    }
  }
}
