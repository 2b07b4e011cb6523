// What nodes are called, and were, for people; and what of a file's content is gone.

import Glibc
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

  /// The longest path that is told, bytes: twice what a program can name. Trees may be deeper.
  private static let pathBytesMax = 8 << 10

  /// The path of a directory from the root, with a slash at its beginning and none at its end; nil where it is not there, or
  /// too long to be told.
  func path(of directory: InodeNumber) throws(VaultError) -> [UInt8]? {
    let select = try database.prepare("SELECT parent, name FROM entry WHERE inode = ? AND type = \(S_IFDIR)")
    return try path(of: directory) { inode throws(VaultError) in
      select.bind(1, inode.value)
      defer { select.reset() }
      return try select.step() ? (InodeNumber(select.unsigned(0)), select.bytes(1)) : nil
    }
  }

  /// The path that it had.
  func path(of directory: InodeNumber, at moment: LSN) throws(VaultError) -> [UInt8]? {
    try path(of: directory) { inode throws(VaultError) in try formerName(of: inode, at: moment)?.place }
  }

  /// A name that a directory had from one operation on until another; for good.
  struct FormerName {
    let place: (parent: InodeNumber, name: [UInt8])
    let born, died: LSN
  }

  func formerName(of directory: InodeNumber, at moment: LSN) throws(VaultError) -> FormerName? {
    let select = statements.selectFormerName
    select.bind(1, directory.value)
    select.bind(2, moment.value)
    defer { select.reset() }
    guard try select.step() else { return nil }
    return FormerName(place: (InodeNumber(select.unsigned(0)), select.bytes(1)), born: LSN(select.unsigned(2)), died: LSN(select.unsigned(3)))
  }

  func path(of directory: InodeNumber, _ name: (InodeNumber) throws(VaultError) -> (parent: InodeNumber, name: [UInt8])?) throws(VaultError) -> [UInt8]? {
    var parts: [[UInt8]] = [], bytes = 0, at = directory
    while at != .root {
      guard bytes < Self.pathBytesMax, let found = try name(at) else { return nil }
      parts.append(found.name)
      bytes += found.name.count + 1
      at = found.parent
    }
    return Array(parts.reversed().map { [0x2F] + $0 }.joined())
  }

  /// The chunks of a file that are not stored any more.
  func lostChunks(of inode: InodeNumber) throws(VaultError) -> Set<ChunkNumber> {
    var lost: Set<ChunkNumber> = []
    try eachLostChunk(of: inode) { number in
      lost.insert(number)
      return true
    }
    return lost
  }

  func hasLostChunks(_ inode: InodeNumber) throws(VaultError) -> Bool {
    var isAny = false
    try eachLostChunk(of: inode) { _ in
      isAny = true
      return false
    }
    return isAny
  }

  /// - Parameter body: returns whether to go on.
  private func eachLostChunk(of inode: InodeNumber, _ body: (ChunkNumber) -> Bool) throws(VaultError) {
    // It may have been deleted since.
    guard let node = try nodeIfThere(inode) else { return }
    try eachExtents(of: node) { extents throws(VaultError) in
      for extent in extents {
        guard case .chunk(let number, _) = extent.source, try place(of: number).place.frame.container == .none else { continue }
        if !body(number) { return false }
      }
      return true
    }
  }
}
