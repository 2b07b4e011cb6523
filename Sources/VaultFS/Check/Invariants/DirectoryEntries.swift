// A directory counts its entries.

enum DirectoryEntries: Invariant {
  static let kind = Finding.Kind.directoryEntries

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT s.inode, s.entries, (SELECT count(*) FROM entry AS e WHERE e.parent = s.inode) AS found FROM shape AS s WHERE s.type = 16384 AND s.entries <> found
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "node", key: [inode], "directory \(inode) counts \(row.unsigned(1)) entries and has \(row.unsigned(2))"))
    }
  }
}
