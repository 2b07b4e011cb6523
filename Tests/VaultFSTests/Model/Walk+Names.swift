// Steps that make, link, rename and remove names, and change what nodes are.

import Glibc
@testable import VaultFS

extension Walk {
  private static let names = (0..<9).map { [UInt8]("n\($0)") } + [[0xFF, 0xFE], [UInt8](repeating: 0x6C, count: 255)]
  /// More would make the comparisons slow.
  static let nodesMax = 60

  func directory() -> InodeNumber { random.pick(tree.directories) }
  func place() -> ModelTree.Place { ModelTree.Place(directory: directory(), name: random.pick(Self.names)) }
  /// Mostly one that there is.
  func taken() -> ModelTree.Place {
    let all = tree.places
    return all.isEmpty || random.chance(10) ? place() : random.pick(all)
  }
  func file() -> InodeNumber? {
    let files = tree.files
    return files.isEmpty ? nil : random.pick(files)
  }
  func text(_ place: ModelTree.Place) -> String { "\(place.directory.value)/\(String(decoding: place.name.prefix(20), as: UTF8.self))" }

  func create() throws {
    guard tree.nodes.count < Self.nodesMax else { return try unlink() }
    let place = place(), type = random.pick([S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO])
    let user = UInt32(random.below(3)), group = UInt32(random.below(3))
    var node = ModelNode(mode: type | 0o640, user: user, group: group, links: 0)
    if type == S_IFLNK { node.target = random.bytes(1 + random.below(80)).map { $0 | 1 } }
    let refusal = tree[place] != nil ? .alreadyExists :
      limits.refusal(ModelLimits.subjects(user: user, group: group, home: place.directory, tree), adding: Usage(nodes: 1), tree, at: clock)
    let made = try attempt("create \(text(place)) \(String(type, radix: 8))", refusal) {
      try vault.create(place.name, in: place.directory, mode: node.mode, target: node.target, by: Requester(user: user, group: group, umask: 0))
    }
    guard let made else { return }
    tree.make(made.inode, node, at: place)
    if type == S_IFREG { try write(to: made.inode) }
  }

  func link() throws {
    guard let inode = file() else { return }
    let place = place()
    let refusal = tree[place] != nil ? .alreadyExists : limits.refusal(placing: inode, in: place.directory, tree, at: clock)
    guard try attempt("link \(inode.value) as \(text(place))", refusal, { try vault.link(inode, as: place.name, in: place.directory) }) != nil else { return }
    tree.add(inode, at: place)
  }

  func rename() throws {
    let old = taken(), new = random.chance(50) ? place() : taken(), mode = random.pick([Vault.RenameMode.replace, .replace, .noReplace, .exchange])
    // What has a name of a file is found there, whole, whenever the vault is killed.
    if let inode = tree[old] { unsaved[inode] = nil }
    let done: Void? = try attempt("rename \(text(old)) to \(text(new)), \(mode)", refusal(renaming: old, to: new, mode)) {
      try vault.rename(old.name, in: old.directory, to: new.name, in: new.directory, mode: mode)
    }
    guard done != nil, tree[old] != tree[new] else { return }
    if mode == .exchange { return tree.exchange(old, new) }
    if tree[new] != nil { try drop([new]) }
    tree.move(old, to: new)
  }

  private func refusal(renaming old: ModelTree.Place, to new: ModelTree.Place, _ mode: Vault.RenameMode) -> VaultError? {
    guard let inode = tree[old] else { return .notFound }
    if tree[inode].isDirectory, tree.isWithin(new.directory, inode) { return .crossesIntoItself }
    let other = tree[new]
    if let other {
      if mode == .noReplace { return .alreadyExists }
      if mode == .exchange, tree[other].isDirectory, tree.isWithin(old.directory, other) { return .crossesIntoItself }
      if other == inode { return nil }
      if mode == .exchange {
        return limits.refusal(placing: inode, in: new.directory, from: old, over: other, tree, at: clock)
          ?? limits.refusal(placing: other, in: old.directory, from: new, over: inode, tree, at: clock)
      }
      if tree[inode].isDirectory, !tree[other].isDirectory { return .notADirectory }
      if !tree[inode].isDirectory, tree[other].isDirectory { return .isADirectory }
      if !tree[other].children.isEmpty { return .directoryNotEmpty }
    } else if mode == .exchange { return .notFound }
    return limits.refusal(placing: inode, in: new.directory, from: old, over: other, tree, at: clock)
  }

  // MARK: Removing

  func unlink() throws {
    let place = taken(), inode = tree[place]
    let refusal: VaultError? = inode == nil ? .notFound : tree[inode!].isDirectory ? .isADirectory : nil
    let next = vault.present.next.value, before = tree
    guard try attempt("unlink \(text(place))", refusal, { try vault.unlink(place.name, in: place.directory) }) != nil else { return }
    try drop([place])
    // (What it held unsaved was saved before.)
    let operation = try vault.trash().first { $0.id >= next && $0.inode == inode!.value }?.id ?? next
    history.delete(ModelTrashItem(inode: inode!, place: place, second: clock, before: before), by: operation, leaving: tree)
  }

