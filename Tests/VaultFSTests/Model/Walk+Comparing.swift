// The vault is what the model is: now, at each moment that is kept, and in what is counted.

import Glibc
@testable import VaultFS

extension Walk {
  /// Moments that are looked at each time, beside all snapshots.
  private static let momentsPerLook = 2

  func compare(_ when: String) throws {
    do {
      try compare(tree, at: nil)
      try compareUsage()
      try compareHistory(atMost: Self.momentsPerLook)
      let complaints = try complaints(about: vault)
      try require(complaints.isEmpty, complaints.joined(separator: "; "))
    } catch let difference as Difference { throw Difference("\(when): \(difference)") }
  }

  // MARK: A tree

  /// - Parameter countsLinks: false for what was deleted in steps: some names had gone when the first of its own went.
  func compare(_ expected: ModelTree, from top: InodeNumber = .root, at moment: LSN?, countsLinks: Bool = true) throws {
    var waiting = [(top, "")], seen: Set<InodeNumber> = []
    while let (inode, path) = waiting.popLast() {
      guard seen.insert(inode).inserted else { continue }
      let node = expected[inode]
      do { try compare(node, inode, at: moment, countsLinks) } catch let difference as Difference {
        throw Difference("\(path.isEmpty ? "/" : path), node \(inode.value)\(moment.map { " at \($0.value)" } ?? ""): \(difference)")
      }
      for (name, child) in node.children { waiting.append((child, "\(path)/\(String(decoding: name.prefix(20), as: UTF8.self))")) }
    }
  }

  private func compare(_ node: ModelNode, _ inode: InodeNumber, at moment: LSN?, _ countsLinks: Bool = true) throws {
    func same<T: Equatable>(_ what: String, _ found: T, _ expected: T) throws { try require(found == expected, "\(what) \(found), expected \(expected)") }
    let info = try moment.map { try vault.info(inode, at: $0) } ?? vault.info(inode)
    try same("mode", info.mode, node.mode)
    try same("owners", [info.user, info.group], [node.user, node.group])
    if countsLinks { try same("links", info.links, node.links) }
    let names = try moment.map { try vault.xattrNames(of: inode, at: $0) } ?? vault.xattrNames(of: inode)
    try same("attributes", Set(names), Set(node.xattrs.keys))
    for (name, value) in node.xattrs { try same("attribute", try moment.map { try vault.xattr(name, of: inode, at: $0) } ?? vault.xattr(name, of: inode), value) }
    switch node.type {
    case S_IFDIR:
      let entries = try moment.map { try vault.allEntriesAt(inode, $0) } ?? vault.allEntries(of: inode)
      try same("entries", Dictionary(uniqueKeysWithValues: entries.map { ($0.name, $0.inode) }), node.children)
    case S_IFREG:
      try same("size", Int(info.size), node.content.size)
      try same("bytes taken", Int(info.allocated), node.content.allocated)
      let found = try moment.map { try vault.contents(of: inode, at: $0) } ?? vault.contents(of: inode), expected = node.content.bytes
      if found == expected { return }
      throw Difference("content differs from byte \(zip(found, expected).enumerated().first { $1.0 != $1.1 }?.offset ?? min(found.count, expected.count)) on, of \(expected.count)")
    case S_IFLNK: try same("target", try moment.map { try vault.readLink(inode, at: $0) } ?? vault.readLink(inode), node.target)
    default: break
    }
  }

  // MARK: Usage

  private func compareUsage() throws {
    for (subject, usage) in tree.usages {
      let found = try vault.usage(by: subject)
      try require(found == usage, "\(subject) takes \(found), counted \(usage)")
    }
    let quotas = try vault.quotas()
    try require(Set(quotas.map(\.subject)) == Set(limits.entries.keys), "limits of \(quotas.map(\.subject)), expected of \(Array(limits.entries.keys))")
    for quota in quotas {
      let entry = limits.entries[quota.subject]!, since = [quota.bytesOver?.since.seconds, quota.nodesOver?.since.seconds]
      try require(quota.limits == entry.limits, "\(quota.subject) has the limits \(quota.limits), expected \(entry.limits)")
      try require(since == [entry.since[.bytes], entry.since[.nodes]], "\(quota.subject) is above its limits since \(since), expected \(entry.since)")
    }
  }

  // MARK: History

  func compareHistory(atMost count: Int) throws {
    let snapshots = try vault.snapshots()
    try require(Set(snapshots.map(\.name)) == Set(history.snapshots.keys), "\(snapshots.count) snapshots, expected \(history.snapshots.count)")
    for snapshot in history.snapshots.values { try compare(snapshot.moment.tree, from: snapshot.directory, at: snapshot.moment.lsn) }
    for pin in history.pins { try compare(pin.node, pin.inode, at: pin.lsn) }
    history.change(at: clock)
    var moments = history.moments
    while moments.count > count { moments.remove(at: random.below(moments.count)) }
    for moment in moments {
      for second in Set([moment.seconds.lowerBound, moment.seconds.upperBound - 1]) {
        let found = try vault.moment(atEndOf: second)
        try require(found >= moment.lsn, "at the end of \(second) operation \(found.value) was the last, and before that \(moment.lsn.value)")
        try compare(moment.tree, at: found)
      }
    }
    try compareTrash()
  }

  private func compareTrash() throws {
    let found = try vault.trash()
    for item in found {
      // A part of a directory that came back without it is told by itself from then on.
      guard let expected = history.trash[item.id] else {
        // (Of a node with several names, each is.)
        let place = ModelTree.Place(directory: InodeNumber(item.parent), name: item.name)
        try require(tree[place]?.value != item.inode, "the name `\(String(decoding: item.name, as: UTF8.self))` of node \(item.inode) is in the trash and was not deleted")
        continue
      }
      try require(expected.inode.value == item.inode && expected.place == ModelTree.Place(directory: InodeNumber(item.parent), name: item.name), "another node is in the trash")
    }
    let ids = Set(found.map(\.id))
    for (id, item) in history.trash where item.before != nil && !history.takenBack.contains(item.inode) && tree.nodes[item.place.directory]?.links ?? 0 > 0 {
      try require(ids.contains(id), "node \(item.inode.value), which operation \(id) deleted, is not in the trash")
    }
  }
}
