// The effect of each operation on the view: the one place where the vault's state changes, in normal work and in
// every replay. An operation that does not fit the state was never journaled by a sound vault: it is damage.

import Glibc

extension Metadata {
  /// - Parameter known: chunks whose numbers the caller has just looked up.
  /// - Parameter stamp: the record's, nanoseconds since 1970.
  func apply(_ operation: Operation, lsn: LSN, stamp: UInt64, known: [ChunkID: ChunkNumber] = [:]) throws(VaultError) {
    guard lsn == state.applied.next else { throw .journalDamaged(detail: "operation \(lsn.value) follows \(state.applied.value)") }
    try begin()
    try noteMoment(lsn, stamp)
    try takeEffect(operation, lsn, stamp, known)
    try settleQuotas(stamp)
    if operation.mayChangeTrash { trashChanged = lsn }
    state.applied = lsn
    state.stamp = max(state.stamp, stamp)
  }

  private func takeEffect(_ operation: Operation, _ lsn: LSN, _ stamp: UInt64, _ known: [ChunkID: ChunkNumber] = [:]) throws(VaultError) {
    switch operation {
    case .create(let new, .none, _, let time):
      try make(new, in: new.inode, time: time, lsn, stamp)
    case .create(let new, let parent, let name, let time):
      let parent = try directory(parent)
      try change(parent, lsn)
      let node = try make(new, in: parent.inode, time: time, lsn, stamp)
      if node.isDirectory { try raise(&parent.links) }
      try insertEntry(name, of: node, in: parent, born: lsn)
      touch(parent, time)
    case .link(let inode, let parent, let name, let time):
      let node = try node(inode), parent = try directory(parent)
      try change(node, lsn)
      try change(parent, lsn)
      if node.links == 0 { try statements.deleteOrphan.run(inode) }
      try raise(&node.links)
      node.changed = time
      touch(node)
      let cookie = try insertEntry(name, of: node, in: parent, born: lsn)
      try join(node, at: Place(parent: parent.inode, cookie: cookie))
      touch(parent, time)
    case .unlink(let parent, let name, let drops, let time):
      let parent = try directory(parent)
      let row = try existing(name, in: parent, lsn), node = try node(row.inode)
      // Where something is put together is nothing that a directory ever had.
      let isStaging = isStaged(row)
      if !isStaging {
        try change(parent, lsn, isDeletion: true)
        try keep(row, of: parent.inode, endingWith: lsn, isDeleted: true)
      }
      if try isLoss(row, of: node, in: parent) { try noteDeleted(row, from: try placeTold(of: parent), lsn, aside: try whenSetAside(row, in: parent)) }
      try deleteEntry(row, in: parent)
      try endStaging(node)
      try release(node, row.cookie, from: parent, drops: drops, time, lsn, isDeleted: true)
      if isStaging { touch(parent) } else { touch(parent, time) }
    case .rename(let parent, let name, let newParent, let newName, let drops, let time):
      try rename(name, in: try directory(parent), to: newName, in: try directory(newParent), drops: drops, time, lsn)
    case .exchange(let parent, let name, let newParent, let newName, let time):
      try exchange(name, in: try directory(parent), with: newName, in: try directory(newParent), time, lsn)
    case .setAttributes(let inode, let set):
      try update(inode, set, lsn)
    case .setXattr(let inode, let name, let value, let set):
      try writeXattr(name, value, of: try update(inode, set, lsn, xattr: name))
    case .removeXattr(let inode, let name, let set):
      try removeXattr(name, of: try update(inode, set, lsn, xattr: name))
    case .content(let inode, let range, let extents, let size, let set):
      let node = try update(inode, set, lsn)
      try replace(range, of: node, with: try resolve(extents, known))
      try resize(node, to: size)
    case .clone(let inode, let offset, let source, let range, let size, let set):
      let node = try update(inode, set, lsn)
      try copy(range, of: try self.node(source), to: offset, of: node)
      try resize(node, to: size)
    case .insertRange(let inode, let offset, let length, let set):
      let node = try update(inode, set, lsn)
      try shift(node, from: offset, by: Int64(length))
      try raise(&node.size, by: length)
      guard node.size <= Limits.fileBytesMax else { throw damaged("a file beyond the largest") }
    case .collapseRange(let inode, let offset, let length, let set):
      let node = try update(inode, set, lsn)
      try shift(node, from: offset, by: -Int64(length))
      try lower(&node.size, by: length)
    case .drop(let inode):
      try drop(try node(inode))
    case .epoch(let key):
      try raise(&state.epoch)
      statements.insertEpoch.bind(1, state.epoch)
      statements.insertEpoch.bind(2, key)
      try statements.insertEpoch.run()
    case .reserve(let inode, let range, let size, let set):
      let node = try update(inode, set, lsn)
      try reserve(range, of: node)
      try resize(node, to: size)
    case .snapshot(let name, let inode):
      try makeSnapshot(name, of: inode, lsn)
    case .dropSnapshot(let name):
      try dropSnapshot(name)
    case .restore(let inode, let source, let moment, let set):
      // Taking back can be taken back.
      try restore(try update(inode, set, lsn, isCut: true), from: source, at: moment)
    case .revive(let new, let parent, let name, let source, let moment, let set, let isCopy):
      let parent = try directory(parent)
      try change(parent, lsn)
      try revive(new, name, in: parent, from: source, moment, set, isCopy, lsn, stamp)
      touch(parent, set.changed ?? .zero)
    case .stage(let new, let parent, let name, let source, let moment, let set, let isCopy):
      let parent = try directory(parent), node = try revive(new, name, in: parent, from: source, moment, set, isCopy, lsn, stamp)
      guard node.isDirectory else { throw damaged("a place to put a tree together that is no directory") }
      try beginStaging(node)
      touch(parent)
    case .setHistory(let policy):
      try noteChange(to: policy, lsn)
      state.history = policy
      // The past may be more than it allows.
      state.lapses &+= 1
      try loadRecent()
    case .pin(let inode, let moment, let isPinned):
      try pin(inode, moment, isPinned)
    case .expire(let nodes, let now):
      try expire(nodes, now: now)
    case .setQuota(let subject, let limits): try setQuota(limits, for: subject)
    case .removeQuota(let subject): state.quotas.remove(subject)
    case .moveEntries(let source, let target, let time):
      try moveEntries(from: try directory(source), to: try directory(target), time, lsn)
    case .setAside(let source, let target, let besides, let time):
      try setAside(from: try directory(source), to: try directory(target), but: try directory(besides), time, lsn)
    case .forget(let nodes, let through):
      // Of no nodes: of all of them is to follow.
      if nodes.isEmpty { state.forgotten = max(state.forgotten, min(through, lsn)) } else { try forgetAll(nodes, through: through) }
    case .mend(let inode):
      try mend(inode)
    case .detach(let parent, let cookie):
      try detach(cookie, from: parent)
    case .together(let parts):
      for part in parts { try takeEffect(part, lsn, stamp) }
    }
  }

