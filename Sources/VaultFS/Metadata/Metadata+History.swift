// The past of the view: rows move to the tables past_* when an operation replaces them, if anybody may want to see them.
//
// What must stay true:
// 1. A node's version is [since, next version's since). Its row, its manifest's pages and its attributes change within a
//    version without a trace; when the next one begins, the row moves to `past_node`. A page or attribute moves when it
//    is replaced and belongs to a version before that is kept still; it ends where the present version begins.
// 2. Whatever a snapshot sees is kept: no version goes on over one.
// 3. Of a node that is gone the pages and attributes stay where they are: its number never comes back.
// 4. All this follows from the operations, their stamps and the policy, which is an operation: a replay keeps the same.

extension Metadata {
  /// Notes when things were: before the first operation of each second.
  func noteMoment(_ lsn: LSN, _ stamp: UInt64) throws(VaultError) {
    let second = Int64(clamping: stamp / 1_000_000_000)
    guard second > state.second else { return }
    state.second = second
    statements.insertMoment.bind(1, UInt64(bitPattern: second))
    statements.insertMoment.bind(2, lsn.value &- 1)
    try statements.insertMoment.run()
    recent.removeAll { $0.second <= second - Int64(state.history.window) - 1 }
    recent.append((second, LSN(lsn.value &- 1)))
  }

  /// The last operation at the end of a second.
  func lsn(atEndOf second: Int64) throws(VaultError) -> LSN {
    let select = statements.selectMoment
    select.bind(1, UInt64(bitPattern: second))
    defer { select.reset() }
    return try select.step() ? LSN(select.unsigned(0)) : state.applied
  }

