// The effect of the operations of a repair. They are journaled only in a view that is what the journal says (Repairer), so that
// a replay meets the same state and comes to the same.
//
// What must stay true: neither takes a node or content away.

import Glibc

extension Metadata {
  /// What a node counts becomes what is there; with the root, what the vault counts of its nodes.
  func mend(_ inode: InodeNumber) throws(VaultError) {
    let node: Node
    do throws(VaultError) { node = try self.node(inode) } catch {
      guard case .staleNode = error else { throw error }
      return try statements.deleteOrphan.run(inode)
    }
    if node.isDirectory { try mendDirectory(node) } else { try mendLinks(node) }
    if node.links > 0 { try statements.deleteOrphan.run(inode) }
    if node.isRegular { setAllocated(node, try allocated(of: node, in: 0..<Limits.fileBytesMax)) }
    node.hasXattrs = try count("SELECT count(*) FROM xattr WHERE inode = ?", inode) > 0
    node.xattrUse = nil
    touch(node)
    if inode == .root { try recountNodes() }
  }

  private func mendDirectory(_ node: Node) throws(VaultError) {
    node.entries = UInt64(try count("SELECT count(*) FROM entry WHERE parent = ?", node.inode))
    let inside = try count("SELECT count(*) FROM entry WHERE parent = ? AND type = \(S_IFDIR)", node.inode)
    if node.inode == .root { node.parent = .root } else if let parent = try parents(of: node.inode).first { node.parent = parent } else { return }
    node.links = UInt32(clamping: 2 + inside)
  }

  private func mendLinks(_ node: Node) throws(VaultError) {
    // One without a name stays as it is: it gets one (Repairer), or somebody holds it open.
    let parents = try parents(of: node.inode)
    guard let first = parents.first else { return }
    node.links = UInt32(clamping: parents.count)
    if !parents.contains(node.parent) { node.parent = first }
  }

  /// The directories in which a node has a name, once for each.
  func parents(of inode: InodeNumber) throws(VaultError) -> [InodeNumber] {
    let select = try database.prepare("SELECT parent FROM entry WHERE inode = ? ORDER BY parent, cookie")
    select.bind(1, inode.value)
    var parents: [InodeNumber] = []
    while try select.step() { parents.append(InodeNumber(select.unsigned(0))) }
    return parents
  }

  private func count(_ sql: String, _ inode: InodeNumber) throws(VaultError) -> Int64 {
    let select = try database.prepare(sql)
    select.bind(1, inode.value)
    return try select.step() ? select.integer(0) : 0
  }

  /// An entry goes, and nothing else.
  func detach(_ cookie: UInt64, from parent: InodeNumber) throws(VaultError) {
    statements.deleteEntry.bind(1, parent.value)
    statements.deleteEntry.bind(2, cookie)
    try statements.deleteEntry.run()
  }
}
