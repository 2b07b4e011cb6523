// What a directory lacks, with all below it, of what it was at a moment.
//
// What must stay true: what is what it was stays: the same nodes, under their names. What has another name outside is
// changed by nobody who takes back this tree. A node goes on from one of the past, and no two of those are one now.

import Glibc

struct TreeDifference {
  /// A directory of the tree, and what it goes on from.
  struct Pair {
    let directory, source: InodeNumber
    /// Of the directory that it is in, the place in `pairs`, and its name there; nil: it is what is taken back.
    var place: (above: Int, name: [UInt8])?
  }
  /// A node that is there and is not what it was.
  struct Change {
    /// What it goes on from.
    let source: InodeNumber
    /// Its directory's place in `pairs`.
    let pair: Int
  }

  var pairs: [Pair] = []
  var changed: [InodeNumber: Change] = [:]
  /// Names that lead to nothing, or to something else, by the place of their directory in `pairs`.
  var absent: [Int: [DirectoryEntry]] = [:]
  /// Names that were not there, likewise.
  var extra: [Int: [[UInt8]]] = [:]
  /// Names in what is taken back that led to something then of which nothing is kept: whatever has them now stays.
  fileprivate(set) var staying: [[UInt8]] = []
  /// Nodes that stay, by what they go on from; and with it where they are.
  private(set) var kept: [InodeNumber: InodeNumber] = [:]
  private(set) var places: [InodeNumber: Change] = [:]
  var done = Restored()
  /// All of it is made anew.
  fileprivate(set) var isWhole = false
  /// Nodes with several names, and those of them that were met, in directories of `pairs`.
  fileprivate(set) var linked: [InodeNumber: [(pair: Int, entry: DirectoryEntry)]] = [:]

  /// What is one operation, others wait for; and it is one record of the journal, of so many bytes of names at most.
  static let stepsMax = 5000, nameBytesMax = 1 << 20
  private(set) var steps = 0, nameBytes = 0
  private var stayingBytes = 0
  var isLarge: Bool { steps > Self.stepsMax || nameBytes > Self.nameBytesMax }
  var isEmpty: Bool { changed.isEmpty && absent.isEmpty && extra.isEmpty }

  /// Directories whose names change.
  var touched: [Int] { isWhole ? [0] : Set(absent.keys).union(extra.keys).sorted() }
  /// Names that change in the directory at this place.
  func names(_ number: Int) -> [[UInt8]] { (absent[number] ?? []).map(\.name) + (extra[number] ?? []) }

  /// Notes a name that stays though all is made anew, as many as others should wait for.
  fileprivate mutating func mayStay(_ name: [UInt8]) -> Bool {
    guard staying.count < Self.stepsMax, stayingBytes + 2 * name.count <= Self.nameBytesMax else { return false }
    staying.append(name)
    stayingBytes += 2 * name.count
    return true
  }

  fileprivate mutating func miss(_ entry: DirectoryEntry, in number: Int) {
    absent[number, default: []].append(entry)
    (steps, nameBytes) = (steps + 1, nameBytes + entry.name.count)
  }
  fileprivate mutating func exceed(_ name: [UInt8], in number: Int) {
    extra[number, default: []].append(name)
    (steps, nameBytes) = (steps + 1, nameBytes + 2 * name.count)
  }
  /// - Parameter bytes: that come and go: the more, the more rows.
  mutating func change(_ inode: InodeNumber, from source: InodeNumber, in number: Int, bytes: UInt64) {
    changed[inode] = Change(source: source, pair: number)
    steps += 1 + Int(clamping: bytes >> 20)
  }
  fileprivate mutating func keep(_ inode: InodeNumber, from source: InodeNumber, in number: Int) {
    if kept.updateValue(inode, forKey: source) == nil { done.nodes += 1 }
    places[inode] = Change(source: source, pair: number)
  }
  fileprivate mutating func giveUp(_ inode: InodeNumber, from source: InodeNumber) {
    (changed[inode], kept[source], places[inode]) = (nil, nil, nil)
    done.nodes -= 1
  }
  /// Whether `inode` can go on from `source`: nothing else does, and it does from nothing else.
  fileprivate func pairs(_ inode: InodeNumber, with source: InodeNumber) -> Bool {
    kept[source] ?? inode == inode && places[inode]?.source ?? source == source
  }
}

extension Vault {
  /// - Parameter isWhole: nothing below is kept: where most of it is another one, that is less to wait for.
  /// - Returns: one that is not complete where it is large.
  func difference(of directory: InodeNumber, from source: InodeNumber, at moment: LSN, isWhole: Bool, _ options: RestoreOptions) throws(VaultError) -> TreeDifference {
    var found = TreeDifference(), next = 0
    found.isWhole = isWhole
    found.pairs = [TreeDifference.Pair(directory: directory, source: source)]
    found.keep(directory, from: source, in: 0)
    if isWhole { found.change(directory, from: source, in: 0, bytes: 0) } else {
      guard let own = try standing(of: directory, asOf: source, at: moment, isKnown: true) else { throw .notFound }
      if own.isChanged { found.change(directory, from: source, in: 0, bytes: 0) }
    }
    while next < found.pairs.count {
      try options.goOn()
      if options.plan != nil { letOthers() }
      try compare(next, at: moment, isWhole, &found)
      options.progress(.compared(found.done.nodes))
      next += 1
      if found.isLarge && !isWhole { return found }
    }
    try dropForeign(&found)
    // What its names change, changes its times.
    for number in found.touched { found.change(found.pairs[number].directory, from: found.pairs[number].source, in: number, bytes: 0) }
    return found
  }

