// The chunks that a manifest names are known. (One that is noted as damaged is known.)

final class ManifestChunk: ManifestInvariant {
  private let find: Statement

  init(_ copy: ViewCopy) throws { find = try copy.database.prepare("SELECT 1 FROM chunk WHERE number = ?") }

  func visit(_ extents: [Extent], at start: UInt64, of file: WalkedFile, _ work: CheckWork) throws {
    for extent in extents {
      guard case .chunk(let number, _) = extent.source else { continue }
      find.bind(1, number.value)
      defer { find.reset() }
      if try find.step() { continue }
      work.found(Finding(.manifestChunk, inode: file.inode, table: "chunk", key: [number.value], "byte \(extent.offset) of node \(file.inode) is in chunk \(number.value), which is not known"))
    }
  }
}
