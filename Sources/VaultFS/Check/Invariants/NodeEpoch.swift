// A node's id can be made: the epoch that made it is known.

enum NodeEpoch: Invariant {
  static let kind = Finding.Kind.nodeEpoch

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT s.inode, s.epoch FROM shape AS s LEFT JOIN epoch AS e ON e.number = s.epoch WHERE e.number IS NULL OR s.epoch > \(copy.state.epoch)
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "node", key: [inode], "node \(inode) was made in epoch \(row.unsigned(1)), which is not known"))
    }
  }
}
