// Entries: looking up, making, linking, removing, renaming, listing.

import Glibc
import Synchronization

extension Vault {
  /// What a name stands for; nil if for nothing.
  public func lookup(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) -> NodeInfo? { try lookup(name, in: parent, isOurs: false) }

  /// - Parameter isOurs: also what is being put together (Metadata.isStaged).
  func lookup(_ name: [UInt8], in parent: InodeNumber, isOurs: Bool) throws(VaultError) -> NodeInfo? {
    try checkName(name)
    return try lock.withLock { () throws(VaultError) in
      _ = try metadata.directory(parent)
      guard let row = try metadata.entry(name, in: parent), isOurs || !metadata.isStaged(row) else { return nil }
      return try metadata.node(row.inode).info
    }
  }

  /// The directory above a directory (the root's is itself).
  public func parent(of directory: InodeNumber) throws(VaultError) -> InodeNumber {
    try lock.withLock { () throws(VaultError) in try metadata.directory(directory).parent }
  }

  /// Makes a node of the type in `mode`, with a name.
  /// - Parameter target: a symlink's.
  /// - Parameter opening: counts as opened at once.
  public func create(_ name: [UInt8], in parent: InodeNumber, mode: UInt32, device: UInt64 = 0, target: [UInt8] = [],
                     opening: Bool = false, by requester: Requester) throws(VaultError) -> NodeInfo {
    try checkName(name)
    try checkSpace()
    if target.count > Limits.targetBytesMax { throw .nameTooLong }
    return try withinQuotas { () throws(VaultError) in try lock.withLock { () throws(VaultError) in
      let directory = try metadata.directory(parent)
      if directory.links == 0 { throw .notFound }
      try metadata.checkFree(name, in: parent)
      var mode = mode, xattrs: [XattrPair] = []
      try inherit(from: directory, &mode, &xattrs, requester)
      let setgid = directory.mode & S_ISGID != 0
      if setgid && mode & S_IFMT == S_IFDIR { mode |= S_ISGID }
      if mode & S_IFMT == S_IFDIR, directory.links >= Limits.linksMax { throw .tooManyLinks }
      let node = NewNode(inode: try metadata.nextInode, mode: mode, user: requester.user,
                         group: setgid ? directory.group : requester.group, device: device, target: target, xattrs: xattrs)
      try checkQuotas(user: node.user, group: node.group, home: parent, adding: Usage(nodes: 1))
      try beginEpoch()
      try perform(.create(node, parent: parent, name: name, time: Self.now()))
      let made = try metadata.node(node.inode)
      if opening { made.openCount += 1 }
      return made.info
    } }
  }

  /// The first node that this opening of the vault makes begins an epoch. `lock` is held.
  func beginEpoch() throws(VaultError) {
    guard !hasEpoch else { return }
    try perform(.epoch(key: UInt64.random(in: 1 ... .max)))
    hasEpoch = true
  }

  /// What names the node on every device.
  public func id(of inode: InodeNumber) throws(VaultError) -> NodeID {
    try lock.withLock { () throws(VaultError) in
      let select = metadata.statements.selectEpoch
      select.bind(1, try metadata.node(inode).epoch)
      defer { select.reset() }
      guard try select.step() else { throw metadata.damaged("the epoch of node \(inode.value)") }
      return NodeID(high: select.unsigned(0), low: inode.value)
    }
  }

  /// The umask, or in its place the parent's default ACL.
  private func inherit(from directory: Node, _ mode: inout UInt32, _ xattrs: inout [XattrPair], _ requester: Requester) throws(VaultError) {
    if mode & S_IFMT == S_IFLNK { return }
    guard let bytes = try metadata.xattr(AccessControlList.defaultName, of: directory), let list = AccessControlList(bytes), !list.isEmpty else {
      return mode &= ~(requester.umask & 0o777)
    }
    let child: AccessControlList
    (child, mode) = list.inherited(mode: mode)
    if !child.isMinimal { xattrs.append(XattrPair(name: AccessControlList.accessName, value: child.bytes)) }
    if mode & S_IFMT == S_IFDIR { xattrs.append(XattrPair(name: AccessControlList.defaultName, value: bytes)) }
  }

