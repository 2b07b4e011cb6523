// Entries: names are bytes, renames keep every rule of rename(2), links are counted.

import Glibc
import Testing
@testable import VaultFS

struct NamesTests {
  @Test func `any bytes but a slash and NUL are a name, and names are equal only byte by byte`() throws {
    try Home.run { home in
      let names: [[UInt8]] = [
        [0xFF], [0xFF, 0xFE], [0xC3, 0x28], [0x80], [0xED, 0xA0, 0x80],  // not UTF-8
        [0xC3, 0xA9], [0x65, 0xCC, 0x81],                                 // é, composed and decomposed
        [0xE2, 0x84, 0xAB], [0xC3, 0x85],                                 // Å, the unit and the letter
        [UInt8]("A"), [UInt8]("a"), [0x0A], [0x20], [0x5C], [0x2E, 0x2E, 0x2E], [UInt8](1...0x2E), [UInt8](0x30...0xFF),
      ]
      for (index, name) in names.enumerated() { try home.vault.put([UInt8(index)], in: try home.vault.make(name).inode) }
      for round in 0..<2 {
        for (index, name) in names.enumerated() {
          let info = try #require(try home.vault.lookup(name, in: .root), "\(name), round \(round)")
          #expect(try home.vault.contents(of: info.inode) == [UInt8(index)], "\(name)")
        }
        #expect(try home.vault.names() == Set(names))
        try home.reopen()
      }
      for name in names { try home.vault.unlink(name, in: .root) }
      #expect(try home.vault.names().isEmpty)
    }
  }

  @Test func `the root has no entry of the hidden directory's name, other directories may`() throws {
    try Home.run { home in
      let vault = home.vault, hidden = Vault.pastName
      let file = try vault.makeFile("f", [1]), directory = try vault.make([UInt8]("d"), in: .root, S_IFDIR | 0o755).inode
      for type in [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO] { refused(.nameReserved) { _ = try vault.make(hidden, in: .root, type | 0o644) } }
      refused(.nameReserved) { _ = try vault.link(file, as: hidden, in: .root) }
      for mode in [Vault.RenameMode.replace, .noReplace] { refused(.nameReserved) { try vault.rename([UInt8]("d"), in: .root, to: hidden, in: .root, mode: mode) } }
      refused(.nameReserved) { try vault.revive(file, at: vault.present, as: hidden, in: .root) }
      _ = try vault.link(file, as: hidden, in: directory)
      #expect(try vault.names() == Set([[UInt8]("f"), [UInt8]("d")]))
    }
  }

  @Test func `255 bytes are a name, 256 are too many, and some are none`() throws {
    try Home.run { home in
      let longest = [UInt8](repeating: 0xE9, count: 255)
      try home.vault.make(longest)
      #expect(try home.vault.lookup(longest, in: .root) != nil)
      refused(.nameTooLong) { try home.vault.make(longest + [1]) }
      refused(.nameTooLong) { _ = try home.vault.lookup(longest + [1], in: .root) }
      refused(.nameTooLong) { try home.vault.rename(longest, in: .root, to: longest + [1], in: .root, mode: .replace) }
      for name in [[], [0x2E], [0x2E, 0x2E], [0x61, 0x2F], [0x61, 0]] as [[UInt8]] { refused(.nameInvalid, "\(name)") { try home.vault.make(name) } }
    }
  }

  @Test func `names of deep directories and long targets are what they are`() throws {
    try Home.run { home in
      var at = InodeNumber.root
      for level in 0..<300 { at = try home.vault.makeDirectory(String(repeating: "x", count: 1 + level % 255), in: at) }
      let target = [UInt8](repeating: 0x74, count: Limits.targetBytesMax)
      let link = try home.vault.make([UInt8]("l"), in: at, S_IFLNK | 0o777, target: target).inode
      refused(.nameTooLong) { try home.vault.make([UInt8]("m"), in: at, S_IFLNK | 0o777, target: target + [0x74]) }
      try home.reopen()
      #expect(try home.vault.readLink(link) == target)
      #expect(try home.vault.info(link).size == UInt64(target.count))
    }
  }

  /// What stands at either end of a rename.
  enum Thing: CaseIterable { case file, other, emptyDirectory, fullDirectory, symlink, nothing }

