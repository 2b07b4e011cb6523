// The trash: what was deleted and can be taken back, and letting go of it.
//
// What must stay true: what was in a directory that was deleted comes back with that, and is not told by itself; what had been
// deleted from it before is. What was taken back is not told any more: it goes on in what was made then (Metadata+Origins.swift),
// and its past is that one's. A copy takes nothing back.

import Glibc

/// Something deleted that can be taken back.
public struct TrashItem: Sendable, Hashable, Codable {
  /// The operation that deleted it: its name.
  public var id: UInt64
  public var inode: UInt64
  public var name: [UInt8]
  /// The directory it was in, and that directory's path; nil where it is not told.
  public var parent: UInt64
  public var place: [UInt8]?
  /// Seconds since 1970.
  public var second: Int64
  public var mode: UInt32
  public var size: UInt64
  public var user: UInt32
}

extension Vault {
  /// Rows that are looked at under one hold of the lock.
  private static let rowsPerHold = 500

  /// What was deleted and can be taken back, newest first.
  /// - Parameter user: only what was this user's; nil: everybody's.
  public func trash(of user: UInt32? = nil, tellsPaths: Bool = true) throws(VaultError) -> [TrashItem] {
    var items: [TrashItem] = [], next: UInt64? = .max
    while let before = next {
      let page = try trash(before: before, of: user, tellsPaths: tellsPaths)
      items += page.items
      next = page.next
    }
    return items
  }

  /// Some of what was deleted before the operation `id`, newest first.
  /// - Returns: also where to go on; nil at the end.
  public func trash(before id: UInt64, of user: UInt32? = nil, tellsPaths: Bool = true) throws(VaultError) -> (items: [TrashItem], next: UInt64?) {
    while true {
      var unknown: Set<Deletion> = []
      let page = try trash(before: id, of: user, tellsPaths, &unknown)
      if unknown.isEmpty { return page }
      for deletion in unknown {
        let moment = try momentBefore(deletion)
        lock.withLock { deletedWhole.note(moment, deletion.died) }
      }
    }
  }

  /// - Parameter unknown: directories of which it must be known when they were still whole, to tell what went with them from what had gone
  ///   before; then the page is good for nothing.
  private func trash(before id: UInt64, of user: UInt32?, _ tellsPaths: Bool, _ unknown: inout Set<Deletion>) throws(VaultError) -> (items: [TrashItem], next: UInt64?) {
    try lock.withLock { () throws(VaultError) in
      let select = try metadata.database.prepare("SELECT died, inode, parent, name, second FROM trash WHERE died < ? ORDER BY died DESC LIMIT \(Self.rowsPerHold)")
      select.bind(1, min(id, UInt64(Int64.max)))
      var whereabouts = Whereabouts(metadata, tellsPaths: tellsPaths), items: [TrashItem] = [], rows = 0, last = id
      while try select.step() {
        rows += 1
        last = select.unsigned(0)
        let parent = InodeNumber(select.unsigned(2)), inode = InodeNumber(select.unsigned(1)), died = LSN(last)
        guard let node = try metadata.node(inode, at: LSN(last &- 1)), user == nil || node.user == user else { continue }
        var place: [UInt8]?
        switch try whereabouts.kind(of: inode, in: parent, deletedBy: died) {
        case .item(let path): place = path
        case .version: continue
        case .part(let directories):
          guard let isPart = deletedWhole.has(last, in: directories, &unknown), !isPart else { continue }
          if tellsPaths { place = try metadata.path(of: parent, at: LSN(last &- 1)) }
        }
        items.append(TrashItem(id: last, inode: inode.value, name: select.bytes(3), parent: parent.value, place: place,
                               second: select.integer(4), mode: node.mode, size: node.info.size, user: node.user))
      }
      return (items, rows < Self.rowsPerHold ? nil : last)
    }
  }

