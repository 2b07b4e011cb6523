// Taking back what was: a file in place, a file or a whole tree under a name, what was deleted.
//
// What must stay true: taking something back is a change like any other: an operation of the journal, and what it
// replaces becomes the past. Content comes back by reference, whatever its size. A tree appears under its name when all
// of it is there.

import Glibc

/// What taking back a tree came to.
public struct Restored: Sendable, Hashable, Codable {
  /// Files, directories and others that are what they were.
  public var nodes: UInt64
  /// Names that were there then and lead to nothing that is kept: how many, and some of them.
  public var missing: UInt64 = 0
  public var missingNames: [[UInt8]] = []
  public init(nodes: UInt64 = 0) { self.nodes = nodes }
}

extension Vault {
  /// A file becomes what it, or another one, was at a moment: content, attributes, mode and owner.
  /// - Parameter keepsPrivileges: false: without the set-user-ID and set-group-ID bits it had.
  public func restore(_ inode: InodeNumber, from source: InodeNumber, at moment: LSN, keepsPrivileges: Bool = true) throws(VaultError) {
    try checkSpace()
    let file = try open(inode)
    defer { close(file) }
    var changed: [Range<UInt64>] = []
    try withinQuotas { () throws(VaultError) in try quiescent(file) { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        guard let past = try metadata.node(source, at: moment) else { throw .notFound }
        guard past.isRegular else { throw .notSupported }
        try checkQuotas(for: file.node, becoming: past)
        changed = try metadata.differences(between: file.node, and: past)
        try perform(.restore(inode, from: source, moment: moment, attributes: attributes(of: past, keepsPrivileges)))
      }
    } }
    unsafe whenContentChanges?(inode, changed)
  }

  private func attributes(of past: Node, _ keepsPrivileges: Bool = true) -> AttributeSet {
    AttributeSet(mode: mode(of: past, keepsPrivileges) & 0o7777, user: past.user, group: past.group, accessed: past.accessed, modified: past.modified, changed: Self.now())
  }

  private func mode(of past: Node, _ keepsPrivileges: Bool) -> UInt32 {
    past.isRegular && !keepsPrivileges ? past.mode & ~(S_ISUID | S_ISGID) : past.mode
  }

  /// Whether a node had what only root can give: it was a device, or had attributes as file capabilities are.
  public func wasRootsToGive(_ inode: InodeNumber, at moment: LSN) throws(VaultError) -> Bool {
    try lock.withLock { () throws(VaultError) in
      guard let past = try metadata.node(inode, at: moment) else { return false }
      if [S_IFCHR, S_IFBLK].contains(past.mode & S_IFMT) { return true }
      guard past.hasXattrs else { return false }
      return try metadata.xattrNames(of: past).contains { name in ["security.", "trusted."].contains { name.starts(with: $0.utf8) } }
    }
  }

  /// Makes a node anew, with all below it, as it was at a moment.
  /// - Throws: `.alreadyExists` where the name is taken; then nothing has changed.
  @discardableResult
  public func revive(_ source: InodeNumber, at moment: LSN, as name: [UInt8], in parent: InodeNumber) throws(VaultError) -> InodeNumber {
    var restored = Restored()
    return try revive(source, at: moment, as: name, in: parent, &restored)
  }

  /// - Parameter keepsPrivileges: false: files come without the set-user-ID and set-group-ID bits they had.
  /// - Parameter restored: what came back.
  @discardableResult
  public func revive(_ source: InodeNumber, at moment: LSN, as name: [UInt8], in parent: InodeNumber, keepsPrivileges: Bool = true,
                     _ restored: inout Restored) throws(VaultError) -> InodeNumber {
    try checkName(name)
    try checkSpace()
    defer { unsafe whenNameChanges?(name, parent) }
    let isDirectory = try info(source, at: moment).mode & S_IFMT == S_IFDIR
    try lock.withLock { () throws(VaultError) in try metadata.checkFree(name, in: parent) }
    restored = Restored(nodes: 1)
    guard isDirectory else { return try reviveOne(source, moment, name, parent, keepsPrivileges: keepsPrivileges) }
    let staging = Self.stagingName()
    do throws(VaultError) {
      var revival = Revival(moment: moment, keepsPrivileges: keepsPrivileges)
      let inode = try revive(source, as: staging, in: parent, &revival)
      try lock.withLock { () throws(VaultError) in try limitAgain(revival.made, onlyOfGone: true) }
      try rename(staging, in: parent, to: name, in: parent, mode: .noReplace)
      restored = revival.done
      return inode
    } catch {
      try? removeTree(staging, in: parent)
      throw error
    }
  }

  /// A directory becomes what it was at a moment, with all below it. It is put together aside and takes its place in one
  /// operation; then names that were not there go to the trash. What is there meanwhile counts against no limit: only
  /// what the tree takes more in the end does.
  @discardableResult
  public func restoreTree(_ directory: InodeNumber, from source: InodeNumber? = nil, at moment: LSN) throws(VaultError) -> Restored {
    let source = source ?? directory
    try checkSpace()
    guard try info(source, at: moment).mode & S_IFMT == S_IFDIR else { throw .notADirectory }
    let staging = Self.stagingName(), old = Set(try allEntries(of: directory).map(\.name))
    var revival = Revival(moment: moment, isFree: true), changed = old
    defer { for name in changed { unsafe whenNameChanges?(name, directory) } }
    do throws(VaultError) {
      let tree = try revive(source, as: staging, in: directory, &revival)
      let restored = Set(try allEntries(of: tree).map(\.name))
      changed.formUnion(restored)
      var taken = Weighing(countsLinks: true), given = Weighing(countsLinks: false)
      if lock.withLock({ !metadata.state.quotas.isEmpty }) {
        try weigh(below: tree, &taken)
        try weigh(below: directory, &given, but: staging)
        // The place it was put together in comes and goes.
        let place = try info(tree)
        taken.add(place)
        given.add(place)
      }
      try withinQuotas { () throws(VaultError) in try lock.withLock { () throws(VaultError) in
        try checkQuotas(for: taken.sums, inPlaceOf: given.sums, in: directory)
        try perform(.moveEntries(from: tree, to: directory, time: Self.now()))
        try limitAgain(revival.made.filter { $0.value != tree })
      } }
      try restoreOwn(directory, from: source, at: moment)
      for name in old.subtracting(restored) { try removeTree(name, in: directory) }
      try removeTree(staging, in: directory)
      // Removing changed its times.
      try restoreOwn(directory, from: source, at: moment)
      return revival.done
    } catch {
      try? removeTree(staging, in: directory)
      throw error
    }
  }

  /// A tree's limit ended, or is about to end, with a directory that goes on as another one. `lock` is held.
  /// - Parameter made: what goes on from what.
  /// - Parameter onlyOfGone: a copy of what is there has no limit.
  private func limitAgain(_ made: [InodeNumber: InodeNumber], onlyOfGone: Bool = false) throws(VaultError) {
    for (was, now) in made {
      guard let limits = try metadata.lastLimits(ofTree: was) else { continue }
      if onlyOfGone, try metadata.isNamed(was) { continue }
      try perform(.setQuota(.tree(now), limits))
    }
  }

  /// Whether a node was made when another one was taken back, or one that was made so.
  public func isSuccessor(_ inode: InodeNumber, of source: InodeNumber) throws(VaultError) -> Bool {
    try lock.withLock { () throws(VaultError) in try metadata.origins(of: inode).contains { $0.inode == source } }
  }

  /// A directory's attributes become what they were.
  private func restoreOwn(_ directory: InodeNumber, from source: InodeNumber, at moment: LSN) throws(VaultError) {
    try lock.withLock { () throws(VaultError) in
      guard let past = try metadata.node(source, at: moment) else { throw .notFound }
      try perform(.restore(directory, from: source, moment: moment, attributes: attributes(of: past)))
    }
    unsafe whenModeChanges?(directory)
  }

  static func stagingName() -> [UInt8] { Metadata.stagingPrefix + Array("\(UInt64.random(in: 0 ... .max))".utf8) }

  /// - Parameter isFree: no limit is asked.
  func reviveOne(_ source: InodeNumber, _ moment: LSN, _ name: [UInt8], _ parent: InodeNumber, isFree: Bool = false, keepsPrivileges: Bool = true) throws(VaultError) -> InodeNumber {
    try withinQuotas { () throws(VaultError) in try lock.withLock { () throws(VaultError) in
      guard let past = try metadata.node(source, at: moment) else { throw .notFound }
      let directory = try metadata.directory(parent)
      if directory.links == 0 { throw .notFound }
      try metadata.checkFree(name, in: parent)
      let node = NewNode(inode: try metadata.nextInode, mode: mode(of: past, keepsPrivileges), user: past.user, group: past.group,
                         device: past.device, target: past.target, xattrs: [])
      if !isFree { try checkQuotas(user: past.user, group: past.group, home: parent, adding: Usage(bytes: past.allocated, nodes: 1)) }
      try beginEpoch()
      try perform(.revive(node, parent: parent, name: name, from: source, moment: moment, attributes: attributes(of: past, keepsPrivileges)))
      return node.inode
    } }
  }
}
