// Numbers of nodes are used once: every node there is or was has a smaller one than the next.

enum NodeNumber: Invariant {
  static let kind = Finding.Kind.nodeNumber

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let tables = ["node", "past_node", "past_entry", "trash", "origin"], next = copy.state.nextInode
    let last = try tables.map { table throws in try copy.number("SELECT ifnull(max(inode), 0) FROM \(table)") }.max() ?? 0
    if last >= next { work.found(Finding(kind, inode: last, table: "state", "the next node would get the number \(next), and there is \(last)")) }
  }
}
