// Past versions that somebody has open: what is read of them stays, whatever is forgotten, changed or collected meanwhile.
//
// What must stay true: before a page goes that an open past version shows, its pages are held: copied to `held_page`, from
// where they are read from then on. No operation says so and no replay does it: it ends with the handle, or the process.

extension Metadata {
  /// `node`, which is of the past, is read from now on.
  func open(past node: Node) { pastOpen[node.inode, default: []].append(node) }

  /// What somebody has open of `inode` as it was at a moment: for as long that is what it was, whatever became of the version. (For
  /// whoever looks; what is journaled follows from the journal alone.)
  func openPast(_ inode: InodeNumber, at moment: LSN) -> Node? { pastOpen[inode]?.first { $0.since <= moment && moment <= $0.moment ?? .zero } }

  func close(past node: Node) throws(VaultError) {
    pastOpen[node.inode]?.removeAll { $0 === node }
    if pastOpen[node.inode]?.isEmpty == true { pastOpen[node.inode] = nil }
    guard let handle = node.held, pastOpen[node.inode]?.contains(where: { $0.held == handle }) != true else { return }
    try begin()
    statements.deleteHeldPages.bind(1, handle)
    try statements.deleteHeldPages.run()
  }

  /// Pages of `inode`, present or past, may go now.
  func hold(_ inode: InodeNumber) throws(VaultError) {
    guard let nodes = pastOpen[inode] else { return }
    for node in nodes where node.paged && node.held == nil {
      guard let moment = node.moment else { continue }
      // Once for all who read the same.
      if let other = nodes.first(where: { $0.held != nil && $0.moment == moment }) {
        node.held = other.held
        continue
      }
      lastHandle += 1
      statements.holdPages.bind(1, lastHandle)
      statements.holdPages.bind(2, inode.value)
      statements.holdPages.bind(3, moment.value)
      try statements.holdPages.run()
      node.held = lastHandle
    }
  }

  func hold(in range: Range<UInt64>) throws(VaultError) {
    for inode in pastOpen.keys where range.contains(inode.value) { try hold(inode) }
  }

  /// What an owner that ended had open.
  func forgetHeld() throws(VaultError) { try database.execute("DELETE FROM held_page") }
}
