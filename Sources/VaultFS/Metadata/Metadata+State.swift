// Counters and positions: one row each in `state`, written with every commit.

import Glibc

/// What the vault holds, kept exact in O(1) a change.
public struct Counters: Sendable {
  /// Nodes with a name, and unnamed ones still open.
  public var nodes: Int64 = 0
  /// Bytes of all files that are not holes.
  public var logicalBytes: Int64 = 0
  /// Different chunks, and their plain bytes.
  public var chunks: Int64 = 0
  public var uniqueBytes: Int64 = 0
  /// Bytes of the frames that were written to hold them.
  public var frameBytes: Int64 = 0
}

extension Metadata.State {
  /// With what the frames take, which each container counts.
  var counted: Counters {
    var all = counters
    all.frameBytes = Int64(clamping: containers.frames)
    return all
  }
}

extension Metadata {
  private struct Field {
    let key: String
    /// Values are below this; nil where every one is right.
    let end: UInt64?
    let get: @Sendable (State) -> UInt64
    let set: @Sendable (inout State, UInt64) -> Void
    init(_ key: String, _ end: UInt64?, _ get: @escaping @Sendable (State) -> UInt64, _ set: @escaping @Sendable (inout State, UInt64) -> Void) {
      (self.key, self.end, self.get, self.set) = (key, end, get, set)
    }
  }

  /// Numbers of nodes are below this: beyond it, a mount numbers what it shows of the past.
  static let inodeEnd: UInt64 = 1 << 62
  private static let numberEnd = UInt64(Int64.max), containerEnd = ContainerStore.numbersEnd

  private static let fields = [
    Field("applied", numberEnd, { $0.applied.value }, { $0.applied = LSN($1) }),
    Field("stamp", nil, { $0.stamp }, { $0.stamp = $1 }),
    Field("segment", containerEnd, { $0.segment.value }, { $0.segment = ContainerNumber($1) }),
    Field("segment_offset", numberEnd, { $0.segmentOffset }, { $0.segmentOffset = $1 }),
    Field("next_inode", inodeEnd, { $0.nextInode }, { $0.nextInode = $1 }),
    Field("next_container", containerEnd, { $0.nextContainer }, { $0.nextContainer = $1 }),
    Field("pack", containerEnd, { $0.pack.value }, { $0.pack = ContainerNumber($1) }),
    Field("pack_offset", numberEnd, { $0.packOffset }, { $0.packOffset = $1 }),
    Field("flushed_segment", containerEnd, { $0.flushedSegment.value }, { $0.flushedSegment = ContainerNumber($1) }),
    Field("flushed_pack", containerEnd, { $0.flushedPack.value }, { $0.flushedPack = ContainerNumber($1) }),
    Field("epoch", numberEnd, { $0.epoch }, { $0.epoch = $1 }),
    Field("second", numberEnd, { UInt64(bitPattern: $0.second) }, { $0.second = Int64(bitPattern: $1) }),
    Field("collected", nil, { $0.collected }, { $0.collected = $1 }),
    Field("lapses", nil, { $0.lapses }, { $0.lapses = $1 }),
    Field("last_snapshot", numberEnd, { $0.lastSnapshot.value }, { $0.lastSnapshot = LSN($1) }),
    Field("expired", nil, { UInt64(bitPattern: $0.expired) }, { $0.expired = Int64(bitPattern: $1) }),
    Field("history_limit", numberEnd, { $0.history.limit }, { $0.history.limit = $1 }),
    Field("history_bytes", numberEnd, { $0.historyBytes }, { $0.historyBytes = $1 }),
    Field("forgotten", numberEnd, { $0.forgotten.value }, { $0.forgotten = LSN($1) }),
    // (In whatever order they come.)
    Field("doubted_from", numberEnd, { $0.doubted.lowerBound }, { $0.doubted = $1..<max($1, $0.doubted.upperBound) }),
    Field("doubted_to", numberEnd, { $0.doubted.upperBound }, { $0.doubted = min($0.doubted.lowerBound, $1)..<$1 }),
    Field("nodes", numberEnd, { UInt64(bitPattern: $0.counters.nodes) }, { $0.counters.nodes = Int64(bitPattern: $1) }),
    // Clones can make a sum that wraps.
    Field("logical_bytes", nil, { UInt64(bitPattern: $0.counters.logicalBytes) }, { $0.counters.logicalBytes = Int64(bitPattern: $1) }),
    Field("chunks", numberEnd, { UInt64(bitPattern: $0.counters.chunks) }, { $0.counters.chunks = Int64(bitPattern: $1) }),
    Field("unique_bytes", numberEnd, { UInt64(bitPattern: $0.counters.uniqueBytes) }, { $0.counters.uniqueBytes = Int64(bitPattern: $1) }),
  ]

