// Whole trees, made anew from the past, weighed, removed: a directory at a time, however deep they are.

import Glibc

/// Making a tree anew.
struct Revival {
  /// What it is to be as.
  let moment: LSN
  /// No limit is asked: it takes the place of something.
  var isFree = false
  let options: RestoreOptions
  /// The new nodes, by what they were made from.
  var made: [InodeNumber: InodeNumber] = [:]
  /// Nodes that are there still, likewise: they get one more name in the new tree. Those that did.
  var kept: [InodeNumber: InodeNumber] = [:]
  var linked: Set<InodeNumber> = []
  /// Does not see that.
  var watch: Watch?
  /// The first is where the rest is put together.
  var stages = false
  var done = Restored()
  /// What there is to do, where that is known.
  var total: UInt64?

  init(moment: LSN, _ options: RestoreOptions, isFree: Bool = false) { (self.moment, self.options, self.isFree) = (moment, options, isFree) }

  /// How often it is told, and may end: after so many nodes.
  private static let beat: UInt64 = 256
  mutating func count() throws(VaultError) {
    done.nodes += 1
    guard done.nodes % Self.beat == 0 else { return }
    try options.goOn()
    options.progress(.made(done.nodes, of: total))
  }
}

extension Vault {
  /// How many names were below a directory.
  func count(below directory: InodeNumber, at moment: LSN, _ options: RestoreOptions) throws(VaultError) -> UInt64 {
    var waiting = [directory], seen: Set<InodeNumber> = [], sum: UInt64 = 0
    // (A damaged past may go in a circle.)
    while let next = waiting.popLast() {
      guard seen.insert(next).inserted else { continue }
      var last: UInt64 = Metadata.cookieFirst - 1, isAll = false
      while !isAll {
        try options.goOn()
        let rows = try lock.withLock { () throws(VaultError) in try metadata.entries(of: next, after: last, count: Self.entriesPerList, at: moment) }
        sum += UInt64(rows.count)
        waiting += rows.filter { $0.type == S_IFDIR }.map(\.inode)
        (last, isAll) = (rows.last?.cookie ?? last, rows.count < Self.entriesPerList)
      }
    }
    return sum
  }

  /// - Returns: the new directory.
  func revive(_ source: InodeNumber, as name: [UInt8], in parent: InodeNumber, _ revival: inout Revival) throws(VaultError) -> InodeNumber {
    var waiting = [(source: source, name: name, parent: parent)], directories: [InodeNumber] = []
    while let next = waiting.popLast() {
      // A damaged past may have a directory in itself.
      if revival.made[next.source] != nil { throw metadata.damaged("directory \(next.source.value) of the past is at more than one place") }
      let inode = try make(next.source, next.name, next.parent, &revival)
      directories.append(next.source)
      for entry in try allEntriesAt(next.source, revival.moment) {
        if entry.info == nil { revival.done.miss(entry.name) } else if entry.type == S_IFDIR {
          waiting.append((entry.inode, entry.name, inode))
        } else { try makeOrLink(entry, in: inode, &revival) }
      }
    }
    // A directory's own times are those from before its entries came.
    for source in directories {
      guard let inode = revival.made[source] else { continue }
      var change = AttributeChange()
      let was = try info(source, at: revival.moment)
      (change.accessed, change.modified) = (was.accessed, was.modified)
      _ = try self.change(inode, change)
    }
    return revival.made[source]!
  }

  /// One that is no directory.
  func makeOrLink(_ entry: DirectoryEntry, in parent: InodeNumber, _ revival: inout Revival) throws(VaultError) {
    if let kept = revival.kept[entry.inode], try link(kept: kept, as: entry.name, in: parent, &revival) { return }
    if let known = revival.made[entry.inode] { _ = try link(known, as: entry.name, in: parent) } else { _ = try make(entry.inode, entry.name, parent, &revival) }
  }

  /// - Returns: false where the node is not there any more.
  private func link(kept: InodeNumber, as name: [UInt8], in parent: InodeNumber, _ revival: inout Revival) throws(VaultError) -> Bool {
    let watch = revival.watch
    let isDone = try lock.withLock { () throws(VaultError) in
      guard let node = try metadata.nodeIfThere(kept), node.links > 0 else { return false }
      if node.links >= Limits.linksMax { throw .tooManyLinks }
      try metadata.checkFree(name, in: parent)
      let operation = Operation.link(kept, parent: parent, name: name, time: Self.now())
      if let watch { _ = try watch.pausing { () throws(VaultError) in try perform(operation) } } else { try perform(operation) }
      return true
    }
    if isDone { revival.linked.insert(kept) }
    return isDone
  }

  private func make(_ source: InodeNumber, _ name: [UInt8], _ parent: InodeNumber, _ revival: inout Revival) throws(VaultError) -> InodeNumber {
    let inode = try reviveOne(source, revival.moment, name, parent, revival.options, isFree: revival.isFree, watch: revival.watch, isStaging: revival.made.isEmpty && revival.stages)
    revival.made[source] = inode
    try revival.count()
    return inode
  }

