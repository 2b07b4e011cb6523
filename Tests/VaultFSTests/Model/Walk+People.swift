// Steps of people who take back what was, and set policies and limits.

import Glibc
@testable import VaultFS

extension Walk {
  /// One of the moments that are kept, whatever changes next.
  func moment() -> ModelMoment? {
    history.change(at: clock)
    return random.pickAny(history.snapshots.sorted { $0.value.moment.lsn < $1.value.moment.lsn }.map(\.value.moment) + history.moments.suffix(20) + history.moments.prefix(20))
  }

  // MARK: Snapshots and pins

  private static let snapshotsMax = 4

  func makeSnapshot() throws {
    let name = [UInt8]("s\(random.below(6))"), directory = random.chance(60) ? InodeNumber.root : directory()
    guard history.snapshots.count < Self.snapshotsMax else { return try deleteSnapshot() }
    let refusal: VaultError? = history.snapshots[name] == nil ? nil : .alreadyExists
    let made = try attempt("snapshot of \(directory.value)", refusal) { try vault.makeSnapshot(name, of: directory) }
    unsaved = [:]
    if let made { history.snapshots[name] = ModelSnapshot(moment: ModelMoment(lsn: LSN(made.moment), seconds: clock..<clock, tree: tree), directory: directory) }
  }

  func deleteSnapshot() throws {
    guard let name = random.pickAny(history.snapshots.keys.sorted { $0.lexicographicallyPrecedes($1) }) else { return }
    try closePasts()
    try attempt("delete a snapshot") { try vault.deleteSnapshot(name) }
    history.snapshots[name] = nil
  }

  func pin() throws {
    if !history.pins.isEmpty, random.chance(40) {
      let pin = history.pins.remove(at: random.below(history.pins.count))
      return try attempt("unpin \(pin.inode.value)") { try vault.pin(pin.inode, at: pin.lsn, false) } ?? ()
    }
    try saveAll()
    let moment = random.chance(50) ? moment() : nil, lsn = moment?.lsn ?? vault.present, was = moment?.tree ?? tree
    guard let inode = random.pickAny(was.files), !history.pins.contains(where: { $0.inode == inode && $0.lsn == lsn }) else { return }
    try attempt("pin \(inode.value)") { try vault.pin(inode, at: lsn, true) }
    history.pins.append(ModelPin(inode: inode, lsn: lsn, node: was[inode]))
  }

  func changePolicy() throws {
    var policy = HistoryPolicy()
    policy.isOn = random.chance(90)
    policy.window = random.pick([0, 10, 10, 10, 60, 3600])
    policy.all = random.pick([0, 60, 3600, 86_400])
    policy.hourly = random.pick([0, 6 * 3600, 3 * 86_400])
    policy.daily = random.pick([0, 4 * 86_400, 20 * 86_400])
    policy.weekly = random.pick([0, 40 * 86_400])
    try closePasts()
    try attempt("policy \(policy.numbers)") { try vault.setHistoryPolicy(policy) }
    history.policy = policy
  }

  func emptyTrash() throws {
    _ = try attempt("empty the trash") { try vault.emptyTrash() }
    history.empty(tree)
  }

  // MARK: Taking back

  /// A file becomes what it or another one was.
  func restore() throws {
    guard let moment = moment(), let source = random.pickAny(moment.tree.files), let target = tree.files.contains(source) && random.chance(70) ? source : file() else { return }
    let was = moment.tree[source]
    try saveAll()
    let done: Void? = try attempt("restore \(target.value) from \(source.value) at \(moment.lsn.value)", refusal(of: target, becoming: was)) { try vault.restore(target, from: source, at: moment.lsn) }
    guard done != nil else { return }
    tree[target] = tree[target].becoming(was)
  }

  private func refusal(of inode: InodeNumber, becoming was: ModelNode) -> VaultError? {
    let now = tree[inode], more = Usage(bytes: UInt64(max(0, was.content.allocated - now.content.allocated)))
    func refusal(_ subjects: [QuotaSubject], _ adding: Usage) -> VaultError? { limits.refusal(subjects, adding: adding, tree, at: clock) }
    return refusal([.user(was.user)], was.user == now.user ? more : was.own) ?? refusal([.group(was.group)], was.group == now.group ? more : was.own)
      ?? refusal(ModelLimits.trees(from: now.home?.directory, tree) + [.vault], more)
  }

