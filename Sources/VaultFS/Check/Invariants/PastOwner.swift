// A past page or attribute belongs to a past version of its node: it is forgotten with the last one that sees it.

enum PastOwner: Invariant {
  static let kind = Finding.Kind.pastOwner

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    for table in ["past_page", "past_xattr"] {
      try copy.each(
        """
        SELECT t.inode, t.born, t.died FROM \(table) AS t
          WHERE NOT EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = t.inode AND n.died > t.born AND n.died <= t.died)
        """, work: work) { row in
        let inode = row.unsigned(0)
        work.found(Finding(kind, inode: inode, table: table, key: [inode], "a row of \(table) of node \(inode), from \(row.unsigned(1)) to \(row.unsigned(2)), belongs to no version"))
      }
    }
  }
}
