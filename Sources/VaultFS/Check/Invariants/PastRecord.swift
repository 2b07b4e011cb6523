// What is kept of the past can be read: nodes with their versions, and pages of manifests.

enum PastRecord: Invariant {
  static let kind = Finding.Kind.pastRecord

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each("SELECT inode, died, born, record FROM past_node", work: work) { row in
      let inode = row.unsigned(0)
      if let node = unsafe try? Node(inode: InodeNumber(inode), decoding: row.raw(3)), node.since.value == row.unsigned(2) { return }
      work.found(Finding(kind, inode: inode, table: "past_node", key: [inode, row.unsigned(1)], "a past row of node \(inode) cannot be read, or is of another version"))
    }
    try copy.each("SELECT inode, start, died, extents FROM past_page", work: work) { row in
      var reader = unsafe ByteReader(row.raw(3))
      if (try? [Extent](decoding: &reader, max: Limits.pageExtentsMax)) != nil, reader.isAtEnd { return }
      let inode = row.unsigned(0)
      work.found(Finding(kind, inode: inode, table: "past_page", key: [inode, row.unsigned(1), row.unsigned(2)], "a past manifest page of node \(inode) cannot be read"))
    }
  }
}