  public func link(_ inode: InodeNumber, as name: [UInt8], in parent: InodeNumber) throws(VaultError) -> NodeInfo {
    try checkName(name)
    try checkSpace()
    return try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode), directory = try metadata.directory(parent)
      if node.isDirectory { throw .notPermitted }
      if directory.links == 0 || node.links == 0 { throw .notFound }
      if node.links >= Limits.linksMax { throw .tooManyLinks }
      try metadata.checkFree(name, in: parent)
      try checkQuotas(placing: node, in: directory)
      try perform(.link(inode, parent: parent, name: name, time: Self.now()))
      return node.info
    }
  }

  public func unlink(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) {
    try remove(name, in: parent, directory: false, isOurs: false)
  }
  public func removeDirectory(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) {
    try remove(name, in: parent, directory: true, isOurs: false)
  }

  /// - Parameter isOurs: nobody asked for it through the kernel, which may remember the node and not say when it forgets it: it
  ///   ends at once, unless it is open.
  func remove(_ name: [UInt8], in parent: InodeNumber, directory: Bool, isOurs: Bool) throws(VaultError) {
    try checkName(name)
    if !directory, !isOurs { try saveWhatEnds(name, in: parent) }
    let (ended, other) = try lock.withLock { () throws(VaultError) in
      _ = try metadata.directory(parent)
      guard let row = try metadata.entry(name, in: parent), isOurs || !metadata.isStaged(row) else { throw .notFound }
      let node = try metadata.node(row.inode)
      if directory {
        if !node.isDirectory { throw .notADirectory }
        if node.entries > 0 { throw .directoryNotEmpty }
      } else if node.isDirectory { throw .isADirectory }
      if isOurs, node.isDirectory || node.links == 1 { try noteGone(node, from: parent) }
      try perform(.unlink(parent: parent, name: name, drops: endsWithItsNames(node, isOurs), time: Self.now()))
      return (noteUnlinked(node, isOurs), isOurs && node.links > 0 ? node.inode : nil)
    }
    if let ended { try dropOrphan(ended) }
    if let other { unsafe whenModeChanges?(other) }
  }

  /// What programs have written by now into the file that is about to lose its last name is in the trash with the rest.
  private func saveWhatEnds(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) {
    let file: OpenFile? = try lock.withLock { () throws(VaultError) in
      guard !unsaved.isEmpty, metadata.state.history.isOn, let row = try metadata.entry(name, in: parent), let node = unsaved[row.inode], node.links == 1 else { return nil }
      return node.draft.map { OpenFile(node, $0) }
    }
    // Where it cannot be saved, it is deleted all the same.
    if let file { try? save(file) }
  }

  /// How `rename` treats a target that exists.
  public enum RenameMode: Sendable { case replace, noReplace, exchange }

  public func rename(_ name: [UInt8], in parent: InodeNumber, to newName: [UInt8], in newParent: InodeNumber,
                     mode: RenameMode) throws(VaultError) {
    try rename(name, in: parent, to: newName, in: newParent, mode: mode, isOurs: false)
  }

  func rename(_ name: [UInt8], in parent: InodeNumber, to newName: [UInt8], in newParent: InodeNumber, mode: RenameMode, isOurs: Bool) throws(VaultError) {
    try checkName(name)
    try checkName(newName)
    // Without an fsync a rename over a file must still give the old content or the new, whole (promise 2).
    let (moved, other) = try lock.withLock { () throws(VaultError) in
      (try metadata.entry(name, in: parent)?.inode, try metadata.entry(newName, in: newParent)?.inode)
    }
    if let moved {
      do throws(VaultError) { try save(moved) } catch {
        // On a full disk names still change, where nothing whole gives way to what cannot be saved: that stays in memory, and
        // its writer hears of it.
        guard case .diskFull = error, other == nil || mode == .exchange else { throw error }
      }
    }
    if mode == .replace, other != nil, other != moved { try saveWhatEnds(newName, in: newParent) }
    let ended = try withinQuotas([moved, mode == .exchange ? other : nil].compactMap { $0 }) { () throws(VaultError) in try lock.withLock { () throws(VaultError) -> InodeNumber? in
      let from = try metadata.directory(parent), to = try metadata.directory(newParent)
      guard let row = try metadata.entry(name, in: parent), isOurs || !metadata.isStaged(row) else { throw .notFound }
      if to.links == 0 { throw .notFound }
      let node = try metadata.node(row.inode)
      if node.isDirectory, try isWithin(to, node) { throw .crossesIntoItself }
      let old = try metadata.entry(newName, in: newParent)
      if let old, metadata.isStaged(old) { throw .directoryNotEmpty }
      switch mode {
      case .exchange:
        guard let old else { throw .notFound }
        let other = try metadata.node(old.inode)
        if other.isDirectory, try isWithin(from, other) { throw .crossesIntoItself }
        if other !== node {
          let places = (Metadata.Place(parent: parent, cookie: row.cookie), Metadata.Place(parent: newParent, cookie: old.cookie))
          try checkQuotas(placing: node, from: places.0, in: to, over: other)
          try checkQuotas(placing: other, from: places.1, in: from, over: node)
          try perform(.exchange(parent: parent, name: name, newParent: newParent, newName: newName, time: Self.now()))
        }
      case .noReplace where old != nil: throw .alreadyExists
      case .replace, .noReplace:
        var drops = false, replaced: Node?
        if let old {
          let target = try metadata.node(old.inode)
          if target === node { return nil }
          try checkReplaceable(target, by: node)
          drops = endsWithItsNames(target)
          replaced = target
        } else {
          if node.isDirectory, from !== to, to.links >= Limits.linksMax { throw .tooManyLinks }
          try metadata.checkFree(newName, in: newParent)
        }
        try checkQuotas(placing: node, from: Metadata.Place(parent: parent, cookie: row.cookie), in: to, over: replaced)
        try perform(.rename(parent: parent, name: name, newParent: newParent, newName: newName, drops: drops, time: Self.now()))
        return replaced.flatMap { noteUnlinked($0) }
      }
      return nil
    } }
    if let ended { try dropOrphan(ended) }
  }

  private func checkReplaceable(_ target: Node, by node: Node) throws(VaultError) {
    switch (node.isDirectory, target.isDirectory) {
    case (true, false): throw .notADirectory
    case (false, true): throw .isADirectory
    case (true, true): if target.entries > 0 { throw .directoryNotEmpty }
    case (false, false): break
    }
  }

  /// Whether `directory` is `ancestor` or below it.
  private func isWithin(_ directory: Node, _ ancestor: Node) throws(VaultError) -> Bool {
    // `mark`: where it was after 1, 2, 4, 8… steps. A damaged chain that goes in a circle comes back there.
    var at = directory, mark = directory, steps = 0
    while at !== ancestor {
      if at.inode == .root { return false }
      at = try metadata.node(at.parent)
      if at === mark { throw metadata.damaged("the directories above node \(at.inode.value) go in a circle") }
      steps += 1
      if steps & (steps - 1) == 0 { mark = at }
    }
    return true
  }

  /// Whether the node ends with its last name, in the same operation: nobody would miss it, and it is not long.
  func endsWithItsNames(_ node: Node, _ isOurs: Bool = false) -> Bool { unsafe node.openCount == 0 && (isOurs || !awaitsForget) && !node.paged }

  /// `lock` is held.
  /// - Returns: the node, where it is to be dropped as soon as `lock` is not held.
  func noteUnlinked(_ node: Node, _ isOurs: Bool = false) -> InodeNumber? {
    guard node.links == 0, !node.isDropped else { return nil }
    orphans.insert(node.inode)
    if isOurs { node.isForgotten = true }
    return unsafe node.openCount > 0 || awaitsForget && !isOurs ? nil : node.inode
  }

  /// What the root of a mount shows under this name is made up: no entry of the root has it.
  public static let pastName = Array(".vaultfs".utf8)

  func checkName(_ name: [UInt8]) throws(VaultError) {
    if name.count > Limits.nameBytesMax { throw .nameTooLong }
    if name.isEmpty || name.contains(0) || name.contains(0x2F) || name == [0x2E] || name == [0x2E, 0x2E] { throw .nameInvalid }
  }
}

