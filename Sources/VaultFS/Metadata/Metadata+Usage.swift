// Who is charged for what: every change of what a node takes goes to the vault's counters, its owner's and its group's
// account, and to each directory above its home.
//
// What must stay true:
// 1. A directory's `below` is the sum over all nodes below it, itself not included, of their allocated bytes and of one
//    node each. A node is below a directory by its home (`node.parent`): one with several names counts once.
// 2. Trees count what has a name. A node without one, open still, is its owner's and the vault's alone: the directory
//    it was in may be gone.
// 3. A charge changes nothing of a directory but `below`: neither its times nor its version (`since`).
// A charge is O(depth), all else O(1).

extension Metadata {
  func usage(of subject: QuotaSubject) throws(VaultError) -> Usage {
    switch subject {
    case .vault: Usage(bytes: UInt64(bitPattern: state.counters.logicalBytes), nodes: UInt64(bitPattern: state.counters.nodes))
    case .user, .group: state.accounts.usage(of: subject)
    case .tree(let inode): try directory(inode).below
    }
  }

  /// What `node` takes, with all below it.
  func weight(of node: Node) -> Usage {
    node.isDirectory ? node.below &+ Usage(nodes: 1) : Usage(bytes: node.allocated, nodes: 1)
  }

  /// The directory that a node is charged to: none for the root, and for what has no name.
  func home(of node: Node) -> InodeNumber? { node.links == 0 || node.inode == .root ? nil : node.parent }

  /// `node` takes `change` more (or less, wrapping).
  func charge(_ change: Usage, to node: Node) throws(VaultError) {
    if change == Usage() { return }
    state.counters.logicalBytes &+= Int64(bitPattern: change.bytes)
    state.counters.nodes &+= Int64(bitPattern: change.nodes)
    if !state.quotas.isEmpty { state.quotas.touch(.vault) }
    chargeOwners(change, node.user, node.group)
    if let home = home(of: node) { try chargeTrees(change, from: home) }
  }

  private func chargeOwners(_ change: Usage, _ user: UInt32, _ group: UInt32) {
    state.accounts.add(change, to: .user(user))
    state.accounts.add(change, to: .group(group))
    if state.quotas.isEmpty { return }
    state.quotas.touch(.user(user))
    state.quotas.touch(.group(group))
  }

  /// To `home` and every directory above it.
  func chargeTrees(_ change: Usage, from home: InodeNumber) throws(VaultError) {
    if change == Usage() { return }
    let watches = state.quotas.trees > 0
    try eachDirectory(from: home) { directory in
      directory.below = directory.below &+ change
      touch(directory)
      if watches { state.quotas.touch(.tree(directory.inode)) }
    }
  }

  /// Calls `body` with a directory and all above it, the root last.
  func eachDirectory(from home: InodeNumber, _ body: (Node) -> Void) throws(VaultError) {
    var at = home, steps: Int64 = 0
    while true {
      let directory = try directory(at)
      body(directory)
      if at == .root { return }
      at = directory.parent
      // No path is longer than there are nodes: a circle is damage and must not keep us for ever.
      steps += 1
      if steps > max(state.counters.nodes, 0) + 1 { throw damaged("directory \(home.value) is below itself") }
    }
  }

  /// A node is to belong to others.
  func changeOwners(of node: Node, _ user: UInt32, _ group: UInt32) {
    if (user, group) == (node.user, node.group) { return }
    // A directory's content has owners of its own.
    let own = Usage(bytes: node.allocated, nodes: 1)
    chargeOwners(own.negated, node.user, node.group)
    chargeOwners(own, user, group)
    if (node.unsaved?.growth ?? 0) > 0 { state.quotas.notePlacement() }
  }

  // MARK: Limits

  func setQuota(_ limits: QuotaLimits, for subject: QuotaSubject) throws(VaultError) {
    if case .tree(let inode) = subject, try directory(inode).links == 0 { throw .journalDamaged(detail: "a quota of a directory without a name") }
    state.quotas.set(limits, for: subject)
  }

  /// The directory's name goes, and its limit with it, to come back with what is made of its past.
  func endQuota(of directory: Node) throws(VaultError) {
    guard let limits = state.quotas[.tree(directory.inode)]?.limits else { return }
    state.quotas.remove(.tree(directory.inode))
    guard try hasPast(directory.inode) else { return }
    let insert = try database.prepare("INSERT OR REPLACE INTO past_quota (inode, limits) VALUES (?, ?)")
    var w = ByteWriter(capacity: 64)
    w.quotaLimits(limits)
    insert.bind(1, directory.inode.value)
    insert.bind(2, copying: w.bytes)
    try insert.run()
  }

  /// Those that have limits, or had them when they were deleted.
  func treesWithLimits() throws(VaultError) -> [InodeNumber] {
    var trees = state.quotas.entries.keys.compactMap { subject -> InodeNumber? in if case .tree(let inode) = subject { inode } else { nil } }
    let select = try database.prepare("SELECT inode FROM past_quota")
    while try select.step() { trees.append(InodeNumber(select.unsigned(0))) }
    return trees
  }

  /// The limits of a tree that was deleted, or those it has.
  func lastLimits(ofTree inode: InodeNumber) throws(VaultError) -> QuotaLimits? {
    if let entry = state.quotas[.tree(inode)] { return entry.limits }
    let select = try database.prepare("SELECT limits FROM past_quota WHERE inode = ?")
    select.bind(1, inode.value)
    guard try select.step() else { return nil }
    var reader = unsafe ByteReader(select.raw(0))
    do throws(Malformed) { return try reader.quotaLimits() } catch { throw damaged("the past limits of directory \(inode.value)") }
  }

  /// The operation with `stamp` is done: soft limits may be crossed, in one direction or the other.
  func settleQuotas(_ stamp: UInt64) throws(VaultError) {
    if state.quotas.isEmpty { return }
    for subject in state.quotas.takeTouched() where state.quotas[subject] != nil {
      state.quotas.settle(subject, try usage(of: subject), stamp: stamp)
    }
  }

  /// The limited ones among those that a node of this owner and home is charged to.
  func limited(user: UInt32, group: UInt32, home: InodeNumber?) throws(VaultError) -> [QuotaSubject] {
    try [.user(user), .group(group), .vault].filter { state.quotas[$0] != nil } + limitedTrees(from: home)
  }
  func limited(_ node: Node) throws(VaultError) -> [QuotaSubject] {
    try limited(user: node.user, group: node.group, home: home(of: node))
  }

  /// The innermost first.
  func limitedTrees(from home: InodeNumber?) throws(VaultError) -> [QuotaSubject] {
    var found: [QuotaSubject] = []
    guard state.quotas.trees > 0, let home else { return found }
    try eachDirectory(from: home) { if state.quotas[.tree($0.inode)] != nil { found.append(.tree($0.inode)) } }
    return found
  }
}
