// The names in a directory. A name's place among the others is a hash of it: it stays the same for as long as the name is there,
// whatever comes and goes beside it (telldir(3)).

import Glibc

extension Metadata {
  struct EntryRow {
    var cookie: UInt64
    var name: [UInt8]
    var inode: InodeNumber
    /// The node's type bits (S_IFMT).
    var type: UInt32
    /// The operation that made it.
    var born: LSN
  }
  /// Entries whose names hash alike stand within this many cookies.
  static let cookieWindow: UInt64 = 16
  /// Cookies below are for `.` and `..`.
  static let cookieFirst: UInt64 = 64

  /// The first of the cookies that a name may have.
  private static func cookie(of name: [UInt8], key: (UInt64, UInt64)) -> UInt64 {
    max(SipHash.hash(name, key: key) >> 1 & ~(cookieWindow - 1), cookieFirst)
  }

  /// The cookies that a name may have: from the first up to and without the second.
  func cookies(of name: [UInt8]) -> (UInt64, UInt64) { Self.cookies(of: name, key: nameKey) }
  static func cookies(of name: [UInt8], key: (UInt64, UInt64)) -> (UInt64, UInt64) {
    let first = cookie(of: name, key: key)
    return (first, first + cookieWindow)
  }

  func entry(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) -> EntryRow? { try look(for: name, in: parent).found }

  /// Whether a name can be entered must be known before that is journaled.
  func checkFree(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) {
    if parent == .root, name == Vault.pastName { throw .nameReserved }
    let (found, free) = try look(for: name, in: parent)
    if found != nil { throw .alreadyExists }
    if free == nil { throw .tooManyLinks }
  }

  /// A name's row, or the cookie that it can be entered with: nil where all of its window are taken.
  private func look(for name: [UInt8], in parent: InodeNumber) throws(VaultError) -> (found: EntryRow?, free: UInt64?) {
    let (first, end) = cookies(of: name)
    var free = first
    let select = statements.selectEntry
    select.bind(1, parent.value)
    select.bind(2, first)
    select.bind(3, end)
    defer { select.reset() }
    while try select.step() {
      let cookie = select.unsigned(0), other = unsafe select.raw(1)
      if unsafe other.elementsEqual(name) {
        return (EntryRow(cookie: cookie, name: name, inode: InodeNumber(select.unsigned(2)), type: UInt32(truncatingIfNeeded: select.integer(3)), born: LSN(select.unsigned(4))), nil)
      }
      if cookie == free { free += 1 }
    }
    return (nil, free < end ? free : nil)
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
      rows.append(EntryRow(cookie: select.unsigned(0), name: select.bytes(1), inode: InodeNumber(select.unsigned(2)),
                           type: UInt32(truncatingIfNeeded: select.integer(3)), born: LSN(select.unsigned(4))))
    }
    return rows
  }

  /// - Returns: its cookie.
  @discardableResult
  func insertEntry(_ name: [UInt8], of node: Node, in parent: Node, born: LSN) throws(VaultError) -> UInt64 {
    guard let free = try look(for: name, in: parent.inode).free else { throw damaged("there is no place for an entry of node \(parent.inode.value)") }
    let insert = statements.insertEntry
    insert.bind(1, parent.inode.value)
    insert.bind(2, free)
    insert.bind(3, copying: name)
    insert.bind(4, node.inode.value)
    insert.bind(5, UInt64(node.mode & S_IFMT))
    insert.bind(6, born.value)
    try insert.run()
    try raise(&parent.entries)
    return free
  }

  func deleteEntry(_ row: EntryRow, in parent: Node) throws(VaultError) {
    let delete = statements.deleteEntry
    delete.bind(1, parent.inode.value)
    delete.bind(2, row.cookie)
    try delete.run()
    try lower(&parent.entries)
  }
}
