// Every entry leads to a node.

enum EntryDangling: Invariant {
  static let kind = Finding.Kind.entryDangling

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT e.parent, e.cookie, e.inode FROM entry AS e INDEXED BY check_entry LEFT JOIN node AS n ON n.inode = e.inode WHERE n.inode IS NULL
      """, work: work) { row in
      let parent = row.unsigned(0), cookie = row.unsigned(1), inode = row.unsigned(2)
      work.found(Finding(kind, inode: inode, table: "entry", key: [parent, cookie], "the name \(copy.name(parent, cookie)) in directory \(parent) leads to node \(inode), which is not there"))
    }
  }
}
