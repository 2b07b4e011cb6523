// A directory's parent is the directory that its name stands in.

enum DirectoryParent: Invariant {
  static let kind = Finding.Kind.directoryParent

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT s.inode, s.parent, e.parent FROM shape AS s JOIN entry AS e INDEXED BY check_entry ON e.inode = s.inode
        WHERE s.type = 16384 AND s.inode <> \(InodeNumber.root.value) AND s.parent <> e.parent
        AND NOT EXISTS (SELECT 1 FROM entry AS o INDEXED BY check_entry WHERE o.inode = s.inode AND o.parent = s.parent)
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "node", key: [inode], "directory \(inode) says that it is in directory \(row.unsigned(1)), and its name is in \(row.unsigned(2))"))
    }
  }
}
