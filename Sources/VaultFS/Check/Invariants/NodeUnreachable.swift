// Every node has a name, but for the root and those that are held open without one.
// With DirectoryCycle: every node can be reached from the root.

enum NodeUnreachable: Invariant {
  static let kind = Finding.Kind.nodeUnreachable

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT s.inode FROM shape AS s WHERE s.inode <> \(InodeNumber.root.value)
        AND NOT EXISTS (SELECT 1 FROM entry AS e INDEXED BY check_entry WHERE e.inode = s.inode) AND NOT EXISTS (SELECT 1 FROM orphan AS o WHERE o.inode = s.inode)
      """, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "node", key: [inode], "node \(inode) has no name, and nobody holds it open"))
    }
  }
}
