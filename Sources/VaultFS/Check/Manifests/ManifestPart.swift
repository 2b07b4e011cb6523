// The part of a chunk that an extent names lies within the chunk. (Of one that is noted as damaged the length is not known.)

final class ManifestPart: ManifestInvariant {
  private let find: Statement

  init(_ copy: ViewCopy) throws { find = try copy.database.prepare("SELECT length, container FROM chunk WHERE number = ?") }

  func visit(_ extents: [Extent], at start: UInt64, of file: WalkedFile, _ work: CheckWork) throws {
    for extent in extents {
      guard case .chunk(let number, let offset) = extent.source else { continue }
      find.bind(1, number.value)
      defer { find.reset() }
      guard try find.step(), find.unsigned(1) != ContainerNumber.none.value, UInt64(offset) + extent.length > find.unsigned(0) else { continue }
      work.found(Finding(.manifestPart, inode: file.inode, table: "chunk", key: [number.value],
                         "byte \(extent.offset) of node \(file.inode) is in \(extent.length) bytes from \(offset) on of chunk \(number.value), which has \(find.unsigned(0))"))
    }
  }
}
