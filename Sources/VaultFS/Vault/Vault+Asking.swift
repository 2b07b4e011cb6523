// Whether what is in a tree may go, and what was may come back, when somebody takes it back who may not do everything.
//
// What must stay true: nothing goes that was not asked for: neither what was there, nor what others made or moved there meanwhile
// (`Watch`). Others wait for so many at a time only, however busy they are.

import Glibc

extension RestoreOptions {
  /// Whether what is there may become something else, or go. The vault's lock is held.
  func check(_ node: Node, _ metadata: Metadata) throws(VaultError) {
    if let mayReplace, try !mayReplace(node.info, metadata.protection(of: node)) { throw .notPermitted }
  }

  /// Whether what was may come back. The vault's lock is held.
  /// - Parameter now: what becomes that, if anything does.
  func checkReturn(_ past: Node, _ metadata: Metadata, now: Node? = nil) throws(VaultError) {
    if let mayReturn, try !mayReturn(past.info, metadata.isRootsToGive(past), now?.info) { throw .notPermitted }
  }
}

extension Metadata {
  /// Whether a node has what only root can give: it is a device, or has attributes as file capabilities are.
  fileprivate func isRootsToGive(_ node: Node) throws(VaultError) -> Bool {
    if [S_IFCHR, S_IFBLK].contains(node.mode & S_IFMT) { return true }
    guard node.hasXattrs else { return false }
    return try xattrNames(of: node).contains { name in ["security.", "trusted."].contains { name.starts(with: $0.utf8) } }
  }
}

extension Vault {
  // MARK: What was

  /// Of a node as it was, and all below it.
  func askPast(_ inode: InodeNumber, at moment: LSN, _ options: RestoreOptions) throws(VaultError) {
    if options.mayReturn == nil { return }
    var waiting = [inode], seen: Set<InodeNumber> = []
    // (A damaged past may go in a circle.)
    while let next = waiting.popLast() {
      guard seen.insert(next).inserted else { continue }
      try options.goOn()
      let isDirectory = try lock.withLock { () throws(VaultError) in
        guard let past = try metadata.node(next, at: moment) else { return false }
        try options.checkReturn(past, metadata)
        return past.isDirectory
      }
      if isDirectory { waiting += try allEntriesAt(next, moment).filter { $0.info != nil }.map(\.inode) }
      letOthers()
    }
  }

  /// Of all that would come back, or become what it was.
  func askReturning(_ difference: TreeDifference, at moment: LSN, _ options: RestoreOptions) throws(VaultError) {
    if options.mayReturn == nil { return }
    for (number, (inode, change)) in difference.changed.enumerated() {
      if number % Self.seenPerHold == 0 { letOthers() }
      try lock.withLock { () throws(VaultError) in
        if let past = try metadata.node(change.source, at: moment) { try options.checkReturn(past, metadata, now: try metadata.nodeIfThere(inode)) }
      }
    }
    for entries in difference.absent.values { for entry in entries { try askPast(entry.inode, at: moment, options) } }
  }

  // MARK: What is there

  /// - Throws: `.notPermitted` where something below `directory` may not go.
  func askAll(below directory: InodeNumber, _ options: RestoreOptions) throws(VaultError) {
    if options.mayReplace == nil { return }
    var waiting = [directory]
    while let inode = waiting.popLast() {
      try options.goOn()
      try lock.withLock { () throws(VaultError) in try options.check(try metadata.node(inode), metadata) }
      for entry in try allEntries(of: inode) {
        if entry.type == S_IFDIR {
          waiting.append(entry.inode)
          continue
        }
        try lock.withLock { () throws(VaultError) in if let node = try metadata.nodeIfThere(entry.inode) { try options.check(node, metadata) } }
      }
      letOthers()
    }
  }

  private static let seenPerHold = 500

  /// Of what others have changed since: most of it is asked for before all must wait for the rest.
  func askSeen(_ watch: Watch, below root: InodeNumber, _ options: RestoreOptions) throws(VaultError) {
    guard options.mayReplace != nil else { return }
    var isMore = true
    while isMore {
      try options.goOn()
      var moved: [InodeNumber] = []
      isMore = try lock.withLock { () throws(VaultError) in
        var places: [InodeNumber: Bool] = [root: true]
        for _ in 0..<Self.seenPerHold {
          guard let inode = watch.takeUnasked() else { return false }
          if try ask(inode, watch, &places, options) { moved.append(inode) }
        }
        return true
      }
      // (Where something of it goes meanwhile, the rest is not passed over: all is begun anew.)
      for inode in moved { try askAll(below: inode, options) }
      letOthers()
    }
  }

  /// Of the last of it. `lock` is held.
  /// - Returns: false where something came with more in it than can be looked at now.
  func askLast(_ watch: Watch, below root: InodeNumber, _ options: RestoreOptions) throws(VaultError) -> Bool {
    guard options.mayReplace != nil else { return true }
    var places: [InodeNumber: Bool] = [root: true]
    while let inode = watch.takeUnasked() {
      guard try ask(inode, watch, &places, options) else { continue }
      watch.note(inode)
      watch.noteMoved(inode)
      return false
    }
    return true
  }

  /// `lock` is held.
  /// - Parameter places: of directories, whether they are in the tree, where that is known.
  /// - Returns: whether it came with something in it that is to be asked for.
  private func ask(_ inode: InodeNumber, _ watch: Watch, _ places: inout [InodeNumber: Bool], _ options: RestoreOptions) throws(VaultError) -> Bool {
    // (What is made or changed in a directory outside is asked for when that comes.)
    guard let node = try metadata.nodeIfThere(inode), node.links > 0, try isInTree(node, &places) else { return false }
    try options.check(node, metadata)
    return node.isDirectory && watch.takeMoved(inode) && node.entries > 0
  }

  /// What is put together aside is nobody's yet.
  private func isInTree(_ node: Node, _ places: inout [InodeNumber: Bool]) throws(VaultError) -> Bool {
    var way: Set<InodeNumber> = [], at = node.isDirectory ? node.inode : node.parent, isIn: Bool?
    while isIn == nil {
      if let known = places[at] { isIn = known } else if at == .root || metadata.state.staging.contains(at) { isIn = false } else {
        // (A damaged tree may go in a circle.)
        guard way.insert(at).inserted, let above = try metadata.nodeIfThere(at) else { return false }
        at = above.parent
      }
    }
    for inode in way { places[inode] = isIn }
    return isIn!
  }
}
