// What refers to chunks, batch by batch, and letting go of those that nothing refers to.
//
// What must stay true, from the moment `marks` is there: whatever a row comes to refer to is marked, and so is every
// chunk that a save finds. Rows only move from the present to the past, and the past is read after the present: so
// every reference is seen where it stands or where it went.

extension Metadata {
  /// Where a walk over all references has come to.
  struct Walk {
    fileprivate let tables: [References]
    fileprivate var table = 0
    fileprivate var key: [UInt64]? = nil
    init() { tables = Metadata.references }
    /// Of the past alone, and until when each of its rows is needed.
    static var ofPast: Walk { Walk(tables: Metadata.pastReferences) }
    private init(tables: [References]) { self.tables = tables }
    var isDone: Bool { table >= tables.count }
    /// All of the present was seen.
    var isInPast: Bool { table >= Metadata.referencesOfPresent }
    fileprivate mutating func goOn() { (table, key) = (table + 1, nil) }
  }

  fileprivate struct References {
    var columns: [String]
    var select: String
    /// Whether `content` is a node's row; else a page of extents.
    var isNode: Bool
    init(_ table: String, _ content: String, _ columns: [String], isNode: Bool, where condition: String = "true", until: String = "0") {
      self.columns = columns
      self.isNode = isNode
      let key = columns.joined(separator: ", "), places = columns.map { _ in "?" }.joined(separator: ", ")
      select = "SELECT \(content), \(until), \(key) FROM \(table) WHERE (\(key)) > (\(places)) AND \(condition) ORDER BY \(key) LIMIT ?"
    }
  }
  private static let isThere = "EXISTS (SELECT 1 FROM node WHERE node.inode = page.inode)"
  fileprivate static let referencesOfPresent = 2
  fileprivate static let references = [
    References("node", "record", ["inode"], isNode: true), References("page", "extents", ["inode", "start"], isNode: false, where: isThere),
    References("past_node", "record", ["inode", "died"], isNode: true),
    // (Those of the last version of a node that is gone stay where they are.)
    References("page", "extents", ["inode", "start"], isNode: false, where: "NOT \(isThere)"),
    References("past_page", "extents", ["inode", "start", "died"], isNode: false),
    References("held_page", "extents", ["handle", "start"], isNode: false),
  ]

  /// What snapshots, pins and open files hold is needed until then.
  static let forever = LSN(UInt64(Int64.max))
  /// Until when a row of `past_node` is needed (Metadata+Snapshots.swift).
  private static func end(_ row: String) -> String {
    """
    CASE WHEN EXISTS (SELECT 1 FROM kept WHERE lsn >= \(row).born AND lsn < \(row).died)
      OR EXISTS (SELECT 1 FROM held WHERE inode = \(row).inode AND lsn >= \(row).born AND lsn < \(row).died) THEN \(forever.value) ELSE \(row).died END
    """
  }
  fileprivate static let pastReferences = [
    References("past_node", "record", ["inode", "died"], isNode: true, until: end("past_node")),
    References("page", "extents", ["inode", "start"], isNode: false, where: "NOT \(isThere)",
               until: "(SELECT max(\(end("n"))) FROM past_node AS n WHERE n.inode = page.inode AND n.died > page.since)"),
    References("past_page", "extents", ["inode", "start", "died"], isNode: false,
               until: "(SELECT max(\(end("n"))) FROM past_node AS n WHERE n.inode = past_page.inode AND n.died > past_page.born AND n.died <= past_page.died)"),
    References("held_page", "extents", ["handle", "start"], isNode: false, until: "\(forever.value)"),
  ]

  /// Calls `found` with the next extents that rows hold, those of `count` rows, and in a walk of the past alone with the last operation
  /// before whose end they are needed.
  func walk(_ walk: inout Walk, rows count: Int, _ found: ([Extent], _ until: LSN) -> Void) throws(VaultError) {
    let references = walk.tables[walk.table]
    // Also where pages are told by whether their node is there.
    try writeNodes()
    if walk.tables.count == Self.pastReferences.count { try noteKeptMoments(nil, 0) }
    let select = try database.prepare(references.select), width = Int32(references.columns.count)
    let start = walk.key ?? references.columns.map { _ in 0 }
    for (index, value) in (start + [UInt64(count)]).enumerated() { select.bind(Int32(index) + 1, value) }
    var rows = 0
    while try select.step() {
      rows += 1
      walk.key = (0..<width).map { select.unsigned($0 + 2) }
      found(try extents(in: select, isNode: references.isNode), LSN(select.unsigned(1)))
    }
    if rows < count { walk.goOn() }
  }

