// The view of the journal that answers questions: nodes, entries, attributes, manifests, chunks; in SQLite, with the
// nodes in use in memory.
//
// What must stay true:
// 1. It changes only by `apply` (Metadata+Apply.swift), in the order of the journal.
// 2. What SQLite has committed is the effect of exactly the operations up to its `applied` LSN.
// 3. Node rows may lag behind the nodes in memory until `commit`, which writes them first. So may rows of `past_node`; whoever asks
//    SQLite anything of his own has them written before, and `writePast` is called where a statement of ours reads that table.
// Guarded by the vault's metadata lock; holds no lock of its own.

import Glibc

final class Metadata {
  let database: Database
  let statements: Statements
  let nameKey: (UInt64, UInt64)
  private var nodes: [UInt64: Node] = [:]
  private var dirty: [Node] = []
  /// Rows of `past_node` that are not written yet, and of each node when the last of them ended. Many together are written in less time.
  private var unwrittenPast: [PastRow] = []
  private var lastUnwritten: [InodeNumber: LSN] = [:]
  private var clock: UInt64 = 0
  private static let evictionStep = Limits.nodeCacheCount / 4
  private var evictionDue = Limits.nodeCacheCount + evictionStep
  private var hasEvicted = false
  private(set) var inTransaction = false
  private(set) var operationsSinceCommit = 0
  var state: State

  /// What is written with every commit.
  struct State {
    var applied = LSN.zero
    /// No operation up to `applied` has a greater stamp: the journal's clock goes on from here.
    var stamp: UInt64 = 0
    /// Where the journal goes on after `applied`.
    var segment = ContainerNumber(0)
    var segmentOffset: UInt64 = 0
    var nextInode: UInt64 = 2
    var nextContainer: UInt64 = 1
    /// The pack that was being written, and how far its frames are in `chunk`.
    var pack = ContainerNumber(0)
    var packOffset: UInt64 = 0
    /// What the containers with frames are good for.
    var containers = ContainerUses()
    /// Older segments and packs hold nothing that a flush has not covered.
    var flushedSegment = ContainerNumber(0)
    var flushedPack = ContainerNumber(0)
    /// How many epochs there were.
    var epoch: UInt64 = 0
    var counters = Counters()
    /// Of the last operation, since 1970.
    var second: Int64 = 0
    /// The last operation that a snapshot sees; 0 where there is none.
    var lastSnapshot = LSN.zero
    /// When the policy was applied last, in seconds since 1970.
    var expired: Int64 = 0
    var history = HistoryPolicy()
    /// How often something may have stopped being referred to; and up to where that was looked into.
    var lapses: UInt64 = 0
    var collected: UInt64 = 0
    /// Plain bytes that only the past referred to, when the last collection looked.
    var historyBytes: UInt64 = 0
    /// What ended with this operation or before was let go of, but for what snapshots and pins hold: for the limit of history, or
    /// because nothing was kept at all.
    var forgotten = LSN.zero
    /// Of some of these moments a former policy had let something go that the present one keeps.
    var doubted: Range<UInt64> = 0..<0
    /// Directories in which trees are put together that are being taken back (rows of `staging`).
    var staging: Set<InodeNumber> = []
    var accounts = Accounts()
    var quotas = Quotas()
  }
  /// Chunks that cannot be read, as was found when something new was about to refer to them: the same content is stored anew, and heals them.
  var suspects: Set<ChunkNumber> = []
  /// While unused chunks are being looked for: those that are in use.
  var marks: ChunkMarks?
  /// What SQLite keeps in memory when nothing waits for a commit, bytes, at most.
  private var bytesCached = UInt64(Limits.databaseCacheKiB << 10)
  /// Gives way to commits where the disk is full.
  var reserve: Reserve?
  /// The last operation that may have changed what is told of the trash; `.zero` where none of those done since the vault was opened has.
  var trashChanged = LSN.zero
  /// Told of every node that changes, or ends.
  var watches: [Watch] = []
  /// Past versions that are open, by their nodes.
  var pastOpen: [InodeNumber: [Node]] = [:]
  var lastHandle: UInt64 = 0
  /// The table `kept` holds the moments of the snapshots and no other.
  var knowsSnapshots = false
  /// The last operation that forgot names left some for another one.
  var isMoreToForget = false
  /// What pins hold of users', bytes; nil where nobody has asked yet.
  var pinnedBytes: [UInt32: UInt64]?
  /// The table `held` has what pins hold.
  var knowsPins = false
  /// The newest rows of `moment`: those within the policy's window.
  var recent: [(second: Int64, lsn: LSN)] = []

