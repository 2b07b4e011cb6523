// A file's allocated bytes are the sum of its extents.

final class ManifestAllocated: ManifestInvariant {
  private var sum: UInt64 = 0

  init(_ copy: ViewCopy) {}
  func begin(_ file: WalkedFile) { sum = 0 }
  func visit(_ extents: [Extent], at start: UInt64, of file: WalkedFile, _ work: CheckWork) { sum &+= extents.allocated }

  func end(_ file: WalkedFile, _ work: CheckWork) {
    if sum == file.allocated { return }
    work.found(Finding(.manifestAllocated, inode: file.inode, table: "node", key: [file.inode], "node \(file.inode) counts \(file.allocated) bytes, and its manifest has \(sum)"))
  }
}
