// SQLite finds its trees whole: all pages in use once, rows in order, indexes as their tables.

enum DatabaseStructure: Invariant {
  static let kind = Finding.Kind.databaseStructure
  private static let troublesMax = 20

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let check = try copy.database.prepare("PRAGMA integrity_check(\(troublesMax))")
    while try check.step() {
      let said = String(decoding: check.bytes(0), as: UTF8.self)
      if said != "ok" { work.found(Finding(kind, file: Vault.databaseName, "the database is not whole: \(said)")) }
    }
  }
}
