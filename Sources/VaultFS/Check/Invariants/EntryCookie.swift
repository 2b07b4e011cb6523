// An entry's cookie is one of the sixteen that its name may have: nobody finds it elsewhere.
// The cookies' order is the listing's; SQLite's own check (DatabaseStructure) tells whether the rows stand in it.

enum EntryCookie: Invariant {
  static let kind = Finding.Kind.entryCookie

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each("SELECT parent, cookie, inode, name FROM entry", work: work) { row in
      let parent = row.unsigned(0), cookie = row.unsigned(1), name = row.bytes(3), (first, end) = Metadata.cookies(of: name, key: copy.nameKey)
      if cookie >= first, cookie < end { return }
      work.found(Finding(kind, inode: row.unsigned(2), table: "entry", key: [parent, cookie],
                         "the name \(displayed(name)) in directory \(parent) stands at \(cookie), where nobody looks for it"))
    }
  }
}
