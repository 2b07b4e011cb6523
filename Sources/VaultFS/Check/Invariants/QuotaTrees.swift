// The limit of a tree is that of a directory with a name.

enum QuotaTrees: Invariant {
  static let kind = Finding.Kind.quotaTree

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let (tree, _) = QuotaSubject.tree(.root).row
    try copy.each(
      """
      SELECT q.id FROM quota AS q LEFT JOIN shape AS s ON s.inode = q.id WHERE q.kind = \(tree) AND (s.type IS NOT 16384 OR s.links = 0)
      """, work: work) { row in
      work.found(Finding(kind, inode: row.unsigned(0), table: "quota", key: [tree, row.unsigned(0)], "node \(row.unsigned(0)) has a limit, and is no directory of the tree"))
    }
  }
}
