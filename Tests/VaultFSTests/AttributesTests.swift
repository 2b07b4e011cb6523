// Modes, owners, inheritance, extended attributes.

import Glibc
import Testing
@testable import VaultFS

struct AttributesTests {
  private let user = Requester(user: 1000, group: 1001, umask: 0o027)

  @Test func `a new node belongs to its maker, and the umask is taken off`() throws {
    try Home.run { home in
      for (mode, expected) in [(S_IFREG | 0o666, 0o640), (S_IFDIR | 0o777, 0o750), (S_IFIFO | 0o622, 0o600), (S_IFREG | 0o6777, 0o6750)] as [(UInt32, UInt32)] {
        let info = try home.vault.make("n\(mode)", mode, by: user)
        #expect((info.user, info.group) == (1000, 1001))
        #expect(info.mode == mode & S_IFMT | expected)
      }
      #expect(try home.vault.make("link", S_IFLNK | 0o777, target: "x", by: user).mode == S_IFLNK | 0o777, "a symlink has no umask")
    }
  }

  @Test func `in a set-gid directory files take its group, and directories the bit too`() throws {
    try Home.run { home in
      let vault = home.vault
      let directory = try vault.makeDirectory("d")
      var change = AttributeChange()
      change.mode = 0o2775
      change.group = 5000
      _ = try vault.change(directory, change)
      let file = try vault.make("f", in: directory, S_IFREG | 0o644, by: user)
      let inner = try vault.make("i", in: directory, S_IFDIR | 0o755, by: user)
      #expect(file.group == 5000 && file.mode & S_ISGID == 0)
      #expect(inner.group == 5000 && inner.mode & S_ISGID != 0)
      #expect(try vault.make("f", in: inner.inode, by: user).group == 5000)
      #expect(try vault.make("outside", by: user).group == 1001)
    }
  }

  private func list(_ entries: [(UInt16, UInt16, UInt32)]) -> [UInt8] {
    var w = ByteWriter()
    w.u32(2)
    for (tag, permissions, id) in entries { w.u16(tag); w.u16(permissions); w.u32(id) }
    return w.bytes
  }
  private let none = UInt32.max
  private var defaults: [UInt8] { list([(1, 7, none), (2, 7, 1234), (4, 5, none), (16, 7, none), (32, 0, none)]) }

  @Test func `a default ACL takes the place of the umask and is passed on`() throws {
    try Home.run { home in
      let vault = home.vault
      let directory = try vault.makeDirectory("d")
      try vault.setXattr(AccessControlList.defaultName, of: directory, to: defaults, mode: .set, by: root)
      let file = try vault.make("f", in: directory, S_IFREG | 0o666, by: user)
      #expect(file.mode & 0o777 == 0o660, "rw of the owner and of the mask, nothing of others; no umask")
      #expect(try vault.xattr(AccessControlList.accessName, of: file.inode) == list([(1, 6, none), (2, 7, 1234), (4, 5, none), (16, 6, none), (32, 0, none)]))
      let inner = try vault.make("i", in: directory, S_IFDIR | 0o777, by: user)
      #expect(inner.mode & 0o777 == 0o770)
      #expect(try vault.xattr(AccessControlList.defaultName, of: inner.inode) == defaults)
      #expect(try vault.xattrNames(of: file.inode) == [AccessControlList.accessName])
      #expect(try vault.make("l", in: directory, S_IFLNK | 0o777, target: "x").mode == S_IFLNK | 0o777)
    }
  }

