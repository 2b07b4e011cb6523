// A directory has two links and one for each directory in it; one that is gone and held open has none.

enum DirectoryLinks: Invariant {
  static let kind = Finding.Kind.directoryLinks

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT s.inode, s.links,
          CASE WHEN EXISTS (SELECT 1 FROM orphan AS o WHERE o.inode = s.inode) THEN 0
            ELSE 2 + (SELECT count(*) FROM entry AS e WHERE e.parent = s.inode AND e.type = 16384) END AS expected
        FROM shape AS s WHERE s.type = 16384 AND s.links <> expected
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "node", key: [inode], "directory \(inode) has \(row.unsigned(1)) links; its directories make \(row.unsigned(2))"))
    }
  }
}