  /// The policy's numbers, in their order.
  private static let policyFields = ["history", "history_window", "history_all", "history_hourly", "history_daily", "history_weekly"]

  /// - Throws: `.databaseDamaged` where a value is none that a vault can have: others are made of it, and must not be
  ///   the end of the process.
  static func readState(_ database: Database) throws(VaultError) -> State {
    var state = State()
    let select = try database.prepare("SELECT key, value FROM state")
    while try select.step() {
      let key = String(decoding: select.bytes(0), as: UTF8.self), value = select.unsigned(1)
      func refused() -> VaultError { .databaseDamaged(detail: "\(database.path): its state `\(key)` is \(select.integer(1))") }
      if let index = policyFields.firstIndex(of: key) {
        guard let number = UInt32(exactly: value) else { throw refused() }
        state.history.numbers[index] = number
      }
      guard let field = fields.first(where: { $0.key == key }) else { continue }
      if let end = field.end, value >= end { throw refused() }
      field.set(&state, value)
    }
    // A number that is given again would lead two names to one node.
    if let last = try database.integer("SELECT max(inode) FROM node"), UInt64(bitPattern: last) >= state.nextInode {
      throw .databaseDamaged(detail: "\(database.path): it has node \(last), and the next one would be \(state.nextInode)")
    }
    state.containers = try ContainerUses(database)
    let staging = try database.prepare("SELECT inode FROM staging")
    while try staging.step() { state.staging.insert(InodeNumber(staging.unsigned(0))) }
    state.accounts = try Accounts(database)
    state.quotas = try Quotas(database)
    return state
  }

  func writeState() throws(VaultError) {
    for field in Self.fields {
      statements.writeState.bind(1, text: field.key)
      statements.writeState.bind(2, field.get(state))
      try statements.writeState.run()
    }
    for (key, number) in zip(Self.policyFields, state.history.numbers) {
      statements.writeState.bind(1, text: key)
      statements.writeState.bind(2, UInt64(number))
      try statements.writeState.run()
    }
    try state.containers.write(statements)
    try state.accounts.write(statements)
    try state.quotas.write(statements)
  }
}

/// Every statement of the view, prepared once.
struct Statements {
  let selectNode, writeNode, deleteNode: Statement
  let selectEntry, listEntries, insertEntry, deleteEntry, retargetEntry: Statement
  let selectXattr, listXattrs, countXattrs, writeXattr, deleteXattr, deleteXattrs: Statement
  let selectPage, nthLastPage, listPages, writePage, deletePages: Statement
  let selectPastPage, listPastPages, selectHeldPage, listHeldPages, holdPages, deleteHeldPages, keepPages, keepXattr, selectPastXattr, listPastXattrs, deleteNewPages, deleteNewXattrs, backdatePages, backdateXattrs: Statement
  let insertMoment, selectMoment, firstMoment, snapshotUpTo, insertPastNode, selectPastNode, selectLastPast, insertPastEntry, selectPastEntries, listPastEntries, insertTrash: Statement
  let insertSnapshot, deleteSnapshot, insertPin, deletePin: Statement
  let selectChunk, findChunk, insertChunk, deleteChunk, moveChunk, writeContainer, deleteContainer: Statement
  let insertOrphan, deleteOrphan, insertStaging, deleteStaging, insertOrigin, deleteOrigin, bridgeOrigin, selectOrigin, selectLastDeletion, selectFormerName, writeState, insertEpoch, selectEpoch: Statement
  let selectLink, firstLink, insertLink, deleteLink, writeAccount, deleteAccount, writeQuota, deleteQuota: Statement