  /// What has a name becomes what it, or another one, was; neither is a directory, and they are not both files.
  func replace() throws {
    guard let moment = moment(), let source = random.pickAny(moment.tree.inodes.filter { moment.tree[$0].links > 0 && !moment.tree[$0].isDirectory }) else { return }
    let was = moment.tree[source]
    guard let place = random.pickAny(tree.places.filter { !tree[tree[$0]!].isDirectory && !(was.isFile && tree[tree[$0]!].isFile) }) else { return }
    let inode = tree[place]!, now = tree[inode], before = tree, next = vault.present.next.value
    try saveAll()
    let isAlike = (was.mode, was.user, was.group) == (now.mode, now.user, now.group) && was.target == now.target && was.xattrs == now.xattrs
    let goesOn = try was.type == now.type && (inode == source || vault.isSuccessor(inode, of: source)), isGoing = now.links == 1 && !isHeld(inode)
    let refusal = goesOn ? refusal(of: inode, becoming: was) : ModelLimits.subjects(user: was.user, group: was.group, home: place.directory, tree).lazy.compactMap { [self] subject in
      let isFreed = switch subject {
      case .user(let user): user == now.user
      case .group(let group): group == now.group
      case .tree, .vault: true
      }
      return limits.refusal([subject], adding: was.own, freeing: isGoing && isFreed ? now.own : Usage(), tree, at: clock)
    }.first
    let done = try attempt("replace \(text(place)), \(inode.value), with \(source.value) at \(moment.lsn.value)", refusal, isLong: true, isSure: !isAlike) {
      try vault.replace(place.name, in: place.directory, with: source, at: moment.lsn, RestoreOptions())
    }
    guard let done else { return }
    if !done { return try require(isAlike, "\(text(place)) is not what \(source.value) was, and was not replaced") }
    if goesOn { return tree[inode] = tree[inode].becoming(was) }
    guard let made = try vault.lookup(place.name, in: place.directory) else { throw Difference("\(text(place)) is gone") }
    try drop([place])
    tree.make(made.inode, was, at: place)
    history.takenBack.insert(source)
    let operation = try vault.trash().first { $0.id >= next && $0.inode == inode.value }?.id ?? next
    history.delete(ModelTrashItem(inode: inode, place: place, second: clock, before: before), by: operation, leaving: tree)
  }

  func revive() throws {
    guard let moment = moment(), let source = random.pickAny(moment.tree.inodes.filter { moment.tree[$0].links > 0 }) else { return }
    try revive(source, of: moment.tree, at: moment.lsn)
  }

  /// What was deleted comes back.
  func undelete() throws {
    guard let (id, item) = random.pickAny(history.trash.filter { $0.value.before != nil }.sorted { $0.key > $1.key }.prefix(10)), let before = item.before else { return }
    guard let found = try vault.trash().first(where: { $0.id == id }) else { return }
    try revive(item.inode, of: before, at: try vault.momentBefore(found))
  }

  private func revive(_ source: InodeNumber, of past: ModelTree, at lsn: LSN) throws {
    let place = place(), nodes = past.below(source)
    guard tree.nodes.count + nodes.count <= 2 * Self.nodesMax else { return }
    // What programs have written belongs to it where that is a version that goes on.
    try vault.save(source)
    do { try compare(past, from: source, at: lsn, countsLinks: false) } catch let difference as Difference { throw Difference("before revive \(source.value) at \(lsn.value): \(difference)") }
    let refusal = tree[place] != nil ? .alreadyExists : refusal(reviving: nodes, of: past, in: place.directory)
    let made = try attempt("revive \(source.value) at \(lsn.value) as \(text(place))", refusal, isLong: nodes.count > 1) {
      try vault.revive(source, at: lsn, as: place.name, in: place.directory)
    }
    guard let made else { return }
    var known: [InodeNumber: InodeNumber] = [:]
    try graft(source, of: past, as: made, at: place, &known)
    history.takenBack.formUnion(known.keys)
    for (old, new) in known where tree.nodes[old]?.links ?? 0 == 0 { if let last = limits.last(ofTree: old) { limits.set(last, for: .tree(new)) } }
    try findHomes(of: known)
  }

  /// One node after the other is added.
  private func refusal(reviving nodes: Set<InodeNumber>, of past: ModelTree, in directory: InodeNumber) -> VaultError? {
    var sums: [QuotaSubject: Usage] = [:], order: [QuotaSubject] = []
    for node in nodes.map({ past[$0] }) {
      for subject in ModelLimits.subjects(user: node.user, group: node.group, home: directory, tree) {
        if sums[subject] == nil { order.append(subject) }
        sums[subject, default: Usage()] = sums[subject, default: Usage()] &+ node.own
      }
    }
    return order.lazy.compactMap { [self] in limits.refusal([$0], adding: sums[$0]!, tree, at: clock) }.first
  }