/// One line of a directory's listing.
public struct DirectoryEntry: Sendable {
  public var name: [UInt8]
  /// Where a listing that stops after this entry goes on. Stable for as long as the entry lives.
  public var cookie: UInt64
  public var inode: InodeNumber
  /// Type bits, as in `st_mode`.
  public var type: UInt32
  /// There where it was asked for and the node can be read.
  public var info: NodeInfo?
}

extension Vault {
  /// Entries after `cookie` (0: from the start), without `.` and `..`.
  public func list(_ directory: InodeNumber, after cookie: UInt64, count: Int, withInfo: Bool) throws(VaultError) -> [DirectoryEntry] {
    var damage: VaultError?
    let entries = try lock.withLock { () throws(VaultError) in
      _ = try metadata.directory(directory)
      let rows = try metadata.entries(of: directory, after: max(cookie, Metadata.cookieFirst - 1), count: count)
      var entries: [DirectoryEntry] = []
      entries.reserveCapacity(rows.count)
      for row in rows where !metadata.isStaged(row) {
        var entry = DirectoryEntry(name: row.name, cookie: row.cookie, inode: row.inode, type: row.type)
        // A node that cannot be read must not hide its neighbours: its name is listed all the same.
        if withInfo { do throws(VaultError) { entry.info = try metadata.node(row.inode).info } catch { damage = named(error, row.inode) } }
        entries.append(entry)
      }
      return entries
    }
    if let damage { report(damage) }
    return entries
  }

  private func named(_ error: VaultError, _ inode: InodeNumber) -> VaultError {
    if case .staleNode = error { return metadata.damaged("node \(inode.value) is listed and not there") }
    return error
  }
}
