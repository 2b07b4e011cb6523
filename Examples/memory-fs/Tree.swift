// The state of MemoryFS: nodes by number, names by directory. Knows nothing of the kernel but that
// it holds references.
//
// What must stay true: a node is there while it has names (`links`) or references, and no longer.

import FuseBridge
import Glibc

struct Node {
  var mode: UInt32
  var user: UInt32
  var group: UInt32
  var device: UInt64
  var links: UInt32 = 0
  var references: UInt64 = 0
  var accessed = Timestamp.now, modified = Timestamp.now, changed = Timestamp.now
  /// A file's bytes, or where a symlink leads.
  var content: [UInt8] = []
  /// A directory's names; keyed by bytes, because names are bytes.
  var names: [FileName: NodeNumber] = [:]
  var parent = NodeNumber.root
  var xattrs: [[UInt8]: [UInt8]] = [:]

  init(mode: UInt32, device: UInt64 = 0, by caller: Caller) {
    (self.mode, self.user, self.group, self.device) = (mode, caller.user, caller.group, device)
  }

  var isDirectory: Bool { mode & Mode.type == Mode.directory }

  mutating func resize(to size: UInt64, _ now: Timestamp) throws(Errno) {
    guard size <= 1 << 32 else { throw .tooBig }
    let size = Int(size)
    if size < content.count { content.removeLast(content.count - size) }
    content.append(contentsOf: repeatElement(0, count: size - content.count))
    (modified, changed) = (now, now)
  }

  /// Writing to a program takes its special powers away. (Without group execution, set-gid once
  /// meant mandatory locking: it stays.)
  mutating func clearPrivileges() {
    mode &= ~Mode.setUser
    if mode & 0o010 != 0 { mode &= ~Mode.setGroup }
    xattrs.removeValue(forKey: Array("security.capability".utf8))
  }
}

struct Tree {
  private var nodes: [NodeNumber: Node] = [:]
  private var lastNumber: UInt64 = 1
  private var lastHandle: UInt64 = 0
  var snapshots: [HandleNumber: [(FileName, NodeNumber)]] = [:]

  init() {
    var root = Node(mode: Mode.directory | 0o755, by: Caller(user: getuid(), group: getgid(), process: 0, umask: 0))
    (root.links, root.references) = (2, 1)
    nodes[.root] = root
  }

  func node(_ number: NodeNumber) throws(Errno) -> Node {
    guard let node = nodes[number] else { throw .stale }
    return node
  }

  func directory(_ number: NodeNumber) throws(Errno) -> [FileName: NodeNumber] {
    let node = try node(number)
    guard node.isDirectory else { throw .notDirectory }
    return node.names
  }

  /// Changes a node in place (a copy would copy its content).
  mutating func change(_ number: NodeNumber, _ body: (inout Node, Timestamp) throws(Errno) -> Void) throws(Errno) {
    guard nodes[number] != nil else { throw .stale }
    try body(&nodes[number]!, .now)
  }

  func attributes(of number: NodeNumber) throws(Errno) -> Attributes {
    let node = try node(number)
    let size = UInt64(node.content.count)
    return Attributes(node: number, mode: node.mode, links: node.links, user: node.user, group: node.group,
                      device: node.device, size: size, blocks: (size + 511) / 512,
                      accessed: node.accessed, modified: node.modified, changed: node.changed)
  }

  // MARK: references

  mutating func refer(to number: NodeNumber) { nodes[number]?.references += 1 }

  mutating func forget(_ number: NodeNumber, count: UInt64) {
    nodes[number]?.references -= count
    dropIfUnused(number)
  }

  private mutating func dropIfUnused(_ number: NodeNumber) {
    if let node = nodes[number], node.links == 0, node.references == 0 { nodes[number] = nil }
  }

  // MARK: names

  mutating func add(_ new: Node, _ name: FileName, in parent: NodeNumber) throws(Errno) -> NodeNumber {
    guard try directory(parent)[name] == nil else { throw .exists }
    var new = new
    let above = try node(parent)
    if above.links == 0 { throw .noEntry }  // a removed directory that someone still stands in
    if above.mode & Mode.setGroup != 0 {
      new.group = above.group
      if new.isDirectory { new.mode |= Mode.setGroup }
    }
    lastNumber += 1
    let number = NodeNumber(rawValue: lastNumber)
    new.links = new.isDirectory ? 1 : 0  // its own `.`; `attach` adds the name
    nodes[number] = new
    attach(number, name, parent)
    return number
  }

  mutating func link(_ number: NodeNumber, as name: FileName, in parent: NodeNumber) throws(Errno) {
    guard try directory(parent)[name] == nil else { throw .exists }
    if try node(number).isDirectory { throw .permission }
    attach(number, name, parent)
  }

  mutating func remove(_ name: FileName, in parent: NodeNumber, directory wanted: Bool) throws(Errno) {
    guard let number = try directory(parent)[name] else { throw .noEntry }
    let item = try node(number)
    if item.isDirectory != wanted { throw wanted ? .notDirectory : .isDirectory }
    if !item.names.isEmpty { throw .notEmpty }
    detach(name, parent)
    if wanted { nodes[number]?.links = 0 }
    dropIfUnused(number)
  }

  mutating func rename(_ name: FileName, in parent: NodeNumber, to newName: FileName, in newParent: NodeNumber,
                       replace: Bool, exchange: Bool) throws(Errno) {
    guard let moved = try directory(parent)[name] else { throw .noEntry }
    let other = try directory(newParent)[newName]
    if let other {
      if !replace { throw .exists }
      if moved == other { return }
      if !exchange { try remove(newName, in: newParent, directory: try node(moved).isDirectory) }
    } else if exchange {
      throw .noEntry
    }
    detach(name, parent)
    if exchange, let other {
      detach(newName, newParent)
      attach(other, name, parent)
    }
    attach(moved, newName, newParent)
  }

  /// Enters a name, and counts it: at the node, and a directory's `..` at the parent.
  private mutating func attach(_ number: NodeNumber, _ name: FileName, _ parent: NodeNumber) {
    nodes[parent]!.names[name] = number
    nodes[number]!.links += 1
    nodes[number]!.changed = .now
    if nodes[number]!.isDirectory {
      nodes[number]!.parent = parent
      nodes[parent]!.links += 1
    }
    touch(parent)
  }

  private mutating func detach(_ name: FileName, _ parent: NodeNumber) {
    let number = nodes[parent]!.names.removeValue(forKey: name)!
    nodes[number]!.links -= 1
    nodes[number]!.changed = .now
    if nodes[number]!.isDirectory { nodes[parent]!.links -= 1 }
    touch(parent)
  }

  private mutating func touch(_ directory: NodeNumber) {
    let now = Timestamp.now
    (nodes[directory]!.modified, nodes[directory]!.changed) = (now, now)
  }

  // MARK: listings

  func names(in number: NodeNumber) throws(Errno) -> [(FileName, NodeNumber)] {
    let names = try directory(number)
    let dots = [(FileName(Array(".".utf8)), number), (FileName(Array("..".utf8)), try node(number).parent)]
    return dots + names.map { ($0.key, $0.value) }
  }

  mutating func keep(snapshot: [(FileName, NodeNumber)]) -> HandleNumber {
    lastHandle += 1
    let handle = HandleNumber(rawValue: lastHandle)
    snapshots[handle] = snapshot
    return handle
  }
}

extension Timestamp {
  static var now: Timestamp {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec))
  }
}

extension AttributeChanges.Time {
  func resolved(_ now: Timestamp) -> Timestamp {
    switch self {
    case .now: now
    case .at(let time): time
    }
  }
}
