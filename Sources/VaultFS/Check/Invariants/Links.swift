// A node that is no directory has as many links as names.

enum Links: Invariant {
  static let kind = Finding.Kind.links

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT s.inode, s.links, (SELECT count(*) FROM entry AS e INDEXED BY check_entry WHERE e.inode = s.inode) AS names FROM shape AS s
        WHERE s.type <> 16384 AND names <> s.links AND (names > 0 OR EXISTS (SELECT 1 FROM orphan AS o WHERE o.inode = s.inode))
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "node", key: [inode], "node \(inode) has \(row.unsigned(1)) links and \(row.unsigned(2)) names"))
    }
  }
}
