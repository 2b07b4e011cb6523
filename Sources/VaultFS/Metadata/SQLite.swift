// A thin, fast door to SQLite: one connection, statements prepared once, typed errors.
// Not thread-safe: a connection and its statements belong to whoever holds the vault's metadata lock.
// Why not GRDB: see docs/decisions/0003-sqlite-without-a-wrapper-library.md.

internal import CSQLite
import Glibc
import Printable

@safe final class Database {
  /// nil once it is closed.
  private(set) var handle: OpaquePointer?
  let path: String

  /// Opens or makes the database at `path`.
  init(path: String) throws(VaultError) {
    self.path = path
    for suffix in ["", "-wal", "-shm", "-journal"] { try PlainFile.check(path + suffix) }
    if unsafe access(path, R_OK | W_OK) != 0, errno == EACCES { throw .disk(operation: "open", path: path, code: EACCES) }
    guard try PageChecksums.isProtected(path) else { throw .databaseDamaged(detail: "\(path): its header is damaged") }
    try open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
    var reserved = PageChecksums.reservedBytes
    unsafe sqlite3_file_control(handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved)
  }

  /// Opens the database at `path` for a look that leaves no trace.
  /// - Parameter withLog: with what is still in its log.
  init(lookingAt path: String, withLog: Bool) throws(VaultError) {
    self.path = path
    // To SQLite, a file that cannot change has no log.
    if withLog { try open(path, SQLITE_OPEN_READWRITE) } else { try open("file:\(Self.encoded(path))?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI) }
    // The log's index is then in memory, and no file.
    try execute("PRAGMA locking_mode = EXCLUSIVE")
  }

  /// How long it waits where somebody else has the database, milliseconds.
  private static let patience: Int32 = 1000

  private func open(_ name: String, _ flags: Int32) throws(VaultError) {
    PageChecksums.register()
    let code = unsafe sqlite3_open_v2(name, &handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, PageChecksums.vfsName)
    if code != SQLITE_OK { throw failure(code) }
    unsafe sqlite3_extended_result_codes(handle, 1)
    // Of an owner that was killed, the kernel may close the database after what says that the vault is owned.
    unsafe sqlite3_busy_timeout(handle, Self.patience)
    // The log enters the database when we say so (`checkpoint`), never because someone looked and left.
    unsafe vaultfs_no_checkpoint_on_close(handle)
    unsafe vaultfs_no_code_in_database(handle)
  }

  /// Lets go of the file and its locks. Whatever is asked afterwards, also of a statement, throws that it is closed.
  func close() {
    guard unsafe handle != nil else { return }
    lost = .readOnly(reason: Vault.closedReason)
    while let statement = unsafe sqlite3_next_stmt(handle, nil) { unsafe sqlite3_finalize(statement) }
    unsafe sqlite3_close(handle)
    unsafe handle = nil
  }
  deinit { close() }

  /// A path in a URI.
  private static func encoded(_ path: String) -> String {
    path.utf8.map { byte in
      let scalar = Unicode.Scalar(byte), isPlain = byte < 0x80 && (Character(scalar).isLetter || Character(scalar).isNumber || "/-_.".utf8.contains(byte))
      return isPlain ? String(scalar) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
  }

  /// The error that ended an open transaction by itself (SQLite does so after many), or that left it half done: what it held is
  /// gone from here, so nothing is read or written any more. The journal has it all.
  private var lost: VaultError?
  private var isInTransaction = false
  /// Called before anything is asked that was not prepared long ago: rows may wait to be written.
  var beforeAsking: (() throws(VaultError) -> Void)?

  func begin() throws(VaultError) {
    try execute("BEGIN IMMEDIATE")
    isInTransaction = true
  }
  func commit() throws(VaultError) {
    try execute("COMMIT")
    isInTransaction = false
  }

  func execute(_ sql: String) throws(VaultError) {
    try checkWhole()
    try beforeAsking?()
    let code = unsafe sqlite3_exec(handle, sql, nil, nil, nil)
    if code != SQLITE_OK { throw failure(code, isChange: true) }
  }

  func prepare(_ sql: String) throws(VaultError) -> Statement {
    try checkWhole()
    try beforeAsking?()
    var statement: OpaquePointer?
    let code = unsafe sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
    guard code == SQLITE_OK, let statement = unsafe statement else { throw failure(code) }
    return unsafe Statement(statement, of: self)
  }

  func integer(_ sql: String) throws(VaultError) -> Int64? {
    let statement = try prepare(sql)
    defer { statement.reset() }
    return try statement.step() ? statement.integer(0) : nil
  }

  /// Rows that were changed so far; it wraps.
  var changes: Int32 { unsafe sqlite3_total_changes(handle) }

  /// Copies the write-ahead log into the database and empties it.
  func checkpoint() throws(VaultError) {
    try checkWhole()
    let code = unsafe sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
    if code != SQLITE_OK { throw failure(code) }
  }

  /// - Parameter isChange: of a statement that changes something: where it met damage, half of it may be done.
  func failure(_ code: Int32, isChange: Bool = false) -> VaultError {
    let error = unsafe Self.error(code, system: sqlite3_system_errno(handle), String(cString: sqlite3_errmsg(handle)), path)
    if isInTransaction, unsafe isChange && code & 0xFF == SQLITE_CORRUPT || sqlite3_get_autocommit(handle) != 0 { lost = error }
    return error
  }

  /// Bytes of the pages in memory: no commit writes more to the log, but for what the log says of each page.
  var bytesCached: UInt64 {
    var now: Int32 = 0, highest: Int32 = 0
    return unsafe sqlite3_db_status(handle, SQLITE_DBSTATUS_CACHE_USED, &now, &highest, 0) == SQLITE_OK ? UInt64(max(now, 0)) : 0
  }
  /// Afterwards `bytesCached` counts little more than what a commit writes.
  func dropCleanPages() { unsafe sqlite3_db_release_memory(handle) }

  /// Whether what an open transaction holds is still there.
  var isWhole: Bool { lost == nil }

  /// - Throws: what ended a transaction behind our back.
  func checkWhole() throws(VaultError) { if let lost { throw lost } }

  /// - Parameter system: what the operating system said of the last input or output that failed.
  /// - Parameter words: SQLite's; they may hold text of the database.
  static func error(_ code: Int32, system: Int32, _ words: String, _ path: String) -> VaultError {
    if code == PageChecksums.damagedPage { return .databaseDamaged(detail: "\(path): a page fails its checksum") }
    let message = printable(words.utf8)
    return switch code & 0xFF {
    case SQLITE_FULL: .diskFull
    // SQLite knows a full disk by one error of one call: a quota, or a flush that finds no room, is another.
    case SQLITE_IOERR where system == ENOSPC || system == EDQUOT, SQLITE_CANTOPEN where system == ENOSPC || system == EDQUOT: .diskFull
    case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_SCHEMA, SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_MISMATCH:
      .databaseDamaged(detail: "\(path): \(message) (\(code))")
    default: .disk(operation: "use the database (\(message), \(code))", path: path, code: 5)
    }
  }
}

@safe final class Statement {
  private let prepared: OpaquePointer
  private let database: Database
  /// nil where the database was closed, which SQLite takes for a statement without rows.
  private var handle: OpaquePointer? { unsafe database.handle == nil ? nil : prepared }

  fileprivate init(_ prepared: OpaquePointer, of database: Database) { unsafe (self.prepared, self.database) = unsafe (prepared, database) }
  deinit { unsafe sqlite3_finalize(handle) }

  /// Binds in order from parameter 1; bytes are copied.
  func bind(_ index: Int32, _ value: UInt64) { unsafe sqlite3_bind_int64(handle, index, Int64(bitPattern: value)) }
  func bind(_ index: Int32, copying value: [UInt8]) {
    unsafe value.withUnsafeBytes { raw in
      // SQLite takes a null pointer for NULL; an empty blob needs some address.
      let transient = unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
      if raw.count == 0 { unsafe sqlite3_bind_zeroblob(handle, index, 0) } else { unsafe sqlite3_bind_blob(handle, index, raw.baseAddress, Int32(raw.count), transient) }
    }
  }
  func bind(_ index: Int32, text value: String) {
    unsafe sqlite3_bind_text(handle, index, value, -1, unsafeBitCast(-1, to: sqlite3_destructor_type.self))
  }
  func bind(_ index: Int32, _ value: ChunkID) {
    var w = ByteWriter(capacity: 32)
    w.id(value)
    bind(index, copying: w.bytes)
  }

  /// - Returns: whether there is a row.
  func step() throws(VaultError) -> Bool {
    try database.checkWhole()
    let code = unsafe sqlite3_step(handle)
    switch code {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    default:
      let error = unsafe database.failure(code, isChange: sqlite3_stmt_readonly(handle) == 0)
      unsafe sqlite3_reset(handle)
      throw error
    }
  }

  /// Runs a statement that answers nothing.
  func run() throws(VaultError) {
    defer { unsafe sqlite3_reset(handle) }
    _ = try step()
  }

  func reset() { unsafe sqlite3_reset(handle) }
  func isInteger(_ column: Int32) -> Bool { unsafe sqlite3_column_type(handle, column) == SQLITE_INTEGER }
  func integer(_ column: Int32) -> Int64 { unsafe sqlite3_column_int64(handle, column) }
  func unsigned(_ column: Int32) -> UInt64 { unsafe UInt64(bitPattern: sqlite3_column_int64(handle, column)) }
  /// Valid until the next step or reset.
  func raw(_ column: Int32) -> UnsafeRawBufferPointer {
    let base = unsafe sqlite3_column_blob(handle, column)
    return unsafe UnsafeRawBufferPointer(start: base, count: base == nil ? 0 : Int(sqlite3_column_bytes(handle, column)))
  }
  func bytes(_ column: Int32) -> [UInt8] { unsafe Array(raw(column)) }
}
