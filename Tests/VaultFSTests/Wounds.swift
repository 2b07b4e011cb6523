// Wounds: ways in which a vault's database can be wrong and yet pass for one, each of them breaking one invariant.
//
// What must stay true: a wound leaves the pages of the database with right checksums (it is made through our own VFS), and
// everything else about the vault right: the counts that it would throw off are put right with it.

import Glibc
import Testing
@testable import VaultFS

/// A vault with something of everything, and what is where.
struct Ward {
  let home: Home
  var inodes: [String: UInt64] = [:]
  subscript(_ name: String) -> UInt64 { inodes[name] ?? 0 }

  init(_ home: Home) throws {
    self.home = home
    let vault = home.vault
    var random = Random(seed: 71)
    try vault.keepEverything()
    for name in ["d", "e"] { inodes[name] = try vault.makeDirectory(name).value }
    inodes["inner"] = try vault.makeDirectory("inner", in: InodeNumber(self["d"])).value
    inodes["small"] = try vault.makeFile("small", random.bytes(5000)).value
    inodes["other"] = try vault.makeFile("other", random.bytes(6000)).value
    inodes["empty"] = try vault.make("empty").inode.value
    inodes["big"] = try vault.makeFile("big", random.bytes(1_500_000)).value
    inodes["link"] = try vault.make("link", S_IFLNK | 0o777, target: "small").inode.value
    let tagged = try vault.make("tagged").inode
    inodes["tagged"] = tagged.value
    try vault.setXattr([UInt8]("user.x"), of: tagged, to: [1, 2, 3], mode: .set, by: root)
    let paged = try vault.make("paged").inode
    inodes["paged"] = paged.value
    try vault.withOpen(paged) { file throws in
      for index in 0..<12 { try vault.write(random.bytes(4096), to: file, at: UInt64(index) * 40_960) }
    }
    // Something of the past.
    let past = try vault.makeFile("past", random.bytes(3000))
    inodes["past"] = past.value
    try vault.rewrite("past", random.bytes(4000))
    try vault.setXattr([UInt8]("user.y"), of: past, to: [1], mode: .set, by: root)
    try vault.makeFile("gone", random.bytes(2000))
    try vault.unlink([UInt8]("gone"), in: .root)
  }
}

/// Changes the database of a vault that nobody has open.
func alterDatabase(_ vault: String, _ body: (Database) throws -> Void) throws {
  let database = try Database(path: "\(vault)/metadata.db")
  try Schema.prepare(database)
  try body(database)
  try database.checkpoint()
}

extension Database {
  /// Changes a node's row; what it may hold is not checked.
  func edit(_ inode: UInt64, _ body: (Node) throws -> Void) throws {
    let select = try prepare("SELECT record FROM node WHERE inode = \(inode)")
    try #require(try select.step())
    let node = try select.bytes(0).withUnsafeBytes { raw throws in try Node(inode: InodeNumber(inode), decoding: raw) }
    select.reset()
    try body(node)
    let update = try prepare("UPDATE node SET record = ? WHERE inode = \(inode)")
    update.bind(1, copying: node.encoded())
    try update.run()
  }
  func add(_ number: Int, to key: String) throws { try execute("UPDATE state SET value = value + \(number) WHERE key = '\(key)'") }
  func insertEntry(_ name: [UInt8], in parent: UInt64, _ inode: UInt64, _ type: UInt32 = S_IFREG, key: (UInt64, UInt64), shift: UInt64 = 0) throws {
    let insert = try prepare("INSERT INTO entry (parent, cookie, name, inode, type, born) VALUES (?, ?, ?, ?, ?, 1)")
    insert.bind(1, parent)
    insert.bind(2, Metadata.cookies(of: name, key: key).0 + shift)
    insert.bind(3, copying: name)
    insert.bind(4, inode)
    insert.bind(5, UInt64(type))
    try insert.run()
  }
  /// A name of a file that has its home elsewhere.
  func insertLink(_ name: [UInt8], in parent: UInt64, _ inode: UInt64, key: (UInt64, UInt64), shift: UInt64 = 0) throws {
    try insertEntry(name, in: parent, inode, key: key, shift: shift)
    try execute("INSERT INTO link SELECT inode, parent, cookie FROM entry WHERE parent = \(parent) AND cookie = \(Metadata.cookies(of: name, key: key).0 + shift)")
    try edit(inode) { $0.links += 1 }
  }
  /// What is at home in the root, and root's, takes more or less.
  func charge(bytes: Int = 0, nodes: Int = 0) throws {
    try edit(1) { $0.below = $0.below &+ Usage(bytes: UInt64(bitPattern: Int64(bytes)), nodes: UInt64(bitPattern: Int64(nodes))) }
    try execute("UPDATE account SET bytes = bytes + \(bytes), nodes = nodes + \(nodes) WHERE id = 0")
  }
  /// The first chunk of a file with a manifest in its row.
  func firstChunk(of inode: UInt64) throws -> UInt64 {
    var number: UInt64 = 0
    try edit(inode) { if case .chunk(let found, _)? = $0.extents.first?.source { number = found.value } }
    return number
  }
}

