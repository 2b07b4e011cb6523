// What the trash tells can be taken back: it was there until it was deleted, and nothing was deleted after the last operation.

enum PastTrash: Invariant {
  static let kind = Finding.Kind.pastTrash

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let applied = copy.state.applied.value
    try copy.each("SELECT inode, died, aside FROM trash WHERE died > ?1 OR aside < 0 OR aside >= died OR NOT \(PastHeld.isThere("trash", "died - 1"))", applied, work: work) { row in
      let inode = row.unsigned(0), died = row.unsigned(1)
      work.found(Finding(kind, inode: inode, table: "trash", key: [died],
                         "the trash tells that operation \(died) deleted node \(inode); \(died > applied ? "the last operation is \(applied)" : "it was not there then")"))
    }
  }
}
