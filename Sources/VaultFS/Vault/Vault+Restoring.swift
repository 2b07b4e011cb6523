// Taking back what was: a file in place, a file or a whole tree under a name, what was deleted.
//
// What must stay true: taking something back is a change like any other: an operation of the journal, and what it
// replaces becomes the past. Content comes back by reference, whatever its size. A tree appears under its name when all
// of it is there.

import Glibc

/// What taking back a tree came to.
public struct Restored: Sendable, Hashable, Codable {
  /// Files, directories and others that are what they were.
  public var nodes: UInt64
  /// Names that were there then and lead to nothing that is kept: how many, and some of them.
  public var missing: UInt64 = 0
  public var missingNames: [[UInt8]] = []
  /// Of these names, how many lead to what they lead to now: it was left where it is.
  public var stayed: UInt64 = 0
  /// It was that already.
  public var isUnchanged = false
  /// Files in it that hold something known to be damaged: how many, and what some of them are called.
  public var damaged: UInt64 = 0
  public var damagedNames: [[UInt8]] = []
  /// It is as it was at the end of this second since 1970, the last before the one that was meant of which everything is kept; nil: it is
  /// as of that.
  public var asOf: Int64?
  public init(nodes: UInt64 = 0) { self.nodes = nodes }

  private static let namesMax = 10
  mutating func miss(_ name: [UInt8], stays: Bool = false) {
    missing += 1
    if stays { stayed += 1 }
    if missingNames.count < Self.namesMax { missingNames.append(name) }
  }
}

/// How something is taken back.
public struct RestoreOptions: Sendable {
  /// false: files come without the set-user-ID and set-group-ID bits they had.
  public var keepsPrivileges = true
  /// Who owns it then, with a mode where it is not that of then; nil: whoever owned it.
  public var owner: Owner?
  public struct Owner: Sendable {
    public var user, group: UInt32
    public var mode: UInt32?
    public init(user: UInt32, group: UInt32, mode: UInt32? = nil) { (self.user, self.group, self.mode) = (user, group, mode) }
  }
  /// Whether what is there may become something else, or go; asked when nothing can come between. nil: all may.
  public var mayReplace: (@Sendable (NodeInfo, Protection) -> Bool)?
  /// Whether what was may come back, likewise, of which only root can give what it had, or not; in the place of what is there now, if
  /// anything is.
  public var mayReturn: (@Sendable (_ was: NodeInfo, _ isRoots: Bool, _ now: NodeInfo?) -> Bool)?
  /// Who asks: of theirs, others wait for one at a time.
  public var user: UInt32 = 0
  /// Of a file in place: its content alone comes back, and is its owner's whose it is now, with the mode of now.
  public var isContentOnly = false
  /// What is made is a copy, and nothing is taken back by it: what was deleted stays in the trash, with its past and its limit.
  public var isCopy = false
  /// Ends it before anybody sees anything of it; what is done by then stays done.
  public var cancellation = Cancellation()
  /// Called now and then, in the thread that takes it back.
  public var progress: @Sendable (RestoreProgress) -> Void = { _ in }
  /// Where there is one, nothing is changed: it is told what would be.
  public var plan: RestorePlan?
  /// It is in the midst of `Vault.inTurn`.
  fileprivate var hasTurn = false
  public init(keepsPrivileges: Bool = true) { self.keepsPrivileges = keepsPrivileges }

  func goOn() throws(VaultError) { if cancellation.isCancelled { throw .interrupted } }
}

/// Of a tree: that another one is being taken back; how many names were compared with what is there; how many nodes were made, and of
/// how many where that is known.
public enum RestoreProgress: Sendable { case waiting, compared(UInt64), made(UInt64, of: UInt64?) }

extension Vault {
  /// Waits until no other tree is taken back, and takes one or more back: what `body` looks at first is as it is then, not as it was
  /// before a long wait. Those that are only told what would change wait for each other.
  /// - Throws: `.interrupted` where `options` were cancelled meanwhile, and whatever `body` does.
  public func inTurn<R>(_ options: RestoreOptions, _ body: (RestoreOptions) throws -> R) throws -> R {
    try begin(options)
    defer { turn(options).end() }
    var options = options
    options.hasTurn = true
    return try body(options)
  }

  func inTurn<R>(_ options: RestoreOptions, _ body: () throws(VaultError) -> R) throws(VaultError) -> R {
    if options.hasTurn { return try body() }
    try begin(options)
    defer { turn(options).end() }
    return try body()
  }

  private func turn(_ options: RestoreOptions) -> Turn { options.plan == nil ? restoring : planning }