  init(database: Database, nameKey: (UInt64, UInt64)) throws(VaultError) {
    self.database = database
    self.nameKey = nameKey
    statements = try Statements(database)
    state = try Self.readState(database)
    try loadRecent()
    database.beforeAsking = { [weak self] () throws(VaultError) in try self?.writePast() }
  }

  func damaged(_ what: String) -> VaultError { .databaseDamaged(detail: "\(database.path): \(what)") }

  // MARK: Nodes

  /// - Throws: `.staleNode` where there is no such node.
  func node(_ inode: InodeNumber) throws(VaultError) -> Node {
    clock += 1
    if let node = nodes[inode.value] {
      node.lastUse = clock
      return node
    }
    let select = statements.selectNode
    select.bind(1, inode.value)
    defer { select.reset() }
    guard try select.step() else { throw .staleNode }
    guard let node = try? unsafe Node(inode: inode, decoding: select.raw(0)) else { throw damaged("the row of node \(inode.value)") }
    node.lastUse = clock
    nodes[inode.value] = node
    evict()
    return node
  }

  /// The number of the next node.
  var nextInode: InodeNumber {
    get throws(VaultError) {
      guard state.nextInode < Self.inodeEnd else { throw damaged("no number is left for a node") }
      return InodeNumber(state.nextInode)
    }
  }

  func directory(_ inode: InodeNumber) throws(VaultError) -> Node {
    let node = try node(inode)
    guard node.isDirectory else { throw .notADirectory }
    return node
  }

  func insert(_ node: Node) {
    clock += 1
    node.lastUse = clock
    nodes[node.inode.value] = node
    touch(node)
  }

  /// The node's row must be written with the next commit.
  func touch(_ node: Node) {
    guard !node.isDirty, !node.isDropped else { return }
    node.isDirty = true
    dirty.append(node)
  }

  /// Takes the node out of the vault, with all that is only its.
  func remove(_ node: Node) throws(VaultError) {
    if node.paged { try hold(node.inode) }
    node.isDropped = true
    nodes[node.inode.value] = nil
    try statements.deleteNode.run(node.inode)
    // Past versions need the pages and attributes that are older than what came after the last of them.
    if let last = try lastPast(of: node.inode) {
      for delete in [statements.deleteNewPages, statements.deleteNewXattrs] {
        delete.bind(1, node.inode.value)
        delete.bind(2, last.value)
        try delete.run()
      }
      return
    }
    // What goes on from it goes on from what it did.
    try statements.bridgeOrigin.run(node.inode)
    try statements.deleteOrigin.run(node.inode)
    if node.allocated > 0 { state.lapses &+= 1 }
    if node.hasXattrs { try statements.deleteXattrs.run(node.inode) }
    if node.paged { try deletePages(of: node, in: 0..<Limits.fileBytesMax) }
  }

  // MARK: Counts

  /// Counts come from the database and sums from the journal: one that does not fit is damage and must not be the end
  /// of the process.
  func raise<N: FixedWidthInteger>(_ count: inout N, by number: N = 1) throws(VaultError) {
    let (sum, overflow) = count.addingReportingOverflow(number)
    if overflow { throw damaged("a count is too large") }
    count = sum
  }
  func lower<N: FixedWidthInteger>(_ count: inout N, by number: N = 1) throws(VaultError) {
    let (rest, overflow) = count.subtractingReportingOverflow(number)
    if overflow { throw damaged("a count is too small") }
    count = rest
  }

  // MARK: Transactions

  /// Everything a change to SQLite must come after.
  func begin() throws(VaultError) {
    operationsSinceCommit += 1
    if inTransaction { return }
    try database.begin()
    inTransaction = true
  }

