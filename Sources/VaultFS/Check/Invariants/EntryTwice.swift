// A name stands once in a directory.

enum EntryTwice: Invariant {
  static let kind = Finding.Kind.entryTwice

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    // Equal names have the same few cookies.
    var parent: UInt64 = 0, near: [(cookie: UInt64, name: [UInt8])] = []
    try copy.each("SELECT parent, cookie, inode, name FROM entry ORDER BY parent, cookie", work: work) { row in
      let cookie = row.unsigned(1), name = row.bytes(3)
      if row.unsigned(0) != parent { near = [] }
      parent = row.unsigned(0)
      near.removeAll { $0.cookie &+ Metadata.cookieWindow <= cookie }
      if near.contains(where: { $0.name == name }) {
        work.found(Finding(kind, inode: row.unsigned(2), table: "entry", key: [parent, cookie], "directory \(parent) lists the name \(displayed(name)) twice"))
      }
      near.append((cookie, name))
    }
  }
}