  /// What trees take, in all (`.vault`) and by owners, by where it is.
  struct Weighing {
    /// Whether a node with several names counts with the first of them that is met; else it is only noted whether all of them are
    /// (`whole`): it stays where one of them does.
    let countsLinks: Bool
    private(set) var sums: [Int: [QuotaSubject: Usage]] = [:]
    /// What was met; and what of that counts, and where.
    private(set) var met: Set<InodeNumber> = []
    private(set) var counted: [InodeNumber: Int] = [:]
    /// Nodes with several names of which all were met.
    private(set) var whole: Set<InodeNumber> = []
    private var names: [InodeNumber: UInt32] = [:]
    init(countsLinks: Bool) { self.countsLinks = countsLinks }

    /// - Parameter isWhole: it counts whatever other names it has.
    mutating func add(_ info: NodeInfo, at place: Int, isWhole: Bool = false) {
      met.insert(info.inode)
      if !isWhole, info.mode & S_IFMT != S_IFDIR, info.links > 1 {
        names[info.inode, default: 0] += 1
        if names[info.inode] == info.links { whole.insert(info.inode) }
        guard countsLinks, names[info.inode] == 1 else { return }
      }
      counted[info.inode] = place
      let own = Usage(bytes: info.allocated, nodes: 1)
      for subject in [QuotaSubject.vault, .user(info.user), .group(info.group)] { sums[place, default: [:]][subject, default: Usage()] = (sums[place]?[subject] ?? Usage()) &+ own }
    }
  }

  /// - Parameter ignored: nodes that do not count.
  func weigh(below directory: InodeNumber, at place: Int, but ignored: Set<InodeNumber> = [], _ weighing: inout Weighing) throws(VaultError) {
    var waiting = [directory]
    while let next = waiting.popLast() {
      for entry in try allEntries(of: next, withInfo: true) where !ignored.contains(entry.inode) {
        guard let info = entry.info else { continue }
        weighing.add(info, at: place)
        if entry.type == S_IFDIR { waiting.append(entry.inode) }
      }
    }
  }

  /// Entries of a directory at a time: a page of them.
  private static let entriesPerList = 500

  func allEntries(of directory: InodeNumber, withInfo: Bool = false) throws(VaultError) -> [DirectoryEntry] {
    try all { cookie throws(VaultError) in try list(directory, after: cookie, count: Self.entriesPerList, withInfo: withInfo) }
  }
  func allEntriesAt(_ directory: InodeNumber, _ moment: LSN) throws(VaultError) -> [DirectoryEntry] {
    try all { cookie throws(VaultError) in try list(directory, after: cookie, count: Self.entriesPerList, at: moment) }
  }
  private func all(_ next: (UInt64) throws(VaultError) -> [DirectoryEntry]) throws(VaultError) -> [DirectoryEntry] {
    var found: [DirectoryEntry] = []
    while true {
      let part = try next(found.last?.cookie ?? 0)
      if part.isEmpty { return found }
      found += part
    }
  }

  /// So often somebody may change a directory that is about to go.
  private static let turnsMax = 1000

  /// Deletes a node and all below it. Whoever has a file of it open goes on with that. `restoring` is held.
  func removeTree(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) {
    var waiting = [(name: name, parent: parent)], turns = 0
    while let next = waiting.last {
      guard let info = try lookup(next.name, in: next.parent, isOurs: true) else {
        waiting.removeLast()
        continue
      }
      let isDirectory = info.mode & S_IFMT == S_IFDIR
      let entries = isDirectory ? try list(info.inode, after: 0, count: Self.entriesPerList, withInfo: false) : []
      // Others may be at work in it: what they have taken away is gone, what they have made goes, too.
      do throws(VaultError) {
        if entries.isEmpty { try remove(next.name, in: next.parent, directory: isDirectory, isOurs: true) }
        for entry in entries {
          if entry.type == S_IFDIR { waiting.append((entry.name, info.inode)) } else { try remove(entry.name, in: info.inode, directory: false, isOurs: true) }
        }
      } catch {
        guard error.isOfOthersAtWork, turns < Self.turnsMax else { throw error }
        turns += 1
      }
    }
  }

  /// Removes what owners that were killed left of trees they were taking back.
  func removeAbandoned(while mayGoOn: () -> Bool) throws(VaultError) {
    for place in abandoned where mayGoOn() { try inTurn(RestoreOptions()) { () throws(VaultError) in try removeTree(place.name, in: place.parent) } }
  }
}

extension VaultError {
  /// What is met where others change a tree meanwhile.
  var isOfOthersAtWork: Bool {
    switch self {
    case .notFound, .staleNode, .isADirectory, .notADirectory, .directoryNotEmpty: true
    default: false
    }
  }
}

extension Metadata {
  /// Where trees were being taken back when the last owner was killed.
  /// - Throws: `.databaseDamaged` where that would be something else: it is about to be deleted.
  func abandonedStaging() throws(VaultError) -> [(name: [UInt8], parent: InodeNumber)] {
    let select = try database.prepare("SELECT name, parent, born FROM entry WHERE inode = ? AND type = \(S_IFDIR)")
    var found: [(name: [UInt8], parent: InodeNumber)] = []
    for inode in state.staging {
      guard let node = try nodeIfThere(inode), node.links > 0 else { continue }
      select.bind(1, inode.value)
      defer { select.reset() }
      // It was made from the past of another one, where it is.
      guard node.isDirectory, try select.step(), let origin = try origins(of: inode).first, origin.made.value == select.unsigned(2) else {
        throw damaged("it lists node \(inode.value) among those in which trees are put together")
      }
      found.append((select.bytes(0), InodeNumber(select.unsigned(1))))
    }
    return found
  }
}
