// What snapshots and pins hold is there: a snapshot's directory, a pin's node, as they were at that moment; and no version goes on over
// such a moment, for it is known which one is the last.

import Glibc

enum PastHeld: Invariant {
  static let kind = Finding.Kind.pastHeld

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let applied = copy.state.applied.value, last = copy.state.lastSnapshot.value
    try copy.each(
      """
      SELECT * FROM (
        SELECT 0 AS pin, name, inode, lsn, (SELECT type FROM shape WHERE shape.inode = snapshot.inode) AS type, \(Self.isThere("snapshot", "lsn")) AS there FROM snapshot
        UNION ALL SELECT 1, x'', inode, lsn, NULL, \(Self.isThere("pin", "lsn")) FROM pin)
        WHERE lsn > ?1 OR lsn > ?2 OR NOT there OR type <> \(S_IFDIR)
      """, applied, last, work: work) { row in
      let isPin = row.unsigned(0) != 0, inode = row.unsigned(2), lsn = row.unsigned(3)
      let what = isPin ? "a pin of node \(inode)" : "the snapshot `\(displayed(row.bytes(1)))` of directory \(inode)"
      let why = lsn > applied ? "the last operation is \(applied)" : lsn > last ? "the last moment that is held is said to be \(last)" : "nothing like that was there then"
      work.found(Finding(kind, inode: inode, table: isPin ? "pin" : "snapshot", key: isPin ? [inode, lsn] : [], "\(what) is of operation \(lsn), and \(why)"))
    }
    if last > applied { work.found(Finding(kind, table: "state", "the last moment that is held is said to be \(last), and the last operation is \(applied)")) }
  }

  /// Whether the node that a row of `table` names was there after an operation. (Where its row now cannot be read, that is told already.)
  static func isThere(_ table: String, _ moment: String) -> String {
    """
    (EXISTS (SELECT 1 FROM past_node AS n WHERE n.inode = \(table).inode AND n.died > \(moment) AND n.born <= \(moment))
      OR EXISTS (SELECT 1 FROM shape AS s WHERE s.inode = \(table).inode AND s.since <= \(moment))
      OR EXISTS (SELECT 1 FROM node WHERE node.inode = \(table).inode) AND NOT EXISTS (SELECT 1 FROM shape AS s WHERE s.inode = \(table).inode))
    """
  }
}