  private func begin(_ options: RestoreOptions) throws(VaultError) {
    try turn(options).take(for: options.user) { () throws(VaultError) in
      try options.goOn()
      options.progress(.waiting)
    }
  }

  /// A file becomes what it, or another one, was at a moment: content, attributes, mode and owner.
  /// - Returns: whether it was anything else.
  @discardableResult
  public func restore(_ inode: InodeNumber, from source: InodeNumber, at moment: LSN, _ options: RestoreOptions = RestoreOptions()) throws(VaultError) -> Bool {
    try checkSpace()
    let file = try open(inode)
    defer { release(inode) }
    var changed = ContentChange(), isDone = false
    try withinQuotas { () throws(VaultError) in try quiescent(file) { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        guard let past = try metadata.node(source, at: moment) else { throw .notFound }
        guard past.isRegular else { throw .notSupported }
        if file.node.isDropped { throw .staleNode }
        try options.check(file.node, metadata)
        try options.checkReturn(past, metadata, now: file.node)
        var options = options
        if options.isContentOnly {
          guard try metadata.hasSameXattrs(file.node, as: past) else { throw .notPermitted }
          options.owner = RestoreOptions.Owner(user: file.node.user, group: file.node.group, mode: file.node.mode & ~(S_ISUID | S_ISGID))
        }
        // It is that.
        if try metadata.isSame(file.node, past) { return }
        try checkQuotas(for: file.node, becoming: past, options.owner)
        if let plan = options.plan { return plan.add(.changes, isDirectory: false) }
        let change = ContentChange(try metadata.differences(between: file.node, and: past), of: file.node.size)
        var set = attributes(of: past, options)
        // Whoever may write to a file may not say when that was.
        if options.isContentOnly { (set.accessed, set.modified) = (nil, set.changed) }
        try perform(.restore(inode, from: source, moment: moment, attributes: set))
        isDone = true
        changed = toTellNow(change, of: file.node, ours: 1)
      }
    } }
    unsafe whenContentChanges?(inode, changed.ranges)
    return isDone
  }

  /// Of content that changed, what must be told at once (`whenContentChanges`). `lock` is held.
  /// - Parameter ours: how often we have the file open.
  func toTellNow(_ change: ContentChange, of node: Node, ours: Int) -> ContentChange {
    // The next opening drops all that is cached of it.
    guard node.openCount == ours, change.bytes >= Limits.staleBytesMin, change.bytes >= change.size / 2 else { return change }
    stale.insert(node.inode)
    return ContentChange()
  }

  func attributes(of past: Node, _ options: RestoreOptions) -> AttributeSet {
    AttributeSet(mode: mode(of: past, options) & 0o7777, user: options.owner?.user ?? past.user, group: options.owner?.group ?? past.group, accessed: past.accessed, modified: past.modified, changed: Self.now())
  }

  private func mode(of past: Node, _ options: RestoreOptions) -> UInt32 {
    if let mode = options.owner?.mode { return past.mode & S_IFMT | mode & 0o7777 }
    return past.isRegular && !options.keepsPrivileges ? past.mode & ~(S_ISUID | S_ISGID) : past.mode
  }

  /// How many names are directly in a directory, or were.
  public func nameCount(of directory: InodeNumber, at moment: LSN? = nil) throws(VaultError) -> UInt64 {
    try lock.withLock { () throws(VaultError) in
      guard let moment else { return try metadata.directory(directory).entries }
      guard let past = try metadata.node(directory, at: moment) else { throw .notFound }
      return past.entries
    }
  }

  /// Makes a node anew, with all below it, as it was at a moment.
  /// - Throws: `.alreadyExists` where the name is taken; then nothing has changed.
  @discardableResult
  public func revive(_ source: InodeNumber, at moment: LSN, as name: [UInt8], in parent: InodeNumber) throws(VaultError) -> InodeNumber {
    var restored = Restored()
    return try revive(source, at: moment, as: name, in: parent, &restored)
  }

  /// - Parameter restored: what came back.
  @discardableResult
  public func revive(_ source: InodeNumber, at moment: LSN, as name: [UInt8], in parent: InodeNumber, _ restored: inout Restored,
                     _ options: RestoreOptions = RestoreOptions()) throws(VaultError) -> InodeNumber {
    try checkName(name)
    try checkSpace()
    defer { unsafe whenNameChanges?(name, parent) }
    // Where that is a version that goes on, it is with what programs have written by now.
    try save(source)
    let isDirectory = try info(source, at: moment).mode & S_IFMT == S_IFDIR
    try lock.withLock { () throws(VaultError) in try metadata.checkFree(name, in: parent) }
    restored = Restored(nodes: 1)
    guard isDirectory else { return try reviveOne(source, moment, name, parent, options) }
    return try inTurn(options) { () throws(VaultError) in try reviveTree(source, at: moment, as: name, in: parent, options, &restored) }
  }

  private func reviveTree(_ source: InodeNumber, at moment: LSN, as name: [UInt8], in parent: InodeNumber, _ options: RestoreOptions, _ restored: inout Restored) throws(VaultError) -> InodeNumber {
    let staging = Self.stagingName()
    do throws(VaultError) {
      var revival = Revival(moment: moment, options)
      revival.stages = true
      revival.total = try count(below: source, at: moment, options)
      let inode = try revive(source, as: staging, in: parent, &revival)
      if !options.isCopy { try lock.withLock { () throws(VaultError) in for limit in try limitsAgain(revival.made, onlyOfGone: true) { try perform(limit) } } }
      try rename(staging, in: parent, to: name, in: parent, mode: .noReplace, isOurs: true)
      restored = revival.done
      return inode
    } catch {
      try? removeTree(staging, in: parent)
      throw error
    }
  }

  /// A tree's limit ended, or is about to end, with a directory that goes on as another one. `lock` is held.
  /// - Parameter made: what goes on from what.
  /// - Parameter onlyOfGone: a copy of what is there has no limit.
  func limitsAgain(_ made: [InodeNumber: InodeNumber], onlyOfGone: Bool = false) throws(VaultError) -> [Operation] {
    var limits: [Operation] = []
    // Few trees have limits, and many nodes may have been made.
    let limited = Set(try metadata.treesWithLimits())
    for (was, now) in made where was != now && limited.contains(was) {
      guard let last = try metadata.lastLimits(ofTree: was) else { continue }
      if onlyOfGone, try metadata.isNamed(was) { continue }
      limits.append(.setQuota(.tree(now), last))
    }
    return limits
  }

  /// Whether a node was made when another one was taken back, or one that was made so.
  public func isSuccessor(_ inode: InodeNumber, of source: InodeNumber) throws(VaultError) -> Bool {
    try lock.withLock { () throws(VaultError) in try metadata.formerSelves(of: inode).contains { $0.inode == source } }
  }

  static func stagingName() -> [UInt8] { Array(".vaultfs-restoring-\(UInt64.random(in: 0 ... .max))".utf8) }

  /// What is made of a past. `lock` is held.
  func newNode(from past: Node, _ options: RestoreOptions) throws(VaultError) -> NewNode {
    NewNode(inode: try metadata.nextInode, mode: mode(of: past, options), user: options.owner?.user ?? past.user, group: options.owner?.group ?? past.group,
            device: past.device, target: past.target, xattrs: [])
  }

  /// - Parameter isFree: no limit is asked, and nobody is charged for it by those who ask (`stagedUsage`).
  /// - Parameter watch: does not see it.
  /// - Parameter isPlace: it is only a place to put something together in.
  /// - Parameter isStaging: something is put together in it.
  func reviveOne(_ source: InodeNumber, _ moment: LSN, _ name: [UInt8], _ parent: InodeNumber, _ options: RestoreOptions, isFree: Bool = false, watch: Watch? = nil,
                 isPlace: Bool = false, isStaging: Bool = false) throws(VaultError) -> InodeNumber {
    try withinQuotas { () throws(VaultError) in try lock.withLock { () throws(VaultError) in
      guard let past = try metadata.node(source, at: moment) else { throw .notFound }
      if !isPlace { try options.checkReturn(past, metadata) }
      let directory = try metadata.directory(parent)
      if directory.links == 0 { throw .notFound }
      try metadata.checkFree(name, in: parent)
      let node = try newNode(from: past, options), own = Usage(bytes: past.allocated, nodes: 1)
      if !isFree { try checkQuotas(user: node.user, group: node.group, home: parent, adding: own) }
      try beginEpoch()
      let set = attributes(of: past, options)
      let operation: Operation = isStaging ? .stage(node, parent: parent, name: name, from: source, moment: moment, attributes: set, isCopy: options.isCopy)
        : .revive(node, parent: parent, name: name, from: source, moment: moment, attributes: set, isCopy: options.isCopy)
      if let watch { _ = try watch.pausing { () throws(VaultError) in try perform(operation) } } else { try perform(operation) }
      if isFree { try noteStaged(own, user: node.user, group: node.group, in: parent) }
      return node.inode
    } }
  }
}
