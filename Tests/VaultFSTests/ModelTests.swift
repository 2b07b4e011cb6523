// Random work on a vault, compared with a tree in memory that does the same in the plainest way: through saves,
// reopenings, rebuilds and kills.

import Foundation
import Glibc
import Testing
@testable import VaultFS

/// A file system of dictionaries and arrays.
final class ModelTree {
  final class Node {
    var mode: UInt32
    var content: [UInt8] = []
    var children: [[UInt8]: Node] = [:]
    var xattrs: [[UInt8]: [UInt8]] = [:]
    var links: UInt32 = 1
    init(mode: UInt32) { self.mode = mode }
    var isDirectory: Bool { mode & S_IFMT == S_IFDIR }
  }
  let root = Node(mode: S_IFDIR | 0o755)

  /// All directories with their paths, the root first.
  var directories: [(path: [[UInt8]], node: Node)] {
    var all: [(path: [[UInt8]], node: Node)] = [([], root)], at = 0
    while at < all.count {
      let (path, node) = all[at]
      for (name, child) in node.children.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) where child.isDirectory { all.append((path + [name], child)) }
      at += 1
    }
    return all
  }

  func isWithin(_ node: Node, _ ancestor: Node) -> Bool {
    node === ancestor || ancestor.children.values.contains { $0.isDirectory && isWithin(node, $0) }
  }
}

struct ModelTests {
  /// One vault, one model, and chance.
  private final class Walk {
    let home: Home
    let seed: UInt64
    var random: Random
    var model = ModelTree()
    var step = 0
    private static let names = (0..<24).map { [UInt8]("name-\($0)") } + [[0xFF, 0xFE], [0xC3, 0xA9], [0x65, 0xCC, 0x81], [UInt8](repeating: 0x6C, count: 255)]

    init(_ home: Home, seed: UInt64) {
      (self.home, self.seed, random) = (home, seed, Random(seed: seed))
    }
    var vault: Vault { home.vault }
    var place: String { "seed \(seed), step \(step)" }

    func inode(_ path: [[UInt8]]) throws -> InodeNumber {
      try path.reduce(.root) { at, name in try #require(try vault.lookup(name, in: at), "\(place): \(path) is gone").inode }
    }
    func directory() -> (path: [[UInt8]], node: ModelTree.Node) { random.pick(model.directories) }
    func name() -> [UInt8] { random.pick(Self.names) }
    /// Some regular file, if there is one.
    func file() -> (path: [[UInt8]], node: ModelTree.Node)? {
      let all = model.directories.flatMap { directory in
        directory.node.children.filter { $0.value.mode & S_IFMT == S_IFREG }.sorted { $0.key.lexicographicallyPrecedes($1.key) }
          .map { (path: directory.path + [$0.key], node: $0.value) }
      }
      return all.isEmpty ? nil : random.pick(all)
    }

    func expect(_ expected: VaultError?, _ body: () throws -> Void) {
      if let expected { refused(expected, place, body) } else {
        do { try body() } catch { Issue.record("\(place): \(error)") }
      }
    }

    func act() throws {
      switch random.below(100) {
      case 0..<16: try create()
      case 16..<42: try write()
      case 42..<47: try truncate()
      case 47..<56: try rename()
      case 56..<60: try link()
      case 60..<67: try remove()
      case 67..<72: try clone()
      case 72..<76: try punch()
      case 76..<82: try xattr()
      case 82..<85: try chmod()
      case 85..<90: if let file = file() { try vault.withOpen(try inode(file.path)) { try vault.sync($0) } }
      case 90..<93: try vault.syncAll()
      case 93..<95:
        var left = random.chance(50) ? Int.max : random.below(40)
        try home.optimise {
          left -= 1
          return left > 0
        }
        if random.chance(30) { try compare("optimised") }
      case 95..<97:
        try home.reopen()
        try compare("reopened")
      case 97..<98:
        try home.close()
        try Vault.rebuild(at: home.path) { _ in }
        try home.open()
        try compare("rebuilt")
      default:
        let copy = try home.copy()
        // Half of the kills are power cuts: the computer was started anew, and the database's log is not believed.
        if random.chance(50) { try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8) }
        try home.move(to: copy)
        try compare("killed")
      }
    }

