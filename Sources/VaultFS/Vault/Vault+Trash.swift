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
  /// Nodes that are forgotten under one hold of the lock.
  private static let nodesPerHold = 500
  /// Nodes that are looked at until others have a turn.
  private static let looksPerTurn = 50

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

  /// The last operation that may have changed what `trash` tells.
  public var trashChanged: LSN { lock.withLock { metadata.trashChanged } }

  /// Some of what was deleted before the operation `id`, newest first.
  /// - Parameter rows: of the trash, that are looked at.
  /// - Returns: also where to go on; nil at the end.
  public func trash(before id: UInt64, of user: UInt32? = nil, tellsPaths: Bool = true, rows: Int = 500) throws(VaultError) -> (items: [TrashItem], next: UInt64?) {
    var walk = TrashWalk(metadata, before: id, tellsPaths: tellsPaths), items: [TrashItem] = []
    while !walk.isDone, walk.rows < rows {
      var unknown: Deletion?
      try lock.withLock { () throws(VaultError) in
        try walk.step(metadata, rows: rows) { row, whereabouts throws(VaultError) in
          guard let found = try told(row, of: user, tellsPaths, &whereabouts, &unknown) else { return false }
          if let item = found { items.append(item) }
          return true
        }
      }
      letOthers()
      guard let unknown else { continue }
      _ = try momentBefore(unknown)
    }
    return (items, walk.isDone ? nil : walk.before)
  }

  /// What is told of a row, if anything is. `lock` is held.
  /// - Parameter unknown: a directory of which it must be known when it was still whole, to tell what went with it from what had gone before.
  /// - Returns: nil where that is so, or more is to be found than in one hold of the lock.
  private func told(_ row: TrashRow, of user: UInt32?, _ tellsPaths: Bool, _ whereabouts: inout Whereabouts, _ unknown: inout Deletion?) throws(VaultError) -> TrashItem?? {
    let moment = LSN(row.died.value &- 1)
    guard let node = try metadata.node(row.inode, at: moment), user == nil || node.user == user, try !hasAgain(row) else { return .some(nil) }
    var place: [UInt8]?
    switch try whereabouts.kind(of: row.inode, in: row.parent, deletedBy: row.died) {
    case nil: return nil
    case .version: return .some(nil)
    case .item(let path): place = path
    case .part(let directories):
      guard let isPart = deletedWhole.has(row.died.value, in: directories, &unknown) else { return nil }
      if isPart { return .some(nil) }
      if tellsPaths {
        guard let path = try whereabouts.formerPath(of: row.parent, at: moment) else { return nil }
        place = path
      }
    }
    return TrashItem(id: row.died.value, inode: row.inode.value, name: row.name, parent: row.parent.value, place: place, second: row.second, mode: node.mode,
                     size: node.info.size, user: node.user)
  }

  /// Forgets what was deleted, but for what a snapshot or a pin holds or has another name, and for former versions of what is there.
  /// - Parameter isDry: only counts.
  /// - Returns: how many nodes; and how many are left, and told by `trash` still.
  /// - Parameter goOn: called now and then, with how many were found, and how many of them forgotten; ends it by throwing.
  public func emptyTrash(isDry: Bool = false, goOn: (_ found: Int, _ forgotten: Int) throws(VaultError) -> Void = { _, _ in }) throws(VaultError) -> (forgotten: Int, held: Int) {
    if isReadOnly, !isDry { throw .readOnly(reason: mountedReadOnly) }
    var gone: Set<InodeNumber> = [], former: Set<InodeNumber> = [], named: Set<InodeNumber> = [], held = 0, walk = TrashWalk(metadata, before: .max, tellsPaths: false)
    while !walk.isDone {
      try lock.withLock { () throws(VaultError) in
        try walk.step(metadata) { row, whereabouts throws(VaultError) in try findGone(row, &whereabouts, &gone, &former, &named) }
      }
      try goOn(gone.count, 0)
      letOthers()
    }
    held += named.count
    for (index, inode) in gone.subtracting(former).enumerated() {
      if index % Self.looksPerTurn == 0 { letOthers() }
      if try lock.withLock({ () throws(VaultError) in try metadata.isLastHeld(inode) }) { held += 1 }
    }
    let count = (forgotten: gone.count - former.count - (held - named.count), held: held)
    if isDry { return count }
    // A tree has numbers in a row, mostly.
    var range: Range<UInt64> = 0..<0, done = 0
    for inode in gone.map(\.value).sorted() {
      if range.upperBound == inode, range.count < Self.nodesPerHold {
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

  /// Whether `emptyTrash` forgets what is in a row. `lock` is held.
  /// - Parameter former: of that, what was taken back and deleted again: it is told as what it had become.
  /// - Parameter named: of what was deleted, what has another name still.
  /// - Returns: false where more is to be found than in one hold of the lock.
  private func findGone(_ row: TrashRow, _ whereabouts: inout Whereabouts, _ gone: inout Set<InodeNumber>, _ former: inout Set<InodeNumber>,
                        _ named: inout Set<InodeNumber>) throws(VaultError) -> Bool {
    if gone.contains(row.inode) { return true }
    if try hasAgain(row) { return true }
    let isNamed = try metadata.isNamed(row.inode)
    // What was taken back, and deleted again as what it had become, would be told again once that is forgotten.
    if !isNamed, try metadata.wasTakenBack(row.inode, after: row.died) {
      if try metadata.successor(of: row.inode) == nil {
        gone.insert(row.inode)
        former.insert(row.inode)
      }
      return true
    }
    switch (isNamed, try whereabouts.kind(of: row.inode, in: row.parent, deletedBy: row.died)) {
    case (_, nil): return false
    case (true, .item): named.insert(row.inode)
    case (true, _), (false, .version): break
    case (false, _): gone.insert(row.inode)
    }
    return true
  }

  /// Whether what lost a name, and had another, has that one again. `lock` is held.
  private func hasAgain(_ row: TrashRow) throws(VaultError) -> Bool {
    // (What is damaged there hides nothing of the trash.)
    guard try metadata.isNamed(row.inode), let directory = try? metadata.living(row.parent) else { return false }
    return (try? metadata.entry(row.name, in: directory))?.inode == row.inode
  }

  /// When a deleted node was still whole (DeletedTree.swift).
  public func momentBefore(_ item: TrashItem) throws(VaultError) -> LSN {
    guard item.mode & S_IFMT == S_IFDIR else { return LSN(item.id &- 1) }
    return try momentBefore(Deletion(inode: item.inode, died: item.id, second: item.second))
  }

  /// Of a directory. It is remembered: each look into the trash by the directory's name asks for it.
  private func momentBefore(_ deletion: Deletion) throws(VaultError) -> LSN {
    if let known = lock.withLock({ deletedWhole.moment(of: deletion.died) }) { return known }
    let moment = try findMomentBefore(deletion)
    lock.withLock { deletedWhole.note(moment, deletion.died) }
    return moment
  }

  private func findMomentBefore(_ deletion: Deletion) throws(VaultError) -> LSN {
    // What gave way to a tree that was taken back went as a whole.
    let aside = try lock.withLock { () throws(VaultError) in try metadata.whenSetAside(beforeDeletedBy: LSN(deletion.died)) }
    if aside > .zero, aside.value < deletion.died { return LSN(aside.value &- 1) }
    var tree = DeletedTree(deletion)
    var rested = monotonicNanoseconds(), isMore = true
    while isMore {
      isMore = try lock.withLock { () throws(VaultError) in try tree.step(metadata) }
      let now = monotonicNanoseconds()
      if now < rested + TrashWalk.holdMax { continue }
      letOthers()
      rested = monotonicNanoseconds()
    }
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
