// Of a node's names one is in its home, the directory that it is charged to, and `link` has the others and nothing else.

enum LinkHomes: Invariant {
  static let kind = Finding.Kind.linkHome

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each(
      """
      SELECT l.inode, l.parent, l.cookie FROM link AS l LEFT JOIN entry AS e ON e.parent = l.parent AND e.cookie = l.cookie
        WHERE e.inode IS NOT l.inode
      """, work: work) { row in
      let key = [row.unsigned(0), row.unsigned(1), row.unsigned(2)]
      work.found(Finding(kind, inode: key[0], table: "link", key: key, "node \(key[0]) is said to have a name in directory \(key[1]), and has not"))
    }
    try copy.each(
      """
      SELECT s.inode, count(*) AS homes, min(e.parent) AS home, s.parent FROM shape AS s JOIN entry AS e INDEXED BY check_entry ON e.inode = s.inode
        WHERE s.type <> 16384 AND NOT EXISTS (SELECT 1 FROM link AS l WHERE l.inode = e.inode AND l.parent = e.parent AND l.cookie = e.cookie)
        GROUP BY s.inode HAVING homes <> 1 OR home <> s.parent
      """, work: work) { row in
      let inode = row.unsigned(0)
      let what = row.unsigned(1) == 1 ? "its home is directory \(row.unsigned(2))" : "\(row.unsigned(1)) of its names could be the one at home"
      work.found(Finding(kind, inode: inode, table: "node", key: [inode], "node \(inode) is charged to directory \(row.unsigned(3)), and \(what)"))
    }
  }
}
