// What was began before it ended, and nothing begins or ends after the last operation. A page or an attribute is no
// younger than the version of the node it belongs to.

enum PastInterval: Invariant {
  static let kind = Finding.Kind.pastInterval

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let applied = copy.state.applied.value
    for (table, key) in [("past_node", "inode"), ("past_entry", "parent"), ("past_xattr", "inode"), ("past_page", "inode")] {
      try copy.each("SELECT \(key), born, died FROM \(table) WHERE born >= died OR died > ?1", applied, work: work) { row in
        let inode = row.unsigned(0)
        work.found(Finding(kind, inode: inode, table: table, key: [inode], "a row of \(table) of node \(inode) was from \(row.unsigned(1)) to \(row.unsigned(2)); the last operation is \(applied)"))
      }
    }
    for (table, key, time) in [("shape", "inode", "since"), ("entry", "parent", "born")] {
      try copy.each("SELECT \(key), \(time) FROM \(table) WHERE \(time) > ?1", applied, work: work) { row in
        let inode = row.unsigned(0)
        work.found(Finding(kind, inode: inode, table: table == "shape" ? "node" : table, key: [inode], "something of node \(inode) is from operation \(row.unsigned(1)); the last one is \(applied)"))
      }
    }
    try copy.each("SELECT inode, made FROM origin WHERE made > ?1", applied, work: work) { row in
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "origin", key: [inode], "node \(inode) is said to be made from another by operation \(row.unsigned(1)); the last one is \(applied)"))
    }
    for table in ["xattr", "page"] {
      try copy.each("SELECT t.inode, t.since, s.since FROM \(table) AS t JOIN shape AS s ON s.inode = t.inode WHERE t.since > s.since", work: work) { row in
        let inode = row.unsigned(0)
        work.found(Finding(kind, inode: inode, table: table, key: [inode], "a row of \(table) of node \(inode) is from operation \(row.unsigned(1)), its version from \(row.unsigned(2))"))
      }
    }
  }
}
