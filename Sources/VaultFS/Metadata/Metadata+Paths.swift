// What a node is called, for people; and what of its content is gone. Asked only where something went wrong.

import Printable

extension Metadata {
  /// In words: one of its paths in the mount, and its number; or how to find a path.
  func named(_ inode: InodeNumber) -> String {
    guard let path = (try? onePath(of: inode)) ?? nil else { return "node \(inode.value) (`find DIR -inum \(inode.value)` in the mount finds what it is called)" }
    return "`\(path.isEmpty ? "/" : printable(path.dropFirst()))` (node \(inode.value))"
  }

  /// One of its paths, from the root's empty one on; nil where it has none.
  func onePath(of inode: InodeNumber) throws(VaultError) -> [UInt8]? {
    let node = try node(inode)
    if node.isDirectory { return try path(of: inode) }
    guard let directory = try path(of: node.parent) else { return nil }
    let select = try database.prepare("SELECT name FROM entry WHERE parent = ? AND inode = ? LIMIT 1")
    select.bind(1, node.parent.value)
    select.bind(2, inode.value)
    return try select.step() ? directory + [UInt8(ascii: "/")] + select.bytes(0) : nil
  }

  /// The chunks of a file that are not stored any more.
  func lostChunks(of inode: InodeNumber) throws(VaultError) -> Set<ChunkNumber> {
    let node: Node
    do throws(VaultError) { node = try self.node(inode) } catch {
      // It has been deleted since.
      if case .staleNode = error { return [] }
      throw error
    }
    var lost: Set<ChunkNumber> = []
    for extent in try extents(of: node, in: 0..<Limits.fileBytesMax) {
      if case .chunk(let number, _) = extent.source, try place(of: number).place.frame.container == .none { lost.insert(number) }
    }
    return lost
  }
}