  /// Deletions of a directory come after a pause: in the trash, what was deleted shortly before belongs to it.
  private static let pause: Int64 = 20

  func removeDirectory() throws {
    try tick(Self.pause)
    let place = random.pick(tree.places.filter { tree[tree[$0]!].isDirectory } + [place()]), inode = tree[place]
    let refusal: VaultError? = inode == nil ? .notFound : !tree[inode!].isDirectory ? .notADirectory : !tree[inode!].children.isEmpty ? .directoryNotEmpty : nil
    let operation = vault.present.next.value, before = tree
    guard try attempt("rmdir \(text(place))", refusal, { try vault.removeDirectory(place.name, in: place.directory) }) != nil else { return }
    try drop([place])
    history.delete(ModelTrashItem(inode: inode!, place: place, second: clock, before: before), by: operation, leaving: tree)
  }

  /// rm -r
  func removeTree() throws {
    let all = tree.places.filter { tree[tree[$0]!].isDirectory }
    guard !all.isEmpty else { return }
    try tick(Self.pause)
    let place = random.pick(all), before = tree, earlier = vault.present.value
    try attempt("rm -r \(text(place))") { try vault.removeTree(place.name, in: place.directory) }
    try dropTree(place)
    try noteDeleted(before, since: earlier)
  }

  /// What was put into the trash just now by one step.
  func noteDeleted(_ before: ModelTree, since earlier: UInt64) throws {
    for item in try vault.trash() where item.id > earlier {
      let place = ModelTree.Place(directory: InodeNumber(item.parent), name: item.name)
      try require(before[place]?.value == item.inode, "\(text(place)) is in the trash, and was not deleted")
      history.delete(ModelTrashItem(inode: InodeNumber(item.inode), place: place, second: clock, before: before), by: item.id, leaving: tree)
    }
  }

  func dropTree(_ place: ModelTree.Place) throws {
    for name in tree[tree[place]!].children.keys { try dropTree(ModelTree.Place(directory: tree[place]!, name: name)) }
    try drop([place])
  }

  /// Takes names away that are gone in the vault. Which of its other names a node is charged at then, the vault is asked.
  func drop(_ places: [ModelTree.Place]) throws {
    for place in places {
      let inode = tree[place]!
      if tree.remove(place, isHeld: isHeld) { tree[inode].home = nil }
      if tree.nodes[inode] == nil { unsaved[inode] = nil }
    }
    try findHomes()
  }

  func findHomes() throws {
    for inode in tree.files where tree[inode].home == nil {
      let homes = try tree.places(of: inode).filter { try isHome($0, of: inode) }
      // While a tree is on its way out, the name may be one that is gone already.
      tree[inode].home = homes.first ?? tree.places(of: inode).first
    }
  }

  private func isHome(_ place: ModelTree.Place, of inode: InodeNumber) throws -> Bool {
    try vault.lock.withLock { () throws in
      guard let row = try vault.metadata.entry(place.name, in: place.directory), row.inode == inode else { return false }
      return try vault.metadata.isHome(Metadata.Place(parent: place.directory, cookie: row.cookie), of: try vault.metadata.node(inode))
    }
  }

  // MARK: Attributes

  func changeAttributes() throws {
    let inode = random.pick(tree.directories + tree.files), node = tree[inode]
    switch random.below(4) {
    case 0:
      let mode = UInt32(random.below(0o1000))
      var change = AttributeChange()
      change.mode = mode
      try attempt("chmod \(inode.value)") { _ = try vault.change(inode, change) }
      tree[inode].mode = node.type | mode
    case 1, 2:
      let user = UInt32(random.below(3)), group = random.chance(50) ? UInt32(random.below(3)) : nil
      let subjects: [QuotaSubject] = (user == node.user ? [] : [.user(user)]) + (group == nil || group == node.group ? [] : [.group(group!)])
      let refusal = limits.refusal(subjects, adding: node.own, tree, at: clock)
      guard try attempt("chown \(inode.value) to \(user):\(group ?? node.group)", refusal, { try vault.own(inode, user: user, group: group) }) != nil else { return }
      (tree[inode].user, tree[inode].group) = (user, group ?? node.group)
    default:
      let name = [UInt8]("user.\(random.below(3))")
      if random.chance(60) {
        let value = random.bytes(random.below(random.chance(10) ? 9000 : 40))
        try attempt("setxattr \(inode.value)") { try vault.setXattr(name, of: inode, to: value, mode: .set, by: root) }
        tree[inode].xattrs[name] = value
      } else {
        try attempt("removexattr \(inode.value)", node.xattrs[name] == nil ? .attributeMissing : nil) { try vault.removeXattr(name, of: inode) }
        tree[inode].xattrs[name] = nil
      }
    }
  }
}
