// A directory becomes what it was, with all below it, in place.
//
// What is missing is put together aside, where nobody sees it (`Staging`). Then one operation takes the names away that were not
// there, moves what was put together to its places, and restores what has changed; what gave way goes to the trash afterwards.
// What is what it was stays: whoever has a file of it open, or works in a directory of it, goes on.
//
// What must stay true:
// 1. Whatever moment is looked at shows what was there before, or what was taken back.
// 2. The operation is possible when it is journaled: what others have changed since it was planned is known (`Watch`), nobody else
//    reaches what was put together (Metadata.isStaged), and one tree at a time is taken back.
// 3. What is put together counts against no limit: only what the tree takes more in the end does.

import Glibc

extension Vault {
  /// What is put together aside.
  private struct Staging {
    let name: [UInt8]
    let place: InodeNumber
    /// Where the new names of a directory are, by its place in `TreeDifference.pairs`; and where those go that were not there.
    var parts: [Int: InodeNumber] = [:]
    var aside: [Int: InodeNumber] = [:]
    var revival: Revival
  }

  /// So often others may have been at work in it, before all of it is made anew.
  private static let plansMax = 3, commitsMax = 20
  /// And so often things may go while it is looked at, before it is given up.
  private static let attemptsMax = 12
  /// Files that are open and change: their writers wait. (Each is a level of `allQuiescent`.)
  private static let openFilesMax = 1024

  @discardableResult
  public func restoreTree(_ directory: InodeNumber, from source: InodeNumber? = nil, at moment: LSN, _ options: RestoreOptions = RestoreOptions()) throws(VaultError) -> Restored {
    let source = source ?? directory
    try checkSpace()
    guard try info(source, at: moment).mode & S_IFMT == S_IFDIR else { throw .notADirectory }
    return try inTurn(options) { () throws(VaultError) in
      var plans = 0
      let revival = Revival(moment: moment, options, isFree: true)
      while true {
        do throws(VaultError) { if let done = try attempt(directory, from: source, revival, isWhole: plans >= Self.plansMax, &plans) { return done } } catch {
          guard error.isOfOthersAtWork, plans < Self.attemptsMax, try lock.withLock({ () throws(VaultError) in try metadata.isNamed(directory) }) else { throw error }
        }
      }
    }
  }

  /// - Parameter plans: how many there were; the most, where it is too much for others to wait for.
  /// - Returns: nil where others were at work.
  private func attempt(_ directory: InodeNumber, from source: InodeNumber, _ revival: Revival, isWhole: Bool, _ plans: inout Int) throws(VaultError) -> Restored? {
    plans += 1
    let watch = Watch(), moment = revival.moment, options = revival.options
    // What programs have written by now is what is compared, and a version that can be taken back.
    let files = try lock.withLock { () throws(VaultError) in
      try unsavedNodes(in: try metadata.directory(directory)).compactMap { node in node.draft.map { OpenFile(node, $0) } }
    }
    for file in files { try save(file) }
    if let plan = options.plan { return try tell(plan, directory, from: source, at: moment, isWhole, options) }
    lock.withLock { metadata.watches.append(watch) }
    defer {
      lock.withLock {
        metadata.watches.removeAll { $0 === watch }
        stagedUsage = [:]
      }
    }
    try askAll(below: directory, options)
    var difference = try difference(of: directory, from: source, at: moment, isWhole: isWhole, options)
    if difference.isLarge, !isWhole {
      plans = max(plans, Self.plansMax)
      return nil
    }
    if difference.isEmpty {
      difference.done.isUnchanged = true
      return difference.done
    }
    let name = Self.stagingName()
    do throws(VaultError) {
      let place = try reviveOne(source, moment, name, directory, options, isFree: true, watch: watch, isPlace: true, isStaging: true)
      var staging = Staging(name: name, place: place, revival: revival)
      if isWhole { staging.revival.total = try count(below: source, at: moment, options) }
      try stage(difference, &staging, watch)
      var commits = 0, isDone = false
      while !isDone, commits < Self.commitsMax {
        try options.goOn()
        commits += 1
        guard let outcome = try commit(&difference, staging, watch, at: moment) else { break }
        isDone = outcome
      }
      // At once: whatever fails from here on, the names are others.
      if isDone { try tell(difference, staging) }
      try removeTree(name, in: directory)
      if !isDone { return isWhole ? try gone() : nil }
      unsafe whenModeChanges?(directory)
      return sum(difference.done, staging.revival.done)
    } catch {
      try? removeTree(name, in: directory)
      throw error
    }
  }

  private func gone() throws(VaultError) -> Restored? { throw .notFound }

  private func sum(_ kept: Restored, _ made: Restored) -> Restored {
    var done = kept
    for name in made.missingNames { done.miss(name) }
    done.nodes += made.nodes
    done.missing = kept.missing + made.missing
    done.stayed = kept.stayed + made.stayed
    return done
  }

