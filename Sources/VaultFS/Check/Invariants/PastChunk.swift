// What was can be read: the chunks that past manifests name are known.

enum PastChunk: Invariant {
  static let kind = Finding.Kind.pastChunk

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let find = try copy.database.prepare("SELECT 1 FROM chunk WHERE number = ?")
    func expect(_ extents: [Extent], _ inode: UInt64, _ table: String) throws {
      for case .chunk(let number, _) in extents.lazy.map(\.source) {
        find.bind(1, number.value)
        defer { find.reset() }
        if try find.step() { continue }
        work.found(Finding(kind, inode: inode, table: table, key: [inode], "a past version of node \(inode) names chunk \(number.value), which is not known"))
      }
    }
    try copy.each("SELECT inode, record FROM past_node", work: work) { row in
      guard let node = unsafe try? Node(inode: InodeNumber(row.unsigned(0)), decoding: row.raw(1)) else { return }
      try expect(node.extents, row.unsigned(0), "past_node")
    }
    // Of a node that is gone, pages stay where they are.
    for (table, rest) in [("past_page", ""), ("page", " WHERE inode NOT IN (SELECT inode FROM node)")] {
      try copy.each("SELECT inode, extents FROM \(table)\(rest)", work: work) { row in
        var reader = unsafe ByteReader(row.raw(1))
        try expect((try? [Extent](decoding: &reader, max: Limits.pageExtentsMax)) ?? [], row.unsigned(0), table)
      }
    }
  }
}