  private func compare(_ number: Int, at moment: LSN, _ isWhole: Bool, _ found: inout TreeDifference) throws(VaultError) {
    let pair = found.pairs[number]
    var present: [[UInt8]: DirectoryEntry] = [:]
    for entry in try allEntries(of: pair.directory) { present[entry.name] = entry }
    for entry in try allEntriesAt(pair.source, moment) {
      let now = present.removeValue(forKey: entry.name)
      guard entry.info != nil else {
        // Whatever has that name now may be all that is left of it.
        let stays = now != nil && (!isWhole || found.mayStay(entry.name))
        found.done.miss(entry.name, stays: stays)
        continue
      }
      guard !isWhole, let now, found.pairs(now.inode, with: entry.inode), let own = try standing(of: now.inode, asOf: entry.inode, at: moment) else {
        found.miss(entry, in: number)
        continue
      }
      found.keep(now.inode, from: entry.inode, in: number)
      if own.isChanged { found.change(now.inode, from: entry.inode, in: number, bytes: own.bytes) }
      if entry.type == S_IFDIR { found.pairs.append(TreeDifference.Pair(directory: now.inode, source: entry.inode, place: (number, entry.name))) }
      else if own.links > 1 { found.linked[now.inode, default: []].append((number, entry)) }
    }
    for name in present.keys { found.exceed(name, in: number) }
  }

  /// - Parameter isKnown: it goes on from that, whatever is noted.
  /// - Returns: nil where `inode` is not what `source` was, nor what was made of it later; else whether it has changed, its names, and
  ///   the bytes that come and go.
  private func standing(of inode: InodeNumber, asOf source: InodeNumber, at moment: LSN, isKnown: Bool = false) throws(VaultError) -> (isChanged: Bool, links: UInt32, bytes: UInt64)? {
    try lock.withLock { () throws(VaultError) in
      guard let now = try metadata.nodeIfThere(inode), let past = try metadata.node(source, at: moment), now.mode & S_IFMT == past.mode & S_IFMT else { return nil }
      if inode != source, !isKnown, !(try metadata.formerSelves(of: inode).contains { $0.inode == source }) { return nil }
      if inode == source, now.since <= moment, now.unsaved == nil { return (false, now.links, 0) }
      let isSame = now.unsaved == nil ? try metadata.isSame(now, past) : false
      return (!isSame, now.links, now.allocated &+ past.allocated)
    }
  }

  /// What has changed and has names that were not met is made anew.
  private func dropForeign(_ found: inout TreeDifference) throws(VaultError) {
    for (inode, names) in found.linked {
      guard let source = found.changed[inode]?.source, let links = try lock.withLock({ () throws(VaultError) in try metadata.nodeIfThere(inode)?.links }),
        links > names.count else { continue }
      found.giveUp(inode, from: source)
      for name in names { found.miss(name.entry, in: name.pair) }
    }
  }
}

extension Metadata {
  func nodeIfThere(_ inode: InodeNumber) throws(VaultError) -> Node? {
    do throws(VaultError) { return try node(inode) } catch { if case .staleNode = error { return nil } else { throw error } }
  }

  /// Whether two nodes of one type have the same content and attributes, but for the times of access and change.
  func isSame(_ a: Node, _ b: Node) throws(VaultError) -> Bool {
    guard (a.mode, a.user, a.group, a.modified, a.size, a.device) == (b.mode, b.user, b.group, b.modified, b.size, b.device), a.target == b.target else { return false }
    guard try hasSameXattrs(a, as: b) else { return false }
    if !a.isRegular { return true }
    return try differences(between: a, and: b).isEmpty
  }

  func hasSameXattrs(_ a: Node, as b: Node) throws(VaultError) -> Bool {
    let names = try xattrNames(of: a)
    guard Set(names) == Set(try xattrNames(of: b)) else { return false }
    for name in names { if try xattr(name, of: a) != xattr(name, of: b) { return false } }
    return true
  }
}

/// Nodes that others have made or changed since it began. Guarded by the vault's lock.
final class Watch {
  private(set) var seen: Set<InodeNumber> = []
  /// Of these, those of which nobody has asked since whether they may go; and directories that came from elsewhere, with all that is in them.
  private var unasked: Set<InodeNumber> = [], moved: Set<InodeNumber> = []
  private var isPaused = false
  func note(_ inode: InodeNumber) {
    if isPaused { return }
    seen.insert(inode)
    unasked.insert(inode)
  }
  /// Notes a directory that has another place than before.
  func noteMoved(_ inode: InodeNumber) { if !isPaused { moved.insert(inode) } }
  func takeUnasked() -> InodeNumber? { unasked.popFirst() }
  /// Whether what is in a directory must be asked for, too; after that it need not be.
  func takeMoved(_ inode: InodeNumber) -> Bool { moved.remove(inode) != nil }
  func forget(_ inodes: some Sequence<InodeNumber>) { seen.subtract(inodes) }

  /// What is done in `body` is not others'.
  func pausing<R>(_ body: () throws(VaultError) -> R) throws(VaultError) -> R {
    isPaused = true
    defer { isPaused = false }
    return try body()
  }
}