    func create() throws {
      let (path, parent) = directory(), name = name(), type = random.pick([S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO])
      let target = type == S_IFLNK ? random.bytes(1 + random.below(80)).map { $0 | 1 } : []
      let at = try inode(path)
      expect(parent.children[name] == nil ? nil : .alreadyExists) { try vault.make(name, in: at, type | 0o640, target: target) }
      guard parent.children[name] == nil else { return }
      let node = ModelTree.Node(mode: type == S_IFLNK ? type | 0o640 : type | 0o640)
      node.content = target
      parent.children[name] = node
    }

    func write() throws {
      guard let file = file() else { return }
      let inode = try inode(file.path)
      try vault.withOpen(inode) { open in
        for _ in 0..<1 + random.below(4) {
          let size = random.chance(4) ? random.below(5 << 20) : random.below(random.chance(30) ? 200_000 : 3000)
          let offset = random.below(random.chance(20) ? 400_000 : file.node.content.count + 1)
          guard offset + size < 8 << 20, size > 0 else { continue }
          let bytes = random.content(size)
          try vault.write(bytes, to: open, at: UInt64(offset))
          if file.node.content.count < offset + size { file.node.content += [UInt8](repeating: 0, count: offset + size - file.node.content.count) }
          file.node.content.replaceSubrange(offset..<offset + size, with: bytes)
          if random.chance(20) { #expect(try vault.read(open, at: UInt64(offset), count: size) == bytes, "\(place)") }
          if random.chance(10) { try vault.save(open) }
        }
      }
    }

    func truncate() throws {
      guard let file = file() else { return }
      let size = random.below(random.chance(50) ? 300_000 : file.node.content.count + 1)
      try vault.truncate(try inode(file.path), to: UInt64(size), clearsPrivileges: false)
      let old = file.node.content
      file.node.content = Array(old.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - old.count))
    }

    func rename() throws {
      let from = directory(), to = directory(), name = random.chance(70) ? from.node.children.keys.sorted { $0.lexicographicallyPrecedes($1) }.first ?? name() : name(), newName = self.name()
      let mode = random.pick([Vault.RenameMode.replace, .replace, .noReplace, .exchange])
      let a = try inode(from.path), b = try inode(to.path)
      let node = from.node.children[name], old = to.node.children[newName]
      let refusal: VaultError?
      if let node {
        if node.isDirectory, model.isWithin(to.node, node) { refusal = .crossesIntoItself } else {
          switch (mode, old) {
          case (.exchange, nil): refusal = .notFound
          case (.exchange, let old?): refusal = old.isDirectory && model.isWithin(from.node, old) ? .crossesIntoItself : nil
          case (.noReplace, _?): refusal = .alreadyExists
          case (_, let old?) where old === node: refusal = nil
          case (_, let old?) where node.isDirectory && !old.isDirectory: refusal = .notADirectory
          case (_, let old?) where !node.isDirectory && old.isDirectory: refusal = .isADirectory
          case (_, let old?) where !old.children.isEmpty: refusal = .directoryNotEmpty
          default: refusal = nil
          }
        }
      } else { refusal = .notFound }
      expect(refusal) { try vault.rename(name, in: a, to: newName, in: b, mode: mode) }
      guard refusal == nil, let node, old !== node else { return }
      if mode == .exchange {
        from.node.children[name] = old
        to.node.children[newName] = node
      } else {
        old?.links -= 1
        from.node.children[name] = nil
        to.node.children[newName] = node
      }
    }

    func link() throws {
      guard let file = file() else { return }
      let (path, parent) = directory(), name = name(), inode = try inode(file.path), at = try self.inode(path)
      expect(parent.children[name] == nil ? nil : .alreadyExists) { _ = try vault.link(inode, as: name, in: at) }
      guard parent.children[name] == nil else { return }
      file.node.links += 1
      parent.children[name] = file.node
    }

    func remove() throws {
      let (path, parent) = directory(), name = name(), at = try inode(path), node = parent.children[name]
      let asDirectory = node.map { $0.isDirectory != random.chance(10) } ?? random.chance(50)
      let refusal: VaultError? = switch node {
      case nil: .notFound
      case let node? where asDirectory && !node.isDirectory: .notADirectory
      case let node? where !asDirectory && node.isDirectory: .isADirectory
      case let node? where !node.children.isEmpty: .directoryNotEmpty
      default: nil
      }
      expect(refusal) { if asDirectory { try vault.removeDirectory(name, in: at) } else { try vault.unlink(name, in: at) } }
      if refusal == nil {
        node?.links -= 1
        parent.children[name] = nil
      }
    }

