// The view of the journal that answers questions: nodes, entries, attributes, manifests, chunks; in SQLite, with the
// nodes in use in memory.
//
// What must stay true:
// 1. It changes only by `apply` (Metadata+Apply.swift), in the order of the journal.
// 2. What SQLite has committed is the effect of exactly the operations up to its `applied` LSN.
// 3. Node rows may lag behind the nodes in memory until `commit`, which writes them first.
// Guarded by the vault's metadata lock; holds no lock of its own.

import Glibc

final class Metadata {
  let database: Database
  let statements: Statements
  private let nameKey: (UInt64, UInt64)
  private var nodes: [UInt64: Node] = [:]
  private var dirty: [Node] = []
  private var clock: UInt64 = 0
  private(set) var inTransaction = false
  private(set) var operationsSinceCommit = 0
  var state: State

  /// What is written with every commit.
  struct State {
    var applied = LSN.zero
    /// Where the journal goes on after `applied`.
    var segment = ContainerNumber(0)
    var segmentOffset: UInt64 = 0
    var nextInode: UInt64 = 2
    var nextContainer: UInt64 = 1
    /// The pack that was being written, and how far its frames are in `chunk`.
    var pack = ContainerNumber(0)
    var packOffset: UInt64 = 0
    /// Containers up to this one hold nothing the optimiser would improve.
    var optimised: UInt64 = 0
    /// How many epochs there were.
    var epoch: UInt64 = 0
    var counters = Counters()
  }

  init(database: Database, nameKey: (UInt64, UInt64)) throws(VaultError) {
    self.database = database
    self.nameKey = nameKey
    statements = try Statements(database)
    state = try Self.readState(database)
  }

  func damaged(_ what: String) -> VaultError { .databaseDamaged(detail: what) }

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
    guard let node = try? Node(inode: inode, decoding: select.raw(0)) else { throw damaged("the row of node \(inode.value)") }
    node.lastUse = clock
    nodes[inode.value] = node
    return node
  }

  func directory(_ inode: InodeNumber) throws(VaultError) -> Node {
    let node = try node(inode)
    guard node.isDirectory else { throw .notADirectory }
    return node
  }

  func insert(_ node: Node) {
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
    node.isDropped = true
    nodes[node.inode.value] = nil
    try statements.deleteNode.run(node.inode)
    if node.hasXattrs { try statements.deleteXattrs.run(node.inode) }
    if node.paged { try statements.deletePages.run(node.inode) }
  }

  var openNodes: [Node] { nodes.values.filter { $0.draft != nil } }

  // MARK: Entries

  struct EntryRow {
    var cookie: UInt64
    var name: [UInt8]
    var inode: InodeNumber
    /// The node's type bits (S_IFMT).
    var type: UInt32
  }
  /// Entries whose names hash alike stand within this many cookies.
  private static let cookieWindow: UInt64 = 16
  /// Cookies below are for `.` and `..`.
  static let cookieFirst: UInt64 = 64

  private func cookie(of name: [UInt8]) -> UInt64 {
    max(SipHash.hash(name, key: nameKey) >> 1 & ~(Self.cookieWindow - 1), Self.cookieFirst)
  }

  func entry(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) -> EntryRow? {
    let first = cookie(of: name)
    let select = statements.selectEntry
    select.bind(1, parent.value)
    select.bind(2, first)
    select.bind(3, first + Self.cookieWindow)
    defer { select.reset() }
    while try select.step() {
      let found = select.raw(1)
      if found.count == name.count, name.withUnsafeBytes({ memcmp($0.baseAddress!, found.baseAddress!, name.count) == 0 }) {
        return EntryRow(cookie: select.unsigned(0), name: name, inode: InodeNumber(select.unsigned(2)), type: UInt32(select.integer(3)))
      }
    }
    return nil
  }

  /// Entries that follow `cookie`, at most `count`.
  func entries(of parent: InodeNumber, after cookie: UInt64, count: Int) throws(VaultError) -> [EntryRow] {
    let select = statements.listEntries
    select.bind(1, parent.value)
    select.bind(2, cookie)
    select.bind(3, UInt64(count))
    defer { select.reset() }
    var rows: [EntryRow] = []
    while try select.step() {
      rows.append(EntryRow(cookie: select.unsigned(0), name: select.bytes(1), inode: InodeNumber(select.unsigned(2)), type: UInt32(select.integer(3))))
    }
    return rows
  }

  func insertEntry(_ name: [UInt8], of node: Node, in parent: Node, born: LSN) throws(VaultError) {
    let first = cookie(of: name)
    var free = first
    let taken = statements.selectEntry
    taken.bind(1, parent.inode.value)
    taken.bind(2, first)
    taken.bind(3, first + Self.cookieWindow)
    while try taken.step() { if taken.unsigned(0) == free { free += 1 } }
    taken.reset()
    guard free < first + Self.cookieWindow else { throw .tooManyLinks }
    let insert = statements.insertEntry
    insert.bind(1, parent.inode.value)
    insert.bind(2, free)
    insert.bind(3, copying: name)
    insert.bind(4, node.inode.value)
    insert.bind(5, UInt64(node.mode & S_IFMT))
    insert.bind(6, born.value)
    try insert.run()
    parent.entries += 1
  }

  func deleteEntry(_ row: EntryRow, in parent: Node) throws(VaultError) {
    let delete = statements.deleteEntry
    delete.bind(1, parent.inode.value)
    delete.bind(2, row.cookie)
    try delete.run()
    parent.entries -= 1
  }

  // MARK: Transactions

  /// Everything a change to SQLite must come after.
  func begin() throws(VaultError) {
    operationsSinceCommit += 1
    if inTransaction { return }
    try database.begin()
    inTransaction = true
  }

  /// Makes what was applied so far the committed view.
  func commit() throws(VaultError) {
    guard inTransaction else { return }
    for node in dirty where !node.isDropped {
      let write = statements.writeNode
      write.bind(1, node.inode.value)
      write.bind(2, copying: node.encoded())
      try write.run()
      node.isDirty = false
    }
    dirty.removeAll(keepingCapacity: true)
    try writeState()
    try database.commit()
    inTransaction = false
    operationsSinceCommit = 0
    evict()
  }

  /// Forgets the nodes unused for longest, beyond the limit and a quarter.
  private func evict() {
    guard nodes.count > Limits.nodeCacheCount + Limits.nodeCacheCount / 4 else { return }
    let idle = nodes.values.filter { !$0.isInUse }
    let excess = nodes.count - Limits.nodeCacheCount
    guard idle.count > excess else { return nodes = nodes.filter { $0.value.isInUse } }
    let cut = idle.map(\.lastUse).sorted()[excess]
    nodes = nodes.filter { $0.value.isInUse || $0.value.lastUse > cut }
  }
}
