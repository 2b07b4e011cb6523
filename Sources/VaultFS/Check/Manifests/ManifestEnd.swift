// No data lies behind a file's end. (What is reserved may.)

final class ManifestEnd: ManifestInvariant {
  private var end: UInt64 = 0

  init(_ copy: ViewCopy) {}
  func begin(_ file: WalkedFile) { end = 0 }

  func visit(_ extents: [Extent], at start: UInt64, of file: WalkedFile, _ work: CheckWork) {
    if let last = extents.last(where: { $0.source != .reserved }) { end = max(end, last.end) }
  }

  func end(_ file: WalkedFile, _ work: CheckWork) {
    if end <= file.size { return }
    work.found(Finding(.manifestEnd, inode: file.inode, table: "node", key: [file.inode, end], "node \(file.inode) has \(file.size) bytes, and data up to \(end)"))
  }
}
