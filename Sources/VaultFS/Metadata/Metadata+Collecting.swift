// What refers to chunks, batch by batch, and letting go of those that nothing refers to.
//
// What must stay true, from the moment `marks` is there: whatever a row comes to refer to is marked, and so is every
// chunk that a save finds. Rows only move from the present to the past, and the past is read after the present: so
// every reference is seen where it stands or where it went.

extension Metadata {
  /// Where a walk over all references has come to.
  struct Walk {
    /// What snapshots and pins hold is seen before all that was.
    fileprivate let asksHeld: Bool
    /// What ended later is held, too.
    fileprivate var horizon = LSN(UInt64(Int64.max))
    fileprivate var table = 0, end = Metadata.references.count
    fileprivate var key: [UInt64]? = nil
    init(asksHeld: Bool = false) { self.asksHeld = asksHeld }
    /// Of the past alone: what snapshots and pins hold, and what ended after an operation.
    init(endedAfter horizon: LSN) { (asksHeld, self.horizon, table, end) = (true, horizon, 2, Metadata.heldEnd) }
    var isDone: Bool { table >= end }
    /// All of the present was seen.
    var isInPast: Bool { table >= 2 }
    /// And all that is held.
    var isBehindHeld: Bool { table >= Metadata.heldEnd }
    fileprivate mutating func goOn() {
      table = table == 1 && !asksHeld ? Metadata.heldEnd : table + 1
      key = nil
    }
  }

  private struct References {
    var columns: [String]
    var select: String
    /// Whether `content` is a node's row; else a page of extents.
    var isNode: Bool
    /// Whether the condition asks for the walk's horizon.
    var hasHorizon: Bool
    init(_ table: String, _ content: String, _ columns: [String], isNode: Bool, where condition: String = "true") {
      self.columns = columns
      self.isNode = isNode
      hasHorizon = condition.contains("?")
      let key = columns.joined(separator: ", "), places = columns.map { _ in "?" }.joined(separator: ", ")
      select = "SELECT \(content), \(key) FROM \(table) WHERE (\(key)) > (\(places)) AND \(condition) ORDER BY \(key) LIMIT ?"
    }
  }
  private static let isThere = "EXISTS (SELECT 1 FROM node WHERE node.inode = page.inode)"
  /// Whether snapshots or pins hold a row of the past (Metadata+Snapshots.swift).
  private static func isHeld(_ row: String) -> String {
    "(EXISTS (SELECT 1 FROM kept WHERE lsn >= \(row).born AND lsn < \(row).died) OR EXISTS (SELECT 1 FROM held WHERE inode = \(row).inode AND lsn >= \(row).born AND lsn < \(row).died))"
  }
  private static let heldEnd = 5
  private static let references = [
    References("node", "record", ["inode"], isNode: true), References("page", "extents", ["inode", "start"], isNode: false, where: isThere),
    // What is held is seen twice: it may be held no more when it is its turn.
    References("past_node", "record", ["inode", "died"], isNode: true, where: "(died > ? OR \(isHeld("past_node")))"),
    References("page", "extents", ["inode", "start"], isNode: false, where: "NOT \(isThere) AND EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = page.inode AND n.died > page.since AND (n.died > ? OR \(isHeld("n"))))"),
    References("past_page", "extents", ["inode", "start", "died"], isNode: false, where: "(\(isHeld("past_page")) OR EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = past_page.inode AND n.died > max(past_page.born, ?) AND n.died <= past_page.died))"),
    // (Those of the last version of a node that is gone stay where they are.)
    References("past_node", "record", ["inode", "died"], isNode: true), References("page", "extents", ["inode", "start"], isNode: false, where: "NOT \(isThere)"),
    References("past_page", "extents", ["inode", "start", "died"], isNode: false),
    References("held_page", "extents", ["handle", "start"], isNode: false),
  ]

