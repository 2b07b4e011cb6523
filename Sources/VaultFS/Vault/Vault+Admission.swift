// What limits refuse: checked before the operation is journaled, under the hold of `lock` in which it is. Not in
// `apply`: a journal is replayed whatever limits are set.
//
// What must stay true:
// 1. What adds nothing is never refused; nor is what removes.
// 2. After what was admitted nobody is above a hard limit, nor above a soft one whose grace is over; but for the homes
//    that nodes find when a name goes elsewhere (Metadata+Homes.swift).
// 3. A vault without limits pays one comparison.

extension Vault {
  /// Refuses what takes someone above a limit. `lock` is held.
  /// - Parameter home: the directory that is charged; nil: none.
  func checkQuotas(user: UInt32, group: UInt32, home: InodeNumber?, adding: Usage) throws(VaultError) {
    if metadata.state.quotas.isEmpty { return }
    for subject in try metadata.limited(user: user, group: group, home: home) { try check(subject, adding: adding) }
  }

  /// Refuses a change of owners where the new ones have no room for what they get. `lock` is held.
  func checkQuotas(for node: Node, user: UInt32?, group: UInt32?) throws(VaultError) {
    if metadata.state.quotas.isEmpty { return }
    let own = Usage(bytes: node.allocated &+ (node.unsaved?.growth ?? 0), nodes: 1)
    if let user, user != node.user { try check(.user(user), adding: own) }
    if let group, group != node.group { try check(.group(group), adding: own) }
  }

  /// Refuses a name for `node` in `directory` where trees that the node is not in yet have no room for all of it: they
  /// are charged now, if the name is the node's home or moves with it, or may be once its other names are gone. `lock` is held.
  /// - Parameter other: whose name gives way to it. Where that has more names, they may be in the same tree.
  func checkQuotas(placing node: Node, in directory: Node, over other: Node? = nil) throws(VaultError) {
    guard metadata.state.quotas.trees > 0 else { return }
    let entered = try metadata.limitedTrees(from: directory.inode)
    if entered.isEmpty { return }
    let left = Set(try metadata.limitedTrees(from: metadata.home(of: node)))
    if left.isSuperset(of: entered) { return }
    let weight = try weight(of: node)
    var freed = Usage()
    if let other, other.isDirectory || other.links == 1 { freed = try self.weight(of: other) }
    for subject in entered where !left.contains(subject) {
      try check(subject, adding: weight, freeing: freed)
    }
  }

  /// Refuses to allocate `bytes` in a range of a file, in place of what is there. Its draft is clean; `lock` is held.
  func checkQuotas(for node: Node, allocating bytes: UInt64, in range: Range<UInt64>) throws(VaultError) {
    if metadata.state.quotas.isEmpty { return }
    let old = try metadata.allocated(of: node, in: range)
    try checkQuotas(user: node.user, group: node.group, home: metadata.home(of: node), adding: Usage(bytes: bytes - min(bytes, old)))
  }

  /// With what is unsaved.
  private func weight(of node: Node) throws(VaultError) -> Usage {
    var weight = metadata.weight(of: node)
    if !node.isDirectory { weight.bytes &+= node.unsaved?.growth ?? 0 }
    guard node.isDirectory else { return weight }
    for other in unsaved.values {
      guard let growth = other.unsaved?.growth, growth > 0, let home = metadata.home(of: other) else { continue }
      var isBelow = false
      try metadata.eachDirectory(from: home) { if $0 === node { isBelow = true } }
      if isBelow { weight.bytes &+= growth }
    }
    return weight
  }

  /// Refuses that a file becomes what another was, with its owners, in place of what it is. `lock` is held.
  func checkQuotas(for node: Node, becoming past: Node) throws(VaultError) {
    if metadata.state.quotas.isEmpty { return }
    let more = Usage(bytes: past.allocated - min(past.allocated, node.allocated)), all = Usage(bytes: past.allocated, nodes: 1)
    try check(.user(past.user), adding: past.user == node.user ? more : all)
    try check(.group(past.group), adding: past.group == node.group ? more : all)
    for subject in try metadata.limitedTrees(from: metadata.home(of: node)) + [.vault] { try check(subject, adding: more) }
  }

  private func check(_ subject: QuotaSubject, adding: Usage, freeing: Usage = Usage()) throws(VaultError) {
    guard let entry = metadata.state.quotas[subject] else { return }
    func net(_ resource: QuotaResource) -> UInt64 { adding[resource] - min(adding[resource], freeing[resource]) }
    let nodes = net(.nodes), bytes = net(.bytes)
    if nodes == 0 && bytes == 0 { return }
    let used = try metadata.usage(of: subject)
    // A new node is refused also where only bytes are over: it would be a file that cannot be written to.
    try check(subject, entry, .bytes, used.bytes &+ (try growth(of: subject)), adding: bytes)
    if nodes > 0 { try check(subject, entry, .nodes, used.nodes, adding: nodes) }
  }

  private func check(_ subject: QuotaSubject, _ entry: Quotas.Entry, _ resource: QuotaResource, _ used: UInt64, adding: UInt64) throws(VaultError) {
    let (sum, overflow) = used.addingReportingOverflow(adding), limit = entry.limits[resource]
    if let hard = limit.hard, overflow || sum > hard { throw .quotaExceeded(subject) }
    if let soft = limit.soft, overflow || sum > soft, entry.isGraceOver(resource, at: now) { throw .quotaExceeded(subject) }
  }

  /// By the journal's clock, which never goes back.
  var now: UInt64 { max(Journal.now(), journal.stamp) }
}