  @Test func `the access ACL and the mode say the same, whichever is set`() throws {
    try Home.run { home in
      let vault = home.vault
      let file = try vault.make("f").inode
      try vault.setXattr(AccessControlList.accessName, of: file, to: list([(1, 7, none), (2, 7, 9), (4, 4, none), (16, 6, none), (32, 1, none)]), mode: .set, by: root)
      #expect(try vault.info(file).mode & 0o777 == 0o761)
      var change = AttributeChange()
      change.mode = 0o640
      let before = vault.lock.withLock { vault.journal.lastLSN.value }
      #expect(try vault.change(file, change).mode & 0o777 == 0o640)
      #expect(vault.lock.withLock { vault.journal.lastLSN.value } == before + 1, "a kill leaves both or neither")
      #expect(try vault.xattr(AccessControlList.accessName, of: file) == list([(1, 6, none), (2, 7, 9), (4, 4, none), (16, 4, none), (32, 0, none)]))
      // A list that says no more than the mode is the mode.
      try vault.setXattr(AccessControlList.accessName, of: file, to: list([(1, 6, none), (4, 2, none), (32, 4, none)]), mode: .set, by: root)
      #expect(try vault.info(file).mode & 0o777 == 0o624)
      refused(.attributeMissing) { _ = try vault.xattr(AccessControlList.accessName, of: file) }
      refused(.invalidArgument) { try vault.setXattr(AccessControlList.accessName, of: file, to: [1, 2, 3], mode: .set, by: root) }
      refused(.notPermitted) { try vault.setXattr(AccessControlList.defaultName, of: file, to: defaults, mode: .set, by: root) }
      #expect(try vault.xattrNames(of: file).isEmpty)
    }
  }

  @Test func `whatever utimensat and chown may set comes back`() throws {
    try Home.run { home in
      let file = try home.vault.make("f").inode
      let times = [Timestamp(seconds: -1, nanoseconds: 999_999_999), Timestamp(seconds: 0, nanoseconds: 0), Timestamp(seconds: 1 << 34, nanoseconds: 1),
                   Timestamp(seconds: -1 << 31, nanoseconds: 5), Timestamp(seconds: Int64.max, nanoseconds: 7), Timestamp(seconds: Int64.min, nanoseconds: 7)]
      for time in times {
        var change = AttributeChange()
        (change.accessed, change.modified, change.user, change.group) = (time, times[0], UInt32.max - 1, 1 << 31)
        _ = try home.vault.change(file, change)
        try home.reopen()
        let info = try home.vault.info(file)
        #expect((info.accessed, info.modified, info.user, info.group) == (time, times[0], UInt32.max - 1, 1 << 31))
      }
    }
  }

  @Test(arguments: [Int64.max, Int64.max - 1, Int64.max - 86_399, Int64.min, Int64.min + 86_399, 0])
  func `a file is read whatever its times are`(seconds: Int64) throws {
    try Home.run { home in
      let file = try home.vault.makeFile("f", [1, 2, 3])
      var change = AttributeChange()
      change.accessed = Timestamp(seconds: seconds, nanoseconds: 999_999_999)
      change.modified = Timestamp(seconds: ~seconds, nanoseconds: 0)
      _ = try home.vault.change(file, change)
      home.vault.accessTimes = .relative
      #expect(try home.vault.contents(of: file) == [1, 2, 3])
      try home.vault.put([4], at: 1, in: file)
      #expect(try home.vault.contents(of: file) == [1, 4, 3])
    }
  }

  @Test func `the attributes of a node are bounded, and counted through every change`() throws {
    try Home.run { home in
      let file = try home.vault.make("f").inode
      func set(_ name: String, _ count: Int) throws { try home.vault.setXattr([UInt8]("user.\(name)"), of: file, to: [UInt8](repeating: 7, count: count), mode: .set, by: root) }
      func counted() throws -> XattrUse { try home.vault.lock.withLock { () throws in try home.vault.metadata.xattrUse(of: try home.vault.metadata.node(file)) } }
      func expected() throws -> XattrUse {
        let names = try home.vault.xattrNames(of: file)
        return XattrUse(count: names.count, names: names.reduce(0) { $0 + $1.count + 1 }, values: try names.reduce(0) { $0 + (try home.vault.xattr($1, of: file)).count })
      }
      for index in 0..<15 { try set("large-\(index)", 65_536) }
      refused(.diskFull) { for index in 15..<20 { try set("large-\(index)", 65_536) } }
      #expect(try counted() == expected())
      try set("large-0", 10)
      try set("large-15", 60_000)
      for index in 1..<15 { try home.vault.removeXattr([UInt8]("user.large-\(index)"), of: file) }
      #expect(try counted() == expected())
      refused(.diskFull) { for index in 0..<20_000 { try set("\(index)-with-a-name-of-some-length", 1) } }
      #expect(try counted() == expected())
      try home.reopen()
      let names = try home.vault.xattrNames(of: file)
      #expect(names.count > 1000)
      for name in names { try home.vault.removeXattr(name, of: file) }
      #expect(try home.vault.lock.withLock { () throws in try home.vault.metadata.node(file).hasXattrs } == false)
    }
  }