  @Test(arguments: Thing.allCases, Thing.allCases)
  func `rename replaces what rename(2) lets it replace`(from: Thing, to: Thing) throws {
    func place(_ thing: Thing, _ name: String, _ vault: Vault) throws -> InodeNumber? {
      switch thing {
      case .file: return try vault.makeFile(name, [UInt8](name))
      case .other: return try vault.make(name, S_IFIFO | 0o600).inode
      case .symlink: return try vault.make(name, S_IFLNK | 0o777, target: "x").inode
      case .emptyDirectory: return try vault.makeDirectory(name)
      case .fullDirectory:
        let inode = try vault.makeDirectory(name)
        try vault.make("inside", in: inode)
        return inode
      case .nothing: return nil
      }
    }
    func isDirectory(_ thing: Thing) -> Bool { thing == .emptyDirectory || thing == .fullDirectory }
    let expected: VaultError? = switch (from, to) {
    case (.nothing, _): .notFound
    case (_, .nothing): nil
    case (let a, let b) where isDirectory(a) && !isDirectory(b): .notADirectory
    case (let a, let b) where !isDirectory(a) && isDirectory(b): .isADirectory
    case (_, .fullDirectory): .directoryNotEmpty
    default: nil
    }
    try Home.run { home in
      let a = try place(from, "a", home.vault), b = try place(to, "b", home.vault)
      let before = try tree(of: home.vault)
      func rename(_ mode: Vault.RenameMode) throws { try home.vault.rename([UInt8]("a"), in: .root, to: [UInt8]("b"), in: .root, mode: mode) }

      // Exchange: both must be there; of whatever types.
      if from == .nothing || to == .nothing { refused(.notFound) { try rename(.exchange) } } else {
        try rename(.exchange)
        #expect(try home.vault.find("a")?.inode == b && home.vault.find("b")?.inode == a)
        try expectSound(home.vault)
        try rename(.exchange)
      }
      if from == .nothing { refused(.notFound) { try rename(.noReplace) } } else if to != .nothing { refused(.alreadyExists) { try rename(.noReplace) } }
      #expect(Set(try tree(of: home.vault).keys) == Set(before.keys), "a refusal changes nothing")

      if let expected {
        refused(expected) { try rename(.replace) }
        #expect(Set(try tree(of: home.vault).keys) == Set(before.keys))
      } else {
        try rename(to == .nothing ? .noReplace : .replace)
        #expect(try home.vault.find("a") == nil)
        #expect(try home.vault.find("b")?.inode == a)
        if let b { refused(.staleNode) { _ = try home.vault.info(b) } }
      }
      let after = try tree(of: home.vault)
      try home.reopen()
      #expect(try tree(of: home.vault) == after)
    }
  }

  @Test func `a directory does not move into itself, however the mode`() throws {
    try Home.run { home in
      let vault = home.vault
      let a = try vault.makeDirectory("a"), b = try vault.makeDirectory("b", in: a), c = try vault.makeDirectory("c", in: b)
      for parent in [a, b, c] {
        refused(.crossesIntoItself) { try vault.rename([UInt8]("a"), in: .root, to: [UInt8]("x"), in: parent, mode: .replace) }
        refused(.crossesIntoItself) { try vault.rename([UInt8]("a"), in: .root, to: [UInt8]("x"), in: parent, mode: .noReplace) }
      }
      refused(.crossesIntoItself) { try vault.rename([UInt8]("a"), in: .root, to: [UInt8]("c"), in: b, mode: .exchange) }
      refused(.crossesIntoItself) { try vault.rename([UInt8]("c"), in: b, to: [UInt8]("a"), in: .root, mode: .exchange) }
      try vault.rename([UInt8]("c"), in: b, to: [UInt8]("c"), in: .root, mode: .replace)
      #expect(try vault.parent(of: c) == .root)
    }
  }

  @Test func `renaming a name over another link to the same node does nothing`() throws {
    try Home.run { home in
      let inode = try home.vault.makeFile("a", [1])
      _ = try home.vault.link(inode, as: [UInt8]("b"), in: .root)
      try home.vault.rename([UInt8]("a"), in: .root, to: [UInt8]("b"), in: .root, mode: .replace)
      try home.vault.rename([UInt8]("a"), in: .root, to: [UInt8]("a"), in: .root, mode: .replace)
      #expect(try home.vault.names() == [[UInt8]("a"), [UInt8]("b")])
      #expect(try home.vault.info(inode).links == 2)
    }
  }