  private func extents(in row: Statement, isNode: Bool) throws(VaultError) -> [Extent] {
    let inode = InodeNumber(row.unsigned(2))
    if isNode {
      guard let node = try? unsafe Node(inode: inode, decoding: row.raw(0)) else { throw damaged("the row of node \(inode.value)") }
      return node.extents
    }
    var reader = unsafe ByteReader(row.raw(0))
    guard let extents = try? [Extent](decoding: &reader, max: Limits.pageExtentsMax) else { throw damaged("a manifest page of node \(inode.value)") }
    return extents
  }

  /// Calls `body` with the next `count` chunks.
  /// - Parameter last: the chunk to go on after.
  /// - Returns: whether there are more.
  func eachChunk(after last: inout UInt64, count: Int, _ body: (ChunkNumber, ContainerNumber, _ length: UInt64) -> Void) throws(VaultError) -> Bool {
    let select = try database.prepare("SELECT number, container, length FROM chunk WHERE number > ? ORDER BY number LIMIT ?")
    select.bind(1, last)
    select.bind(2, UInt64(count))
    var rows = 0
    while try select.step() {
      (last, rows) = (select.unsigned(0), rows + 1)
      body(ChunkNumber(last), ContainerNumber(select.unsigned(1)), UInt64(UInt32(truncatingIfNeeded: select.integer(2))))
    }
    return rows == count
  }

  /// What a sweep has found.
  struct Sweep {
    fileprivate var last: UInt64 = 0
    /// What the present referred to when it was walked.
    let present: ChunkMarks
    var isDone = false
    var chunks = 0
    /// Plain bytes.
    var bytes: UInt64 = 0
    /// Plain bytes of what only the past refers to, and how many chunks that is.
    var history: UInt64 = 0
    var pastChunks: Int64 = 0
    /// Plain bytes that are read from each container.
    var live: [ContainerNumber: UInt64] = [:]
    init(present: ChunkMarks) { self.present = present }
  }

  /// Looks at the next `count` chunks, and forgets those that are not marked.
  /// - Parameter isDry: only counts.
  func sweep(_ sweep: inout Sweep, rows count: Int, isDry: Bool) throws(VaultError) {
    guard let marks else { return }
    var gone: [(ChunkNumber, ContainerNumber, UInt64)] = []
    sweep.isDone = try !eachChunk(after: &sweep.last, count: count) { number, container, length in
      guard marks.contains(number) else { return gone.append((number, container, length)) }
      sweep.live[container, default: 0] += length
      if sweep.present.contains(number) { return }
      sweep.history += length
      sweep.pastChunks += 1
    }
    for (number, container, length) in gone {
      sweep.chunks += 1
      sweep.bytes += length
      if isDry { continue }
      statements.deleteChunk.bind(1, number.value)
      try statements.deleteChunk.run()
      state.containers.add(-1, to: container)
      state.containers.addDead(length, to: container)
      state.counters.chunks &-= 1
      state.counters.uniqueBytes &-= Int64(length)
    }
  }
}

// MARK: What is not stored any more

extension Metadata {
  private static let rowsPerWalk = 1000

  /// After all of the journal was replayed: operations of long ago name chunks that were collected since. What nothing
  /// refers to any more is forgotten.
  /// - Returns: how many something does refer to: what they held is lost.
  func settleMissing() throws(VaultError) -> Int {
    let select = try database.prepare("SELECT number FROM chunk WHERE container = 0")
    var missing: Set<UInt64> = [], needed: Set<UInt64> = []
    while try select.step() { missing.insert(select.unsigned(0)) }
    if missing.isEmpty { return 0 }
    var walk = Walk()
    while !walk.isDone {
      try self.walk(&walk, rows: Self.rowsPerWalk) { extents, _ in
        for extent in extents { if case .chunk(let number, _) = extent.source, missing.contains(number.value) { needed.insert(number.value) } }
      }
    }
    for number in missing.subtracting(needed) {
      statements.deleteChunk.bind(1, number)
      try statements.deleteChunk.run()
      state.containers.add(-1, to: ContainerNumber(0))
      state.counters.chunks &-= 1
    }
    return needed.count
  }
}
