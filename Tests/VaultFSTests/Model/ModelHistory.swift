// What a vault must still know of its past, at least: moments of which all is kept, and what was deleted.

@testable import VaultFS

/// The tree as it was after an operation, and until the clock went on.
struct ModelMoment {
  var lsn: LSN
  /// It is what stood at the end of each of these seconds.
  var seconds: Range<Int64>
  var tree: ModelTree
}

struct ModelSnapshot {
  var moment: ModelMoment
  var directory: InodeNumber
}

struct ModelPin {
  var inode: InodeNumber
  var lsn: LSN
  var node: ModelNode
}

struct ModelTrashItem {
  var inode: InodeNumber
  var place: ModelTree.Place
  var second: Int64
  /// What the deletion began with; nil where the item need not be there any more.
  var before: ModelTree?
}

struct ModelHistory {
  var policy = HistoryPolicy()
  private(set) var moments: [ModelMoment] = []
  var snapshots: [[UInt8]: ModelSnapshot] = [:]
  var pins: [ModelPin] = []
  /// By the operation that deleted it.
  var trash: [UInt64: ModelTrashItem] = [:]
  /// What was taken back: it goes on in what was made then, and need not be in the trash.
  var takenBack: Set<InodeNumber> = []
  /// More are not remembered: memory has its limits, too.
  private static let momentsMax = 150

  /// The clock goes on.
  mutating func add(_ moment: ModelMoment, _ random: inout Random) {
    guard policy.isOn else { return }
    moments.append(moment)
    if moments.count > Self.momentsMax { moments.remove(at: random.below(Self.momentsMax)) }
  }

  /// Something is about to change. Changes soon after a version began belong to it: what stood between is not kept.
  mutating func change(at second: Int64) {
    moments.removeAll { !policy.isOn || second - $0.seconds.lowerBound < Int64(policy.window) }
  }

  /// - Parameter tree: what is left. What has other names there may change, as part of the version that was deleted.
  mutating func delete(_ item: ModelTrashItem, by operation: UInt64, leaving tree: ModelTree) {
    guard policy.isOn else { return }
    trash[operation] = item
    if let before = item.before, before.below(item.inode).contains(where: { tree.nodes[$0]?.links ?? 0 > 0 }) { trash[operation]!.before = nil }
    let sure = trash.filter { $0.value.before != nil }.keys
    if sure.count > Self.momentsMax { trash[sure.min()!]!.before = nil }
  }

  /// The policy forgets, as if it were `now`.
  mutating func expire(now: Int64) {
    let ends = secondsKept(now: now), horizon = now - Int64(policy.all)
    moments.removeAll { moment in !policy.isOn || moment.seconds.upperBound - 1 < horizon && !ends.contains { moment.seconds.contains($0) } }
    for (id, item) in trash where !policy.isOn || item.second <= horizon { trash[id]!.before = nil }
  }

  /// The trash was emptied: of what has no name nothing is kept but by a snapshot or a pin.
  mutating func empty(_ tree: ModelTree) {
    moments = []
    for (id, item) in trash where tree.nodes[item.inode]?.links ?? 0 == 0 { trash[id]!.before = nil }
  }

  /// The ends of hours, days and weeks of which something is kept.
  func secondsKept(now: Int64) -> [Int64] {
    [(3600, policy.all, policy.hourly), (86_400, policy.hourly, policy.daily), (7 * 86_400, policy.daily, policy.weekly)].flatMap { period, from, to -> [Int64] in
      guard policy.isOn, to > from else { return [] }
      let newest = (now - Int64(from)) / period, oldest = (now - Int64(to) + period) / period
      return newest < oldest ? [] : (oldest...newest).map { $0 * period - 1 }
    }
  }
}