  @discardableResult
  private func make(_ new: NewNode, in parent: InodeNumber, time: Timestamp, _ lsn: LSN, _ stamp: UInt64) throws(VaultError) -> Node {
    let node = Node(inode: new.inode, epoch: state.epoch, mode: new.mode, links: new.mode & S_IFMT == S_IFDIR ? 2 : 1, user: new.user, group: new.group, time: time)
    (node.parent, node.since, node.sinceSeconds) = (parent, lsn, Int64(stamp / 1_000_000_000))
    node.device = new.device
    node.target = new.target
    for pair in new.xattrs { try writeXattr(pair.name, pair.value, of: node) }
    insert(node)
    for watch in watches { watch.note(node.inode) }
    state.nextInode = max(state.nextInode, new.inode.value + 1)
    try charge(Usage(nodes: 1), to: node)
    return node
  }

  @discardableResult
  private func revive(_ new: NewNode, _ name: [UInt8], in parent: Node, from source: InodeNumber, _ moment: LSN, _ set: AttributeSet, _ isCopy: Bool, _ lsn: LSN,
                      _ stamp: UInt64) throws(VaultError) -> Node {
    let node = try make(new, in: parent.inode, time: set.changed ?? .zero, lsn, stamp)
    if node.isDirectory { try raise(&parent.links) }
    try noteOrigin(of: node.inode, source, lsn, isCopy: isCopy)
    try insertEntry(name, of: node, in: parent, born: lsn)
    changeOwners(of: node, set.user ?? node.user, set.group ?? node.group)
    node.set(set)
    try restore(node, from: source, at: moment)
    return node
  }