    func clone() throws {
      guard let source = file(), let target = file(), source.node !== target.node else { return }
      let at = random.below(source.node.content.count + 1), newAt = random.below(random.chance(50) ? 1 : target.node.content.count + 1)
      let length = random.chance(50) ? 16 << 20 : random.below(300_000)
      let count = min(length, source.node.content.count - at)
      guard newAt + count < 8 << 20 else { return }
      try vault.withOpen(try inode(source.path)) { from in
        try vault.withOpen(try inode(target.path)) { to in
          let done = try vault.clone(from: from, at: UInt64(at), to: to, at: UInt64(newAt), length: UInt64(length), clearsPrivileges: false)
          #expect(done == UInt64(count), "\(place)")
        }
      }
      guard count > 0 else { return }
      if target.node.content.count < newAt + count { target.node.content += [UInt8](repeating: 0, count: newAt + count - target.node.content.count) }
      target.node.content.replaceSubrange(newAt..<newAt + count, with: source.node.content[at..<at + count])
    }

    func punch() throws {
      guard let file = file(), !file.node.content.isEmpty else { return }
      let offset = random.below(file.node.content.count), length = 1 + random.below(200_000)
      try vault.withOpen(try inode(file.path)) {
        try vault.allocate($0, offset: UInt64(offset), length: UInt64(length), .punchHole, clearsPrivileges: false)
      }
      for index in offset..<min(offset + length, file.node.content.count) { file.node.content[index] = 0 }
    }

    func xattr() throws {
      let (path, node) = random.chance(50) ? directory() : file() ?? directory()
      let name = [UInt8]("user.\(random.below(4))"), inode = try inode(path)
      if random.chance(60) {
        let value = random.bytes(random.below(random.chance(10) ? 60_000 : 40))
        try vault.setXattr(name, of: inode, to: value, mode: .set, by: VaultFSTests.root)
        node.xattrs[name] = value
      } else {
        expect(node.xattrs[name] == nil ? .attributeMissing : nil) { try vault.removeXattr(name, of: inode) }
        node.xattrs[name] = nil
      }
    }

    func chmod() throws {
      let (path, node) = file() ?? directory()
      var change = AttributeChange()
      change.mode = UInt32(random.below(0o1000))
      _ = try vault.change(try inode(path), change)
      node.mode = node.mode & S_IFMT | change.mode!
    }

    /// The whole tree, byte by byte.
    func compare(_ when: String) throws {
      var waiting: [(InodeNumber, ModelTree.Node, [UInt8])] = [(.root, model.root, [])]
      var inodes: [ObjectIdentifier: InodeNumber] = [:]
      while let (inode, node, path) = waiting.popLast() {
        let where_ = "\(place), \(when): \(String(decoding: path, as: UTF8.self))"
        let info = try vault.info(inode)
        #expect(info.mode == node.mode, "\(where_)")
        let names = try vault.xattrNames(of: inode)
        #expect(Set(names) == Set(node.xattrs.keys), "\(where_)")
        for name in names { #expect(try vault.xattr(name, of: inode) == node.xattrs[name], "\(where_)") }
        if let known = inodes.updateValue(inode, forKey: ObjectIdentifier(node)) { #expect(known == inode, "\(where_): links to one node") }
        switch node.mode & S_IFMT {
        case S_IFDIR:
          let entries = try vault.entries(of: inode)
          #expect(Set(entries.map(\.name)) == Set(node.children.keys), "\(where_)")
          for entry in entries { if let child = node.children[entry.name] { waiting.append((entry.inode, child, path + [0x2F] + entry.name)) } }
        case S_IFREG:
          #expect(info.links == node.links, "\(where_)")
          let content = try vault.contents(of: inode)
          if content != node.content {
            let first = zip(content, node.content).enumerated().first { $0.element.0 != $0.element.1 }?.offset
            Issue.record("\(where_): \(content.count) bytes, expected \(node.content.count), first difference at \(first.map(String.init) ?? "the end")")
          }
        case S_IFLNK: #expect(try vault.readLink(inode) == node.content, "\(where_)")
        default: break
        }
      }
      try expectSound(vault, "\(place), \(when):")
    }
  }

  @Test(arguments: seeds(24))
  func `random work is what it is on a tree in memory, through saves, kills and rebuilds`(seed: UInt64) throws {
    try Home.run { home in
      let walk = Walk(home, seed: seed)
      for step in 0..<300 {
        walk.step = step
        try walk.act()
      }
      try walk.compare("at the end")
      try home.move(to: try home.copy())
      try walk.compare("killed at the end")
      try home.reopen()
      try walk.compare("reopened at the end")
    }
  }
}
