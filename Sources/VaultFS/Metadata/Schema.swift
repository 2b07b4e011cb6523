// The tables of the metadata view, as numbered migrations that are only ever appended. Each runs in a transaction of
// its own; `user_version` says how many have run. A database with more of them than we know is refused.
//
// The view can be deleted: `vaultfs rebuild` makes it anew from the journal and the packs.

enum Schema {
  /// "VFSm": says that a SQLite file is ours.
  static let applicationID: Int64 = 0x5646_536D

  /// Databases with fewer migrations are made anew from the journal: nothing in them is worth carrying over by hand.
  static let versionMin = 14

  private static let migrations = [
    // 1 to 13: of databases that are made anew.
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    """
    -- One row a node. `record` is its attributes, and its manifest if that is short (Node+Record.swift).
    CREATE TABLE node (inode INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;

    -- One row a name. `cookie` is the name's place in its directory: a keyed hash of it, or the next free number
    -- after a collision; stable for as long as the entry lives, so listings can go on from it.
    CREATE TABLE entry (
      parent INTEGER NOT NULL, cookie INTEGER NOT NULL, name BLOB NOT NULL, inode INTEGER NOT NULL, type INTEGER NOT NULL,
      born INTEGER NOT NULL, PRIMARY KEY (parent, cookie)) STRICT, WITHOUT ROWID;
    -- The one name of a directory (S_IFDIR), for paths.
    CREATE INDEX entry_directory ON entry (inode) WHERE type = 16384;

    -- `since`: the node's version that it belongs to (Metadata+History.swift), here and in `page`.
    CREATE TABLE xattr (
      inode INTEGER NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (inode, name)) STRICT, WITHOUT ROWID;

    -- Of a node with several names, one row for each but the one in its home (Metadata+Homes.swift).
    CREATE TABLE link (
      inode INTEGER NOT NULL, parent INTEGER NOT NULL, cookie INTEGER NOT NULL, PRIMARY KEY (inode, parent, cookie)) STRICT, WITHOUT ROWID;

    -- What users (kind 1) and groups (2) own; limits, also of trees (3) and of the vault (0).
    CREATE TABLE account (
      kind INTEGER NOT NULL, id INTEGER NOT NULL, bytes INTEGER NOT NULL, nodes INTEGER NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;
    CREATE TABLE quota (kind INTEGER NOT NULL, id INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID;

    -- Limits that trees had when they were deleted: they have them again when they are taken back.
    CREATE TABLE past_quota (inode INTEGER PRIMARY KEY, limits BLOB NOT NULL) STRICT;

    -- Manifest pages of nodes whose manifest is too long for the row: extents from `start` up to the next page.
    CREATE TABLE page (
      inode INTEGER NOT NULL, start INTEGER NOT NULL, extents BLOB NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (inode, start)) STRICT, WITHOUT ROWID;

    -- What was, from the operation `born` up to and without the operation `died`.
    CREATE TABLE past_node (
      inode INTEGER NOT NULL, died INTEGER NOT NULL, born INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (inode, died)) STRICT, WITHOUT ROWID;
    CREATE TABLE past_entry (
      parent INTEGER NOT NULL, cookie INTEGER NOT NULL, died INTEGER NOT NULL, born INTEGER NOT NULL, name BLOB NOT NULL, inode INTEGER NOT NULL,
      type INTEGER NOT NULL, PRIMARY KEY (parent, cookie, died)) STRICT, WITHOUT ROWID;
    CREATE INDEX past_entry_directory ON past_entry (inode, died) WHERE type = 16384;
    CREATE TABLE past_xattr (
      inode INTEGER NOT NULL, name BLOB NOT NULL, died INTEGER NOT NULL, born INTEGER NOT NULL, value BLOB NOT NULL,
      PRIMARY KEY (inode, name, died)) STRICT, WITHOUT ROWID;
    CREATE TABLE past_page (
      inode INTEGER NOT NULL, start INTEGER NOT NULL, died INTEGER NOT NULL, born INTEGER NOT NULL, extents BLOB NOT NULL,
      PRIMARY KEY (inode, start, died)) STRICT, WITHOUT ROWID;

    -- What the last operation was before the first one of each second: when things were.
    CREATE TABLE moment (second INTEGER PRIMARY KEY, lsn INTEGER NOT NULL) STRICT;
    -- What was deleted: the operation, the node, its last directory and name. `aside`: of what gave way to a tree that was taken
    -- back, the operation that took it from its place, with all that was in it; else 0.
    CREATE TABLE trash (
      died INTEGER PRIMARY KEY, inode INTEGER NOT NULL, parent INTEGER NOT NULL, name BLOB NOT NULL, second INTEGER NOT NULL,
      aside INTEGER NOT NULL) STRICT;
    CREATE INDEX trash_inode ON trash (inode);
    CREATE INDEX trash_parent ON trash (parent);
    CREATE TABLE snapshot (name BLOB PRIMARY KEY, lsn INTEGER NOT NULL, second INTEGER NOT NULL, inode INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    -- Versions that stay whatever the policy says: of a node, the one after the operation `lsn`.
    CREATE TABLE pin (inode INTEGER NOT NULL, lsn INTEGER NOT NULL, PRIMARY KEY (inode, lsn)) STRICT, WITHOUT ROWID;

    -- One row a stored chunk. `number` is the first 63 bits of its id, or the next free one after a collision.
    CREATE TABLE chunk (
      number INTEGER PRIMARY KEY, id BLOB NOT NULL, length INTEGER NOT NULL, crc INTEGER NOT NULL,
      container INTEGER NOT NULL, frame INTEGER NOT NULL, frame_length INTEGER NOT NULL, offset INTEGER NOT NULL) STRICT;

    -- One row a container with frames: how many rows of `chunk` name it, whether the optimiser leaves it as it is, plain bytes
    -- in it that nothing refers to any more, the other containers with bases of its frames, the bytes of those, and whether something
    -- in it could not be read (ContainerUses.swift).
    CREATE TABLE container (
      number INTEGER PRIMARY KEY, chunks INTEGER NOT NULL, kept INTEGER NOT NULL, dead INTEGER NOT NULL, bases BLOB NOT NULL, frames INTEGER NOT NULL,
      doubted INTEGER NOT NULL) STRICT;

    -- Nodes without a name that were still open: swept at the next mount if we were killed.
    CREATE TABLE orphan (inode INTEGER PRIMARY KEY) STRICT;

    -- The random half of the ids of the nodes made in an opening of the vault.
    CREATE TABLE epoch (number INTEGER PRIMARY KEY, key INTEGER NOT NULL) STRICT;

    -- Counters and positions, written with every commit.
    CREATE TABLE state (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

    -- Of a node that was made from the past of another one, that one, and by which operation: its versions until then are
    -- the new one's, too. `copy`: it was made beside that one, not in its place.
    CREATE TABLE origin (inode INTEGER PRIMARY KEY, source INTEGER NOT NULL, made INTEGER NOT NULL, copy INTEGER NOT NULL) STRICT;
    CREATE INDEX origin_source ON origin (source, made);

    -- Manifest pages of past versions that somebody has open, and that were about to go. Of this opening of the vault alone.
    CREATE TABLE held_page (
      handle INTEGER NOT NULL, start INTEGER NOT NULL, extents BLOB NOT NULL, PRIMARY KEY (handle, start)) STRICT, WITHOUT ROWID;

    -- Directories in which something is put together that was to come to its place when it is whole: what a killed owner
    -- left of them is removed at the next opening.
    CREATE TABLE staging (inode INTEGER PRIMARY KEY) STRICT;
    """,
  ]

