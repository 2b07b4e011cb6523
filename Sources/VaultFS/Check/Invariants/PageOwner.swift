// A page of a manifest belongs to a node whose manifest is in pages, or to a past version that saw it.

enum PageOwner: Invariant {
  static let kind = Finding.Kind.pageOwner

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT DISTINCT p.inode FROM page AS p LEFT JOIN shape AS s ON s.inode = p.inode
        WHERE s.paged = 0 OR s.inode IS NULL AND NOT EXISTS (SELECT 1 FROM node AS n WHERE n.inode = p.inode)
          AND NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = p.inode AND n.died > p.since)
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "page", key: [inode], "pages of a manifest of node \(inode) are there, and nobody has them"))
    }
  }
}
