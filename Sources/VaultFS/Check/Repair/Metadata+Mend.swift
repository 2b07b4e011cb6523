// The effect of the operations of a repair. They are journaled only in a view that is what the journal says (Repairer), so that
// a replay meets the same state and comes to the same.
//
// What must stay true: neither takes a node or content away.

import Glibc

extension Metadata {
  /// What a node counts becomes what is there; with the root, also what is counted of all nodes. Nobody is charged before
  /// that: the way up from a node may lead nowhere still.
  func mend(_ inode: InodeNumber) throws(VaultError) {
    let node: Node
    do throws(VaultError) { node = try self.node(inode) } catch {
      guard case .staleNode = error else { throw error }
      return try statements.deleteOrphan.run(inode)
    }
    if node.isDirectory { try mendDirectory(node) } else { try mendLinks(node) }
    if node.links > 0 { try statements.deleteOrphan.run(inode) }
    if node.isRegular { node.allocated = try allocated(of: node, in: 0..<Limits.fileBytesMax) }
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
    try setLinks(of: node, [])
  }

  private func mendLinks(_ node: Node) throws(VaultError) {
    // One without a name stays as it is: it gets one (Repairer), or somebody holds it open.
    let names = try places(of: node.inode)
    guard let first = names.first else { return }
    node.links = UInt32(clamping: names.count)
    let home = names.first { $0.parent == node.parent } ?? first
    node.parent = home.parent
    try setLinks(of: node, names.filter { $0 != home })
  }

  /// A node's names, wherever they are.
  private func places(of inode: InodeNumber) throws(VaultError) -> [Place] {
    let select = try database.prepare("SELECT parent, cookie FROM entry WHERE inode = ? ORDER BY parent, cookie")
    select.bind(1, inode.value)
    var places: [Place] = []
    while try select.step() { places.append(Place(parent: InodeNumber(select.unsigned(0)), cookie: select.unsigned(1))) }
    return places
  }

  /// The directories in which a node has a name, once for each.
  func parents(of inode: InodeNumber) throws(VaultError) -> [InodeNumber] { try places(of: inode).map(\.parent) }

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
