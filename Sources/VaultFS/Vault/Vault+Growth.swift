// Unsaved bytes against limits: what saving would allocate counts from the write on, so that no limit is exceeded by what
// is in memory still.
//
// What must stay true, where the vault has a limit:
// 1. A node's `growth` is at least what saving its draft will allocate. It is exact while nothing of the draft is being
//    saved, and where it was not known to a write (a byte that is being saved may turn out to be a hole) it counts the byte.
// 2. What an edit allocates leaves the growth under the same hold of `lock` in which it enters the usage: their sum never
//    dips, and rises only by what was admitted.
// 3. Where something is refused, unsaved bytes are saved first and counted again: zeros become holes.
// Without a limit nothing of this is done.

/// Growth of all nodes, by limited subject. Guarded by the vault's lock.
struct GrowthSums {
  private(set) var sums: [QuotaSubject: UInt64] = [:]
  /// Whom nodes were charged to when it was added up (`Quotas.placements`); nil: it must be added up anew.
  var placements: UInt64?

  mutating func add(_ growth: UInt64, to subjects: [QuotaSubject]) {
    for subject in subjects { sums[subject, default: 0] &+= growth }
  }
}

extension Vault {
  /// What unsaved bytes will add to `subject`, which has a limit. `lock` is held.
  func growth(of subject: QuotaSubject) throws(VaultError) -> UInt64 {
    let placements = metadata.state.quotas.placements
    if growthSums.placements != placements {
      var sums = GrowthSums(placements: placements)
      for node in unsaved.values {
        if let growth = node.unsaved?.growth, growth > 0 { sums.add(growth, to: try metadata.limited(node)) }
      }
      growthSums = sums
    }
    return growthSums.sums[subject] ?? 0
  }

  /// A node's growth changed from `old` to `new`. `lock` is held.
  func noteGrowth(_ old: UInt64, _ new: UInt64, of node: Node) {
    guard old != new, growthSums.placements == metadata.state.quotas.placements else { return }
    do throws(VaultError) { growthSums.add(new &- old, to: try metadata.limited(node)) } catch { growthSums.placements = nil }
  }

  /// Admits a write, or refuses it. The draft's `lock` is held for writing, and `lock`.
  func admit(_ range: Range<UInt64>, to file: OpenFile) throws(VaultError) {
    if metadata.state.quotas.isEmpty { return }
    let node = file.node, added = try growth(of: range, file)
    if added == 0 { return }
    try checkQuotas(user: node.user, group: node.group, home: metadata.home(of: node), adding: Usage(bytes: added))
    var now = node.unsaved ?? Node.Unsaved(size: node.size, modified: nil, changed: nil, bytes: 0)
    now.growth += added
    setUnsaved(now, of: node)
  }

  /// What writing `range` adds to the growth: what is neither dirty nor allocated for good.
  private func growth(of range: Range<UInt64>, _ file: OpenFile) throws(VaultError) -> UInt64 {
    var sum: UInt64 = 0
    for gap in file.draft.dirty.gaps(in: range) {
      sum += gap.length
      for part in file.draft.saving.gaps(in: gap) { sum -= try metadata.allocated(of: file.node, in: part) }
    }
    return sum
  }

  /// What an edit of a save is about to allocate at most: all of it was counted. `lock` is held.
  func growth(of edit: SavePlan.Edit, in node: Node) throws(VaultError) -> UInt64 {
    if metadata.state.quotas.isEmpty { return 0 }
    return edit.range.length - (try metadata.allocated(of: node, in: edit.range))
  }

  /// An edit was performed. `lock` is held.
  func settleGrowth(_ done: UInt64, of node: Node) {
    guard done > 0, var now = node.unsaved else { return }
    now.growth -= min(now.growth, done)
    setUnsaved(now, of: node)
  }

  /// What saving the draft will allocate; nothing of it is being saved. Its `lock` is held, and the vault's.
  func growth(of draft: Draft, in node: Node) -> UInt64 {
    if metadata.state.quotas.isEmpty { return 0 }
    return draft.dirty.reduce(0) { sum, run in
      let allocated = (try? metadata.allocated(of: node, in: run.offset..<run.end)) ?? 0
      return sum + UInt64(run.count) - allocated
    }
  }

  /// Between a refusal and a look at what is unsaved, others may save it, or write more: so often a refusal is looked at again.
  private static let refusalsMax = 3

  /// Calls `body` again where it met a limit while bytes of its subject are unsaved: saved, they may be holes. Holds no lock.
  /// - Parameter newcomers: what the subject is not charged for yet, with all below.
  func withinQuotas<R>(_ newcomers: [InodeNumber] = [], _ body: () throws(VaultError) -> R) throws(VaultError) -> R {
    var refusals = 0
    while true {
      do throws(VaultError) { return try body() } catch {
        refusals += 1
        guard case .quotaExceeded(let subject) = error, refusals <= Self.refusalsMax else { throw error }
        // (One that is gone meanwhile is met by `body`.)
        for newcomer in newcomers { _ = try? saveDrafts { () throws(VaultError) in try unsavedNodes(in: try metadata.node(newcomer)) } }
        // The first time also where nothing is unsaved any more: somebody may have saved it between the refusal and here.
        guard try saveDrafts({ () throws(VaultError) in try unsavedNodes(of: subject) }) || refusals == 1 else { throw error }
      }
    }
  }

  /// Also those that add nothing: zeros over content give back.
  private func unsavedNodes(of subject: QuotaSubject) throws(VaultError) -> [Node] {
    var found: [Node] = []
    for node in unsaved.values where try metadata.limited(node).contains(subject) { found.append(node) }
    return found
  }

  /// - Parameter nodes: called with `lock` held.
  /// - Returns: whether there were any.
  private func saveDrafts(_ nodes: () throws(VaultError) -> [Node]) throws(VaultError) -> Bool {
    let files = try lock.withLock { () throws(VaultError) in try nodes().compactMap { node in node.draft.map { OpenFile(node, $0) } } }
    // One that cannot be saved: its writer will be told.
    for file in files { try? save(file) }
    return !files.isEmpty
  }
}

extension Array where Element == DirtyRun {
  /// The parts of `range` that no run covers.
  func gaps(in range: Range<UInt64>) -> [Range<UInt64>] {
    var gaps: [Range<UInt64>] = [], at = range.lowerBound, index = firstIndex(endingAfter: at)
    while index < count, self[index].offset < range.upperBound {
      if self[index].offset > at { gaps.append(at..<self[index].offset) }
      at = self[index].end
      index += 1
    }
    if at < range.upperBound { gaps.append(at..<range.upperBound) }
    return gaps
  }
}