  init(_ db: Database) throws(VaultError) {
    selectNode = try db.prepare("SELECT record FROM node WHERE inode = ?")
    writeNode = try db.prepare("INSERT OR REPLACE INTO node (inode, record) VALUES (?, ?)")
    deleteNode = try db.prepare("DELETE FROM node WHERE inode = ?")
    selectEntry = try db.prepare("SELECT cookie, name, inode, type, born FROM entry WHERE parent = ? AND cookie >= ? AND cookie < ? ORDER BY cookie")
    listEntries = try db.prepare("SELECT cookie, name, inode, type, born FROM entry WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ?")
    insertEntry = try db.prepare("INSERT INTO entry (parent, cookie, name, inode, type, born) VALUES (?, ?, ?, ?, ?, ?)")
    deleteEntry = try db.prepare("DELETE FROM entry WHERE parent = ? AND cookie = ?")
    retargetEntry = try db.prepare("UPDATE entry SET inode = ?, type = ?, born = ? WHERE parent = ? AND cookie = ?")
    selectXattr = try db.prepare("SELECT value FROM xattr WHERE inode = ? AND name = ?")
    listXattrs = try db.prepare("SELECT name FROM xattr WHERE inode = ? ORDER BY name")
    countXattrs = try db.prepare("SELECT count(*), ifnull(sum(length(name) + 1), 0), ifnull(sum(length(value)), 0) FROM xattr WHERE inode = ?")
    writeXattr = try db.prepare("INSERT OR REPLACE INTO xattr (inode, name, value, since) VALUES (?, ?, ?, ?)")
    deleteXattr = try db.prepare("DELETE FROM xattr WHERE inode = ? AND name = ?")
    deleteXattrs = try db.prepare("DELETE FROM xattr WHERE inode = ?")
    selectPage = try db.prepare("SELECT start, extents FROM page WHERE inode = ? AND start <= ? ORDER BY start DESC LIMIT 1")
    nthLastPage = try db.prepare("SELECT start FROM page WHERE inode = ? ORDER BY start DESC LIMIT 1 OFFSET ?")
    listPages = try db.prepare("SELECT start, extents FROM page WHERE inode = ? AND start >= ? AND start < ? ORDER BY start")
    writePage = try db.prepare("INSERT OR REPLACE INTO page (inode, start, extents, since) VALUES (?, ?, ?, ?)")
    deletePages = try db.prepare("DELETE FROM page WHERE inode = ? AND start >= ? AND start < ?")
    selectPastPage = try db.prepare("""
      SELECT start, extents FROM page WHERE inode = ?1 AND start <= ?2 AND since <= ?3
      UNION ALL SELECT start, extents FROM past_page WHERE inode = ?1 AND start <= ?2 AND born <= ?3 AND died > ?3 ORDER BY 1 DESC LIMIT 1
      """)
    listPastPages = try db.prepare("""
      SELECT start, extents FROM page WHERE inode = ?1 AND start >= ?2 AND start < ?3 AND since <= ?4
      UNION ALL SELECT start, extents FROM past_page WHERE inode = ?1 AND start >= ?2 AND start < ?3 AND born <= ?4 AND died > ?4 ORDER BY 1
      """)
    selectHeldPage = try db.prepare("SELECT start, extents FROM held_page WHERE handle = ? AND start <= ? ORDER BY start DESC LIMIT 1")
    listHeldPages = try db.prepare("SELECT start, extents FROM held_page WHERE handle = ? AND start >= ? AND start < ? ORDER BY start")
    holdPages = try db.prepare("""
      INSERT INTO held_page (handle, start, extents)
      SELECT ?1, start, extents FROM page WHERE inode = ?2 AND since <= ?3
      UNION ALL SELECT ?1, start, extents FROM past_page WHERE inode = ?2 AND born <= ?3 AND died > ?3
      """)
    deleteHeldPages = try db.prepare("DELETE FROM held_page WHERE handle = ?")
    keepPages = try db.prepare("""
      INSERT INTO past_page (inode, start, died, born, extents)
      SELECT inode, start, ?4, since, extents FROM page WHERE inode = ?1 AND start >= ?2 AND start < ?3 AND since < ?4
        AND EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = page.inode AND n.died > page.since AND n.died <= ?4)
      """)
    keepXattr = try db.prepare("""
      INSERT INTO past_xattr (inode, name, died, born, value) SELECT inode, name, ?3, since, value FROM xattr WHERE inode = ?1 AND name = ?2 AND since < ?3
        AND EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = xattr.inode AND n.died > xattr.since AND n.died <= ?3)
      """)
    selectPastXattr = try db.prepare("""
      SELECT value FROM xattr WHERE inode = ?1 AND name = ?2 AND since <= ?3
      UNION ALL SELECT value FROM past_xattr WHERE inode = ?1 AND name = ?2 AND born <= ?3 AND died > ?3
      """)
    listPastXattrs = try db.prepare("""
      SELECT name FROM xattr WHERE inode = ?1 AND since <= ?2 UNION ALL SELECT name FROM past_xattr WHERE inode = ?1 AND born <= ?2 AND died > ?2 ORDER BY 1
      """)
    deleteNewPages = try db.prepare("DELETE FROM page WHERE inode = ? AND since >= ?")
    backdatePages = try db.prepare("UPDATE page SET since = ?2 WHERE inode = ?1 AND since > ?2")
    backdateXattrs = try db.prepare("UPDATE xattr SET since = ?2 WHERE inode = ?1 AND since > ?2")
    deleteNewXattrs = try db.prepare("DELETE FROM xattr WHERE inode = ? AND since >= ?")
    insertMoment = try db.prepare("INSERT OR IGNORE INTO moment (second, lsn) VALUES (?, ?)")
    selectMoment = try db.prepare("SELECT lsn FROM moment WHERE second > ? ORDER BY second LIMIT 1")
    firstMoment = try db.prepare("SELECT min(second) FROM moment")
    snapshotUpTo = try db.prepare("SELECT lsn, second FROM snapshot WHERE lsn <= ? ORDER BY lsn DESC LIMIT 1")
    insertPastNode = try db.prepare("INSERT INTO past_node (inode, died, born, record) VALUES (?, ?, ?, ?)")
    selectPastNode = try db.prepare("SELECT born, died, record FROM past_node WHERE inode = ? AND died > ? ORDER BY died LIMIT 1")
    selectLastPast = try db.prepare("SELECT died FROM past_node WHERE inode = ? ORDER BY died DESC LIMIT 1")
    insertPastEntry = try db.prepare("INSERT INTO past_entry (parent, cookie, died, born, name, inode, type) VALUES (?, ?, ?, ?, ?, ?, ?)")
    selectPastEntries = try db.prepare("""
      SELECT cookie, name, inode, type, born FROM past_entry WHERE parent = ?1 AND cookie >= ?2 AND cookie < ?3 AND born <= ?4 AND died > ?4
      """)
    listPastEntries = try db.prepare("""
      SELECT cookie, name, inode, type, born FROM entry WHERE parent = ?1 AND cookie > ?2 AND born <= ?3
      UNION ALL SELECT cookie, name, inode, type, born FROM past_entry WHERE parent = ?1 AND cookie > ?2 AND born <= ?3 AND died > ?3 ORDER BY 1 LIMIT ?4
      """)
    insertTrash = try db.prepare("INSERT INTO trash (died, inode, parent, name, second, aside) VALUES (?, ?, ?, ?, ?, ?)")
    insertSnapshot = try db.prepare("INSERT INTO snapshot (name, lsn, second, inode) VALUES (?, ?, ?, ?)")
    deleteSnapshot = try db.prepare("DELETE FROM snapshot WHERE name = ?")
    insertPin = try db.prepare("INSERT OR IGNORE INTO pin (inode, lsn) VALUES (?, ?)")
    deletePin = try db.prepare("DELETE FROM pin WHERE inode = ? AND lsn = ?")
    selectChunk = try db.prepare("SELECT id, length, container, frame, frame_length, offset FROM chunk WHERE number = ?")
    findChunk = try db.prepare("SELECT number, id, container, frame FROM chunk WHERE number >= ? AND number < ? ORDER BY number")
    deleteChunk = try db.prepare("DELETE FROM chunk WHERE number = ?")
    insertChunk = try db.prepare("INSERT INTO chunk (number, id, length, crc, container, frame, frame_length, offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    moveChunk = try db.prepare("UPDATE chunk SET container = ?, frame = ?, frame_length = ?, offset = ? WHERE number = ?")
    writeContainer = try db.prepare("INSERT OR REPLACE INTO container (number, chunks, kept, dead, bases, frames, doubted) VALUES (?, ?, ?, ?, ?, ?, ?)")
    deleteContainer = try db.prepare("DELETE FROM container WHERE number = ?")
    insertOrphan = try db.prepare("INSERT OR IGNORE INTO orphan (inode) VALUES (?)")
    deleteOrphan = try db.prepare("DELETE FROM orphan WHERE inode = ?")
    insertStaging = try db.prepare("INSERT OR IGNORE INTO staging (inode) VALUES (?)")
    insertOrigin = try db.prepare("INSERT OR REPLACE INTO origin (inode, source, made, copy) VALUES (?, ?, ?, ?)")
    deleteOrigin = try db.prepare("DELETE FROM origin WHERE inode = ?")
    bridgeOrigin = try db.prepare("UPDATE origin SET source = old.source, copy = max(origin.copy, old.copy) FROM origin AS old WHERE origin.source = ?1 AND old.inode = ?1")
    selectLastDeletion = try db.prepare("SELECT parent, died, second FROM trash WHERE inode = ? ORDER BY died DESC LIMIT 1")
    selectFormerName = try db.prepare("""
      SELECT parent, name, born, \(Int64.max) FROM entry WHERE inode = ?1 AND type = \(S_IFDIR) AND born <= ?2 UNION ALL
      SELECT parent, name, born, died FROM past_entry WHERE inode = ?1 AND type = \(S_IFDIR) AND born <= ?2 AND died > ?2 LIMIT 1
      """)
    selectOrigin = try db.prepare("SELECT source, made, copy FROM origin WHERE inode = ?")
    deleteStaging = try db.prepare("DELETE FROM staging WHERE inode = ?")
    insertEpoch = try db.prepare("INSERT INTO epoch (number, key) VALUES (?, ?)")
    selectEpoch = try db.prepare("SELECT key FROM epoch WHERE number = ?")
    writeState = try db.prepare("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)")
    selectLink = try db.prepare("SELECT 1 FROM link WHERE inode = ? AND parent = ? AND cookie = ?")
    firstLink = try db.prepare("SELECT parent, cookie FROM link WHERE inode = ? ORDER BY parent, cookie LIMIT 1")
    insertLink = try db.prepare("INSERT INTO link (inode, parent, cookie) VALUES (?, ?, ?)")
    deleteLink = try db.prepare("DELETE FROM link WHERE inode = ? AND parent = ? AND cookie = ?")
    writeAccount = try db.prepare("INSERT OR REPLACE INTO account (kind, id, bytes, nodes) VALUES (?, ?, ?, ?)")
    deleteAccount = try db.prepare("DELETE FROM account WHERE kind = ? AND id = ?")
    writeQuota = try db.prepare("INSERT OR REPLACE INTO quota (kind, id, record) VALUES (?, ?, ?)")
    deleteQuota = try db.prepare("DELETE FROM quota WHERE kind = ? AND id = ?")
  }
}

extension Statement {
  /// Runs a statement whose one parameter is a node's number.
  func run(_ inode: InodeNumber) throws(VaultError) {
    bind(1, inode.value)
    try run()
  }
}
