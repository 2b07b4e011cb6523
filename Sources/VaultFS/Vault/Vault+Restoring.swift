// Taking back what was: a file in place, a file or a whole tree under a name, what was deleted.
//
// What must stay true: taking something back is a change like any other: an operation of the journal, and what it
// replaces becomes the past. Content comes back by reference, whatever its size. A tree appears under its name when all
// of it is there.

import Glibc

/// Something deleted that can be taken back.
public struct TrashItem: Sendable, Hashable, Codable {
  /// The operation that deleted it: its name.
  public var id: UInt64
  public var inode: UInt64
  public var name: [UInt8]
  /// The directory it was in, and that directory's path, if there still is one.
  public var parent: UInt64
  public var place: [UInt8]?
  /// Seconds since 1970.
  public var second: Int64
  public var mode: UInt32
  public var size: UInt64
  public var user: UInt32
}

extension Vault {
  /// A file becomes what it, or another one, was at a moment: content, attributes, mode and owner.
  public func restore(_ inode: InodeNumber, from source: InodeNumber, at moment: LSN) throws(VaultError) {
    try checkSpace()
    let file = try open(inode)
    defer { close(file) }
    try withinQuotas { () throws(VaultError) in try quiescent(file) { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        guard let past = try metadata.node(source, at: moment) else { throw .notFound }
        guard past.isRegular else { throw .notSupported }
        try checkQuotas(for: file.node, becoming: past)
        try perform(.restore(inode, from: source, moment: moment, attributes: attributes(of: past)))
      }
    } }
    unsafe whenContentChanges?(inode)
  }

  private func attributes(of past: Node) -> AttributeSet {
    AttributeSet(mode: past.mode & 0o7777, user: past.user, group: past.group, accessed: past.accessed, modified: past.modified, changed: Self.now())
  }

  /// Makes a node anew, with all below it, as it was at a moment.
  /// - Throws: `.alreadyExists` where the name is taken; then nothing has changed.
  @discardableResult
  public func revive(_ source: InodeNumber, at moment: LSN, as name: [UInt8], in parent: InodeNumber) throws(VaultError) -> InodeNumber {
    try checkName(name)
    try checkSpace()
    defer { unsafe whenNameChanges?(name, parent) }
    let isDirectory = try info(source, at: moment).mode & S_IFMT == S_IFDIR
    try lock.withLock { () throws(VaultError) in try metadata.checkFree(name, in: parent) }
    guard isDirectory else { return try reviveOne(source, moment, name, parent) }
    let staging = Self.stagingName()
    var made: [InodeNumber: InodeNumber] = [:]
    do throws(VaultError) {
      let inode = try reviveTree(source, moment, staging, parent, &made)
      try rename(staging, in: parent, to: name, in: parent, mode: .noReplace)
      return inode
    } catch {
      try? removeTree(staging, in: parent)
      throw error
    }
  }

  /// A directory becomes what it was at a moment, with all below it: names that were not there then go to the trash.
  public func restoreTree(_ directory: InodeNumber, at moment: LSN) throws(VaultError) {
    try checkSpace()
    guard try info(directory, at: moment).mode & S_IFMT == S_IFDIR else { throw .notADirectory }
    let staging = Self.stagingName()
    var made: [InodeNumber: InodeNumber] = [:], changed: Set<[UInt8]> = []
    defer { for name in changed { unsafe whenNameChanges?(name, directory) } }
    do throws(VaultError) {
      // Built inside, then each name changes places with what has it now.
      let tree = try reviveTree(directory, moment, staging, directory, &made)
      var old: Set<[UInt8]> = []
      for entry in try allEntries(of: directory) where entry.name != staging { old.insert(entry.name) }
      for entry in try allEntries(of: tree) {
        let isTaken = old.contains(entry.name)
        changed.insert(entry.name)
        try rename(entry.name, in: tree, to: entry.name, in: directory, mode: isTaken ? .exchange : .noReplace)
        if !isTaken { old.remove(entry.name) }
      }
      // What had no counterpart goes the same way.
      let kept = Set(try allEntriesAt(directory, moment).map(\.name))
      for name in old where !kept.contains(name) {
        changed.insert(name)
        try removeTree(name, in: directory)
      }
      try removeTree(staging, in: directory)
    } catch {
      try? removeTree(staging, in: directory)
      throw error
    }
  }

  private static func stagingName() -> [UInt8] { Metadata.stagingPrefix + Array("\(UInt64.random(in: 0 ... .max))".utf8) }

  private func reviveOne(_ source: InodeNumber, _ moment: LSN, _ name: [UInt8], _ parent: InodeNumber) throws(VaultError) -> InodeNumber {
    try withinQuotas { () throws(VaultError) in try lock.withLock { () throws(VaultError) in
      guard let past = try metadata.node(source, at: moment) else { throw .notFound }
      let directory = try metadata.directory(parent)
      if directory.links == 0 { throw .notFound }
      try metadata.checkFree(name, in: parent)
      let node = NewNode(inode: try metadata.nextInode, mode: past.mode, user: past.user, group: past.group,
                         device: past.device, target: past.target, xattrs: [])
      try checkQuotas(user: past.user, group: past.group, home: parent, adding: Usage(bytes: past.allocated, nodes: 1))
      try beginEpoch()
      try perform(.revive(node, parent: parent, name: name, from: source, moment: moment, attributes: attributes(of: past)))
      return node.inode
    } }
  }

  /// - Parameter made: directories, and nodes with several names, by what they were.
  private func reviveTree(_ source: InodeNumber, _ moment: LSN, _ name: [UInt8], _ parent: InodeNumber,
                          _ made: inout [InodeNumber: InodeNumber]) throws(VaultError) -> InodeNumber {
    // A damaged past may have a directory in itself.
    if made[source] != nil { throw metadata.damaged("directory \(source.value) of the past is at more than one place") }
    let inode = try reviveOne(source, moment, name, parent)
    made[source] = inode
    for entry in try allEntriesAt(source, moment) {
      if entry.type == S_IFDIR { _ = try reviveTree(entry.inode, moment, entry.name, inode, &made) } else if let known = made[entry.inode] {
        _ = try link(known, as: entry.name, in: inode)
      } else {
        let new = try reviveOne(entry.inode, moment, entry.name, inode)
        if entry.info?.links ?? 1 > 1 { made[entry.inode] = new }
      }
    }
    // Its own times are those from before its entries came.
    var change = AttributeChange()
    let was = try info(source, at: moment)
    (change.accessed, change.modified) = (was.accessed, was.modified)
    _ = try self.change(inode, change)
    return inode
  }

  /// Entries of a directory at a time: a page of them.
  private static let entriesPerList = 500

  func allEntries(of directory: InodeNumber) throws(VaultError) -> [DirectoryEntry] {
    try all { cookie throws(VaultError) in try list(directory, after: cookie, count: Self.entriesPerList, withInfo: false) }
  }
  func allEntriesAt(_ directory: InodeNumber, _ moment: LSN) throws(VaultError) -> [DirectoryEntry] {
    try all { cookie throws(VaultError) in try list(directory, after: cookie, count: Self.entriesPerList, at: moment) }
  }
  private func all(_ next: (UInt64) throws(VaultError) -> [DirectoryEntry]) throws(VaultError) -> [DirectoryEntry] {
    var found: [DirectoryEntry] = []
    while true {
      let part = try next(found.last?.cookie ?? 0)
      if part.isEmpty { return found }
      found += part
    }
  }

  /// Deletes a node and all below it.
  func removeTree(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) {
    guard let info = try lookup(name, in: parent) else { return }
    guard info.mode & S_IFMT == S_IFDIR else { return try unlink(name, in: parent) }
    for entry in try allEntries(of: info.inode) { try removeTree(entry.name, in: info.inode) }
    try removeDirectory(name, in: parent)
  }
}