  /// Whoever remembers names and nodes must forget them.
  private func tell(_ difference: TreeDifference, _ staging: Staging) throws(VaultError) {
    if difference.isWhole {
      // Also of what came since it was planned.
      for place in Array(staging.aside.values) + staging.parts.values {
        for entry in try allEntries(of: place) { unsafe whenNameChanges?(entry.name, difference.pairs[0].directory) }
      }
    }
    for number in difference.touched { for name in difference.names(number) { unsafe whenNameChanges?(name, difference.pairs[number].directory) } }
    for inode in difference.changed.keys { unsafe whenModeChanges?(inode) }
    for inode in staging.revival.linked { unsafe whenModeChanges?(inode) }
  }

  // MARK: Putting together

  private func stage(_ difference: TreeDifference, _ staging: inout Staging, _ watch: Watch) throws(VaultError) {
    let directories = Set(difference.pairs.map(\.directory))
    staging.revival.kept = difference.kept.filter { !directories.contains($0.value) }
    staging.revival.watch = watch
    for number in difference.touched {
      let pair = difference.pairs[number]
      // (What goes aside is told to have been where it was, by what its place was made from.)
      func makePlace(_ kind: String) throws(VaultError) -> InodeNumber {
        try reviveOne(pair.directory, lock.withLock { metadata.state.applied }, Array("\(kind)\(number)".utf8), staging.place, staging.revival.options, isFree: true, watch: watch, isPlace: true)
      }
      if difference.isWhole || difference.extra[number] != nil { staging.aside[number] = try makePlace("aside-") }
      guard let entries = difference.absent[number] ?? (difference.isWhole ? [] : nil) else { continue }
      let part = try makePlace("")
      staging.parts[number] = part
      for entry in entries {
        if entry.type == S_IFDIR { _ = try revive(entry.inode, as: entry.name, in: part, &staging.revival) } else { try makeOrLink(entry, in: part, &staging.revival) }
      }
    }
  }

  // MARK: The operation

  /// - Parameter watch: where all is made anew, it is of no matter what others have done but for what may not go.
  /// - Returns: whether it is done; false where a file was changed meanwhile, which is restored with the next try; nil where names were.
  private func commit(_ difference: inout TreeDifference, _ staging: Staging, _ watch: Watch, at moment: LSN) throws(VaultError) -> Bool? {
    var weights: [TreeWeight]?, others: Set<InodeNumber> = []
    if lock.withLock({ !metadata.state.quotas.isEmpty }) { weights = try weigh(difference, staging, at: moment, &others) }
    let open = try openFiles(Array(difference.changed.keys))
    defer { for file in open { release(file.inode) } }
    if open.count > Self.openFilesMax { return nil }
    var differences: [InodeNumber: ContentChange] = [:], isDone: Bool? = false
    let plan = difference
    try askSeen(watch, below: plan.pairs[0].directory, staging.revival.options)
    try withinQuotas { () throws(VaultError) in try allQuiescent(open[...]) { () throws(VaultError) in try lock.withLock { () throws(VaultError) in
      guard try metadata.isNamed(plan.pairs[0].directory) else { throw .notFound }
      guard try askLast(watch, below: plan.pairs[0].directory, staging.revival.options) else { return isDone = false }
      if !plan.isWhole {
        let late = watch.seen.union(unsaved.keys).filter { plan.places[$0] != nil || others.contains($0) }
        if !late.isEmpty { return isDone = try amend(&difference, late, watch) }
      }
      let steps = try steps(plan, staging, at: moment, &differences)
      if let weights { try checkQuotas(weights, in: plan.pairs[0].directory) }
      try perform(.together(steps))
      let ours = Set(open.map(\.inode))
      for (inode, change) in differences {
        if let node = try? metadata.node(inode) { differences[inode] = toTellNow(change, of: node, ours: ours.contains(inode) ? 1 : 0) }
      }
      // From now on, what gave way is what nobody is charged for.
      try noteGoing(weights ?? [], in: plan.pairs[0].directory)
      isDone = true
    } } }
    for (inode, change) in differences { unsafe whenContentChanges?(inode, change.ranges) }
    return isDone
  }

  /// Files that were changed since it was planned are restored, too. `lock` is held.
  /// - Returns: nil where it must be planned anew.
  private func amend(_ difference: inout TreeDifference, _ late: Set<InodeNumber>, _ watch: Watch) throws(VaultError) -> Bool? {
    for inode in late {
      guard let place = difference.places[inode], let node = try metadata.nodeIfThere(inode), node.isRegular, node.links == 1 else { return nil }
      difference.change(inode, from: place.source, in: place.pair, bytes: 2 * node.allocated)
    }
    watch.forget(late)
    return difference.isLarge ? nil : false
  }

