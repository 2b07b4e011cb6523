// What holds the past: snapshots and pins; taking something of it back; and letting go of the rest.

extension Metadata {
  /// Reads the newest moments again.
  func loadRecent() throws(VaultError) {
    let select = try database.prepare("SELECT second, lsn FROM moment WHERE second > ? ORDER BY second")
    select.bind(1, UInt64(bitPattern: state.second &- Int64(state.history.window) &- 1))
    recent = []
    while try select.step() { recent.append((select.integer(0), LSN(select.unsigned(1)))) }
  }

  /// Snapshots and pins are few operations apart from all others: they are read when somebody asks.
  func makeSnapshot(_ name: [UInt8], of inode: InodeNumber, _ lsn: LSN) throws(VaultError) {
    knowsSnapshots = false
    let insert = statements.insertSnapshot
    insert.bind(1, copying: name)
    insert.bind(2, lsn.value)
    insert.bind(3, UInt64(bitPattern: state.second))
    insert.bind(4, inode.value)
    try insert.run()
    state.lastSnapshot = lsn
  }

  func dropSnapshot(_ name: [UInt8]) throws(VaultError) {
    knowsSnapshots = false
    statements.deleteSnapshot.bind(1, copying: name)
    try statements.deleteSnapshot.run()
    state.lastSnapshot = LSN(UInt64(bitPattern: try database.integer("SELECT max((SELECT ifnull(max(lsn), 0) FROM snapshot), (SELECT ifnull(max(lsn), 0) FROM pin))") ?? 0))
  }

  func pin(_ inode: InodeNumber, _ moment: LSN, _ isPinned: Bool) throws(VaultError) {
    let statement = isPinned ? statements.insertPin : statements.deletePin
    statement.bind(1, inode.value)
    statement.bind(2, moment.value)
    let before = database.changes
    try statement.run()
    if isPinned { state.lastSnapshot = max(state.lastSnapshot, moment) }
    guard database.changes != before else { return }
    if knowsPins { try noteHeld(inode, moment, isPinned) }
    guard pinnedBytes != nil, let node = try node(inode, at: moment) else { return }
    if isPinned { pinnedBytes![node.user, default: 0] &+= node.allocated } else { pinnedBytes![node.user, default: 0] &-= node.allocated }
  }

  func isPinned(_ inode: InodeNumber, _ moment: LSN) throws(VaultError) -> Bool {
    let select = try database.prepare("SELECT 1 FROM pin WHERE inode = ? AND lsn = ?")
    select.bind(1, inode.value)
    select.bind(2, moment.value)
    return try select.step()
  }

  /// What pins hold of a user's, bytes.
  func pinnedBytes(of user: UInt32) throws(VaultError) -> UInt64 {
    if pinnedBytes == nil {
      var sums: [UInt32: UInt64] = [:]
      let select = try database.prepare("SELECT inode, lsn FROM pin")
      while try select.step() {
        if let node = try node(InodeNumber(select.unsigned(0)), at: LSN(select.unsigned(1))) { sums[node.user, default: 0] &+= node.allocated }
      }
      pinnedBytes = sums
    }
    return pinnedBytes![user] ?? 0
  }

  /// `node` gets the content and the extended attributes that `source` had after `moment`.
  func restore(_ node: Node, from source: InodeNumber, at moment: LSN) throws(VaultError) {
    guard let past = try self.node(source, at: moment) else { throw damaged("an operation restores what node \(source.value) never was") }
    // It is that still, and stays: where no version ends, its rows are the same.
    if source == node.inode, node.since <= moment { return touch(node) }
    for name in try xattrNames(of: node) where try xattr(name, of: past) == nil { try removeXattr(name, of: node) }
    for name in try xattrNames(of: past) { if let value = try xattr(name, of: past) { try writeXattr(name, value, of: node) } }
    guard node.isRegular, past.isRegular else { return touch(node) }
    // Pages of the past are read while those of the present change: they are not the same rows.
    try replace(0..<Limits.fileBytesMax, of: node, with: [])
    try copy(0..<max(past.size, (try lastExtent(of: past))?.end ?? 0), of: past, to: 0, of: node)
    node.size = past.size
    touch(node)
  }
}