// MARK: The trash

extension Vault {
  /// Deletions of one tree are no further apart than this, seconds.
  private static let burst: Int64 = 10

  /// What was deleted and can be taken back, newest first: not what was in a directory that was deleted, too.
  public func trash() throws(VaultError) -> [TrashItem] {
    try lock.withLock { () throws(VaultError) in
      let select = try metadata.database.prepare("SELECT died, inode, parent, name, second FROM trash ORDER BY died DESC")
      var items: [TrashItem] = []
      while try select.step() {
        let parent = InodeNumber(select.unsigned(2)), died = LSN(select.unsigned(0)), inode = InodeNumber(select.unsigned(1))
        guard let place = try metadata.path(of: parent), let node = try metadata.node(inode, at: LSN(died.value &- 1)) else { continue }
        items.append(TrashItem(id: died.value, inode: inode.value, name: select.bytes(3), parent: parent.value, place: place,
                               second: select.integer(4), mode: node.mode, size: node.info.size, user: node.user))
      }
      return items
    }
  }

  /// When a deleted node was still whole: before the first deletion of all that were one.
  public func momentBefore(_ item: TrashItem) throws(VaultError) -> LSN {
    guard item.mode & S_IFMT == S_IFDIR else { return LSN(item.id &- 1) }
    return try lock.withLock { () throws(VaultError) in
      var deletions: [(died: UInt64, second: Int64)] = [], waiting = [item.inode], seen: Set<UInt64> = [item.inode]
      let select = try metadata.database.prepare("SELECT died, inode, second FROM trash WHERE parent = ? AND died < ?")
      while let directory = waiting.popLast() {
        select.bind(1, directory)
        select.bind(2, item.id)
        while try select.step() {
          deletions.append((select.unsigned(0), select.integer(2)))
          if seen.insert(select.unsigned(1)).inserted { waiting.append(select.unsigned(1)) }
        }
        select.reset()
      }
      var first = (died: item.id, second: item.second)
      for deletion in deletions.sorted(by: { $0.died > $1.died }) {
        guard deletion.second >= first.second &- Self.burst else { break }
        first = deletion
      }
      return LSN(first.died &- 1)
    }
  }

  /// The path of a directory from the root, with a slash at its beginning and none at its end; nil where it is not there.
  public func path(of directory: InodeNumber) throws(VaultError) -> [UInt8]? {
    try lock.withLock { () throws(VaultError) in try metadata.path(of: directory) }
  }
}

extension Metadata {
  /// More than any path has.
  private static let depthMax = 100_000

  func path(of directory: InodeNumber) throws(VaultError) -> [UInt8]? {
    let select = try database.prepare("SELECT parent, name FROM entry WHERE inode = ? AND type = 16384")
    var parts: [[UInt8]] = [], at = directory
    while at != .root {
      select.bind(1, at.value)
      defer { select.reset() }
      guard parts.count < Self.depthMax, try select.step() else { return nil }
      parts.append(select.bytes(1))
      at = InodeNumber(select.unsigned(0))
    }
    return Array(parts.reversed().map { [0x2F] + $0 }.joined())
  }
}