  /// `lock` is held.
  private func steps(_ difference: TreeDifference, _ staging: Staging, at moment: LSN, _ differences: inout [InodeNumber: ContentChange]) throws(VaultError) -> [Operation] {
    let time = Self.now()
    var steps: [Operation] = [], last: [Operation] = []
    for (inode, change) in difference.changed.sorted(by: { $0.key < $1.key }) {
      let node = try metadata.node(inode)
      guard let past = try metadata.node(change.source, at: moment) else { throw .notFound }
      try staging.revival.options.checkReturn(past, metadata, now: node)
      if node.isRegular { differences[inode] = ContentChange(try metadata.differences(between: node, and: past), of: node.size) }
      let set = attributes(of: past, staging.revival.options)
      // First: what it is before anything of this becomes its version.
      steps.append(.restore(inode, from: change.source, moment: moment, attributes: set))
      if node.isDirectory { last.append(.setAttributes(inode, AttributeSet(accessed: set.accessed, modified: set.modified, changed: set.changed))) }
    }
    for (number, aside) in staging.aside.sorted(by: { $0.key < $1.key }) {
      let directory = difference.pairs[number].directory
      if difference.isWhole, let part = staging.parts[number] {
        steps.append(.setAside(from: directory, to: aside, but: part, time: time))
        for name in difference.staying where try metadata.entry(name, in: directory) != nil {
          steps.append(.rename(parent: aside, name: name, newParent: directory, newName: name, drops: false, time: time))
        }
        continue
      }
      for name in difference.extra[number] ?? [] where try metadata.entry(name, in: directory) != nil {
        steps.append(.rename(parent: directory, name: name, newParent: aside, newName: name, drops: false, time: time))
      }
    }
    for (number, part) in staging.parts.sorted(by: { $0.key < $1.key }) {
      steps.append(.moveEntries(from: part, to: difference.pairs[number].directory, time: time))
    }
    return steps + last + (try limitsAgain(staging.revival.made))
  }

  /// Those of the nodes that are open, in their order: two of them cannot wait for each other.
  private func openFiles(_ inodes: [InodeNumber]) throws(VaultError) -> [OpenFile] {
    lock.withLock {
      inodes.sorted().compactMap { inode -> OpenFile? in
        guard let node = try? metadata.node(inode), let draft = node.draft else { return nil }
        node.openCount += 1
        return OpenFile(node, draft)
      }
    }
  }

  private func allQuiescent(_ files: ArraySlice<OpenFile>, _ body: () throws(VaultError) -> Void) throws(VaultError) {
    guard let first = files.first else { return try body() }
    try quiescent(first) { () throws(VaultError) in try allQuiescent(files.dropFirst(), body) }
  }

  // MARK: Limits

  /// - Parameter others: nodes that go, and are not in the plan.
  private func weigh(_ difference: TreeDifference, _ staging: Staging, at moment: LSN, _ others: inout Set<InodeNumber>) throws(VaultError) -> [TreeWeight] {
    var staged = Weighing(countsLinks: true), coming = Weighing(countsLinks: true), going = Weighing(countsLinks: false), held = Weighing(countsLinks: false)
    // The places it was put together in come and go.
    let places = [staging.place] + staging.parts.values + staging.aside.values
    for place in places {
      let info = try info(place)
      staged.add(info, at: 0)
      going.add(info, at: 0)
    }
    // (In the order in which it was made: the first name of a node is the one that it is charged at.)
    for (number, part) in staging.parts.sorted(by: { $0.key < $1.key }) { try weigh(below: part, at: number, but: staging.revival.linked, &staged) }
    for number in difference.touched {
      let directory = difference.pairs[number].directory
      for name in difference.names(number) {
        guard let info = try lookup(name, in: directory) else { continue }
        going.add(info, at: number)
        if info.mode & S_IFMT == S_IFDIR { try weigh(below: info.inode, at: number, &going) }
      }
    }
    let numbers = Dictionary(difference.pairs.enumerated().map { ($1.directory, $0) }) { first, _ in first }
    // One with several names is charged where its home is.
    func home(of inode: InodeNumber) throws(VaultError) -> Int? {
      try lock.withLock { () throws(VaultError) in
        var number: Int?
        try metadata.eachDirectory(from: try metadata.node(inode).parent) { number = number ?? numbers[$0.inode] }
        return number
      }
    }
    for inode in going.whole { if let number = try home(of: inode) { going.add(try info(inode), at: number, isWhole: true) } }
    // What is open goes from its place, and costs its owner as long.
    for (inode, place) in going.counted where lock.withLock({ (try? metadata.node(inode))?.openCount ?? 0 > 0 }) { held.add(try info(inode), at: place, isWhole: true) }
    for (inode, change) in difference.changed {
      let number = try home(of: inode) ?? change.pair
      going.add(try info(inode), at: number, isWhole: true)
      coming.add(try info(change.source, at: moment), at: number, isWhole: true)
    }
    others = going.met.subtracting(places)
    return difference.pairs.indices.filter { number in [staged, coming, going].contains { $0.sums[number] != nil } }.map { number in
      TreeWeight(directory: difference.pairs[number].directory, staged: staged.sums[number] ?? [:], coming: coming.sums[number] ?? [:], going: going.sums[number] ?? [:], held: held.sums[number] ?? [:])
    }
  }
}

/// What changes in a directory that is taken back, in all (`.vault`) and by owners.
struct TreeWeight {
  let directory: InodeNumber
  /// What comes and is charged already, but for the limits of trees that it is not in yet.
  let staged: [QuotaSubject: Usage]
  let coming: [QuotaSubject: Usage]
  let going: [QuotaSubject: Usage]
  /// What of that is open.
  let held: [QuotaSubject: Usage]
}
