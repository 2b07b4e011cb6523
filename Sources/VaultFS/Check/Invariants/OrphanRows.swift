// What is noted as held open without a name is there, and has none. (It would be dropped at the next opening.)

enum OrphanRows: Invariant {
  static let kind = Finding.Kind.orphan

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT o.inode, n.inode IS NULL FROM orphan AS o LEFT JOIN node AS n ON n.inode = o.inode
        WHERE n.inode IS NULL OR EXISTS (SELECT 1 FROM entry AS e INDEXED BY check_entry WHERE e.inode = o.inode)
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "orphan", key: [inode], "node \(inode) is noted as one without a name, and \(row.integer(1) != 0 ? "is not there" : "has one")"))
    }
  }
}