  /// Puts a copy of what was into the tree, as the vault has it: name by name.
  private func graft(_ old: InodeNumber, of past: ModelTree, as inode: InodeNumber, at place: ModelTree.Place, _ known: inout [InodeNumber: InodeNumber]) throws {
    if let same = known[old] {
      try require(same == inode, "\(text(place)) is not the node that it was with another name")
      return tree.add(inode, at: place)
    }
    known[old] = inode
    // It has a name elsewhere, and stayed.
    if let kept = tree.nodes[inode], kept.links > 0, !kept.isDirectory { return tree.add(inode, at: place) }
    tree.make(inode, past[old], at: place)
    for (name, child) in past[old].children {
      let place = ModelTree.Place(directory: inode, name: name)
      guard let found = try vault.lookup(name, in: inode) else { throw Difference("\(text(place)) did not come back") }
      try graft(child, of: past, as: found.inode, at: place, &known)
    }
  }

  private func findHomes(of made: [InodeNumber: InodeNumber]) throws {
    for inode in made.values where tree[inode].links > 1 && tree[inode].isFile { tree[inode].home = nil }
    try findHomes()
  }

  /// A directory becomes what it was, with all below it.
  func restoreTree() throws {
    guard let moment = moment(), let directory = random.pickAny(tree.directories.filter { moment.tree.nodes[$0]?.links ?? 0 > 0 }) else { return }
    let past = moment.tree, nodes = past.below(directory)
    guard tree.nodes.count + nodes.count <= 2 * Self.nodesMax else { return }
    try tick(20)
    // What has a name outside stays where it is what it was, and is made anew where it is not.
    // (Where the directory itself goes to somebody else, that makes room for who had it.)
    let isChowned = (tree[directory].user, tree[directory].group) != (past[directory].user, past[directory].group)
    let sure = isChowned ? nil : refusal(restoring: directory, to: past, keeping: true), possible = sure ?? refusal(restoring: directory, to: past, keeping: false) ?? nested(in: directory, past)
    let before = tree, earlier = vault.present.value, limited = Set(limits.entries.keys)
    let done: Void? = try attempt("restore the tree \(directory.value) at \(moment.lsn.value)", possible, isLong: true, isSure: sure != nil) {
      _ = try vault.restoreTree(directory, at: moment.lsn)
    }
    guard done != nil else { return }
    for name in tree[directory].children.keys { try dropTree(ModelTree.Place(directory: directory, name: name)) }
    var known = [directory: directory]
    for (name, child) in past[directory].children {
      let place = ModelTree.Place(directory: directory, name: name)
      guard let found = try vault.lookup(name, in: directory) else { throw Difference("\(text(place)) did not come back") }
      try graft(child, of: past, as: found.inode, at: place, &known)
    }
    known[directory] = nil
    history.takenBack.formUnion(known.keys)
    let was = past[directory]
    (tree[directory].mode, tree[directory].user, tree[directory].group, tree[directory].xattrs) = (was.mode, was.user, was.group, was.xattrs)
    // What stayed has the limit that it has.
    for (old, new) in known where before.nodes[new]?.links ?? 0 == 0 { if let last = limits.last(ofTree: old) { limits.set(last, for: .tree(new)) } }
    try findHomes(of: known)
    try noteDeleted(before, since: earlier)
    for (subject, entry) in limits.entries where limited.contains(subject) {
      for resource in QuotaResource.allCases {
        guard let hard = entry.limits[resource].hard, let used = tree.usages[subject]?[resource].subtractingReportingOverflow(guests(of: subject, before)[resource]).partialValue, used > hard else { continue }
        try require(used <= before.usages[subject]?[resource] ?? 0, "\(subject) is above its limit by a tree that was taken back: \(resource) \(used) of \(hard), before \(before.usages[subject]?[resource] ?? 0)\(chargedDifferently(subject, before))")
      }
    }
  }

  /// For whoever looks for the reason.
  private func chargedDifferently(_ subject: QuotaSubject, _ before: ModelTree) -> String {
    guard case .tree(let top) = subject else { return "" }
    func part(_ inode: InodeNumber, _ tree: ModelTree) -> String {
      guard let node = tree.nodes[inode] else { return "-" }
      let isIn = ModelLimits.trees(from: node.home?.directory, tree).contains(subject)
      return "\(isIn ? "in" : "out") \(node.own.bytes)B \(node.links) names home \(node.home.map { text($0) } ?? "none") of \(tree.places(of: inode).map { text($0) })"
    }
    return Set(tree.inodes + before.inodes).sorted().filter { [tree, before].contains { $0.nodes[top] != nil } && part($0, tree) != part($0, before) }
      .map { "\n  node \($0.value): \(part($0, before)) -> \(part($0, tree))" }.joined()
  }

