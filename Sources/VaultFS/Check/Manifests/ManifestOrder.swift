// Extents stand in order and do not overlap, through all pages; a page begins with its first extent or before. (Within a page
// the encoding allows nothing else.)

final class ManifestOrder: ManifestInvariant {
  private var end: UInt64 = 0

  init(_ copy: ViewCopy) {}
  func begin(_ file: WalkedFile) { end = 0 }

  func visit(_ extents: [Extent], at start: UInt64, of file: WalkedFile, _ work: CheckWork) {
    guard let first = extents.first, let last = extents.last else { return }
    if first.offset < start || start < end {
      work.found(Finding(.manifestOrder, inode: file.inode, table: "page", key: [file.inode, start], "the manifest page at \(start) of node \(file.inode) overlaps with the one before, or with its own place"))
    }
    end = max(end, last.end)
  }
}
