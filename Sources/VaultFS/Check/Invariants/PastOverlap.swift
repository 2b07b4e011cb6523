// At no moment there are two of the same: of a node, of what stands in a place of a directory, of an attribute, of a page.

enum PastOverlap: Invariant {
  static let kind = Finding.Kind.pastOverlap

  /// Tables, their key without `died`, the table of the present and when its rows began.
  private static let tables = [
    ("past_node", ["inode"], "shape", "since"), ("past_entry", ["parent", "cookie"], "entry", "born"),
    ("past_xattr", ["inode", "name"], "xattr", "since"), ("past_page", ["inode", "start"], "page", "since"),
  ]

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    for (table, key, present, began) in tables {
      let keys = key.joined(separator: ", "), same = key.map { "n.\($0) = p.\($0)" }.joined(separator: " AND ")
      try copy.each(
        """
        SELECT \(key[0]), born, died FROM (SELECT \(keys), born, died, lag(died) OVER (PARTITION BY \(keys) ORDER BY died) AS before FROM \(table)) WHERE born < before
        UNION ALL SELECT p.\(key[0]), p.born, p.died FROM \(table) AS p JOIN \(present) AS n ON \(same) WHERE p.died > n.\(began)
        """, work: work) { row in
        let inode = row.unsigned(0)
        work.found(Finding(kind, inode: inode, table: table, key: [inode],
                           "a row of \(table) of node \(inode), from \(row.unsigned(1)) to \(row.unsigned(2)), overlaps with another"))
      }
    }
  }
}