  @Test func `links are counted, of files and of directories`() throws {
    try Home.run { home in
      let vault = home.vault
      func links(_ inode: InodeNumber) throws -> UInt32 { try vault.info(inode).links }
      #expect(try links(.root) == 2)
      let d = try vault.makeDirectory("d"), e = try vault.makeDirectory("e"), file = try vault.make("f").inode
      #expect(try links(.root) == 4)
      _ = try vault.link(file, as: [UInt8]("g"), in: d)
      _ = try vault.link(file, as: [UInt8]("h"), in: e)
      #expect(try links(file) == 3 && links(d) == 2)
      refused(.alreadyExists) { _ = try vault.link(file, as: [UInt8]("g"), in: d) }
      refused(.notPermitted) { _ = try vault.link(d, as: [UInt8]("again"), in: .root) }
      try vault.rename([UInt8]("e"), in: .root, to: [UInt8]("e"), in: d, mode: .replace)
      #expect(try links(.root) == 3 && links(d) == 3 && links(e) == 2)
      try vault.rename([UInt8]("d"), in: .root, to: [UInt8]("f"), in: .root, mode: .exchange)
      #expect(try links(.root) == 3 && links(d) == 3)
      try vault.unlink([UInt8]("h"), in: e)
      #expect(try links(file) == 2)
      refused(.directoryNotEmpty) { try vault.removeDirectory([UInt8]("f"), in: .root) }
      refused(.isADirectory) { try vault.unlink([UInt8]("f"), in: .root) }
      refused(.notADirectory) { try vault.removeDirectory([UInt8]("d"), in: .root) }
      refused(.notFound) { try vault.unlink([UInt8]("nothing"), in: .root) }
      refused(.notADirectory) { _ = try vault.lookup([UInt8]("x"), in: file) }
      try vault.removeDirectory([UInt8]("e"), in: d)
      #expect(try links(d) == 2)
    }
  }

  @Test func `times follow what is done, as POSIX says`() throws {
    try Home.run { home in
      let vault = home.vault
      let d = try vault.makeDirectory("d"), other = try vault.makeDirectory("other"), f = try vault.makeFile("f", in: d, [1])
      /// Which of (mtime, ctime) of which nodes `body` moves.
      func moved(_ nodes: [InodeNumber], _ body: () throws -> Void) throws -> [String] {
        let before = try nodes.map { try vault.info($0) }
        usleep(2000)
        try body()
        return try zip(nodes, before).map { inode, old in
          let new = try vault.info(inode)
          #expect(new.modified >= old.modified && new.changed >= old.changed && new.born == old.born)
          return (new.modified > old.modified ? "m" : "") + (new.changed > old.changed ? "c" : "")
        }
      }
      #expect(try moved([d, f]) { _ = try vault.link(f, as: [UInt8]("g"), in: d) } == ["mc", "c"])
      #expect(try moved([d, f]) { try vault.unlink([UInt8]("g"), in: d) } == ["mc", "c"])
      #expect(try moved([d, other, f]) { try vault.rename([UInt8]("f"), in: d, to: [UInt8]("f"), in: other, mode: .replace) } == ["mc", "mc", "c"])
      #expect(try moved([f]) { try vault.put([2], in: f) } == ["mc"])
      #expect(try moved([f]) { try vault.truncate(f, to: 9, clearsPrivileges: false) } == ["mc"])
      #expect(try moved([f]) { try vault.setXattr([UInt8]("user.a"), of: f, to: [1], mode: .set, by: root) } == ["c"])
      #expect(try moved([f]) { try vault.removeXattr([UInt8]("user.a"), of: f) } == ["c"])
      #expect(try moved([f]) { var c = AttributeChange(); c.mode = 0o600; _ = try vault.change(f, c) } == ["c"])
      #expect(try moved([f, other]) { _ = try vault.contents(of: f) } == ["", ""])
      #expect(try moved([d]) { refused(.notFound) { try vault.unlink([UInt8]("none"), in: d) } } == [""])
    }
  }

  @Test func `a file without a name lives until it is closed, and its space goes with it`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 4)
      let content = random.bytes(200_000)
      let inode = try vault.makeFile("f", content)
      let replaced = try vault.makeFile("r", content), directory = try vault.makeDirectory("d")
      let file = try vault.open(inode), over = try vault.open(replaced)
      try vault.retain(directory)
      let nodes = vault.status().counters.nodes
      try vault.unlink([UInt8]("f"), in: .root)
      try vault.make("s")
      try vault.rename([UInt8]("s"), in: .root, to: [UInt8]("r"), in: .root, mode: .replace)
      try vault.removeDirectory([UInt8]("d"), in: .root)
      #expect(try vault.info(inode).links == 0 && vault.info(replaced).links == 0 && vault.info(directory).links == 0)
      refused(.notFound) { try vault.make("child", in: directory) }
      refused(.notFound) { _ = try vault.link(inode, as: [UInt8]("again"), in: .root) }
      try vault.write([7], to: file, at: 200_000)
      #expect(try vault.read(file, count: 300_000) == content + [7])
      #expect(try vault.read(over, count: 300_000) == content)
      #expect(vault.status().counters.nodes == nodes + 1)
      try expectSound(vault, unnamed: [inode, replaced, directory])
      vault.close(file)
      vault.close(over)
      vault.release(directory)
      #expect(vault.status().counters.nodes == 2, "the root and r")
      #expect(vault.status().counters.logicalBytes == 0)
      refused(.staleNode) { _ = try vault.info(inode) }
    }
  }

  @Test func `a file unlinked while open is swept by the next mount after a kill`() throws {
    try Home.run { home in
      let file = try home.vault.open(try home.vault.makeFile("f", [UInt8](repeating: 7, count: 5000)))
      try home.vault.unlink([UInt8]("f"), in: .root)
      let copy = try home.copy()
      home.vault.close(file)
      try opening(copy) { vault in
        #expect(vault.status().counters.nodes == 1 && vault.status().counters.logicalBytes == 0)
        try expectSound(vault)
      }
    }
  }
}

