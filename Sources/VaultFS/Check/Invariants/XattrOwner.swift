// An extended attribute belongs to a node that says it has some, or to a past version that saw it.

enum XattrOwner: Invariant {
  static let kind = Finding.Kind.xattrOwner

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT DISTINCT x.inode FROM xattr AS x LEFT JOIN shape AS s ON s.inode = x.inode
        WHERE s.xattrs = 0 OR s.inode IS NULL AND NOT EXISTS (SELECT 1 FROM node AS n WHERE n.inode = x.inode)
          AND NOT EXISTS (SELECT 1 FROM past_node AS p WHERE p.inode = x.inode AND p.died > x.since)
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "xattr", key: [inode], "extended attributes of node \(inode) are there, and nobody has them"))
    }
  }
}