  /// The tables and indexes that are not what they should be. Who could add some to a database could have it compute whatever
  /// he likes, for as long as he likes.
  static func strangers(in database: Database) throws(VaultError) -> [(name: String, what: String)] {
    let model = try Database(path: ":memory:")
    for migration in migrations { try model.execute(migration) }
    let expected = try statements(of: model), found = try statements(of: database)
    return Set(expected.keys).union(found.keys).sorted().filter { expected[$0] != found[$0] }.map { name in
      (name, found[name] == nil ? "is missing" : expected[name] == nil ? "is not known" : "is another than it should be")
    }
  }

  private static func statements(of database: Database) throws(VaultError) -> [String: String] {
    var all: [String: String] = [:]
    let select = try database.prepare("SELECT type || ' ' || name, ifnull(sql, '') FROM sqlite_schema")
    while try select.step() { all[String(decoding: select.bytes(0), as: UTF8.self)] = String(decoding: select.bytes(1), as: UTF8.self) }
    return all
  }

  /// Brings `database` to the newest schema; a new one gets all of it.
  static func prepare(_ database: Database) throws(VaultError) {
    // Exclusive before the log is looked at: its index is then in memory, and no file. No page leaves memory before a
    // commit: a full disk is met there, where it can be helped, and not in the middle of an operation. What is deleted is overwritten
    // only in pages that are written anyway: where much goes, its pages need no room in the log.
    try database.execute(
      """
      PRAGMA page_size = 4096; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
      PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -\(Limits.databaseCacheKiB); PRAGMA cache_spill = OFF; PRAGMA mmap_size = 0;
      PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;
      """)
    let version = Int(try database.integer("PRAGMA user_version") ?? 0)
    let tables = try database.integer("SELECT count(*) FROM sqlite_schema") ?? 0
    if tables > 0 {
      guard try database.integer("PRAGMA application_id") == applicationID else {
        throw .databaseDamaged(detail: "\(database.path): it is not a vault's database")
      }
    }
    if tables > 0, version < versionMin { throw .databaseOutdated(path: database.path) }
    guard version >= 0 else { throw .databaseDamaged(detail: "\(database.path): its schema has version \(version)") }
    guard version <= migrations.count else {
      throw .formatUnknown(path: database.path, detail: "its schema is version \(version), this program knows up to \(migrations.count); use a newer vaultfs")
    }
    if tables > 0, version == migrations.count, let stranger = try strangers(in: database).first {
      throw .databaseDamaged(detail: "\(database.path): \(stranger.name) in it \(stranger.what)")
    }
    for number in version..<migrations.count {
      try database.execute("BEGIN IMMEDIATE; \(migrations[number]); PRAGMA application_id = \(applicationID); PRAGMA user_version = \(number + 1); COMMIT")
    }
  }
}
