// Nodes that were made from the past of others, when something was taken back: they go on where those ended.
//
// What must stay true: a number never comes back, so a node that is gone cannot; the one made in its place names it, for as
// long as there is anything of the new one.

import Glibc

extension Metadata {
  /// More than anybody takes a thing back. (A damaged chain may go in a circle.)
  private static let chainMax = 1000

  /// - Parameter isCopy: it is not instead of what it was made from.
  func noteOrigin(of inode: InodeNumber, _ source: InodeNumber, _ lsn: LSN, isCopy: Bool = false) throws(VaultError) {
    statements.insertOrigin.bind(1, inode.value)
    statements.insertOrigin.bind(2, source.value)
    statements.insertOrigin.bind(3, lsn.value)
    statements.insertOrigin.bind(4, isCopy ? 1 : 0)
    try statements.insertOrigin.run()
  }

  struct Origin {
    let inode: InodeNumber
    /// The operation that made the next one of it; and whether that is only a copy.
    let made: LSN
    let isCopy: Bool
  }

  /// What a node was made from, the nearest first.
  func origins(of inode: InodeNumber) throws(VaultError) -> [Origin] {
    var found: [Origin] = [], at = inode
    while found.count < Self.chainMax {
      statements.selectOrigin.bind(1, at.value)
      defer { statements.selectOrigin.reset() }
      guard try statements.selectOrigin.step() else { break }
      at = InodeNumber(statements.selectOrigin.unsigned(0))
      found.append(Origin(inode: at, made: LSN(statements.selectOrigin.unsigned(1)), isCopy: statements.selectOrigin.unsigned(2) != 0))
    }
    return found
  }

  /// What a node goes on from: what it, or that, is only a copy of has a past of its own.
  func formerSelves(of inode: InodeNumber) throws(VaultError) -> some Sequence<Origin> {
    try origins(of: inode).prefix { !$0.isCopy }
  }

  /// A node with a name that goes on from one that is gone: the one in its place, else the newest; nil where there is none. What was
  /// made while the other was there is a copy of it, and no more, whatever it was made as.
  func successor(of inode: InodeNumber) throws(VaultError) -> InodeNumber? {
    let select = try database.prepare("SELECT inode FROM origin WHERE source = ?1 AND NOT copy AND made >= ifnull((SELECT max(died) FROM trash WHERE inode = ?1), 0) ORDER BY inode DESC")
    var waiting = [inode], seen: Set<InodeNumber> = [inode], newest: InodeNumber?
    while let source = waiting.popLast(), seen.count < Self.chainMax {
      select.bind(1, source.value)
      defer { select.reset() }
      while try select.step() {
        let next = InodeNumber(select.unsigned(0))
        guard try isNamed(next) else {
          if seen.insert(next).inserted { waiting.append(next) }
          continue
        }
        if try isInPlace(next, of: source) { return next }
        newest = newest ?? next
      }
    }
    return newest
  }

  /// The directory, or what was made of it when it was taken back, where that is there.
  func living(_ directory: InodeNumber) throws(VaultError) -> InodeNumber? {
    if directory == .root { return directory }
    return try isNamed(directory) ? directory : successor(of: directory)
  }

  /// Whether a node has the name that one had which is gone, in the directory that had it or goes on from that.
  private func isInPlace(_ inode: InodeNumber, of gone: InodeNumber) throws(VaultError) -> Bool {
    let was = try database.prepare("SELECT parent, name FROM trash WHERE inode = ? ORDER BY died DESC LIMIT 1")
    was.bind(1, gone.value)
    guard try was.step() else { return false }
    let place = InodeNumber(was.unsigned(0)), parent = try node(inode).parent
    guard try entry(was.bytes(1), in: parent)?.inode == inode else { return false }
    if parent == place { return true }
    return try origins(of: parent).contains { $0.inode == place }
  }

  /// Whether what was deleted with the operation `died` was taken back since, and what was made then is there or in the trash itself.
  func wasTakenBack(_ inode: InodeNumber, after died: LSN) throws(VaultError) -> Bool {
    let select = try database.prepare("SELECT 1 FROM origin WHERE source = ? AND made > ? AND NOT copy LIMIT 1")
    select.bind(1, inode.value)
    select.bind(2, died.value)
    return try select.step()
  }

  // MARK: Staging

  /// In this directory a tree is put together that is to come to its place when it is whole. (What it is called is of no matter:
  /// anybody may call something so.)
  func beginStaging(_ directory: Node) throws(VaultError) {
    state.staging.insert(directory.inode)
    try statements.insertStaging.run(directory.inode)
  }

  /// Whether a name is that of such a directory: nobody else sees it, nor reaches what is in it.
  func isStaged(_ row: EntryRow) -> Bool { !state.staging.isEmpty && state.staging.contains(row.inode) }

  /// Calls `body` with a node that counts no such directories.
  func withoutStaging<R>(_ node: Node, _ body: (Node) -> R) throws(VaultError) -> R {
    var hidden: UInt32 = 0
    if node.isDirectory { for inode in state.staging { if try nodeIfThere(inode)?.parent == node.inode { hidden += 1 } } }
    node.links -= min(hidden, node.links)
    node.entries -= min(.init(hidden), node.entries)
    defer {
      node.links += hidden
      node.entries += .init(hidden)
    }
    return body(node)
  }