  /// Forgets what was deleted, but for what a snapshot or a pin holds or has another name, and for former versions of what is there.
  /// - Parameter isDry: only counts.
  /// - Returns: how many nodes; and how many are left, and told by `trash` still.
  /// - Parameter goOn: called now and then, with how many were found, and how many of them forgotten; ends it by throwing.
  public func emptyTrash(isDry: Bool = false, goOn: (_ found: Int, _ forgotten: Int) throws(VaultError) -> Void = { _, _ in }) throws(VaultError) -> (forgotten: Int, held: Int) {
    if isReadOnly, !isDry { throw .readOnly(reason: "it was mounted read-only") }
    var gone: Set<InodeNumber> = [], named: Set<InodeNumber> = [], held = 0, next: UInt64? = UInt64(Int64.max)
    while let before = next {
      next = try lock.withLock { () throws(VaultError) in try findGone(before: before, &gone, &named) }
      try goOn(gone.count, 0)
      letOthers()
    }
    held += named.count
    for (index, inode) in gone.enumerated() {
      if index % Self.rowsPerHold == 0 { letOthers() }
      if try lock.withLock({ () throws(VaultError) in try metadata.isLastHeld(inode) }) { held += 1 }
    }
    let count = (forgotten: gone.count - (held - named.count), held: held)
    if isDry { return count }
    // A tree has numbers in a row, mostly.
    var range: Range<UInt64> = 0..<0, done = 0
    for inode in gone.map(\.value).sorted() {
      if range.upperBound == inode, range.count < Self.rowsPerHold {
        range = range.lowerBound..<inode + 1
        continue
      }
      if !range.isEmpty { try forget(pastOf: range) }
      done += range.count
      try goOn(gone.count, done)
      letOthers()
      range = inode..<inode + 1
    }
    if !range.isEmpty { try forget(pastOf: range) }
    return count
  }

  /// Some of what `emptyTrash` forgets. `lock` is held.
  /// - Returns: where to go on; nil at the end.
  /// - Parameter named: of what was deleted, what has another name still.
  private func findGone(before: UInt64, _ gone: inout Set<InodeNumber>, _ named: inout Set<InodeNumber>) throws(VaultError) -> UInt64? {
    let select = try metadata.database.prepare("SELECT inode, parent, died FROM trash WHERE died < ? ORDER BY died DESC LIMIT \(Self.rowsPerHold)")
    select.bind(1, before)
    var whereabouts = Whereabouts(metadata, tellsPaths: false), rows = 0, last = before
    while try select.step() {
      rows += 1
      last = select.unsigned(2)
      let inode = InodeNumber(select.unsigned(0)), died = LSN(last)
      if gone.contains(inode) { continue }
      if try metadata.isNamed(inode) {
        if case .item = try whereabouts.kind(of: inode, in: InodeNumber(select.unsigned(1)), deletedBy: died) { named.insert(inode) }
        continue
      }
      // What was taken back, and deleted again as what it had become, would be told again once that is forgotten.
      if try metadata.wasTakenBack(inode, after: died) {
        if try metadata.successor(of: inode) == nil { gone.insert(inode) }
        continue
      }
      if case .version = try whereabouts.kind(of: inode, in: InodeNumber(select.unsigned(1)), deletedBy: died) { continue }
      gone.insert(inode)
    }
    return rows < Self.rowsPerHold ? nil : last
  }

  /// When a deleted node was still whole (DeletedTree.swift).
  public func momentBefore(_ item: TrashItem) throws(VaultError) -> LSN {
    guard item.mode & S_IFMT == S_IFDIR else { return LSN(item.id &- 1) }
    return try momentBefore(Deletion(inode: item.inode, died: item.id, second: item.second))
  }

  /// Of a directory.
  private func momentBefore(_ deletion: Deletion) throws(VaultError) -> LSN {
    // What gave way to a tree that was taken back went as a whole.
    let aside = try lock.withLock { () throws(VaultError) in try metadata.whenSetAside(beforeDeletedBy: LSN(deletion.died)) }
    if aside > .zero, aside.value < deletion.died { return LSN(aside.value &- 1) }
    var tree = DeletedTree(deletion)
    while try lock.withLock({ () throws(VaultError) in try tree.step(metadata) }) {}
    return tree.moment
  }

  /// The path of a directory from the root, with a slash at its beginning and none at its end; nil where it is not there, or
  /// too long to be told.
  public func path(of directory: InodeNumber) throws(VaultError) -> [UInt8]? {
    try lock.withLock { () throws(VaultError) in try metadata.path(of: directory) }
  }

  /// Whether a node is there and has a name.
  public func isThere(_ inode: InodeNumber) throws(VaultError) -> Bool {
    try lock.withLock { () throws(VaultError) in try metadata.isNamed(inode) }
  }

  /// The directory, or what was made of it when it was taken back, where that is there.
  public func living(_ directory: InodeNumber) throws(VaultError) -> InodeNumber? {
    try lock.withLock { () throws(VaultError) in try metadata.living(directory) }
  }
}
