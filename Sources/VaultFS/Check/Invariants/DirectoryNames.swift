// A directory has one name, and the root none.

enum DirectoryNames: Invariant {
  static let kind = Finding.Kind.directoryNames

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT e.parent, e.cookie, e.inode FROM entry AS e INDEXED BY check_entry WHERE e.type = 16384
        AND (e.inode = \(InodeNumber.root.value) OR EXISTS (
          SELECT 1 FROM entry AS o INDEXED BY check_entry WHERE o.inode = e.inode AND (o.parent, o.cookie) < (e.parent, e.cookie)))
      """, work: work) { row in
      let parent = row.unsigned(0), cookie = row.unsigned(1), inode = row.unsigned(2)
      work.found(Finding(kind, inode: inode, table: "entry", key: [parent, cookie], "directory \(inode) has a name too many: \(copy.name(parent, cookie)) in directory \(parent)"))
    }
  }
}
