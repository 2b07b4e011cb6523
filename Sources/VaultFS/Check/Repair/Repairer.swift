// Puts right what a check found, in an open vault.
//
// What must stay true:
// 1. Nothing is deleted. What is taken out is in the quarantine first; a node without a name gets one in lost+found-DATE.
// 2. A change of the tree is an operation of the journal, and only made where the view is what the journal says: else the journal
//    would go on from a tree that it does not make, and never be replayed again.
// 3. Each thing is looked at again under the hold of the vault's lock in which it is put right.

import Glibc

struct Repairer {
  let vault: Vault
  let quarantine: Quarantine
  var report: RepairReport
  /// Things that were put right. (The report may be full.)
  private var done = 0
  private var failed: Set<Finding> = []
  /// The directory, in the root, that nodes without a name were put into.
  private var refuge: (name: String, inode: InodeNumber)?

  init(_ vault: Vault, _ before: CheckReport) {
    (self.vault, report) = (vault, RepairReport(before))
    quarantine = Quarantine(vault.containers.disk)
  }

  /// - Parameter mayChangeTree: the view is what the journal says.
  /// - Returns: whether anything was done.
  mutating func repair(_ findings: [Finding], mayChangeTree: Bool) throws(VaultError) -> Bool {
    let before = done
    for finding in findings {
      do throws(VaultError) { try repair(finding, mayChangeTree) } catch {
        // One thing that cannot be done is no reason to leave the others.
        if vault.lock.withLock({ vault.failure != nil }) { throw error }
        if failed.insert(finding).inserted { report.did(finding, "it could not be put right: \(error)") }
      }
    }
    // At the end: what was done above changes counts. Those of nodes are counted by an operation, as they would be in a replay.
    if mayChangeTree, findings.contains(where: { $0.kind.remedy == .tree }) {
      try vault.lock.withLock { () throws(VaultError) in _ = try vault.perform(.mend(.root)) }
    }
    if let first = findings.first(where: { [.count, .markAll].contains($0.kind.remedy) }) {
      try vault.changeView { metadata throws(VaultError) in try metadata.recount(vault.containers) }
      did(first, "nodes, bytes, owners, trees, chunks and containers were counted again")
    }
    return done > before
  }

  private mutating func repair(_ finding: Finding, _ mayChangeTree: Bool) throws(VaultError) {
    switch finding.kind.remedy {
    case .mark: try mark(finding)
    case .markAll: try markAll(finding)
    case .keep: try keep(finding)
    case .tree where mayChangeTree: try repairTree(finding)
    case .tree, .rebuild, .count, .none, .unneeded, .itself: break
    }
  }

  private mutating func did(_ finding: Finding, _ what: String) {
    done += 1
    report.did(finding, what)
  }

  // MARK: Chunks and containers

  private mutating func mark(_ finding: Finding) throws(VaultError) {
    guard let number = finding.row?.key.first, finding.row?.table == "chunk" else { return }
    var done = false
    try vault.changeView { metadata throws(VaultError) in
      guard let chunk = try metadata.storedChunk(number), !chunk.isNowhere, try PlaceReader(vault.containers).trouble(with: chunk) != nil else { return }
      try metadata.markDamaged(chunk)
      done = true
    }
    if done { did(finding, "the chunk is noted as damaged; the same content written again heals it") }
  }

  private static let chunksPerHold: UInt64 = 1000

  /// All chunks of a container that is not there, or of what is missing of it.
  private mutating func markAll(_ finding: Finding) throws(VaultError) {
    guard let container = finding.row?.key.first.map({ ContainerNumber($0) }), finding.row?.table == "container" else { return }
    var next: UInt64? = 0, count = 0
    while let first = next {
      try vault.changeView { metadata throws(VaultError) in
        let size = vault.containers.kind(container) == nil ? 0 : vault.containers.size(of: container)
        guard let size else { return next = nil }
        let chunks = try metadata.chunks(in: container, from: first, count: Self.chunksPerHold)
        for chunk in chunks where chunk.place.frame.end > size {
          try metadata.markDamaged(chunk)
          count += 1
        }
        next = chunks.last.map { $0.number + 1 }
      }
    }
    if count > 0 { did(finding, "\(count) chunks that were there are noted as damaged; the same content written again heals them") }
  }

  private mutating func keep(_ finding: Finding) throws(VaultError) {
    guard let key = finding.row?.key, let number = key.first else { return }
    try vault.changeView { metadata in
      metadata.state.containers.keep(ContainerNumber(number))
      if finding.kind == .baseNoted, key.count > 1 { metadata.state.containers.addBase(ContainerNumber(number), of: ContainerNumber(key[1])) }
    }
    did(finding, finding.kind == .baseNoted ? "it is noted which container needs it" : "the container is left alone from now on")
  }

  // MARK: The tree

