// What limits refuse: checked before the operation is journaled, under the hold of `lock` in which it is. Not in
// `apply`: a journal is replayed whatever limits are set.
//
// What must stay true:
// 1. What adds nothing is never refused; nor is what removes.
// 2. After what was admitted nobody is above a hard limit, nor above a soft one whose grace is over; but for the homes that nodes
//    find whose names were in different trees before one of these got its limit (Metadata+Homes.swift).
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

  /// Refuses a name for `node` in `directory` where trees that the node is not in yet have no room for all of it.
  /// `lock` is held.
  /// - Parameter place: of the name that moves there, which stays in the trees that it is in; nil where it is one more.
  /// - Parameter other: whose name gives way to it. Where that has more names, they may be in the same tree.
  /// - Throws: `.crossesLimit` where the node, or one below it, would have names in different trees, and be charged by one of them: who has
  ///   another could add to it without that one's limit. (So do ext4 and XFS with links between projects.)
  func checkQuotas(placing node: Node, from place: Metadata.Place? = nil, in directory: Node, over other: Node? = nil) throws(VaultError) {
    guard metadata.state.quotas.trees > 0 else { return }
    let entered = try metadata.limitedTrees(from: directory.inode), left = Set(try metadata.limitedTrees(from: place?.parent ?? metadata.home(of: node)))
    if left == Set(entered) { return }
    guard let place, try !metadata.leavesNames(of: node, at: place, entering: Set(entered)) else { throw .crossesLimit }
    // Where another name is at home, all of it is charged there already.
    guard try metadata.isHome(place, of: node) else { return }
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
    for other in try unsavedNodes(in: node) { weight.bytes &+= other.unsaved?.growth ?? 0 }
    return weight
  }

  /// What is unsaved of a node and all below it. `lock` is held.
  func unsavedNodes(in node: Node) throws(VaultError) -> [Node] {
    var found: [Node] = []
    for other in unsaved.values {
      var isBelow = other === node
      if node.isDirectory, let home = metadata.home(of: other) { try metadata.eachDirectory(from: home) { if $0 === node { isBelow = true } } }
      if isBelow { found.append(other) }
    }
    return found
  }

  /// Refuses that a file becomes what another was, with its owners, in place of what it is. `lock` is held.
  func checkQuotas(for node: Node, becoming past: Node, _ owner: RestoreOptions.Owner?) throws(VaultError) {
    if metadata.state.quotas.isEmpty { return }
    let (user, group) = owner.map { ($0.user, $0.group) } ?? (past.user, past.group)
    let more = Usage(bytes: past.allocated - min(past.allocated, node.allocated)), all = Usage(bytes: past.allocated, nodes: 1)
    try check(.user(user), adding: user == node.user ? more : all)
    try check(.group(group), adding: group == node.group ? more : all)
    for subject in try metadata.limitedTrees(from: metadata.home(of: node)) + [.vault] { try check(subject, adding: more) }
  }

  /// Refuses that `node`, with a name in `directory`, gives way to what is made anew of `past`. `lock` is held.
  func checkQuotas(making new: NewNode, of past: Node, inPlaceOf node: Node, in directory: InodeNumber) throws(VaultError) {
    if metadata.state.quotas.isEmpty { return }
    let own = Usage(bytes: past.allocated, nodes: 1), isGoing = node.links == 1 && node.openCount == 0
    for subject in try metadata.limited(user: new.user, group: new.group, home: directory) {
      let isFreed = switch subject {
      case .user(let user): user == node.user
      case .group(let group): group == node.group
      case .tree, .vault: true
      }
      try check(subject, adding: own, freeing: isGoing && isFreed ? Usage(bytes: node.allocated, nodes: 1) : Usage())
    }
  }

  /// Refuses what directories of a tree get, where somebody takes more by it than he may. `lock` is held.
  /// - Parameter top: the tree's directory: the trees it is in are charged for what is `staged`.
  func checkQuotas(_ weights: [TreeWeight], in top: InodeNumber) throws(VaultError) {
    let others = metadata.state.quotas.entries.keys.filter { !$0.isTree }, charged = Set(try metadata.limitedTrees(from: top) + others)
    var sums: [QuotaSubject: (staged: Usage, added: Usage, freed: Usage)] = [:]
    for weight in weights {
      for subject in try metadata.limitedTrees(from: weight.directory) + others {
        let key = subject.isTree ? .vault : subject, staged = weight.staged[key] ?? Usage()
        var sum = sums[subject] ?? (Usage(), Usage(), Usage())
        if charged.contains(subject) { sum.staged = sum.staged &+ staged }
        sum.added = sum.added &+ staged &+ (weight.coming[key] ?? Usage())
        sum.freed = sum.freed &+ (weight.going[key] ?? Usage())
        if !subject.isTree { sum.added = sum.added &+ (weight.held[key] ?? Usage()) }
        sums[subject] = sum
      }
    }
    for (subject, sum) in sums {
      guard let entry = metadata.state.quotas[subject] else { continue }
      let used = try metadata.usage(of: subject) &+ Usage(bytes: growth(of: subject))
      for resource in QuotaResource.allCases where sum.added[resource] > sum.freed[resource] {
        try check(subject, entry, resource, used[resource] - min(used[resource], sum.staged[resource]), adding: sum.added[resource] - sum.freed[resource])
      }
    }
  }

  private func check(_ subject: QuotaSubject, adding: Usage, freeing: Usage = Usage()) throws(VaultError) {
    guard let entry = metadata.state.quotas[subject] else { return }
    func net(_ resource: QuotaResource) -> UInt64 { adding[resource] - min(adding[resource], freeing[resource]) }
    let nodes = net(.nodes), bytes = net(.bytes)
    if nodes == 0 && bytes == 0 { return }
    var used = try metadata.usage(of: subject)
    if let staged = stagedUsage[subject] { used = Usage(bytes: used.bytes - min(used.bytes, staged.bytes), nodes: used.nodes - min(used.nodes, staged.nodes)) }
    // A new node is refused also where only bytes are over: it would be a file that cannot be written to.
    try check(subject, entry, .bytes, used.bytes &+ (try growth(of: subject)), adding: bytes)
    if nodes > 0 { try check(subject, entry, .nodes, used.nodes, adding: nodes) }
  }

  private func check(_ subject: QuotaSubject, _ entry: Quotas.Entry, _ resource: QuotaResource, _ used: UInt64, adding: UInt64) throws(VaultError) {
    let (sum, overflow) = used.addingReportingOverflow(adding), limit = entry.limits[resource]
    if let hard = limit.hard, overflow || sum > hard { throw .quotaExceeded(subject) }
    if let soft = limit.soft, overflow || sum > soft, entry.isGraceOver(resource, at: now) { throw .quotaExceeded(subject) }
  }

  // MARK: Trees that are taken back

  /// Something is put together in `parent` that takes the place of something. `lock` is held.
  func noteStaged(_ own: Usage, user: UInt32, group: UInt32, in parent: InodeNumber) throws(VaultError) {
    if metadata.state.quotas.isEmpty { return }
    for subject in try metadata.limited(user: user, group: group, home: parent) { stagedUsage[subject] = (stagedUsage[subject] ?? Usage()) &+ own }
  }

  /// What was put together has its place; what gave way is charged until it is removed. `lock` is held.
  func noteGoing(_ weights: [TreeWeight], in top: InodeNumber) throws(VaultError) {
    stagedUsage = [:]
    for subject in try metadata.limitedTrees(from: top) + metadata.state.quotas.entries.keys.filter({ !$0.isTree }) {
      stagedUsage[subject] = weights.reduce(Usage()) { $0 &+ ($1.going[subject.isTree ? .vault : subject] ?? Usage()) }
    }
  }

  /// Something of that is removed. `lock` is held.
  func noteGone(_ node: Node, from parent: InodeNumber) throws(VaultError) {
    if stagedUsage.isEmpty { return }
    for subject in try metadata.limited(user: node.user, group: node.group, home: parent) {
      guard let staged = stagedUsage[subject] else { continue }
      stagedUsage[subject] = Usage(bytes: staged.bytes - min(staged.bytes, node.allocated), nodes: staged.nodes - min(staged.nodes, 1))
    }
  }

  /// By the journal's clock, which never goes back.
  var now: UInt64 { journal.now() }
}
