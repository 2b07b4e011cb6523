// The tables of the metadata view, as numbered migrations that are only ever appended. Each runs in a transaction of
// its own; `user_version` says how many have run. A database with more of them than we know is refused.
//
// The view can be deleted: `vaultfs rebuild` makes it anew from the journal and the packs.

enum Schema {
  /// "VFSm": says that a SQLite file is ours.
  static let applicationID: Int64 = 0x5646_536D

  private static let migrations = [
    """
    -- One row a node. `record` is its attributes, and its manifest if that is short (Node+Record.swift).
    CREATE TABLE node (inode INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;

    -- One row a name. `cookie` is the name's place in its directory: a keyed hash of it, or the next free number
    -- after a collision; stable for as long as the entry lives, so listings can go on from it.
    CREATE TABLE entry (
      parent INTEGER NOT NULL, cookie INTEGER NOT NULL, name BLOB NOT NULL, inode INTEGER NOT NULL, type INTEGER NOT NULL,
      born INTEGER NOT NULL, PRIMARY KEY (parent, cookie)) STRICT, WITHOUT ROWID;

    CREATE TABLE xattr (
      inode INTEGER NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (inode, name)) STRICT, WITHOUT ROWID;

    -- Manifest pages of nodes whose manifest is too long for the row: extents from `start` up to the next page.
    CREATE TABLE page (
      inode INTEGER NOT NULL, start INTEGER NOT NULL, extents BLOB NOT NULL, PRIMARY KEY (inode, start)) STRICT, WITHOUT ROWID;

    -- One row a stored chunk. `number` is the first 63 bits of its id, or the next free one after a collision.
    CREATE TABLE chunk (
      number INTEGER PRIMARY KEY, id BLOB NOT NULL, length INTEGER NOT NULL, crc INTEGER NOT NULL,
      container INTEGER NOT NULL, frame INTEGER NOT NULL, frame_length INTEGER NOT NULL, offset INTEGER NOT NULL) STRICT;

    -- Nodes without a name that were still open: swept at the next mount if we were killed.
    CREATE TABLE orphan (inode INTEGER PRIMARY KEY) STRICT;

    -- The random half of the ids of the nodes made in an opening of the vault.
    CREATE TABLE epoch (number INTEGER PRIMARY KEY, key INTEGER NOT NULL) STRICT;

    -- Counters and positions, written with every commit.
    CREATE TABLE state (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
    """
    -- One row a container with frames: how many rows of `chunk` name it, and whether the optimiser leaves it as it is
    -- (ContainerUses.swift). Nobody noted so far which containers frames elsewhere need: what is there already stays.
    CREATE TABLE container (number INTEGER PRIMARY KEY, chunks INTEGER NOT NULL, kept INTEGER NOT NULL) STRICT;
    INSERT INTO container SELECT container, count(*), 1 FROM chunk GROUP BY container;
    DELETE FROM state WHERE key = 'optimised';
    """,
  ]

  /// Brings `database` to the newest schema; a new one gets all of it.
  static func prepare(_ database: Database) throws(VaultError) {
    try database.execute(
      """
      PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL;
      PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -\(Limits.databaseCacheKiB); PRAGMA mmap_size = 0;
      PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;
      """)
    let version = Int(try database.integer("PRAGMA user_version") ?? 0)
    let tables = try database.integer("SELECT count(*) FROM sqlite_schema") ?? 0
    if tables > 0 {
      guard try database.integer("PRAGMA application_id") == applicationID else {
        throw .databaseDamaged(detail: "\(database.path) is not a vault's database")
      }
    }
    guard version <= migrations.count else {
      throw .formatUnknown(path: database.path, detail: "its schema is version \(version), this program knows up to \(migrations.count); use a newer vaultfs")
    }
    for number in version..<migrations.count {
      try database.execute("BEGIN IMMEDIATE; \(migrations[number]); PRAGMA application_id = \(applicationID); PRAGMA user_version = \(number + 1); COMMIT")
    }
  }
}
