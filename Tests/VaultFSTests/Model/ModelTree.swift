// A tree in memory that does what a vault does, in the plainest way. A value: to remember a moment is to copy it.

import Glibc
@testable import VaultFS

struct ModelNode {
  var mode: UInt32
  var user: UInt32
  var group: UInt32
  var links: UInt32
  /// The name that it is charged at, and of a directory its only one; nil of the root, and of what is only held open.
  var home: ModelTree.Place?
  var content = ModelContent()
  /// A symlink's.
  var target: [UInt8] = []
  var children: [[UInt8]: InodeNumber] = [:]
  var xattrs: [[UInt8]: [UInt8]] = [:]

  var type: UInt32 { mode & S_IFMT }
  var isDirectory: Bool { type == S_IFDIR }
  var isFile: Bool { type == S_IFREG }
  var own: Usage { Usage(bytes: UInt64(content.allocated), nodes: 1) }

  /// The same node, as another one was.
  func becoming(_ was: ModelNode) -> ModelNode {
    var node = was
    (node.links, node.home, node.children) = (links, home, children)
    return node
  }
}

struct ModelTree {
  /// Where a name is.
  struct Place: Hashable {
    var directory: InodeNumber
    var name: [UInt8]
  }
  private(set) var nodes: [InodeNumber: ModelNode] = [.root: ModelNode(mode: S_IFDIR | 0o755, user: 0, group: 0, links: 2)]

  subscript(inode: InodeNumber) -> ModelNode {
    get { nodes[inode]! }
    set { nodes[inode] = newValue }
  }
  subscript(place: Place) -> InodeNumber? { nodes[place.directory]?.children[place.name] }

  // MARK: Looking

  var inodes: [InodeNumber] { nodes.keys.sorted() }
  /// Those that can be reached.
  var directories: [InodeNumber] { inodes.filter { self[$0].isDirectory && self[$0].links > 0 } }
  var files: [InodeNumber] { inodes.filter { self[$0].isFile && self[$0].links > 0 } }

  /// Every name of a node.
  func places(of inode: InodeNumber) -> [Place] {
    nodes.flatMap { directory, node in node.children.filter { $0.value == inode }.map { Place(directory: directory, name: $0.key) } }
  }
  var places: [Place] {
    directories.flatMap { directory in self[directory].children.keys.sorted { $0.lexicographicallyPrecedes($1) }.map { Place(directory: directory, name: $0) } }
  }

  /// A directory and all above it.
  func chain(from directory: InodeNumber?) -> [InodeNumber] {
    var chain: [InodeNumber] = []
    var at = directory
    while let directory = at {
      chain.append(directory)
      at = self[directory].home?.directory
    }
    return chain
  }
  func isWithin(_ directory: InodeNumber, _ ancestor: InodeNumber) -> Bool { chain(from: directory).contains(ancestor) }

  /// A node and all below it: a node with several names once.
  func below(_ inode: InodeNumber) -> Set<InodeNumber> {
    self[inode].children.values.reduce(into: [inode]) { found, child in if !found.contains(child) { found.formUnion(below(child)) } }
  }

  // MARK: Changing names

  /// Gives a node a name, its first or one more.
  mutating func add(_ inode: InodeNumber, at place: Place) {
    self[place.directory].children[place.name] = inode
    if self[inode].isDirectory { self[place.directory].links += 1 } else { self[inode].links += 1 }
    if self[inode].home == nil { self[inode].home = place }
  }

  mutating func make(_ inode: InodeNumber, _ node: ModelNode, at place: Place) {
    var node = node
    (node.links, node.home, node.children) = (node.isDirectory ? 2 : 0, nil, [:])
    nodes[inode] = node
    add(inode, at: place)
  }

  /// Takes a name away.
  /// - Parameter isHeld: the node goes on without.
  /// - Returns: whether the node needs another home: of several names, the one that it was charged at went.
  mutating func remove(_ place: Place, isHeld: (InodeNumber) -> Bool) -> Bool {
    let inode = self[place]!
    self[place.directory].children[place.name] = nil
    if self[inode].isDirectory {
      self[place.directory].links -= 1
      self[inode].links = 0
    } else { self[inode].links -= 1 }
    if self[inode].links == 0 {
      self[inode].home = nil
      if !isHeld(inode) { forget(inode) }
      return false
    }
    return self[inode].home == place
  }

  /// A node without a name is closed.
  mutating func forget(_ inode: InodeNumber) { nodes[inode] = nil }

  /// A name goes elsewhere, where none is.
  mutating func move(_ old: Place, to new: Place) {
    let inode = self[old]!
    self[old.directory].children[old.name] = nil
    self[new.directory].children[new.name] = inode
    if self[inode].isDirectory {
      self[old.directory].links -= 1
      self[new.directory].links += 1
    }
    if self[inode].home == old { self[inode].home = new }
  }

  /// Two names lead to each other's nodes.
  mutating func exchange(_ a: Place, _ b: Place) {
    let first = self[a]!, second = self[b]!
    if first == second { return }
    for (inode, from, to) in [(first, a, b), (second, b, a)] {
      self[to.directory].children[to.name] = inode
      if self[inode].isDirectory {
        self[from.directory].links -= 1
        self[to.directory].links += 1
      }
      if self[inode].home == from { self[inode].home = to }
    }
  }
}

// MARK: Usage

extension ModelTree {
  /// What everybody takes, counted anew.
  var usages: [QuotaSubject: Usage] {
    var all: [QuotaSubject: Usage] = [.vault: Usage()]
    for (inode, node) in nodes {
      let trees = chain(from: node.home?.directory).map { QuotaSubject.tree($0) }
      for subject in [.vault, .user(node.user), .group(node.group)] + trees { all[subject, default: Usage()] = all[subject, default: Usage()] &+ node.own }
      if node.isDirectory { all[.tree(inode), default: Usage()] = all[.tree(inode), default: Usage()] &+ Usage() }
    }
    return all
  }

  /// A node with all that is charged below it.
  func weight(of inode: InodeNumber) -> Usage {
    nodes.values.filter { chain(from: $0.home?.directory).contains(inode) }.reduce(self[inode].own) { $0 &+ $1.own }
  }
}