  /// Calls `found` with the next extents that rows hold, those of `count` rows.
  func walk(_ walk: inout Walk, rows count: Int, _ found: ([Extent]) -> Void) throws(VaultError) {
    let references = Self.references[walk.table]
    // Also where pages are told by whether their node is there.
    try writeNodes()
    if walk.isInPast, !walk.isBehindHeld { try noteKeptMoments(nil, 0) }
    let select = try database.prepare(references.select), width = Int32(references.columns.count)
    let start = walk.key ?? references.columns.map { _ in 0 }
    for (index, value) in start.enumerated() { select.bind(Int32(index) + 1, value) }
    if references.hasHorizon { select.bind(width + 1, walk.horizon.value) }
    select.bind(width + (references.hasHorizon ? 2 : 1), UInt64(count))
    var rows = 0
    while try select.step() {
      rows += 1
      walk.key = (0..<width).map { select.unsigned($0 + 1) }
      found(try extents(in: select, isNode: references.isNode))
    }
    if rows < count { walk.goOn() }
  }

  private func extents(in row: Statement, isNode: Bool) throws(VaultError) -> [Extent] {
    let inode = InodeNumber(row.unsigned(1))
    if isNode {
      guard let node = try? unsafe Node(inode: inode, decoding: row.raw(0)) else { throw damaged("the row of node \(inode.value)") }
      return node.extents
    }
    var reader = unsafe ByteReader(row.raw(0))
    guard let extents = try? [Extent](decoding: &reader, max: Limits.pageExtentsMax) else { throw damaged("a manifest page of node \(inode.value)") }
    return extents
  }

  /// Adds the plain bytes of the next `count` chunks that are marked, but not with what the present refers to.
  /// - Parameter last: where to go on.
  /// - Returns: whether there is more.
  func add(_ marked: ChunkMarks, besides present: ChunkMarks, to bytes: inout UInt64, after last: inout UInt64, rows count: Int) throws(VaultError) -> Bool {
    let select = try database.prepare("SELECT number, length FROM chunk WHERE number > ? ORDER BY number LIMIT ?")
    select.bind(1, last)
    select.bind(2, UInt64(count))
    var rows = 0
    while try select.step() {
      (last, rows) = (select.unsigned(0), rows + 1)
      if marked.contains(ChunkNumber(last)), !present.contains(ChunkNumber(last)) { bytes += UInt64(UInt32(truncatingIfNeeded: select.integer(1))) }
    }
    return rows == count
  }

  /// What a sweep has found.
  struct Sweep {
    fileprivate var last: UInt64 = 0
    /// What the present referred to when it was walked.
    let present: ChunkMarks
    /// And what snapshots and pins held; nil where nobody asks.
    let held: ChunkMarks?
    var isDone = false
    var chunks = 0
    /// Plain bytes.
    var bytes: UInt64 = 0
    /// Plain bytes of what only the past refers to.
    var history: UInt64 = 0
    /// Of that, what only the past refers to that snapshots and pins hold.
    var heldHistory: UInt64 = 0
    /// Plain bytes that are read from each container.
    var live: [ContainerNumber: UInt64] = [:]
    init(present: ChunkMarks, held: ChunkMarks?) { (self.present, self.held) = (present, held) }
  }

  /// Looks at the next `count` chunks, and forgets those that are not marked.
  /// - Parameter isDry: only counts.
  func sweep(_ sweep: inout Sweep, rows count: Int, isDry: Bool) throws(VaultError) {
    guard let marks else { return }
    let select = try database.prepare("SELECT number, container, length FROM chunk WHERE number > ? ORDER BY number LIMIT ?")
    select.bind(1, sweep.last)
    select.bind(2, UInt64(count))
    var gone: [(ChunkNumber, ContainerNumber, UInt64)] = [], rows = 0
    while try select.step() {
      rows += 1
      sweep.last = select.unsigned(0)
      let number = ChunkNumber(sweep.last), container = ContainerNumber(select.unsigned(1)), length = UInt64(UInt32(truncatingIfNeeded: select.integer(2)))
      guard marks.contains(number) else {
        gone.append((number, container, length))
        continue
      }
      sweep.live[container, default: 0] += length
      if sweep.present.contains(number) { continue }
      sweep.history += length
      if sweep.held?.contains(number) == true { sweep.heldHistory += length }
    }
    sweep.isDone = rows < count
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
      try self.walk(&walk, rows: Self.rowsPerWalk) { extents in
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