  /// When an operation was, which was not before `earliest`.
  func second(of lsn: LSN, from earliest: Int64) throws(VaultError) -> Int64 {
    var (low, high) = (earliest, max(earliest, state.second))
    while low < high {
      let middle = low + (high - low) / 2
      if try self.lsn(atEndOf: middle) < lsn { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Whether what began with `lsn` is younger than the window.
  private func isYoung(_ lsn: LSN) -> Bool {
    let start = state.second - Int64(state.history.window)
    guard let first = recent.first(where: { $0.second > start }) else { return false }
    return lsn > first.lsn
  }

  /// Whether a snapshot sees what began with `lsn` and still is.
  private func isInSnapshot(_ lsn: LSN) -> Bool { state.lastSnapshot >= lsn && lsn > .zero }

  /// The operation `lsn` is about to change `node`: what it was goes to the past, unless the change belongs to the same version.
  /// - Parameter continues: the writer that made this version is still at it.
  /// - Parameter isCut: however young it is, no version goes on over that.
  /// - Parameter isDeletion: a name of it, or in it, is deleted, and nothing else changes.
  func change(_ node: Node, _ lsn: LSN, continues: Bool = false, isCut: Bool = false, isDeletion: Bool = false) throws(VaultError) {
    for watch in watches { watch.note(node.inode) }
    guard node.since != lsn else { return }
    let isOld = !continues && state.second &- node.sinceSeconds >= Int64(state.history.window)
    if state.history.isOn && (isOld || isCut) || isInSnapshot(node.since) { try cut(node, lsn) } else if !isDeletion { node.isTouched = true }
  }

  /// A new version of `node` begins with `lsn`.
  private func cut(_ node: Node, _ lsn: LSN) throws(VaultError) {
    guard node.since < lsn else { return }
    insertPast(PastRow(inode: node.inode, born: node.since, died: lsn, record: try withoutStaging(node) { $0.encoded() }))
    (node.since, node.sinceSeconds, node.isTouched) = (lsn, state.second, false)
  }

  /// The last name of `node` is about to go.
  /// - Parameter isDeleted: somebody deleted it; else something was put in its place.
  func keep(_ node: Node, endingWith lsn: LSN, isDeleted: Bool) throws(VaultError) {
    for watch in watches { watch.note(node.inode) }
    if isInSnapshot(node.since) || state.history.isOn && (isDeleted || !isYoung(node.since)) { try cut(node, lsn) }
  }

  /// The entry is about to go.
  /// - Parameter isDeleted: as in `keep`.
  /// - Returns: whether it is remembered.
  @discardableResult
  func keep(_ row: EntryRow, of parent: InodeNumber, endingWith lsn: LSN, isDeleted: Bool) throws(VaultError) -> Bool {
    // No moment sees what one operation gave and took.
    guard row.born < lsn, isInSnapshot(row.born) || state.history.isOn && (isDeleted || !isYoung(row.born)) else { return false }
    let insert = statements.insertPastEntry
    insert.bind(1, parent.value)
    insert.bind(2, row.cookie)
    insert.bind(3, lsn.value)
    insert.bind(4, row.born.value)
    insert.bind(5, copying: row.name)
    insert.bind(6, row.inode.value)
    insert.bind(7, UInt64(row.type))
    try insert.run()
    return true
  }

  /// `node` takes the name of `row` with the operation `lsn`. Where that is not remembered, because it began a moment ago, `node`
  /// had the name from then on: a name that was always there is in no moment's tree missing.
  /// - Parameter isRestored: it gives way to what was there before, and is remembered however young.
  /// - Returns: since when `node` has it.
  func succeed(_ row: EntryRow, of parent: InodeNumber, by node: Node, _ lsn: LSN, isRestored: Bool = false) throws(VaultError) -> LSN {
    if row.born == lsn { return lsn }
    // One that was something before is not shown as if it had been there: the old one stays, however young.
    let hasPast = try hasPast(node.inode), wasElsewhere = hasPast || node.since <= row.born
    if try keep(row, of: parent, endingWith: lsn, isDeleted: wasElsewhere || isRestored) || !state.history.isOn { return lsn }
    node.since = row.born
    for backdate in [statements.backdatePages, statements.backdateXattrs] {
      backdate.bind(1, node.inode.value)
      backdate.bind(2, row.born.value)
      try backdate.run()
    }
    return row.born
  }

  /// Notes that a name was deleted, and where it was. (The node may have others.)
  /// - Parameter aside: the operation that took it from there; zero where this one does.
  func noteDeleted(_ row: EntryRow, from parent: InodeNumber, _ lsn: LSN, aside: LSN) throws(VaultError) {
    guard state.history.isOn else { return }
    let insert = statements.insertTrash
    insert.bind(1, lsn.value)
    insert.bind(2, row.inode.value)
    insert.bind(3, parent.value)
    insert.bind(4, copying: row.name)
    insert.bind(5, UInt64(bitPattern: state.second))
    insert.bind(6, aside.value)
    try insert.run()
  }

  /// Which operation took from its place what `died` deleted; zero where that did it itself.
  func whenSetAside(beforeDeletedBy died: LSN) throws(VaultError) -> LSN {
    let select = try database.prepare("SELECT aside FROM trash WHERE died = ?")
    select.bind(1, died.value)
    return try select.step() ? LSN(select.unsigned(0)) : .zero
  }

  /// Moves the pages of a manifest that begin in `range` to the past, those that an earlier version needs.
  func keepPages(of node: Node, in range: Range<UInt64>) throws(VaultError) {
    try writePast()
    let keep = statements.keepPages
    keep.bind(1, node.inode.value)
    keep.bind(2, range.lowerBound)
    keep.bind(3, min(range.upperBound, Limits.fileBytesMax))
    keep.bind(4, node.since.value)
    try keep.run()
  }

  func keepXattr(_ name: [UInt8], of node: Node) throws(VaultError) {
    try writePast()
    let keep = statements.keepXattr
    keep.bind(1, node.inode.value)
    keep.bind(2, copying: name)
    keep.bind(3, node.since.value)
    try keep.run()
  }
}

// MARK: Looking back

extension Metadata {
  /// What a node was after the operation `moment`; nil where it was not there. Not for changing, nor for keeping: what it
  /// was may be forgotten as soon as the vault's lock is let go.
  func node(_ inode: InodeNumber, at moment: LSN) throws(VaultError) -> Node? {
    let live: Node?
    do throws(VaultError) { live = try node(inode) } catch { if case .staleNode = error { live = nil } else { throw error } }
    if let live, live.since <= moment { return try past(inode, live.encoded(), until: moment.next) }
    try writePast()
    let select = statements.selectPastNode
    select.bind(1, inode.value)
    select.bind(2, moment.value)
    defer { select.reset() }
    guard try select.step(), LSN(select.unsigned(0)) <= moment else { return nil }
    return try past(inode, select.bytes(2), until: LSN(select.unsigned(1)))
  }

  /// A node as it is, or was last; as `node(_:at:)`, where it is gone.
  func last(_ inode: InodeNumber) throws(VaultError) -> Node {
    do throws(VaultError) { return try node(inode) } catch { guard case .staleNode = error else { throw error } }
    let select = try database.prepare("SELECT died FROM past_node WHERE inode = ? ORDER BY died DESC LIMIT 1")
    select.bind(1, inode.value)
    guard try select.step(), let node = try node(inode, at: LSN(select.unsigned(0) &- 1)) else { throw .staleNode }
    return node
  }

  /// nil where nothing is kept of it.
  func lastIfKept(_ inode: InodeNumber) throws(VaultError) -> Node? {
    do throws(VaultError) { return try last(inode) } catch { if case .staleNode = error { return nil } else { throw error } }
  }

  /// A node apart from the one in use. At the last moment of its version all its pages and attributes are there.
  private func past(_ inode: InodeNumber, _ row: [UInt8], until died: LSN) throws(VaultError) -> Node {
    guard let past = unsafe row.withUnsafeBytes({ unsafe try? Node(inode: inode, decoding: $0) }) else { throw damaged("a past row of node \(inode.value)") }
    past.moment = LSN(died.value &- 1)
    return past
  }

  func entry(_ name: [UInt8], in parent: InodeNumber, at moment: LSN) throws(VaultError) -> EntryRow? {
    if let row = try entry(name, in: parent), row.born <= moment { return row }
    let (first, end) = cookies(of: name), select = statements.selectPastEntries
    select.bind(1, parent.value)
    select.bind(2, first)
    select.bind(3, end)
    select.bind(4, moment.value)
    defer { select.reset() }
    while try select.step() { if unsafe select.raw(1).elementsEqual(name) { return pastRow(select) } }
    return nil
  }

  /// Entries that followed `cookie` after the operation `moment`, at most `count`.
  func entries(of parent: InodeNumber, after cookie: UInt64, count: Int, at moment: LSN) throws(VaultError) -> [EntryRow] {
    let select = statements.listPastEntries
    select.bind(1, parent.value)
    select.bind(2, cookie)
    select.bind(3, moment.value)
    select.bind(4, UInt64(count))
    defer { select.reset() }
    var rows: [EntryRow] = []
    while try select.step() { rows.append(pastRow(select)) }
    return rows
  }

  private func pastRow(_ row: Statement) -> EntryRow {
    EntryRow(cookie: row.unsigned(0), name: row.bytes(1), inode: InodeNumber(row.unsigned(2)), type: UInt32(truncatingIfNeeded: row.integer(3)), born: LSN(row.unsigned(4)))
  }
}

extension Metadata {
  struct KeptVersion {
    let version: FileVersion
    /// What the node was at its end, or is now.
    let node: Node
  }

  /// The versions of a node that are left, in no order.
  func versions(of inode: InodeNumber) throws(VaultError) -> [KeptVersion] {
    var pins: Set<UInt64> = []
    let pinned = try database.prepare("SELECT lsn FROM pin WHERE inode = ?")
    pinned.bind(1, inode.value)
    while try pinned.step() { pins.insert(pinned.unsigned(0)) }
    var nodes: [(node: Node, died: LSN?)] = []
    if let node = try nodeIfThere(inode) { nodes.append((node, nil)) }
    let select = try database.prepare("SELECT died, record FROM past_node WHERE inode = ?")
    select.bind(1, inode.value)
    while try select.step() { nodes.append((try past(inode, select.bytes(1), until: LSN(select.unsigned(0))), LSN(select.unsigned(0)))) }
    // Mostly, the next one began when one ended: then nothing must be looked up.
    let began = Dictionary(nodes.map { ($0.node.since, $0.node.sinceSeconds) }) { first, _ in first }
    return try nodes.map { node, died throws(VaultError) in
      let isPinned = pins.contains { $0 >= node.since.value && $0 < died?.value ?? .max }
      let ended = try died.map { lsn throws(VaultError) in if let second = began[lsn] { second } else { try second(of: lsn, from: node.sinceSeconds) } }
      return KeptVersion(version: FileVersion(inode: inode.value, id: node.since.value, second: node.sinceSeconds, died: died?.value, ended: ended,
                                              size: node.size, mode: node.mode, user: node.user, isPinned: isPinned), node: node)
    }
  }

  func snapshots() throws(VaultError) -> [Snapshot] { try snapshots("ORDER BY lsn", nil) }
  func snapshot(_ name: [UInt8]) throws(VaultError) -> Snapshot? { try snapshots("WHERE name = ?", name).first }

  private func snapshots(_ which: String, _ name: [UInt8]?) throws(VaultError) -> [Snapshot] {
    let select = try database.prepare("SELECT name, lsn, second, inode FROM snapshot \(which)")
    if let name { select.bind(1, copying: name) }
    var found: [Snapshot] = []
    while try select.step() {
      found.append(Snapshot(name: select.bytes(0), moment: select.unsigned(1), second: select.integer(2), directory: select.unsigned(3)))
    }
    return found
  }
}
