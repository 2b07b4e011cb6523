// A node that says it has extended attributes has some.

enum XattrFlag: Invariant {
  static let kind = Finding.Kind.xattrFlag

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT s.inode FROM shape AS s WHERE s.xattrs = 1 AND NOT EXISTS (SELECT 1 FROM xattr AS x WHERE x.inode = s.inode)
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "node", key: [inode], "node \(inode) says that it has extended attributes, and has none"))
    }
  }
}
