// What was: versions and moments.

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
      // What is gone is told as what is there: all that it was.
      let old = [UInt8]("old"), new = [UInt8]("new")
      try vault.makeFile("old", [4, 4, 4, 4])
      try vault.rewrite("old", [5, 5, 5, 5, 5])
      try vault.rename(old, in: .root, to: new, in: .root, mode: .noReplace)
      let there = try sizes(new)
      try vault.unlink(new, in: .root)
      #expect(try Set(there) == [5, 4] && Set(sizes(new)) == [5, 4] && Set(sizes(old)) == [5, 4])
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
      let second = try vault.contents(of: inode), last = vault.present, later = try vault.openPast(inode, at: last)
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
      // The kernel asks how long it is before it reads.
      let sizes = try [then, last].map { moment in try vault.info(inode, at: moment).size }
      #expect(sizes == [3_000_000, 2_500_000])
      vault.close(held)
      vault.close(later)
      #expect(try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT count(*) FROM held_page") } == 0)
      try home.collect()
      #expect(vault.status().counters.uniqueBytes == 0)
      #expect(throws: VaultError.self) { try vault.info(inode, at: then) }
    }
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
}