struct ListingTests {
  @Test func `a directory of 20,000 names is listed whole while others come and go`() throws {
    try Home.run { home in
      let vault = home.vault
      let directory = try vault.makeDirectory("many")
      for index in 0..<20_000 { try vault.make("stays-\(index)", in: directory) }
      for index in 0..<2_000 { try vault.make("goes-\(index)", in: directory) }
      var listed: [[UInt8]] = [], cookie: UInt64 = 0, round = 0, random = Random(seed: 1)
      while true {
        let part = try vault.list(directory, after: cookie, count: 97, withInfo: random.chance(50))
        guard let last = part.last else { break }
        listed += part.map(\.name)
        cookie = last.cookie
        for _ in 0..<8 where round < 2_000 {
          try vault.unlink([UInt8]("goes-\(round)"), in: directory)
          try vault.make("comes-\(round)", in: directory)
          round += 1
        }
      }
      let counted = Dictionary(listed.map { ($0, 1) }, uniquingKeysWith: +)
      #expect(counted.values.allSatisfy { $0 == 1 }, "a name was listed twice")
      let stayed = counted.keys.count { $0.starts(with: [UInt8]("stays-")) }
      #expect(stayed == 20_000, "names that were there all along were left out")
      #expect(round > 1_000)
    }
  }

  @Test func `a cookie goes on from its place, also after its own entry is gone and after a reopening`() throws {
    try Home.run { home in
      for index in 0..<500 { try home.vault.make("n\(index)") }
      let all = try home.vault.entries(of: .root)
      try home.vault.unlink(all[250].name, in: .root)
      try home.reopen()
      let rest = try home.vault.list(.root, after: all[250].cookie, count: 1000, withInfo: false)
      #expect(rest.map(\.name) == all[251...].map(\.name))
      let again = try home.vault.list(.root, after: all[100].cookie, count: 1000, withInfo: false)
      #expect(again.map(\.cookie) == (all[101..<250] + all[251...]).map(\.cookie))
    }
  }

  @Test func `a node whose row is missing or damaged hides none of its neighbours`() throws {
    try Home.run { home in
      let inodes = try (0..<40).map { try home.vault.make("f\($0)").inode }
      try home.reopen()
      let database = home.vault.metadata.database
      try home.vault.lock.withLock { () throws in
        try database.execute("DELETE FROM node WHERE inode = \(inodes[7].value); UPDATE node SET record = x'00FFFF' WHERE inode = \(inodes[30].value)")
      }
      for _ in 0..<3 {
        let listed = try home.vault.list(.root, after: 0, count: 100, withInfo: true)
        #expect(listed.count == 40)
        #expect(Set(listed.filter { $0.info == nil }.map(\.inode)) == [inodes[7], inodes[30]])
      }
      #expect(home.messages.all.count { $0.contains("metadata database is damaged") } == 1, "\(home.messages.all)")
      try home.close()
    }
  }

  @Test func `a name for which there is no place is refused before it is journaled`() throws {
    try Home.run { home in
      let vault = home.vault
      let directory = try vault.makeDirectory("d"), other = try vault.make("other").inode
      try vault.make("full", in: directory)
      let cookie = try vault.entries(of: directory)[0].cookie & ~15
      try vault.unlink([UInt8]("full"), in: directory)
      let database = vault.metadata.database
      try vault.lock.withLock { () throws in
        for step in 0..<16 as Range<UInt64> {
          try database.execute("INSERT INTO entry (parent, cookie, name, inode, type, born) VALUES (\(directory.value), \(cookie + step), x'4\(String(step, radix: 16))', \(other.value), \(S_IFREG), 1)")
        }
      }
      let before = vault.status().operations
      refused(.tooManyLinks) { try vault.make("full", in: directory) }
      refused(.tooManyLinks) { _ = try vault.link(other, as: [UInt8]("full"), in: directory) }
      refused(.tooManyLinks) { try vault.rename([UInt8]("other"), in: .root, to: [UInt8]("full"), in: directory, mode: .replace) }
      #expect(vault.status().operations == before && vault.status().readOnlyReason == nil)
      try vault.lock.withLock { () throws in try database.execute("DELETE FROM entry WHERE parent = \(directory.value)") }
      try vault.make("full", in: directory)
    }
  }
}