  /// Whether as much waits as a commit should write, in operations or in pages.
  var isCommitDue: Bool { operationsSinceCommit >= Limits.commitOperations || operationsSinceCommit > 0 && database.bytesCached > bytesCached + Limits.commitBytes }

  /// Makes what was applied so far the committed view.
  func commit() throws(VaultError) {
    guard inTransaction else { return }
    try writeNodes()
    try writeState()
    try reserve?.makeRoom(forCommitOf: database)
    try database.commit()
    inTransaction = false
    operationsSinceCommit = 0
    bytesCached = max(database.bytesCached, UInt64(Limits.databaseCacheKiB << 10))
    evict()
  }

  struct PastRow {
    let inode: InodeNumber
    let born, died: LSN
    let record: [UInt8]
  }

  /// What a node was goes to `past_node`.
  func insertPast(_ row: PastRow) {
    unwrittenPast.append(row)
    lastUnwritten[row.inode] = row.died
  }

  /// When the last past version of a node ended; nil where none is kept.
  func lastPast(of inode: InodeNumber) throws(VaultError) -> LSN? {
    if let last = lastUnwritten[inode] { return last }
    statements.selectLastPast.bind(1, inode.value)
    defer { statements.selectLastPast.reset() }
    return try statements.selectLastPast.step() ? LSN(statements.selectLastPast.unsigned(0)) : nil
  }

  /// Whether a past version of a node may need pages and attributes that are still in their places.
  func hasPast(_ inode: InodeNumber) throws(VaultError) -> Bool { try lastPast(of: inode) != nil }

  /// Brings `past_node` up to what is in memory.
  func writePast() throws(VaultError) {
    if unwrittenPast.isEmpty { return }
    let insert = statements.insertPastNode
    var written = 0
    // What cannot be written stays, and so does the commit fail that would leave it out.
    defer {
      unwrittenPast.removeFirst(written)
      if unwrittenPast.isEmpty { lastUnwritten.removeAll(keepingCapacity: true) }
    }
    for row in unwrittenPast {
      insert.bind(1, row.inode.value)
      insert.bind(2, row.died.value)
      insert.bind(3, row.born.value)
      insert.bind(4, copying: row.record)
      try insert.run()
      written += 1
    }
  }

  /// Brings the rows of nodes up to what is in memory.
  func writeNodes() throws(VaultError) {
    try writePast()
    for node in dirty where !node.isDropped {
      let write = statements.writeNode
      write.bind(1, node.inode.value)
      write.bind(2, copying: node.encoded())
      try write.run()
      node.isDirty = false
    }
    dirty.removeAll(keepingCapacity: true)
  }

  var nodesInMemory: Int { nodes.count }

  /// Forgets nodes unused for long, once there are a quarter more than the limit (or than are in use): so often that its
  /// cost is small for each node. One that somebody holds a reference to stays: read again from its row, it would be
  /// two objects that know nothing of each other.
  private func evict() {
    guard nodes.count > evictionDue else { return }
    let before = nodes.count
    // Every use has a tick of its own, so no more than the limit were used since this one.
    let old = clock - min(clock, UInt64(Limits.nodeCacheCount))
    var idle: [UInt64] = []
    for (inode, node) in nodes where node.lastUse <= old && !node.isInUse { idle.append(inode) }
    for inode in idle {
      guard var node = nodes.removeValue(forKey: inode), !isKnownUniquelyReferenced(&node) else { continue }
      nodes[inode] = node
    }
    if nodes.count < before { hasEvicted = true }
    evictionDue = max(nodes.count, Limits.nodeCacheCount) + Self.evictionStep
  }

  /// There are more nodes in memory than stay when the vault is at rest.
  var isCrowded: Bool { nodes.count > Limits.nodeCacheCount + Self.evictionStep }

  /// Nobody needs the vault now: what a storm of open files left is forgotten.
  /// - Returns: whether there may be memory to give back since this was asked last.
  func rest() -> Bool {
    evictionDue = Limits.nodeCacheCount + Self.evictionStep
    evict()
    defer { hasEvicted = false }
    return hasEvicted
  }
}