  private mutating func repairTree(_ finding: Finding) throws(VaultError) {
    let inode = InodeNumber(finding.inode ?? 0), key = finding.row?.key ?? []
    switch finding.kind {
    case .nodeUnreachable:
      if try adopt(inode, as: nil) { did(finding, "it is in /\(refuge?.name ?? quarantine.lostAndFound) now") }
    case .links, .directoryLinks, .directoryEntries, .directoryParent, .manifestAllocated, .xattrFlag, .orphan, .linkHome:
      try vault.lock.withLock { () throws(VaultError) in _ = try vault.perform(.mend(inode)) }
      did(finding, "it was counted again")
    case .manifestEnd:
      guard key.count > 1 else { return }
      try raiseSize(of: inode, to: key[1])
      did(finding, "its size was raised to the end of its data")
    default:
      guard key.count > 1, let place = try takeOut(key[1], from: InodeNumber(key[0])) else { return }
      did(finding, "the entry was taken out, and kept in \(Quarantine.directory)" + place)
    }
  }

  private func raiseSize(of inode: InodeNumber, to end: UInt64) throws(VaultError) {
    try vault.lock.withLock { () throws(VaultError) in
      let node = try vault.metadata.node(inode)
      guard node.isRegular, node.size < end, end <= Limits.fileBytesMax else { return }
      try vault.perform(.content(inode, range: end..<end, extents: [], size: end, attributes: AttributeSet()))
    }
  }

  /// Takes an entry out, and gives the node that it led to another, if that has none left.
  /// - Returns: where the node is then, for people; nil where there was no such entry.
  private mutating func takeOut(_ cookie: UInt64, from parent: InodeNumber) throws(VaultError) -> String? {
    let row = try vault.lock.withLock { () throws(VaultError) in try vault.metadata.entries(of: parent, after: cookie &- 1, count: 1).first }
    guard let row, row.cookie == cookie else { return nil }
    try quarantine.keep(row, of: parent)
    let isNameless = try vault.lock.withLock { () throws(VaultError) in
      try vault.perform(.detach(parent: parent, cookie: cookie))
      try vault.perform(.mend(parent))
      guard (try? vault.metadata.node(row.inode)) != nil, row.inode != .root else { return false }
      try vault.perform(.mend(row.inode))
      return try vault.metadata.parents(of: row.inode).isEmpty
    }
    guard isNameless else { return "" }
    if try adopt(row.inode, as: (row.name, parent)) { return "; its node is in /\(refuge?.name ?? quarantine.lostAndFound), or where it was" }
    return ""
  }

  /// Gives a node without a name one: the one it had, where that can be; else one in lost+found.
  private mutating func adopt(_ inode: InodeNumber, as old: (name: [UInt8], parent: InodeNumber)?) throws(VaultError) -> Bool {
    let directory = try lostAndFound()
    return try vault.lock.withLock { () throws(VaultError) in
      guard try vault.metadata.parents(of: inode).isEmpty, let node = try? vault.metadata.node(inode) else { return false }
      var name = [UInt8]("node-\(inode.value)".utf8), parent = directory
      if let old, try isFree(old.name, in: old.parent), try leadsToRoot(old.parent, without: inode) { (name, parent) = old }
      if node.isDirectory, parent == inode { return false }
      try vault.perform(.link(inode, parent: parent, name: name, time: Vault.now()))
      try vault.perform(.mend(inode))
      try vault.perform(.mend(parent))
      return true
    }
  }

  private func isFree(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) -> Bool {
    guard unsafe name.withUnsafeBytes({ unsafe EntryName.isValid($0) }), let node = try? vault.metadata.node(parent), node.isDirectory else { return false }
    return (try? vault.metadata.checkFree(name, in: parent)) != nil
  }

  /// Whether a directory can be reached, and not by way of `inode`.
  private func leadsToRoot(_ directory: InodeNumber, without inode: InodeNumber) throws(VaultError) -> Bool {
    var at = directory, seen: Set<InodeNumber> = []
    while at != .root {
      guard at != inode, seen.insert(at).inserted, let above = try vault.metadata.parents(of: at).first else { return false }
      at = above
    }
    return true
  }

  private static let refugesMax = 1000

  /// The directory for nodes that have lost their names. Only one that nobody else could have made or can look into: what was
  /// protected stays so. It is made whatever limits are set.
  private mutating func lostAndFound() throws(VaultError) -> InodeNumber {
    if let refuge { return refuge.inode }
    for number in 1...Self.refugesMax {
      let name = quarantine.lostAndFound + (number == 1 ? "" : "-\(number)")
      if let inode = try refuge(named: [UInt8](name.utf8)) {
        refuge = (name, inode)
        return inode
      }
    }
    throw .alreadyExists
  }

  /// - Returns: nil where the name is taken by something else.
  private func refuge(named name: [UInt8]) throws(VaultError) -> InodeNumber? {
    try vault.lock.withLock { () throws(VaultError) in
      if let row = try vault.metadata.entry(name, in: .root) {
        guard let node = try? vault.metadata.node(row.inode) else { return nil }
        return node.mode == S_IFDIR | 0o700 && node.user == geteuid() ? node.inode : nil
      }
      let node = NewNode(inode: try vault.metadata.nextInode, mode: S_IFDIR | 0o700, user: geteuid(), group: getegid(), device: 0, target: [], xattrs: [])
      try vault.beginEpoch()
      try vault.perform(.create(node, parent: .root, name: name, time: Vault.now()))
      return node.inode
    }
  }
}
