// Every entry stands in a directory.

enum EntryParent: Invariant {
  static let kind = Finding.Kind.entryParent

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT e.parent, e.cookie, e.inode FROM entry AS e LEFT JOIN shape AS s ON s.inode = e.parent WHERE s.type IS NOT 16384
      """, work: work) { row in
      let parent = row.unsigned(0), cookie = row.unsigned(1), inode = row.unsigned(2)
      work.found(Finding(kind, inode: inode, table: "entry", key: [parent, cookie], "the name \(copy.name(parent, cookie)) stands in node \(parent), which is no directory"))
    }
  }
}