/// One way to be wrong.
struct Wound: Sendable, CustomTestStringConvertible {
  /// What is found.
  let kinds: Set<Finding.Kind>
  /// How often: more than once where it is more than one wound.
  let findings: Int
  let make: @Sendable (Ward, Database) throws -> Void
  init(_ kinds: Finding.Kind..., findings: Int? = nil, make: @escaping @Sendable (Ward, Database) throws -> Void) {
    (self.kinds, self.findings, self.make) = (Set(kinds), findings ?? kinds.count, make)
  }
  var testDescription: String { kinds.map(\.rawValue).sorted().joined(separator: ", ") }
}

extension Wound {
  static let all = namespace + references + manifests + chunks + counters + history + database

  private static let namespace = [
    Wound(.nodeRecord) { ward, db in
      try db.execute("UPDATE node SET record = x'ff' WHERE inode = \(ward["link"])")
      try db.charge(nodes: -1)
    },
    Wound(.nodeNumber) { ward, db in
      try db.execute("INSERT INTO past_node (inode, died, born, record) SELECT (SELECT value FROM state WHERE key = 'next_inode') + 3, died, born, record FROM past_node WHERE inode = \(ward["past"]) LIMIT 1")
    },
    Wound(.nodeEpoch) { ward, db in
      try db.edit(ward["empty"]) { $0.epoch = 77 }
    },
    Wound(.nodeUnreachable) { ward, db in
      try db.execute("DELETE FROM entry WHERE inode = \(ward["small"])")
      try db.edit(1) { $0.entries -= 1 }
    },
    Wound(.rootMissing) { ward, db in try db.edit(1) { $0.parent = InodeNumber(ward["d"]) } },
    Wound(.entryDangling) { ward, db in
      try db.insertEntry([UInt8]("dangling"), in: 1, 777_777, key: ward.key)
      try db.edit(1) { $0.entries += 1 }
    },
    Wound(.entryType) { ward, db in try db.execute("UPDATE entry SET type = \(S_IFIFO) WHERE inode = \(ward["small"])") },
    Wound(.entryParent) { ward, db in try db.insertLink([UInt8]("inside a file"), in: ward["small"], ward["other"], key: ward.key) },
    Wound(.entryName) { ward, db in
      try db.insertLink([UInt8]("a/b"), in: 1, ward["other"], key: ward.key)
      try db.edit(1) { $0.entries += 1 }
    },
    Wound(.entryCookie) { ward, db in try db.execute("UPDATE entry SET cookie = 80 WHERE inode = \(ward["small"])") },
    Wound(.entryTwice) { ward, db in
      try db.insertLink([UInt8]("small"), in: 1, ward["other"], key: ward.key, shift: 1)
      try db.edit(1) { $0.entries += 1 }
    },
    Wound(.directoryNames) { ward, db in
      try db.insertEntry([UInt8]("again"), in: 1, ward["inner"], S_IFDIR, key: ward.key)
      try db.edit(1) { ($0.entries, $0.links) = ($0.entries + 1, $0.links + 1) }
    },
    Wound(.directoryParent) { ward, db in
      try db.edit(ward["inner"]) { $0.parent = InodeNumber(ward["e"]) }
      for (name, more) in [("d", UInt64.max), ("e", 1)] { try db.edit(ward[name]) { $0.below.nodes &+= more } }
    },
    // (No count is right of directories that are within themselves.)
    Wound(.directoryCycle, .usageTree, findings: 3) { ward, db in
      try db.execute("UPDATE entry SET parent = \(ward["inner"]) WHERE inode = \(ward["d"])")
      try db.edit(1) { ($0.entries, $0.links) = ($0.entries - 1, $0.links - 1) }
      try db.edit(ward["inner"]) { ($0.entries, $0.links) = ($0.entries + 1, $0.links + 1) }
      try db.edit(ward["d"]) { $0.parent = InodeNumber(ward["inner"]) }
    },
  ]

