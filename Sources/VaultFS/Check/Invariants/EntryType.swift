// An entry tells the type of the node that it leads to.

enum EntryType: Invariant {
  static let kind = Finding.Kind.entryType

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT e.parent, e.cookie, e.inode, e.type, s.type FROM shape AS s JOIN entry AS e INDEXED BY check_entry ON e.inode = s.inode WHERE e.type <> s.type
      """, work: work) { row in
      let parent = row.unsigned(0), cookie = row.unsigned(1), inode = row.unsigned(2)
      work.found(Finding(kind, inode: inode, table: "entry", key: [parent, cookie], "the name \(copy.name(parent, cookie)) in directory \(parent) says type \(String(row.unsigned(3), radix: 8)), its node \(inode) is \(String(row.unsigned(4), radix: 8))"))
    }
  }
}
