// A directory counts what is below it: of each node that is at home in it what that takes, and what is below that.
// (If this is true of every directory it is true of every tree: none goes in a circle.)

enum UsageTrees: Invariant {
  static let kind = Finding.Kind.usageTree

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    var directory: UInt64 = 0, said = Usage(), found = Usage()
    func compare() {
      guard directory > 0, said != found else { return }
      work.found(Finding(kind, inode: directory, table: "node", key: [directory],
                         "directory \(directory) counts \(said.nodes) nodes and \(said.bytes) bytes below it, and there are \(found.nodes) and \(found.bytes)"))
    }
    // Sums wrap here as they do there: SQLite's would be an error.
    try copy.each(
      """
      SELECT d.inode, d.below_bytes, d.below_nodes, c.inode IS NOT NULL, ifnull(c.allocated, 0), ifnull(c.below_bytes, 0), ifnull(c.below_nodes, 0)
        FROM shape AS d LEFT JOIN shape AS c ON c.parent = d.inode AND c.links > 0 AND c.inode <> \(InodeNumber.root.value) WHERE d.type = 16384 ORDER BY d.inode
      """, work: work) { row in
      if row.unsigned(0) != directory {
        compare()
        (directory, said, found) = (row.unsigned(0), Usage(bytes: row.unsigned(1), nodes: row.unsigned(2)), Usage())
      }
      found = found &+ Usage(bytes: row.unsigned(4) &+ row.unsigned(5), nodes: row.unsigned(3) &+ row.unsigned(6))
    }
    compare()
  }
}