  @Test func `reading moves the access time where it is older than the content, and only there`() throws {
    try Home.run { home in
      let file = try home.vault.makeFile("f", [1, 2, 3])
      func accessed() throws -> Timestamp { try home.vault.info(file).accessed }
      func read() throws -> Bool {
        let before = try accessed()
        usleep(2000)
        _ = try home.vault.contents(of: file)
        return try accessed() != before
      }
      home.vault.accessTimes = .relative
      #expect(try read())
      #expect(try !read(), "as relatime keeps it: once is enough")
      try home.vault.put([4], in: file)
      #expect(try read(), "the content is newer")
      var change = AttributeChange()
      change.accessed = Timestamp(seconds: 1_000_000, nanoseconds: 0)
      _ = try home.vault.change(file, change)
      home.vault.accessTimes = .never
      #expect(try !read(), "noatime")
      home.vault.accessTimes = .relative
      #expect(try read(), "older than a day")
      let last = try accessed()
      try home.reopen()
      #expect(try accessed() == last)
    }
  }

  @Test func `set-uid and set-gid go when their owner changes or someone else writes`() throws {
    try Home.run { home in
      let vault = home.vault
      let file = try vault.make("f", S_IFREG | 0o6755).inode
      func setMode(_ mode: UInt32) throws {
        var change = AttributeChange()
        change.mode = mode
        _ = try vault.change(file, change)
      }
      func mode() throws -> UInt32 { try vault.info(file).mode & 0o7777 }
      #expect(try mode() == 0o6755)
      var change = AttributeChange()
      change.user = 7
      #expect(try vault.change(file, change).mode & 0o7777 == 0o755)
      for clears in [false, true] {
        try setMode(0o6755)
        try vault.withOpen(file) { open in try [UInt8]("x").withUnsafeBytes { raw throws in try vault.write(raw, to: open, at: 0, clearsPrivileges: clears) } }
        #expect(try mode() == (clears ? 0o755 : 0o6755))
        try setMode(0o6755)
        try vault.truncate(file, to: 3, clearsPrivileges: clears)
        #expect(try mode() == (clears ? 0o755 : 0o6755))
      }
      // Without group execute the set-gid bit is no privilege (mandatory locking, once).
      try setMode(0o6745)
      #expect(try vault.change(file, change).mode & 0o7777 == 0o2745)
      // Nor does it stay for one who could not have set it.
      change.isMember = { _ in false }
      #expect(try vault.change(file, change).mode & 0o7777 == 0o745)
    }
  }

  @Test func `extended attributes are set, replaced, listed and removed as asked`() throws {
    try Home.run { home in
      let file = try home.vault.make("f").inode, a = [UInt8]("user.a"), b = [UInt8]("user.b")
      func set(_ name: [UInt8], _ value: [UInt8], _ mode: Vault.XattrMode = .set) throws { try home.vault.setXattr(name, of: file, to: value, mode: mode, by: root) }
      refused(.attributeMissing) { _ = try home.vault.xattr(a, of: file) }
      refused(.attributeMissing) { try set(a, [], .replace) }
      try set(a, [], .create)
      #expect(try home.vault.xattr(a, of: file) == [], "an empty value is a value")
      refused(.attributeExists) { try set(a, [1], .create) }
      try set(a, [1, 0, 255], .replace)
      try set(b, [2])
      try home.reopen()
      #expect(try home.vault.xattr(a, of: file) == [1, 0, 255])
      #expect(Set(try home.vault.xattrNames(of: file)) == [a, b])
      try home.vault.removeXattr(a, of: file)
      refused(.attributeMissing) { try home.vault.removeXattr(a, of: file) }
      #expect(try home.vault.xattrNames(of: file) == [b])
      try home.vault.unlink([UInt8]("f"), in: .root)
    }
  }