// MARK: Forgetting

extension Metadata {
  /// Forgets what no kept moment sees of the past of the nodes in `range`, and of the names in these directories.
  func expire(_ range: Range<UInt64>, now: Int64) throws(VaultError) {
    try noteKeptMoments(state.history, now)
    state.expired = now
    try forget(range, through: try horizon(state.history, now))
  }

  /// What `expire` would forget under a policy. Changes nothing.
  /// - Parameter most: where it is enough to know that there are so many.
  func countExpiring(_ range: Range<UInt64>, under policy: HistoryPolicy? = nil, now: Int64, most: UInt64 = .max) throws(VaultError) -> Expiring {
    let policy = policy ?? state.history
    try noteKeptMoments(policy, now)
    let horizon = try horizon(policy, now)
    func count(_ forgetting: String) throws(VaultError) -> UInt64 {
      let rows = forgetting.replacing("DELETE", with: "SELECT 1", maxReplacements: 1)
      let select = try database.prepare("SELECT count(*) FROM (\(rows) LIMIT ?4)")
      for (index, value) in [range.lowerBound, range.upperBound, horizon.value, min(most, UInt64(Int64.max))].enumerated() { select.bind(Int32(index) + 1, value) }
      return try select.step() ? select.unsigned(0) : 0
    }
    return Expiring(nodes: try count(Self.forgettingNodes), names: try count(Self.forgettingNames))
  }

  /// The last moment up to `moment` of which everything is kept; nil where there is none.
  func keptMoment(upTo moment: LSN, now: Int64) throws(VaultError) -> KeptMoment? {
    let policy = state.history
    if moment >= state.applied { return KeptMoment(lsn: moment) }
    var last: KeptMoment?
    if policy.isOn {
      if isWhole(moment), moment >= (try horizon(policy, now)) { return KeptMoment(lsn: moment) }
      let kept = policy.momentsKept(at: now, from: try firstSecond()).sorted()
      var index = 0, end = kept.count
      while index < end {
        let middle = (index + end) / 2
        if try lsn(atEndOf: kept[middle]) <= moment { index = middle + 1 } else { end = middle }
      }
      while index > 0, last == nil {
        index -= 1
        let lsn = try lsn(atEndOf: kept[index])
        if isWhole(lsn) { last = KeptMoment(lsn: lsn, second: kept[index]) } else if lsn < state.forgotten { break }
      }
    }
    let select = statements.snapshotUpTo
    select.bind(1, moment.value)
    defer { select.reset() }
    if try select.step(), case let snapshot = LSN(select.unsigned(0)), snapshot > last?.lsn ?? .zero { last = KeptMoment(lsn: snapshot, second: select.integer(1)) }
    return last.map { $0.lsn == moment ? KeptMoment(lsn: moment) : $0 }
  }

  /// The first of which it is known which operations were before.
  private func firstSecond() throws(VaultError) -> Int64 {
    defer { statements.firstMoment.reset() }
    return try statements.firstMoment.step() ? statements.firstMoment.integer(0) : 0
  }

  /// Whether everything is kept of a moment that the policy keeps.
  private func isWhole(_ lsn: LSN) -> Bool { lsn >= state.forgotten && !state.doubted.contains(lsn.value) }

  /// A policy that keeps more than the one before it brings nothing back: of which moments that had let something go.
  func noteChange(to policy: HistoryPolicy, _ lsn: LSN) throws(VaultError) {
    guard policy.isOn else { return }
    if !state.history.isOn { return state.forgotten = lsn }
    let longer = zip(state.history.reaches, policy.reaches).filter { $0 < $1 }
    guard let shortest = longer.map(\.0).min(), let longest = longer.map(\.1).max() else { return }
    let first = try self.lsn(atEndOf: state.second - Int64(longest)).value, end = try self.lsn(atEndOf: state.second - Int64(shortest)).value
    guard first < end else { return }
    state.doubted = state.doubted.isEmpty ? first..<end : min(first, state.doubted.lowerBound)..<max(end, state.doubted.upperBound)
  }

