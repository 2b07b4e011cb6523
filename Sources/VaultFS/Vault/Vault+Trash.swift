// The trash: what was deleted and can be taken back, and letting go of it.
//
// What must stay true: what was in a directory that was deleted comes back with that, and is not told by itself. What was
// taken back is not told any more: it goes on in what was made then (Metadata+Origins.swift), and its past is that one's.

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

/// Where directories of deleted things are now. Guarded by the vault's lock; good for one look.
private struct Whereabouts {
  enum Standing: Equatable {
    /// It, or what was made of it later, is there; its path, where that is asked for and not too long to tell.
    case at([UInt8]?)
    /// It was deleted, and can be taken back with all that was in it.
    case deleted
    /// Something took its place.
    case replaced
  }
  private let metadata: Metadata
  private let tellsPaths: Bool
  private var known: [InodeNumber: Standing] = [:]
  init(_ metadata: Metadata, tellsPaths: Bool) { (self.metadata, self.tellsPaths) = (metadata, tellsPaths) }

  mutating func standing(of directory: InodeNumber) throws(VaultError) -> Standing {
    var chain: Set<InodeNumber> = [], at = directory, end: Standing?
    while end == nil {
      if let found = known[at] {
        end = found
      } else if let living = try metadata.living(at) {
        end = .at(tellsPaths ? try metadata.path(of: living) : nil)
        known[at] = end
      } else if let parent = try parentOfDeleted(at), chain.insert(at).inserted {
        at = parent
      } else {
        end = .replaced
        known[at] = end
      }
    }
    for inode in chain { known[inode] = end == .replaced ? .replaced : .deleted }
    return known[directory] ?? .replaced
  }

  enum Kind { case item, part, version }

  /// What a row of the trash is: something that can be taken back, a part of such a thing, or a former version of what is there.
  mutating func kind(of inode: InodeNumber, in parent: InodeNumber, deletedBy died: LSN) throws(VaultError) -> (Kind, path: [UInt8]?) {
    if try metadata.wasTakenBack(inode, after: died) { return (.version, nil) }
    switch try standing(of: parent) {
    case .at(let path): return (.item, path)
    case .deleted: return (.part, nil)
    case .replaced: return (.version, nil)
    }
  }

  private func parentOfDeleted(_ directory: InodeNumber) throws(VaultError) -> InodeNumber? {
    let select = try metadata.database.prepare("SELECT parent FROM trash WHERE inode = ? ORDER BY died DESC LIMIT 1")
    select.bind(1, directory.value)
    return try select.step() ? InodeNumber(select.unsigned(0)) : nil
  }
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
    try lock.withLock { () throws(VaultError) in
      let select = try metadata.database.prepare("SELECT died, inode, parent, name, second FROM trash WHERE died < ? ORDER BY died DESC LIMIT \(Self.rowsPerHold)")
      select.bind(1, min(id, UInt64(Int64.max)))
      var whereabouts = Whereabouts(metadata, tellsPaths: tellsPaths), items: [TrashItem] = [], rows = 0, last = id
      while try select.step() {
        rows += 1
        last = select.unsigned(0)
        let parent = InodeNumber(select.unsigned(2)), inode = InodeNumber(select.unsigned(1))
        guard let node = try metadata.node(inode, at: LSN(last &- 1)), user == nil || node.user == user else { continue }
        let (kind, place) = try whereabouts.kind(of: inode, in: parent, deletedBy: LSN(last))
        guard kind == .item else { continue }
        items.append(TrashItem(id: last, inode: inode.value, name: select.bytes(3), parent: parent.value, place: place,
                               second: select.integer(4), mode: node.mode, size: node.info.size, user: node.user))
      }
      return (items, rows < Self.rowsPerHold ? nil : last)
    }
  }

  /// Forgets what was deleted, but for what a snapshot or a pin holds or has another name, and for former versions of what is there.
  /// - Parameter isDry: only counts.
  /// - Returns: how many nodes; and how many are left, and told by `trash` still.
  public func emptyTrash(isDry: Bool = false) throws(VaultError) -> (forgotten: Int, held: Int) {
    var gone: Set<InodeNumber> = [], named: Set<InodeNumber> = [], held = 0, next: UInt64? = UInt64(Int64.max)
    while let before = next {
      next = try lock.withLock { () throws(VaultError) in try findGone(before: before, &gone, &named) }
      letOthers()
    }
    held += named.count
    for inode in gone { if try lock.withLock({ () throws(VaultError) in try metadata.isLastHeld(inode) }) { held += 1 } }
    let count = (forgotten: gone.count - (held - named.count), held: held)
    if isDry { return count }
    // A tree has numbers in a row, mostly.
    var range: Range<UInt64> = 0..<0
    for inode in gone.map(\.value).sorted() {
      if range.upperBound == inode, range.count < Self.rowsPerHold {
        range = range.lowerBound..<inode + 1
        continue
      }
      if !range.isEmpty { try forget(pastOf: range) }
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
        if try whereabouts.kind(of: inode, in: InodeNumber(select.unsigned(1)), deletedBy: died).0 == .item { named.insert(inode) }
        continue
      }
      // What was taken back, and deleted again as what it had become, would be told again once that is forgotten.
      if try metadata.wasTakenBack(inode, after: died) {
        if try metadata.successor(of: inode) == nil { gone.insert(inode) }
        continue
      }
      let (kind, _) = try whereabouts.kind(of: inode, in: InodeNumber(select.unsigned(1)), deletedBy: died)
      if kind != .version { gone.insert(inode) }
    }
    return rows < Self.rowsPerHold ? nil : last
  }

  /// When a deleted node was still whole (DeletedTree.swift).
  public func momentBefore(_ item: TrashItem) throws(VaultError) -> LSN {
    guard item.mode & S_IFMT == S_IFDIR else { return LSN(item.id &- 1) }
    // What gave way to a tree that was taken back went as a whole.
    let aside = try lock.withLock { () throws(VaultError) in try metadata.whenSetAside(beforeDeletedBy: LSN(item.id)) }
    if aside > .zero, aside.value < item.id { return LSN(aside.value &- 1) }
    var tree = DeletedTree(item)
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