  private static let references = [
    Wound(.links) { ward, db in try db.edit(ward["small"]) { $0.links = 5 } },
    Wound(.directoryLinks) { ward, db in try db.edit(ward["d"]) { $0.links = 9 } },
    Wound(.directoryEntries) { ward, db in try db.edit(ward["d"]) { $0.entries = 9 } },
    // Nothing more is asked of a vault that would drop a node with a name.
    Wound(.databaseStructure) { ward, db in try db.execute("INSERT INTO orphan VALUES (\(ward["small"]))") },
    Wound(.xattrOwner) { ward, db in try db.execute("INSERT INTO xattr VALUES (\(ward["small"]), x'757365722e7a', x'01', 1)") },
    Wound(.xattrFlag) { ward, db in try db.execute("DELETE FROM xattr WHERE inode = \(ward["tagged"])") },
  ]

  private static let manifests = [
    Wound(.manifestPage) { ward, db in try db.execute("UPDATE page SET extents = x'ff' WHERE inode = \(ward["paged"])") },
    Wound(.manifestOrder) { ward, db in try db.execute("UPDATE page SET start = 1 WHERE inode = \(ward["paged"])") },
    Wound(.manifestEnd) { ward, db in try db.edit(ward["small"]) { $0.size = 10 } },
    Wound(.manifestAllocated) { ward, db in
      try db.edit(ward["small"]) { $0.allocated += 1 }
      try db.charge(bytes: 1)
      try db.add(1, to: "logical_bytes")
    },
    Wound(.manifestChunk) { ward, db in try db.edit(ward["small"]) { $0.extents[0].source = .chunk(ChunkNumber(5), offset: 0) } },
    Wound(.manifestPart) { ward, db in
      try db.edit(ward["small"]) { node in
        if case .chunk(let number, _) = node.extents[0].source { node.extents[0].source = .chunk(number, offset: 1) }
      }
    },
    Wound(.pageOwner) { ward, db in try db.execute("INSERT INTO page SELECT 888888, start, extents, since FROM page WHERE inode = \(ward["paged"])") },
  ]

  private static let chunks = [
    Wound(.chunkNumber) { ward, db in
      let number = try db.firstChunk(of: ward["small"])
      try db.execute("INSERT INTO chunk SELECT 12345, id, length, crc, container, frame, frame_length, offset FROM chunk WHERE number = \(number)")
      try db.execute("UPDATE container SET chunks = chunks + 1 WHERE number = (SELECT container FROM chunk WHERE number = 12345)")
      try db.add(1, to: "chunks")
      try db.add(5000, to: "unique_bytes")
    },
    Wound(.containerMissing) { ward, db in
      let number = try db.firstChunk(of: ward["small"])
      try db.execute("UPDATE container SET chunks = chunks - 1 WHERE number = (SELECT container FROM chunk WHERE number = \(number))")
      try db.execute("INSERT INTO container VALUES (900, 1, 0, 0, x'', 0, 0); UPDATE chunk SET container = 900 WHERE number = \(number); UPDATE state SET value = 1000 WHERE key = 'next_container'")
    },
    Wound(.chunkFrame) { ward, db in try db.execute("UPDATE chunk SET frame = frame + 8 WHERE number = \(try db.firstChunk(of: ward["small"]))") },
    Wound(.chunkNamed) { ward, db in try db.execute("UPDATE chunk SET crc = crc + 1 WHERE number = \(try db.firstChunk(of: ward["small"]))") },
  ]

  private static let counters = [
    Wound(.counterNodes) { _, db in try db.add(1, to: "nodes") },
    Wound(.counterLogical) { _, db in try db.add(-1, to: "logical_bytes") },
    Wound(.counterChunks) { _, db in try db.add(1, to: "chunks") },
    Wound(.counterUnique) { _, db in try db.add(1, to: "unique_bytes") },
    Wound(.containerChunks) { ward, db in
      try db.execute("UPDATE container SET chunks = chunks + 1 WHERE number = (SELECT container FROM chunk WHERE number = \(try db.firstChunk(of: ward["small"])))")
    },
    Wound(.containerFrames) { ward, db in
      try db.execute("UPDATE container SET frames = 0 WHERE number = (SELECT container FROM chunk WHERE number = \(try db.firstChunk(of: ward["small"])))")
    },
    // (One that nothing is read from is forgotten when the vault is opened, so this one is missing, too.)
    Wound(.containerMissing, .containerNumber) { ward, db in
      let number = try db.firstChunk(of: ward["small"])
      try db.execute("UPDATE container SET chunks = chunks - 1 WHERE number = (SELECT container FROM chunk WHERE number = \(number))")
      try db.execute("INSERT INTO container VALUES (900, 1, 0, 0, x'', 0, 0); UPDATE chunk SET container = 900 WHERE number = \(number)")
    },
  ]