  @Test func `extended attributes end where Linux ends them`() throws {
    try Home.run { home in
      let vault = home.vault
      let file = try vault.make("f").inode
      func set(_ name: [UInt8], _ count: Int) throws { try vault.setXattr(name, of: file, to: [UInt8](repeating: 1, count: count), mode: .set, by: root) }
      let longest = [UInt8]("user.") + [UInt8](repeating: 0x6E, count: Limits.xattrNameBytesMax - 5)
      try set(longest, Limits.xattrValueBytesMax)
      refused(.attributeTooLarge) { try set(longest + [1], 1) }
      refused(.attributeTooLarge) { try set(longest, Limits.xattrValueBytesMax + 1) }
      refused(.attributeTooLarge) { try set([], 1) }
      #expect(try vault.xattr(longest, of: file).count == Limits.xattrValueBytesMax)
      var listed = longest.count + 1
      for index in 0... {
        let name = [UInt8]("user.\(index).") + [UInt8](repeating: 0x6E, count: 200)
        listed += name.count + 1
        if listed > Limits.xattrListBytesMax {
          refused(.diskFull) { try set(name, 1) }
          break
        }
        try set(name, 1)
      }
      #expect(try vault.xattrNames(of: file).reduce(0) { $0 + $1.count + 1 } <= Limits.xattrListBytesMax)
      try set(longest, 2)
      // An access list is one of them.
      let rest = Limits.xattrListBytesMax - (try vault.xattrNames(of: file).reduce(0) { $0 + $1.count + 1 })
      if rest > 8 { try set([UInt8]("user.") + [UInt8](repeating: 0x78, count: rest - 6), 1) }
      refused(.diskFull) { try vault.setXattr(AccessControlList.accessName, of: file, to: list([(1, 7, none), (2, 7, 9), (4, 4, none), (16, 6, none), (32, 1, none)]), mode: .set, by: root) }
    }
  }

  @Test func `file capabilities do not outlive a change of content or owner`() throws {
    try Home.run { home in
      let vault = home.vault
      let capability = [UInt8]("security.capability"), file = try vault.makeFile("f", [1])
      func expectDropped(_ what: String, _ body: () throws -> Void) throws {
        try vault.setXattr(capability, of: file, to: [1, 2, 3], mode: .set, by: root)
        try body()
        refused(.attributeMissing, what) { _ = try vault.xattr(capability, of: file) }
      }
      try expectDropped("write") { try vault.put([2], in: file) }
      try expectDropped("truncate") { try vault.truncate(file, to: 0, clearsPrivileges: false) }
      try expectDropped("chown") {
        var change = AttributeChange()
        change.user = 5
        let before = vault.lock.withLock { vault.journal.lastLSN.value }
        _ = try vault.change(file, change)
        #expect(vault.lock.withLock { vault.journal.lastLSN.value } == before + 1)
        #expect(try vault.info(file).user == 5)
      }
    }
  }

  @Test func `a directory keeps its capabilities when its owner changes`() throws {
    try Home.run { home in
      let capability = [UInt8]("security.capability"), directory = try home.vault.makeDirectory("d")
      try home.vault.setXattr(capability, of: directory, to: [1, 2, 3], mode: .set, by: root)
      var change = AttributeChange()
      (change.user, change.group) = (5, 6)
      _ = try home.vault.change(directory, change)
      #expect(try home.vault.xattr(capability, of: directory) == [1, 2, 3])
    }
  }

  @Test func `an access list that is not there is removed without complaint, any other attribute with one`() throws {
    try Home.run { home in
      let directory = try home.vault.makeDirectory("d"), file = try home.vault.make("f").inode
      for inode in [directory, file] {
        for name in [AccessControlList.accessName, AccessControlList.defaultName] {
          let before = try home.vault.info(inode).changed
          usleep(2000)
          try home.vault.removeXattr(name, of: inode)
          #expect(try home.vault.info(inode).changed == before, "as on ext4")
        }
        refused(.attributeMissing) { try home.vault.removeXattr([UInt8]("user.x"), of: inode) }
        refused(.attributeMissing) { try home.vault.removeXattr([UInt8]("system.posix_acl"), of: inode) }
      }
      try home.vault.setXattr(AccessControlList.defaultName, of: directory, to: defaults, mode: .set, by: root)
      try home.vault.removeXattr(AccessControlList.defaultName, of: directory)
      refused(.attributeMissing) { _ = try home.vault.xattr(AccessControlList.defaultName, of: directory) }
      try home.reopen()
      #expect(try home.vault.xattrNames(of: directory).isEmpty && home.vault.xattrNames(of: file).isEmpty)
    }
  }
}