  /// - Parameter isCut: what it is now becomes a version, however young.
  /// - Parameter name: of the attribute that changes, too.
  @discardableResult
  private func update(_ inode: InodeNumber, _ set: AttributeSet, _ lsn: LSN, isCut: Bool = false, xattr name: [UInt8]? = nil) throws(VaultError) -> Node {
    let node = try node(inode)
    if !set.isAccessOnly {
      let isOpened = try isOpened(node, by: set, xattr: name)
      try change(node, lsn, continues: set.continues, isCut: isCut || isOpened)
    }
    changeOwners(of: node, set.user ?? node.user, set.group ?? node.group)
    node.set(set)
    touch(node)
    return node
  }

  /// Whether a directory that has, or had, names is about to let in others than before: they shall not see in its past what went before
  /// they came.
  /// - Parameter name: of the attribute that changes, too.
  private func isOpened(_ node: Node, by set: AttributeSet, xattr name: [UInt8]? = nil) throws(VaultError) -> Bool {
    guard node.isDirectory else { return false }
    let isOpened = set.user.map { $0 != node.user } ?? false || set.group.map { $0 != node.group } ?? false || set.mode.map { $0 & ~node.mode & 0o777 != 0 } ?? false
    guard isOpened || name == AccessControlList.accessName else { return false }
    if node.entries > 0 { return true }
    let select = try database.prepare("SELECT 1 FROM past_entry WHERE parent = ? LIMIT 1")
    select.bind(1, node.inode.value)
    return try select.step()
  }

  /// A directory's entries changed.
  private func touch(_ directory: Node, _ time: Timestamp) {
    directory.modified = time
    directory.changed = time
    touch(directory)
  }

  private func existing(_ name: [UInt8], in parent: Node, _ lsn: LSN) throws(VaultError) -> EntryRow {
    guard let row = try entry(name, in: parent.inode) else {
      throw .journalDamaged(detail: "operation \(lsn.value) names an entry of node \(parent.inode.value) that is not there")
    }
    return row
  }

  /// One entry of `node` is gone.
  private func release(_ node: Node, _ cookie: UInt64, from parent: Node, drops: Bool, _ time: Timestamp, _ lsn: LSN, isDeleted: Bool) throws(VaultError) {
    // With other names it goes on, and that may soon be nothing worth keeping: what was deleted is kept as it was.
    if node.isDirectory || node.links == 1 { try keep(node, endingWith: lsn, isDeleted: isDeleted) } else { try change(node, lsn, isCut: isDeleted, isDeletion: isDeleted) }
    try leave(node, at: Place(parent: parent.inode, cookie: cookie))
    if node.isDirectory {
      node.links = 0
      try lower(&parent.links)
    } else {
      try lower(&node.links)
    }
    node.changed = time
    touch(node)
    guard node.links == 0 else { return }
    if drops { try drop(node) } else { try statements.insertOrphan.run(node.inode) }
  }

  private func drop(_ node: Node) throws(VaultError) {
    if node.allocated > 0 { state.lapses &+= 1 }
    try setAllocated(node, 0)
    try charge(Usage(nodes: 1).negated, to: node)
    if node.links == 0 { try statements.deleteOrphan.run(node.inode) }
    try remove(node)
  }

  private func rename(_ name: [UInt8], in parent: Node, to newName: [UInt8], in newParent: Node, drops: Bool,
                      _ time: Timestamp, _ lsn: LSN) throws(VaultError) {
    let row = try existing(name, in: parent, lsn)
    let node = try node(row.inode)
    for changed in [node, parent, newParent] { try change(changed, lsn) }
    var born = lsn
    if let old = try entry(newName, in: newParent.inode) {
      born = try succeed(old, of: newParent.inode, by: node, lsn)
      try deleteEntry(old, in: newParent)
      // Where the name stays in the past, what it led to does.
      try release(try self.node(old.inode), old.cookie, from: newParent, drops: drops, time, lsn, isDeleted: born == lsn)
    }
    // What goes aside from a tree that is taken back is about to be deleted.
    let isSetAside = state.staging.contains(newParent.parent) && !state.staging.contains(parent.parent)
    // Where the old name stays in the past, so does what it led to.
    if !isStaged(row), try keep(row, of: parent.inode, endingWith: lsn, isDeleted: isSetAside), !isSetAside { try change(node, lsn, isCut: true) }
    try deleteEntry(row, in: parent)
    let cookie = try insertEntry(newName, of: node, in: newParent, born: born)
    try move(node, from: Place(parent: parent.inode, cookie: row.cookie), to: Place(parent: newParent.inode, cookie: cookie))
    try reparent(node, from: parent, to: newParent)
    try endStaging(node)
    node.changed = time
    touch(node)
    touch(parent, time)
    touch(newParent, time)
  }