  /// What is charged to a tree by nodes that have, or had, several names and found their home there, and had it elsewhere: a limit does not refuse that.
  private func guests(of subject: QuotaSubject, _ before: ModelTree) -> Usage {
    guard case .tree = subject else { return Usage() }
    return tree.inodes.filter { inode in
      let node = tree[inode]
      guard max(node.links, before.nodes[inode]?.links ?? 0) > 1, !node.isDirectory, ModelLimits.trees(from: node.home?.directory, tree).contains(subject) else { return false }
      return !(before.nodes[inode].map { ModelLimits.trees(from: $0.home?.directory, before).contains(subject) } ?? false)
    }.reduce(Usage()) { $0 &+ tree[$1].own }
  }

  /// A limit within a tree may refuse what the tree has room for; any, where what goes is open, and costs its owner as long, and where
  /// the directory itself is to be another's.
  private func nested(in directory: InodeNumber, _ past: ModelTree) -> VaultError? {
    let below = tree.below(directory)
    let isChowned = (tree[directory].user, tree[directory].group) != (past[directory].user, past[directory].group)
    if !limits.entries.isEmpty, isChowned || below.contains(where: isHeld) { return .quotaExceeded(.vault) }
    for case .tree(let inner) in limits.entries.keys where below.contains(inner) { return .quotaExceeded(.tree(inner)) }
    return nil
  }

  /// What takes the place of what is there may add no more than there is room for; what has other names stays.
  /// - Parameter keeping: it adds nothing then.
  private func refusal(restoring directory: InodeNumber, to past: ModelTree, keeping: Bool) -> VaultError? {
    func sums(_ tree: ModelTree, _ counts: (InodeNumber, ModelNode) -> Bool) -> [QuotaSubject: Usage] {
      var sums: [QuotaSubject: Usage] = [:]
      for (inode, node) in tree.below(directory).subtracting([directory]).map({ ($0, tree[$0]) }) where counts(inode, node) {
        for subject in [QuotaSubject.vault, .user(node.user), .group(node.group)] { sums[subject, default: Usage()] = sums[subject, default: Usage()] &+ node.own }
      }
      return sums
    }
    let names = tree.below(directory).union([directory]).map { tree[$0] }.flatMap { $0.children.values }.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    let taken = sums(past) { _, _ in true }, given = sums(tree) { inode, node in keeping || node.isDirectory || node.links == names[inode] ?? 0 }
    for subject in limits.entries.keys {
      if case .tree = subject, !ModelLimits.trees(from: directory, tree).contains(subject) { continue }
      let key: QuotaSubject = if case .tree = subject { .vault } else { subject }
      if let adding = taken[key], let refusal = limits.refusal(restoring: adding, inPlaceOf: given[key] ?? Usage(), subject, tree, at: clock) { return refusal }
    }
    return nil
  }

  // MARK: Limits

  func limit() throws {
    if !limits.entries.isEmpty, random.chance(45) {
      let subject = random.pick(limits.entries.keys.sorted { $0.row < $1.row })
      try attempt("no limit of \(subject)") { try vault.removeQuota(of: subject) }
      return limits.set(nil, for: subject)
    }
    let id = UInt32(random.below(3)), subject = random.pick([QuotaSubject.vault, .user(id), .group(id), .tree(directory()), .tree(directory())])
    let used = tree.usages[subject] ?? Usage(), room = UInt64(random.below(random.chance(30) ? 1000 : 800_000)), nodes = used.nodes + UInt64(random.below(8))
    let bytes = used.bytes + room - min(used.bytes + room, random.chance(15) ? 200_000 : 0)
    let new = QuotaLimits(bytes: QuotaLimit(soft: random.chance(50) ? bytes - min(bytes, 100_000) : nil, hard: random.chance(85) ? bytes : nil),
                          nodes: QuotaLimit(soft: random.chance(30) ? nodes - min(nodes, 3) : nil, hard: nodes), graceSeconds: random.pick([0, 5, 35, 100_005]))
    // What was written while there were no limits is saved.
    if limits.entries.isEmpty { unsaved = [:] }
    try attempt("limit of \(subject): \(new)") { try vault.setQuota(new, for: subject) }
    limits.set(new, for: subject)
  }
}