  /// The operation up to which not everything is kept.
  private func horizon(_ policy: HistoryPolicy, _ now: Int64) throws(VaultError) -> LSN {
    policy.isOn ? try lsn(atEndOf: now - Int64(policy.all)) : state.applied
  }

  /// Forgets what ended with the operation `horizon` or before, but for what snapshots and pins hold.
  func forgetAll(_ range: Range<UInt64>, through horizon: LSN) throws(VaultError) {
    try noteKeptMoments(nil, 0)
    try forget(range, through: horizon)
  }

  /// Whether a snapshot or a pin holds what a node was last, before it was deleted.
  func isLastHeld(_ inode: InodeNumber) throws(VaultError) -> Bool {
    try noteKeptMoments(nil, 0)
    let select = try database.prepare("""
      SELECT EXISTS (SELECT 1 FROM kept WHERE lsn >= n.born AND lsn < n.died) OR EXISTS (SELECT 1 FROM held WHERE inode = n.inode AND lsn >= n.born AND lsn < n.died)
      FROM past_node AS n WHERE inode = ? ORDER BY died DESC LIMIT 1
      """)
    select.bind(1, inode.value)
    return try select.step() && select.integer(0) != 0
  }

  private func forget(_ range: Range<UInt64>, through horizon: LSN) throws(VaultError) {
    try writeNodes()
    try hold(in: range)
    let before = database.changes
    for sql in Self.forgetting {
      let forget = try database.prepare(sql), before = database.changes
      forget.bind(1, range.lowerBound)
      forget.bind(2, range.upperBound)
      if sql.contains("?3") { forget.bind(3, horizon.value) }
      try forget.run()
      if sql == Self.forgettingSomeNames { isMoreToForget = database.changes &- before == Self.namesPerOperation }
    }
    if database.changes != before { state.lapses &+= 1 }
  }

  /// Fills the table `kept` of this connection: the moments of which the past is kept.
  /// - Parameter policy: nil: only those of snapshots.
  /// - Parameter now: seconds since 1970.
  func noteKeptMoments(_ policy: HistoryPolicy?, _ now: Int64) throws(VaultError) {
    try notePins()
    if policy == nil, knowsSnapshots { return }
    knowsSnapshots = policy == nil
    try database.execute("CREATE TEMP TABLE IF NOT EXISTS kept (lsn INTEGER PRIMARY KEY); DELETE FROM kept; INSERT INTO kept SELECT DISTINCT lsn FROM snapshot")
    guard let policy, policy.isOn else { return }
    let insert = try database.prepare("INSERT OR IGNORE INTO kept VALUES (?)")
    for second in policy.momentsKept(at: now, from: try firstSecond()) {
      insert.bind(1, try lsn(atEndOf: second).value)
      try insert.run()
    }
  }

  /// Fills the table `held` of this connection: which nodes pins hold at which moments, and how many pins do.
  private func notePins() throws(VaultError) {
    if knowsPins { return }
    try database.execute("CREATE TEMP TABLE IF NOT EXISTS held (inode INTEGER, lsn INTEGER, pins INTEGER, PRIMARY KEY (inode, lsn)) WITHOUT ROWID; DELETE FROM held")
    let select = try database.prepare("SELECT inode, lsn FROM pin")
    while try select.step() { try noteHeld(InodeNumber(select.unsigned(0)), LSN(select.unsigned(1)), true) }
    knowsPins = true
  }

  /// A pin holds a node and the directories on the way to it, as they were: what cannot be found is not kept. No version goes on over
  /// that moment, so these stay the same.
  private func noteHeld(_ inode: InodeNumber, _ moment: LSN, _ isPinned: Bool) throws(VaultError) {
    let sql = isPinned ? "INSERT INTO held VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET pins = pins + 1" : "UPDATE held SET pins = pins - 1 WHERE inode = ?1 AND lsn = ?2"
    let note = try database.prepare(sql)
    var at = inode, seen: Set<InodeNumber> = []
    // (A damaged past may go in a circle.)
    while at != .root, seen.insert(at).inserted {
      note.bind(1, at.value)
      note.bind(2, moment.value)
      try note.run()
      guard let node = try node(at, at: moment) else { break }
      at = node.parent
    }
    if isPinned { return }
    let delete = try database.prepare("DELETE FROM held WHERE inode = ? AND lsn = ? AND pins <= 0")
    for inode in seen {
      delete.bind(1, inode.value)
      delete.bind(2, moment.value)
      try delete.run()
    }
  }