  private static let entriesPerList = 500

  private func moveEntries(from source: Node, to target: Node, _ time: Timestamp, _ lsn: LSN) throws(VaultError) {
    var last = Self.cookieFirst - 1
    while case let rows = try entries(of: source.inode, after: last, count: Self.entriesPerList), let end = rows.last {
      for row in rows {
        if let other = try entry(row.name, in: target.inode) {
          // One more name of what has that name already: it stays where it is.
          if other.inode == row.inode { continue }
          try exchange(row.name, in: source, with: row.name, in: target, time, lsn, isRestored: true)
        } else { try rename(row.name, in: source, to: row.name, in: target, drops: false, time, lsn) }
      }
      last = end.cookie
    }
  }

  private func setAside(from source: Node, to target: Node, but besides: Node, _ time: Timestamp, _ lsn: LSN) throws(VaultError) {
    var last = Self.cookieFirst - 1
    while case let rows = try entries(of: source.inode, after: last, count: Self.entriesPerList), let end = rows.last {
      for row in rows where !isStaged(row) {
        if try entry(row.name, in: besides.inode) == nil { try rename(row.name, in: source, to: row.name, in: target, drops: false, time, lsn) }
      }
      last = end.cookie
    }
  }

  /// - Parameter isRestored: what had the names stays in the past, however young.
  private func exchange(_ name: [UInt8], in parent: Node, with newName: [UInt8], in newParent: Node,
                        _ time: Timestamp, _ lsn: LSN, isRestored: Bool = false) throws(VaultError) {
    let first = try existing(name, in: parent, lsn), second = try existing(newName, in: newParent, lsn)
    let a = try node(first.inode), b = try node(second.inode)
    for changed in [a, b, parent, newParent] { try change(changed, lsn) }
    for (row, directory, node) in [(first, parent, b), (second, newParent, a)] {
      let born = try succeed(row, of: directory.inode, by: node, lsn, isRestored: isRestored)
      let update = statements.retargetEntry
      update.bind(1, node.inode.value)
      update.bind(2, UInt64(node.mode & S_IFMT))
      update.bind(3, born.value)
      update.bind(4, directory.inode.value)
      update.bind(5, row.cookie)
      try update.run()
    }
    let places = (Place(parent: parent.inode, cookie: first.cookie), Place(parent: newParent.inode, cookie: second.cookie))
    try move(a, from: places.0, to: places.1)
    try move(b, from: places.1, to: places.0)
    try reparent(a, from: parent, to: newParent)
    try reparent(b, from: newParent, to: parent)
    for node in [a, b] {
      node.changed = time
      touch(node)
    }
    touch(parent, time)
    touch(newParent, time)
  }

  /// The links that a directory's `..` makes.
  private func reparent(_ node: Node, from parent: Node, to newParent: Node) throws(VaultError) {
    guard node.isDirectory, parent !== newParent else { return }
    try lower(&parent.links)
    try raise(&newParent.links)
    for watch in watches { watch.noteMoved(node.inode) }
  }

  private func resolve(_ extents: [JournalExtent], _ known: [ChunkID: ChunkNumber]) throws(VaultError) -> [Extent] {
    var result: [Extent] = []
    result.reserveCapacity(extents.count)
    for extent in extents {
      let source: Extent.Source
      switch extent.source {
      case .reserved: source = .reserved
      case .chunk(let id, let offset):
        let found: ChunkNumber?
        if let number = known[id] { found = number } else { found = try chunk(id, orMissing: true) }
        guard let found else { throw .journalDamaged(detail: "an operation names a chunk that is not stored") }
        source = .chunk(found, offset: offset)
      }
      result.append(Extent(offset: extent.offset, length: extent.length, source: source))
    }
    return result
  }

  func resize(_ node: Node, to size: UInt64) throws(VaultError) {
    if size < node.size { try replace(size..<UInt64.max, of: node, with: []) }
    node.size = size
  }
}