  private static let history = [
    Wound(.pastInterval) { ward, db in try db.execute("UPDATE past_entry SET died = born") },
    Wound(.pastOverlap) { ward, db in
      try db.execute("INSERT INTO past_entry SELECT parent, cookie, born + 1, born, name, inode, type FROM entry WHERE inode = \(ward["small"])")
    },
    Wound(.pastRecord) { ward, db in try db.execute("UPDATE past_node SET record = x'ff' WHERE inode = \(ward["past"]) AND died = (SELECT max(died) FROM past_node WHERE inode = \(ward["past"]))") },
    Wound(.pastInterval) { ward, db in try db.execute("INSERT INTO origin VALUES (\(ward["small"]), \(ward["other"]), 1000000, 0)") },
    Wound(.pageOwner) { ward, db in
      // What only a version saw that is forgotten, of a node of which an older one is kept.
      try db.execute("INSERT INTO page SELECT (SELECT inode FROM trash), start, extents, (SELECT died FROM trash) FROM page WHERE inode = \(ward["paged"])")
    },
    Wound(.pastHeld) { ward, db in try db.execute("INSERT INTO pin VALUES (\(ward["small"]), 1); UPDATE state SET value = max(value, 1) WHERE key = 'last_snapshot'") },
    Wound(.pastHeld, findings: 2) { ward, db in try db.execute("INSERT INTO snapshot VALUES (x'61', 1000000, 1, 1); UPDATE state SET value = 1000000 WHERE key = 'last_snapshot'") },
    Wound(.pastHeld) { ward, db in try db.execute("INSERT INTO snapshot SELECT x'61', value, 1, \(ward["small"]) FROM state WHERE key = 'applied'; UPDATE state SET value = (SELECT lsn FROM snapshot) WHERE key = 'last_snapshot'") },
    // A version would go on over it.
    Wound(.pastHeld) { ward, db in try db.execute("INSERT INTO snapshot SELECT x'61', value, 1, 1 FROM state WHERE key = 'applied'") },
    Wound(.pastTrash) { ward, db in try db.execute("DELETE FROM past_node WHERE inode = (SELECT inode FROM trash)") },
    Wound(.pastTrash) { ward, db in try db.execute("UPDATE trash SET died = died + 1000000") },
    Wound(.pastTrash) { ward, db in try db.execute("UPDATE trash SET aside = died") },
    Wound(.pastMoment) { ward, db in try db.execute("UPDATE moment SET lsn = lsn + 1000000") },
    Wound(.pastMoment) { ward, db in try db.execute("INSERT INTO moment SELECT max(second) - 100000, max(lsn) FROM moment") },
    Wound(.pastOwner) { ward, db in try db.execute("INSERT INTO past_xattr VALUES (\(ward["small"]), x'61', 3, 2, x'01')") },
    Wound(.pastChunk) { ward, db in
      let select = try db.prepare("SELECT record, died FROM past_node WHERE inode = \(ward["past"]) ORDER BY died")
      while try select.step() {
        let node = try select.bytes(0).withUnsafeBytes { raw throws in try Node(inode: InodeNumber(ward["past"]), decoding: raw) }, died = select.unsigned(1)
        guard !node.extents.isEmpty else { continue }
        select.reset()
        node.extents[0].source = .chunk(ChunkNumber(5), offset: 0)
        let update = try db.prepare("UPDATE past_node SET record = ? WHERE inode = ? AND died = ?")
        update.bind(1, copying: node.encoded())
        update.bind(2, ward["past"])
        update.bind(3, died)
        return try update.run()
      }
      Issue.record("nothing of the past has content")
    },
  ]

  private static let database = [
    Wound(.journalEpoch) { _, db in try db.execute("UPDATE epoch SET key = key + 1 WHERE number = 1") },
    // It would be deleted as what a killed restore left.
    Wound(.databaseStructure) { ward, db in try db.execute("INSERT INTO staging VALUES (\(ward["d"]))") },
    Wound(.databaseStructure) { ward, db in try db.execute("INSERT INTO staging VALUES (\(ward["small"]))") },
    Wound(.databaseStructure) { _, db in try db.execute("CREATE TRIGGER stranger AFTER INSERT ON entry BEGIN SELECT 1; END") },
    Wound(.databaseStructure, findings: 2) { _, db in
      // Each index where the other one was.
      try db.execute(
        """
        PRAGMA writable_schema = ON;
        CREATE TEMP TABLE roots AS SELECT name, rootpage FROM sqlite_master WHERE name IN ('trash_inode', 'trash_parent');
        UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM roots WHERE roots.name <> sqlite_master.name) WHERE name IN ('trash_inode', 'trash_parent')
        """)
    },
  ]
}

extension Ward {
  var key: (UInt64, UInt64) { configuration.nameKey }
  private var configuration: VaultConfiguration { get { try! Vault.readConfiguration(home.path) } }
}
