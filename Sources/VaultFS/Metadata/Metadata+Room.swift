// What the limits above a node leave of the volume's room: what statfs(2) tells there.
//
// What must stay true: inside a limited tree the numbers are that tree's; of several limits on the way up, the vault's
// included, the one that leaves the least counts; and no more is told to be free than the volume has.

extension Metadata {
  /// - Parameter now: a moment, as stamps are.
  /// - Parameter growth: what unsaved bytes will add to a subject.
  func room(at inode: InodeNumber, of disk: VaultSpace, now: UInt64, growth: (QuotaSubject) throws(VaultError) -> UInt64) throws(VaultError) -> VaultSpace {
    if state.quotas.isEmpty { return disk }
    let node = try? node(inode)
    var space = disk, least = Usage(bytes: .max, nodes: .max)
    for subject in try limitedTrees(from: node.flatMap { $0.isDirectory && $0.links > 0 ? inode : home(of: $0) }) + [.vault] {
      guard let entry = state.quotas[subject] else { continue }
      let used = try usage(of: subject) &+ Usage(bytes: try growth(subject))
      if let limit = entry.limit(.bytes, at: now), limit - min(limit, used.bytes) < least.bytes {
        least.bytes = limit - min(limit, used.bytes)
        (space.free, space.available) = (min(least.bytes, disk.free), min(least.bytes, disk.available))
        // Total less free is what the tree takes, also where the volume has less left than the limit.
        space.total = used.bytes &+ space.free
        if least.nodes == .max { space.nodes = used.nodes }
      }
      if let limit = entry.limit(.nodes, at: now), limit - min(limit, used.nodes) < least.nodes {
        least.nodes = limit - min(limit, used.nodes)
        space.nodesFree = min(least.nodes, disk.nodesFree)
        space.nodes = used.nodes
      }
    }
    return space
  }
}
