// The limits of the model, and what they refuse: usage is counted from the tree each time.

@testable import VaultFS

struct ModelLimits {
  struct Entry {
    var limits: QuotaLimits
    /// When each soft limit came to be exceeded, in seconds.
    var since: [QuotaResource: Int64] = [:]

    func isGraceOver(_ resource: QuotaResource, at second: Int64) -> Bool {
      limits.graceSeconds == 0 || since[resource].map { second >= $0 + Int64(limits.graceSeconds) } ?? false
    }
  }
  private(set) var entries: [QuotaSubject: Entry] = [:]
  /// Those that ended with their directories.
  private var ended: [InodeNumber: QuotaLimits] = [:]

  var hasSoftOnes: Bool { entries.values.contains { $0.limits.bytes.soft != nil || $0.limits.nodes.soft != nil } }

  mutating func set(_ limits: QuotaLimits?, for subject: QuotaSubject) {
    guard let limits else { return entries[subject] = nil }
    entries[subject, default: Entry(limits: limits)].limits = limits
  }

  /// The limits of a tree, or those it had when it was deleted.
  func last(ofTree inode: InodeNumber) -> QuotaLimits? { entries[.tree(inode)]?.limits ?? ended[inode] }

  /// Something has changed: soft limits are crossed, and those of directories without a name are gone.
  mutating func settle(_ tree: ModelTree, at second: Int64) {
    if entries.isEmpty { return }
    let usages = tree.usages
    for (subject, entry) in entries {
      if case .tree(let inode) = subject, tree.nodes[inode]?.links ?? 0 == 0 {
        entries[subject] = nil
        ended[inode] = entry.limits
        continue
      }
      for resource in QuotaResource.allCases {
        let isOver = entry.limits[resource].soft.map { (usages[subject] ?? Usage())[resource] > $0 } ?? false
        entries[subject]!.since[resource] = isOver ? entry.since[resource] ?? second : nil
      }
    }
  }

  // MARK: Refusing

  /// Who is charged for a node of these owners in `home`, in the order in which they are asked.
  static func subjects(user: UInt32, group: UInt32, home: InodeNumber?, _ tree: ModelTree) -> [QuotaSubject] {
    [.user(user), .group(group), .vault] + trees(from: home, tree)
  }
  static func trees(from home: InodeNumber?, _ tree: ModelTree) -> [QuotaSubject] { tree.chain(from: home).map { .tree($0) } }

  /// The first limit that has no room for `adding`; nil where all have.
  func refusal(_ subjects: [QuotaSubject], adding: Usage, freeing: Usage = Usage(), _ tree: ModelTree, at second: Int64) -> VaultError? {
    let limited = subjects.filter { entries[$0] != nil }
    if limited.isEmpty { return nil }
    let net = Usage(bytes: adding.bytes - min(adding.bytes, freeing.bytes), nodes: adding.nodes - min(adding.nodes, freeing.nodes))
    if net == Usage() { return nil }
    let usages = tree.usages
    for subject in limited {
      let entry = entries[subject]!, used = usages[subject] ?? Usage()
      // A node is refused also where only bytes are over.
      for resource in [.bytes, .nodes] as [QuotaResource] where resource == .bytes || net.nodes > 0 {
        let sum = used[resource] + net[resource], limit = entry.limits[resource]
        if let hard = limit.hard, sum > hard { return .quotaExceeded(subject) }
        if let soft = limit.soft, sum > soft, entry.isGraceOver(resource, at: second) { return .quotaExceeded(subject) }
      }
    }
    return nil
  }

  func refusal(restoring adding: Usage, inPlaceOf freeing: Usage, _ subject: QuotaSubject, _ tree: ModelTree, at second: Int64) -> VaultError? {
    let entry = entries[subject]!, used = tree.usages[subject] ?? Usage()
    for resource in QuotaResource.allCases where adding[resource] > freeing[resource] {
      let sum = used[resource] + adding[resource] - freeing[resource], limit = entry.limits[resource]
      if let hard = limit.hard, sum > hard { return .quotaExceeded(subject) }
      if let soft = limit.soft, sum > soft, entry.isGraceOver(resource, at: second) { return .quotaExceeded(subject) }
    }
    return nil
  }

  /// Whether a name may be given to a node in `directory`: trees that it was not in must have room for all of it.
  /// - Parameter old: where it had that name before. None crosses the border of a limited tree where another stays behind.
  func refusal(placing inode: InodeNumber, in directory: InodeNumber, from old: ModelTree.Place? = nil, over other: InodeNumber? = nil, _ tree: ModelTree, at second: Int64) -> VaultError? {
    func limited(_ directory: InodeNumber?) -> [QuotaSubject] { Self.trees(from: directory, tree).filter { entries[$0] != nil } }
    let left = limited(old?.directory ?? tree[inode].home?.directory), entered = limited(directory)
    if Set(left) == Set(entered) { return nil }
    guard let old, !leavesNames(inode, old, Set(entered), tree) else { return .crossesLimit }
    if !tree[inode].isDirectory, tree[inode].home != old { return nil }
    let gone = other.flatMap { tree[$0].isDirectory || tree[$0].links == 1 ? tree.weight(of: $0) : nil }
    return refusal(entered.filter { !left.contains($0) }, adding: tree.weight(of: inode), freeing: gone ?? Usage(), tree, at: second)
  }

  private func leavesNames(_ inode: InodeNumber, _ place: ModelTree.Place, _ entered: Set<QuotaSubject>, _ tree: ModelTree) -> Bool {
    guard tree[inode].isDirectory else {
      return tree.places(of: inode).contains { $0 != place && Set(Self.trees(from: $0.directory, tree).filter { entries[$0] != nil }) != entered }
    }
    return tree.inodes.contains { other in
      !tree[other].isDirectory && Set(tree.places(of: other).map { tree.isWithin($0.directory, inode) }).count > 1
    }
  }
}
