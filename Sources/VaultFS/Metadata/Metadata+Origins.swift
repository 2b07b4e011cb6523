// Nodes that were made from the past of others, when something was taken back: they go on where those ended.
//
// What must stay true: a number never comes back, so a node that is gone cannot; the one made in its place names it, for as
// long as there is anything of the new one.

extension Metadata {
  /// More than anybody takes a thing back. (A damaged chain may go in a circle.)
  private static let chainMax = 1000

  func noteOrigin(of inode: InodeNumber, _ source: InodeNumber, _ lsn: LSN) throws(VaultError) {
    statements.insertOrigin.bind(1, inode.value)
    statements.insertOrigin.bind(2, source.value)
    statements.insertOrigin.bind(3, lsn.value)
    try statements.insertOrigin.run()
  }

  /// What a node goes on from, the nearest first, each with the operation that made the next one of it.
  func origins(of inode: InodeNumber) throws(VaultError) -> [(inode: InodeNumber, made: LSN)] {
    var found: [(inode: InodeNumber, made: LSN)] = [], at = inode
    while found.count < Self.chainMax {
      statements.selectOrigin.bind(1, at.value)
      defer { statements.selectOrigin.reset() }
      guard try statements.selectOrigin.step() else { break }
      at = InodeNumber(statements.selectOrigin.unsigned(0))
      found.append((at, LSN(statements.selectOrigin.unsigned(1))))
    }
    return found
  }

  /// A node with a name that goes on from one that is gone; nil where there is none.
  func successor(of inode: InodeNumber) throws(VaultError) -> InodeNumber? {
    let select = try database.prepare("SELECT inode FROM origin WHERE source = ? ORDER BY inode DESC")
    var waiting = [inode], seen: Set<InodeNumber> = [inode]
    while let source = waiting.popLast(), seen.count < Self.chainMax {
      select.bind(1, source.value)
      defer { select.reset() }
      while try select.step() {
        let next = InodeNumber(select.unsigned(0))
        if try isNamed(next) { return next }
        if seen.insert(next).inserted { waiting.append(next) }
      }
    }
    return nil
  }

  /// Whether what was deleted with the operation `died` was taken back since, and what was made then is there or in the trash itself.
  func wasTakenBack(_ inode: InodeNumber, after died: LSN) throws(VaultError) -> Bool {
    let select = try database.prepare("SELECT 1 FROM origin WHERE source = ? AND made > ? LIMIT 1")
    select.bind(1, inode.value)
    select.bind(2, died.value)
    return try select.step()
  }

  /// Whether something goes on from a node.
  private func isSucceeded(_ inode: InodeNumber) throws(VaultError) -> Bool { try wasTakenBack(inode, after: .zero) }

  // MARK: Staging

  /// In this directory a tree is put together that is to come to its place when it is whole.
  func beginStaging(_ directory: Node) throws(VaultError) {
    state.staging.insert(directory.inode)
    try statements.insertStaging.run(directory.inode)
  }

  /// Whether a name is that of such a directory: nobody else sees it, nor reaches what is in it.
  func isStaged(_ row: EntryRow) -> Bool { !state.staging.isEmpty && state.staging.contains(row.inode) }

  /// What has its name in `directory` for as long as a tree is taken back was, or will be, in the one that this goes on from.
  func placeTold(of directory: Node) throws(VaultError) -> InodeNumber {
    guard state.staging.contains(directory.parent), !state.staging.contains(directory.inode) else { return directory.inode }
    return try origins(of: directory.inode).first?.inode ?? directory.inode
  }

  /// What was put together has its name now, or is gone. Does nothing for any other node.
  func endStaging(_ node: Node) throws(VaultError) {
    if state.staging.remove(node.inode) != nil { try statements.deleteStaging.run(node.inode) }
  }

  /// Whether `node`, whose name in `parent` is about to go, is lost by that and belongs into the trash. What was put together and is
  /// given up is not, nor is what gave way to something that goes on from it.
  func isLoss(_ node: Node, in parent: Node) throws(VaultError) -> Bool {
    if state.staging.isEmpty { return true }
    var staging: InodeNumber?
    try eachDirectory(from: parent.inode) { if staging == nil, state.staging.contains($0.inode) { staging = $0.inode } }
    if state.staging.contains(node.inode) { try statements.deleteOrigin.run(node.inode) }
    guard let staging else { return true }
    // It was made after the place that it was put together in.
    if node.inode.value > staging.value {
      try statements.deleteOrigin.run(node.inode)
      return false
    }
    // What has more names was one of those that stay, and lent its name; or goes on under another.
    if parent.parent == staging, !node.isDirectory, node.links > 1 { return false }
    return try !isSucceeded(node.inode)
  }

  /// Whether the node is there and has a name.
  func isNamed(_ inode: InodeNumber) throws(VaultError) -> Bool {
    do throws(VaultError) { return try node(inode).links > 0 } catch { if case .staleNode = error { return false } else { throw error } }
  }
}
