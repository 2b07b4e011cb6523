// A copy of a database in use, some pages at a time. What its own connection changes meanwhile, SQLite changes in the
// copy too, so that the copy is the database as it is when the last page is done: a moment of it, whole.
//
// What must stay true: whoever steps holds what guards the source, and the source is in no transaction; nobody else
// touches the target before the copy is done. Not even an error may leave a copy unfinished when its guard is let go for
// good: `finish` is called in any case, with the guard held.

internal import CSQLite

@safe final class DatabaseCopy {
  private let source: Database
  private var backup: OpaquePointer?

  init(of source: Database, to target: Database) throws(VaultError) {
    self.source = source
    guard let backup = unsafe sqlite3_backup_init(target.handle, "main", source.handle, "main") else {
      throw unsafe target.failure(sqlite3_errcode(target.handle))
    }
    unsafe self.backup = unsafe backup
  }

  /// Copies at most so many pages more.
  /// - Returns: whether that was the last of them.
  func step(pages: Int32) throws(VaultError) -> Bool {
    let code = unsafe sqlite3_backup_step(backup, pages)
    switch code {
    case SQLITE_OK: return false
    case SQLITE_DONE: return true
    default: throw source.failure(code)
    }
  }

  var pages: Int { unsafe Int(sqlite3_backup_pagecount(backup)) }
  var pagesLeft: Int { unsafe Int(sqlite3_backup_remaining(backup)) }

  func finish() {
    unsafe sqlite3_backup_finish(backup)
    unsafe backup = nil
  }
}
