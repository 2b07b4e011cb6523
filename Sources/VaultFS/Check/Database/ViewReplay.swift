// The view is what the journal says: it is made again beside, from the first operation to the last that the copy has seen, and
// compared row by row. Only this finds pages that are stale and yet valid: a write that the disk lost, an old page put back.
//
// What must stay true: the other view is no part of the vault, and gone by name once it is open. Compared is what follows from
// the journal alone: not where chunks are, nor what containers are good for.

import Glibc

enum ViewReplay {
  private static let file = "replay.db"
  /// Where chunks are, and what changes by itself.
  private static let apart: Set<String> = ["chunk", "container", "held_page", "state", "sqlite_stat1", "shape", "use"]
  private static let rowsMax = 1000

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let path = copy.place(of: file, in: work.vault)
    ViewCopy.removeFiles(path)
    defer { ViewCopy.removeFiles(path) }
    let replayed: Metadata
    do { replayed = try replay(path, copy, work) } catch let error as VaultError {
      switch error {
      case .diskFull, .disk, .databaseDamaged: throw error
      default: break
      }
      // What is wrong with it was told when it was walked; if not, it is now.
      let ofJournal: Set<Finding.Kind> = [.journalSegment, .journalSequence, .journalOperation]
      if !work.report.findings.contains(where: { ofJournal.contains($0.kind) }) { work.found(Finding(.journalSegment, file: "journal", "the journal cannot be replayed: \(error)")) }
      return work.leaveOut()
    }
    for (table, columns) in try tables(replayed.database) { try compare(table, columns, copy.database, replayed.database, work) }
    try compareState(copy, replayed, work)
  }

  private static func replay(_ path: String, _ copy: ViewCopy, _ work: CheckWork) throws -> Metadata {
    let vault = work.vault, containers = vault.containers
    let metadata = try Metadata(database: try prepared(path), nameKey: copy.nameKey)
    let target = copy.state.applied, all = Double(max(target.value, 1))
    var cancelled = false
    let visitor = JournalReader.Visitor(
      frame: { _, _, _ in },
      found: { _, _, _ in },
      isComplete: { _ in true },
      operation: { operation, lsn, stamp throws(VaultError) in
        // What came after the copy was made is none of this.
        if lsn > target { return }
        // A chunk's number follows from its id, wherever it is.
        for id in try metadata.missing(operation) { try metadata.insertMissing(id) }
        try metadata.apply(operation, lsn: lsn, stamp: stamp)
        if metadata.isCommitDue { try metadata.commit() }
        guard lsn.value & 0xFFF == 0 else { return }
        do { try work.proceed(0.9 * Double(lsn.value) / all) } catch {
          cancelled = true
          throw .closed
        }
      })
    do throws(VaultError) {
      guard let first = containers.journal.first else { throw .journalDamaged(detail: "there are no segments") }
      _ = try JournalReader(containers: containers, vault: vault.configuration.id, path: vault.path).read(after: .zero, from: first, at: 0, afterPowerCut: false, visitor)
    } catch { throw cancelled ? CheckCancelled() : error }
    guard metadata.state.applied == target else { throw VaultError.journalDamaged(detail: "it ends with operation \(metadata.state.applied.value)") }
    try metadata.begin()
    try metadata.commit()
    return metadata
  }

  private static func prepared(_ path: String) throws -> Database {
    let database = try Database(path: path)
    try Schema.prepare(database)
    // Nobody will open it again.
    try database.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_spill = ON")
    return database
  }

  /// The tables that are compared, and their columns, those of the key first.
  private static func tables(_ database: Database) throws -> [(String, [String])] {
    let list = try database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    var all: [(String, [String])] = []
    while try list.step() {
      let name = String(decoding: list.bytes(0), as: UTF8.self)
      if apart.contains(name) { continue }
      let columns = try database.prepare("SELECT name FROM pragma_table_info('\(name)') ORDER BY pk = 0, pk, cid")
      var names: [String] = []
      while try columns.step() { names.append(String(decoding: columns.bytes(0), as: UTF8.self)) }
      all.append((name, names))
    }
    return all
  }

  /// Both in the order of their key, row beside row; the first difference ends it, for what follows may be shifted.
  private static func compare(_ table: String, _ columns: [String], _ view: Database, _ replayed: Database, _ work: CheckWork) throws {
    let key = try primaryKey(table, replayed)
    let sql = "SELECT \(columns.joined(separator: ", ")) FROM \(table) ORDER BY \(key.joined(separator: ", "))"
    let a = try view.prepare(sql), b = try replayed.prepare(sql)
    var hasA = try a.step(), hasB = try b.step(), differences = 0, rows = 0
    while hasA || hasB, differences < rowsMax {
      rows += 1
      if rows & 1023 == 0 { try work.proceed() }
      let order = hasA && hasB ? compareKeys(a, b, key.count) : hasA ? -1 : 1
      if order != 0 || !isSame(a, b, from: key.count, to: columns.count) {
        differences += 1
        let row = order > 0 ? b : a, inode = row.unsigned(0)
        let what = order < 0 ? "the journal does not make it" : order > 0 ? "it is missing" : "it is another than the journal makes"
        work.found(Finding(.viewStale, inode: ["inode", "parent"].contains(columns[0]) ? inode : nil, table: table,
                           key: numbers(row, key.count), "a row of \(table) is not what the journal says: \(what)"))
      }
      if order <= 0 { hasA = try a.step() }
      if order >= 0 { hasB = try b.step() }
    }
  }

  private static func primaryKey(_ table: String, _ database: Database) throws -> [String] {
    let select = try database.prepare("SELECT name FROM pragma_table_info('\(table)') WHERE pk > 0 ORDER BY pk")
    var names: [String] = []
    while try select.step() { names.append(String(decoding: select.bytes(0), as: UTF8.self)) }
    return names
  }

  private static func numbers(_ row: Statement, _ count: Int) -> [UInt64] { (0..<Int32(count)).filter { row.isInteger($0) }.map { row.unsigned($0) } }

  /// - Returns: negative where `a` comes first.
  private static func compareKeys(_ a: Statement, _ b: Statement, _ count: Int) -> Int {
    for column in 0..<Int32(count) {
      if a.isInteger(column), b.isInteger(column) {
        if a.integer(column) != b.integer(column) { return a.integer(column) < b.integer(column) ? -1 : 1 }
        continue
      }
      let x = unsafe a.raw(column), y = unsafe b.raw(column)
      if unsafe x.elementsEqual(y) { continue }
      return unsafe x.lexicographicallyPrecedes(y) ? -1 : 1
    }
    return 0
  }

  private static func isSame(_ a: Statement, _ b: Statement, from first: Int, to end: Int) -> Bool {
    (Int32(first)..<Int32(end)).allSatisfy { column in
      if a.isInteger(column), b.isInteger(column) { return a.integer(column) == b.integer(column) }
      return unsafe a.raw(column).elementsEqual(b.raw(column))
    }
  }

  private static func compareState(_ copy: ViewCopy, _ replayed: Metadata, _ work: CheckWork) throws {
    let view = copy.state, other = replayed.state
    let pairs: [(String, UInt64, UInt64)] = [
      ("next_inode", view.nextInode, other.nextInode), ("epoch", view.epoch, other.epoch), ("second", UInt64(bitPattern: view.second), UInt64(bitPattern: other.second)),
      ("last_snapshot", view.lastSnapshot.value, other.lastSnapshot.value), ("history", view.history == other.history ? 0 : 1, 0),
      ("expired", UInt64(bitPattern: view.expired), UInt64(bitPattern: other.expired)), ("stamp", view.stamp, other.stamp),
    ]
    for (key, a, b) in pairs where a != b { work.found(Finding(.viewStale, table: "state", "\(key) is \(a), and the journal makes it \(b)")) }
  }
}
