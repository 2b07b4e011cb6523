// The view as it is at one moment, for a check to look at in peace: a copy of the database beside it, or in memory where the disk is
// full, taken in short holds of the vault's lock while the vault is in use. What is found wrong in it was wrong in the vault at that moment.
//
// What must stay true: the copy is no part of the vault, and its files are gone by name as soon as they are open. It holds
// a table and an index more than the view, made here: `shape`, a node's attributes as numbers, and entries by node.

import Glibc

final class ViewCopy {
  let database: Database
  let state: Metadata.State
  let nameKey: (UInt64, UInt64)
  private var isInMemory = false

  /// Pages that are copied under one hold of the lock: about a millisecond.
  private static let pagesPerHold: Int32 = 256
  private static let file = "check.db"
  private static let cacheKiB = 24 << 10
  /// A larger copy is made on the disk, or not at all.
  private static let bytesInMemoryMax: UInt64 = 256 << 20

  /// - Throws: `.databaseDamaged` where a page cannot be read.
  init(of work: CheckWork) throws {
    let vault = work.vault
    // The copy, and half as much again for its index.
    let bytes = vault.databaseBytes + vault.databaseBytes / 2
    do throws(VaultError) { try vault.checkRoom(for: Int(clamping: bytes)) } catch {
      guard case .diskFull = error, bytes <= Self.bytesInMemoryMax else { throw error }
      isInMemory = true
    }
    let path = Self.place(of: Self.file, in: vault, isInMemory)
    nameKey = vault.configuration.nameKey
    Self.removeFiles(path)
    defer { Self.removeFiles(path) }
    database = try Database(path: path)
    try database.execute("PRAGMA page_size = 4096; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -\(Self.cacheKiB)")
    try Self.copy(into: database, work)
    // It says of itself that it has a log, as the view does.
    try database.execute("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA temp_store = \(isInMemory ? "MEMORY" : "FILE"); PRAGMA cell_size_check = ON")
    state = try Metadata.readState(database)
  }

  /// Where a database is that is gone with the check.
  func place(of file: String, in vault: Vault) -> String { Self.place(of: file, in: vault, isInMemory) }
  private static func place(of file: String, in vault: Vault, _ isInMemory: Bool) -> String { isInMemory ? ":memory:" : "\(vault.path)/\(file)" }

  static func removeFiles(_ path: String) {
    for suffix in ["", "-wal", "-shm", "-journal"] { _ = unsafe unlink(path + suffix) }
  }

  private static func copy(into target: Database, _ work: CheckWork) throws {
    let copy = try work.holding { metadata throws(VaultError) in try DatabaseCopy(of: metadata.database, to: target) }
    defer { work.vault.lock.withLock { copy.finish() } }
    while try !work.holding({ _ throws(VaultError) in try copy.step(pages: pagesPerHold) }) {
      try work.proceed(copy.pages > 0 ? 1 - Double(copy.pagesLeft) / Double(copy.pages) : 0)
      // The lock is not fair: taken again at once, it would be had again before those who wait have woken.
      usleep(200)
    }
  }

  // MARK: Asking

  /// Calls `body` for each row that `sql` finds.
  func each(_ sql: String, _ parameters: UInt64..., work: CheckWork, _ body: (Statement) throws -> Void) throws {
    let select = try database.prepare(sql)
    for (index, value) in parameters.enumerated() { select.bind(Int32(index + 1), value) }
    var rows = 0
    while try select.step() {
      try body(select)
      rows += 1
      if rows & 1023 == 0 { try work.proceed() }
    }
  }

  func number(_ sql: String) throws -> UInt64 { UInt64(bitPattern: try database.integer(sql) ?? 0) }

  private lazy var selectName: Statement? = try? database.prepare("SELECT name FROM entry WHERE parent = ? AND cookie = ?")

  /// The name in an entry, for messages.
  func name(_ parent: UInt64, _ cookie: UInt64) -> String {
    guard let select = selectName else { return "?" }
    select.bind(1, parent)
    select.bind(2, cookie)
    defer { select.reset() }
    return (try? select.step()) == true ? displayed(select.bytes(0)) : "?"
  }

  private lazy var selectEntry: Statement? = try? database.prepare("SELECT parent, name FROM entry INDEXED BY check_entry WHERE inode = ? LIMIT 1")
  private static let depthMax = 4096

  /// One path of a node; nil where it has none that leads to the root.
  func path(of inode: UInt64) -> String? {
    var at = inode, names: [String] = []
    while at != InodeNumber.root.value {
      guard names.count < Self.depthMax, let select = selectEntry else { return nil }
      select.bind(1, at)
      defer { select.reset() }
      guard (try? select.step()) == true else { return nil }
      names.append(displayed(select.bytes(1)))
      at = select.unsigned(0)
    }
    return "/" + names.reversed().joined(separator: "/")
  }
}

/// A name as people may see it: what is no UTF-8 or moves the cursor, as escapes.
func displayed(_ name: [UInt8]) -> String {
  func escaped(_ bytes: some Sequence<UInt8>) -> String { bytes.map { "\\x" + String(hex(UInt64($0)).suffix(2)) }.joined() }
  guard let text = String(validating: name, as: UTF8.self) else {
    return name.map { (0x20..<0x7F).contains($0) ? String(UnicodeScalar($0)) : escaped([$0]) }.joined()
  }
  return text.unicodeScalars.map { $0.properties.generalCategory == .control ? escaped(String($0).utf8) : String($0) }.joined()
}
