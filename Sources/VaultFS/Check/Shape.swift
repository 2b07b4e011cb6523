// The nodes of the copy as rows of numbers, so that what must hold between tables can be asked of SQLite.
//
// What must stay true: a node whose record cannot be read has no row here, and is a finding: nothing else is asked of it.

import Glibc

enum Shape {
  static func make(in copy: ViewCopy, _ work: CheckWork) throws {
    let database = copy.database
    try database.execute(
      """
      BEGIN;
      CREATE TABLE shape (
        inode INTEGER PRIMARY KEY, type INTEGER NOT NULL, links INTEGER NOT NULL, parent INTEGER NOT NULL, entries INTEGER NOT NULL,
        size INTEGER NOT NULL, allocated INTEGER NOT NULL, since INTEGER NOT NULL, epoch INTEGER NOT NULL, paged INTEGER NOT NULL, xattrs INTEGER NOT NULL,
        user INTEGER NOT NULL, team INTEGER NOT NULL, below_bytes INTEGER NOT NULL, below_nodes INTEGER NOT NULL);
      """)
    let insert = try database.prepare("INSERT INTO shape VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    let all = Double(max(copy.state.counters.nodes, 1))
    var count = 0
    try copy.each("SELECT inode, record FROM node ORDER BY inode", work: work) { row in
      count += 1
      if count & 0x3FFF == 0 { try work.proceed(Double(count) / all) }
      let inode = row.unsigned(0)
      guard let node = unsafe try? Node(inode: InodeNumber(inode), decoding: row.raw(1)) else {
        return work.found(Finding(.nodeRecord, inode: inode, table: "node", key: [inode], "the row of node \(inode) cannot be read"))
      }
      let columns = [inode, UInt64(node.mode & S_IFMT), UInt64(node.links), node.parent.value, node.entries, node.size, node.allocated,
                     node.since.value, node.epoch, node.paged ? 1 : 0, node.hasXattrs ? 1 : 0, UInt64(node.user), UInt64(node.group), node.below.bytes, node.below.nodes]
      for (index, value) in columns.enumerated() { insert.bind(Int32(index + 1), value) }
      try insert.run()
    }
    try database.execute("COMMIT; CREATE INDEX check_entry ON entry (inode, type)")
    work.note { $0.nodes = count }
  }
}