  /// In this order: pages and attributes go with the last version that sees them. ?3 is the operation up to which not
  /// everything is kept.
  private static let forgettingNodes =
    """
    DELETE FROM past_node WHERE inode >= ?1 AND inode < ?2 AND died <= ?3
      AND NOT EXISTS (SELECT 1 FROM kept WHERE lsn >= past_node.born AND lsn < past_node.died)
      AND NOT EXISTS (SELECT 1 FROM held WHERE held.inode = past_node.inode AND held.lsn >= past_node.born AND held.lsn < past_node.died)
    """
  private static let forgettingNames =
    """
    DELETE FROM past_entry WHERE parent >= ?1 AND parent < ?2 AND died <= ?3
      AND NOT EXISTS (SELECT 1 FROM kept WHERE lsn >= past_entry.born AND lsn < past_entry.died)
      AND NOT EXISTS (SELECT 1 FROM held WHERE held.inode = past_entry.inode AND held.lsn >= past_entry.born AND held.lsn < past_entry.died)
    """
  /// Others wait meanwhile, and a directory may have had very many.
  private static let namesPerOperation: Int32 = 5000
  private static let forgettingSomeNames =
    """
    DELETE FROM past_entry WHERE (parent, cookie, died) IN (
      \(forgettingNames.replacing("DELETE", with: "SELECT parent, cookie, died", maxReplacements: 1)) ORDER BY parent, cookie, died LIMIT \(namesPerOperation))
    """
  private static let forgetting = [
    forgettingNodes, forgettingSomeNames,
    """
    DELETE FROM past_page WHERE inode >= ?1 AND inode < ?2
      AND NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = past_page.inode AND n.died > past_page.born AND n.died <= past_page.died)
    """,
    """
    DELETE FROM past_xattr WHERE inode >= ?1 AND inode < ?2
      AND NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = past_xattr.inode AND n.died > past_xattr.born AND n.died <= past_xattr.died)
    """,
    """
    DELETE FROM page WHERE inode >= ?1 AND inode < ?2
      AND NOT EXISTS (SELECT 1 FROM node WHERE node.inode = page.inode) AND NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = page.inode AND n.died > page.since)
    """,
    """
    DELETE FROM xattr WHERE inode >= ?1 AND inode < ?2
      AND NOT EXISTS (SELECT 1 FROM node WHERE node.inode = xattr.inode) AND NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = xattr.inode AND n.died > xattr.since)
    """,
    """
    DELETE FROM trash WHERE inode >= ?1 AND inode < ?2
      AND trash.died <= ?3 AND NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = trash.inode AND n.died = trash.died)
    """,
    """
    DELETE FROM origin WHERE inode >= ?1 AND inode < ?2
      AND NOT EXISTS (SELECT 1 FROM node WHERE node.inode = origin.inode) AND NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = origin.inode)
      AND NOT EXISTS (SELECT 1 FROM origin AS o WHERE o.source = origin.inode)
    """,
    """
    DELETE FROM past_quota WHERE inode >= ?1 AND inode < ?2 AND NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = past_quota.inode)
    """,
  ]

  /// The end of the next nodes whose past is looked at in one operation; nil where no node from `first` on has one.
  func nextToExpire(from first: UInt64, count: Int) throws(VaultError) -> UInt64? {
    var end: UInt64?, isAny = false
    for (table, key) in [("past_node", "inode"), ("past_entry", "parent"), ("past_page", "inode")] {
      let select = try database.prepare("SELECT \(key) FROM \(table) WHERE \(key) >= ? ORDER BY \(key) LIMIT 1 OFFSET ?")
      for offset in [0, UInt64(count)] {
        select.bind(1, first)
        select.bind(2, offset)
        defer { select.reset() }
        guard try select.step() else { continue }
        isAny = true
        if offset > 0 { end = min(end ?? .max, select.unsigned(0) + 1) }
      }
    }
    return isAny ? end ?? UInt64(Int64.max) - 1 : nil
  }
}
