// Numbers of nodes are used once: every node there is or was has a smaller one than the next.

enum NodeNumber: Invariant {
  static let kind = Finding.Kind.nodeNumber

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let last = try copy.number("SELECT max((SELECT ifnull(max(inode), 0) FROM node), (SELECT ifnull(max(inode), 0) FROM past_node))"), next = copy.state.nextInode
    if last >= next { work.found(Finding(kind, inode: last, table: "state", "the next node would get the number \(next), and there is \(last)")) }
  }
}