  /// What has its name in `directory` for as long as a tree is taken back was, or will be, in the one that this goes on from.
  func placeTold(of directory: Node) throws(VaultError) -> InodeNumber {
    guard state.staging.contains(directory.parent), !state.staging.contains(directory.inode) else { return directory.inode }
    return try origins(of: directory.inode).first?.inode ?? directory.inode
  }

  /// What was put together has its name now, or is gone. Does nothing for any other node.
  func endStaging(_ node: Node) throws(VaultError) {
    if state.staging.remove(node.inode) != nil { try statements.deleteStaging.run(node.inode) }
  }

  /// Whether `node`, whose name `row` in `parent` is about to go, is lost by that and belongs into the trash. What was put together and is
  /// given up is not, nor is what gave way to something that goes on from it.
  func isLoss(_ row: EntryRow, of node: Node, in parent: Node) throws(VaultError) -> Bool {
    if state.staging.isEmpty { return true }
    let place = try stagingPlace(of: parent)
    guard let staging = state.staging.contains(node.inode) ? node : place?.staging else { return true }
    let way = place?.way ?? []
    let began = try origins(of: staging.inode).first?.made ?? .zero
    func isOurs(_ node: Node) throws(VaultError) -> Bool { try origins(of: node.inode).first.map { $0.made >= began } ?? false }
    var isGivenUp = way.isEmpty
    if !isGivenUp { isGivenUp = try isOurs(node) }
    if isGivenUp {
      if node.isDirectory || node.links == 1 { try statements.deleteOrigin.run(node.inode) }
      return false
    }
    // What has more names was one of those that stay, and lent its name; or goes on under another.
    if !node.isDirectory, node.links > 1, try isOurs(way[0]) { return false }
    if try goesOn(row, of: node, by: way) { return false }
    return try !isSucceeded(node.inode, after: began)
  }

  /// The staging directory that `directory` is in, and the way from it up to there: its ends are the place in the staging directory
  /// that it is in, and itself.
  private func stagingPlace(of directory: Node) throws(VaultError) -> (staging: Node, way: [Node])? {
    if state.staging.isEmpty { return nil }
    var way: [Node] = [], staging: Node?
    try eachDirectory(from: directory.inode) { directory in
      if staging != nil { return }
      if state.staging.contains(directory.inode) { staging = directory } else { way.append(directory) }
    }
    return staging.map { ($0, way) }
  }

  /// The operation that put a name in `parent` aside, with all around it; zero where it is in no staging directory.
  func whenSetAside(_ row: EntryRow, in parent: Node) throws(VaultError) -> LSN {
    guard let way = try stagingPlace(of: parent)?.way, !way.isEmpty else { return .zero }
    if way.count == 1 { return row.born }
    let select = try database.prepare("SELECT born FROM entry WHERE inode = ? AND type = \(S_IFDIR)")
    select.bind(1, way[way.count - 2].inode.value)
    return try select.step() ? LSN(select.unsigned(0)) : .zero
  }

  /// Whether what has its place in the tree now goes on from it. Where both were made of the same, it does from now on.
  /// - Parameter way: from its directory up to the place in the staging directory that it is in.
  private func goesOn(_ row: EntryRow, of node: Node, by way: [Node]) throws(VaultError) -> Bool {
    guard var at = try way.last.map({ place throws(VaultError) in try placeTold(of: place) }) else { return false }
    let select = try database.prepare("SELECT name FROM entry WHERE inode = ? AND type = \(S_IFDIR)")
    for directory in way.dropLast().reversed() {
      select.bind(1, directory.inode.value)
      defer { select.reset() }
      guard try select.step(), let next = try entry(select.bytes(0), in: at) else { return false }
      at = next.inode
    }
    guard let now = try entry(row.name, in: at)?.inode else { return false }
    let older = try origins(of: node.inode), newer = try origins(of: now)
    if now == node.inode || older.contains(where: { $0.inode == now }) || newer.contains(where: { $0.inode == node.inode }) { return true }
    guard let shared = older.firstIndex(where: { one in newer.contains { $0.inode == one.inode } }) else { return false }
    // Both were made of the same: from now on the one goes on from the other, and that from what the one did.
    let last = shared == 0 ? node.inode : older[shared - 1].inode, next = newer[0].inode
    if next != older[shared].inode { try noteOrigin(of: last, next, older[shared].made, isCopy: older[shared].isCopy) }
    try noteOrigin(of: now, node.inode, state.applied.next)
    return true
  }

  /// Whether something was made of a node since, wherever that is: but for the places that things are put together in.
  private func isSucceeded(_ inode: InodeNumber, after moment: LSN) throws(VaultError) -> Bool {
    let select = try database.prepare("SELECT inode FROM origin WHERE source = ? AND made > ? AND NOT copy")
    select.bind(1, inode.value)
    select.bind(2, moment.value)
    while try select.step() { if let next = try nodeIfThere(InodeNumber(select.unsigned(0))), !state.staging.contains(next.parent) { return true } }
    return false
  }

  /// Whether the node is there and has a name.
  func isNamed(_ inode: InodeNumber) throws(VaultError) -> Bool {
    do throws(VaultError) { return try node(inode).links > 0 } catch { if case .staleNode = error { return false } else { throw error } }
  }
}
