// An open vault: a file system without a kernel. Synchronous and thread-safe; libfuse's threads call it directly.
//
// What must stay true:
// 1. A change is: validated, appended to the journal, applied to the view, answered; the first three under `lock`.
// 2. Nothing waits for a disk flush or decodes a frame while it holds `lock` (a checkpoint excepted).
// 3. After an error of doubtful effect the vault is read-only and says why; no sync is retried and believed.
//
// Themes: Vault+Open (start, recovery, end), +Names, +Attributes, +Xattrs, +Reading, +Writing, +Saving, +Planning, +Ranges,
// +Status, +Quotas, +Admission, +Growth, +QuotaWarnings; Syncer (flushes and checkpoints).

import Glibc
import Synchronization

public final class Vault: @unchecked Sendable {
  // Sendable: `metadata`, `journal`, `unsaved`, `growthSums`, `stagedUsage`, `orphans`, `failure`, `damage`, `reported`, `hasEpoch` and `keeper` are guarded by `lock`; the rest is thread-safe or immutable.
  public let configuration: VaultConfiguration
  public let path: String
  let lock = Lock()
  let metadata: Metadata
  let journal: Journal
  let containers: ContainerStore
  let packs: PackWriter
  let frames = FrameCache(bytesMax: Limits.frameCacheBytes)
  let encoders = Pool { Encoder() }
  let decoders = Pool { Decoder() }
  let syncer: Syncer
  let log: @Sendable (String) -> Void
  /// A line for the log.
  public func note(_ words: String) { log(words) }
  /// Unsaved bytes of all drafts.
  let dirtyBytes = Atomic<Int>(0)
  let saveQueue = SaveQueue()
  /// A draft was saved, or could not be; of `lock`.
  let saved: Condition
  let owner: OwnerLock
  let reserve: Reserve
  /// Guarded by `lock`; see `databaseFile`.
  var openedDatabase: (any DiskFile)?
  /// Nodes with unsaved bytes.
  var unsaved: [InodeNumber: Node] = [:]
  /// The optimiser, or a collection, is at work: one at a time. Taken before any other lock.
  let working = Lock()
  /// Trees that an owner that was killed was taking back; set when the vault is opened.
  var abandoned: [(name: [UInt8], parent: InodeNumber)] = []
  /// One tree at a time is taken back. Taken before all other locks.
  let restoring = Turn()
  /// Whoever only asks what that would change has a turn of those that do.
  let planning = Turn()
  /// What the last collection that found something gave back by itself, and when, by the monotonic clock; of `lock`.
  var givenBack: (bytes: Int64, at: UInt64)?
  /// See `trash`; of `lock`.
  var deletedWhole = DeletedWhole()
  /// What is charged to subjects with limits for what is put together, or gave way, while a tree is taken back in place: limits are
  /// asked without it.
  var stagedUsage: [QuotaSubject: Usage] = [:]
  /// When something was read or looked at last, by the monotonic clock.
  let lastUse = Atomic<UInt64>(0)
  /// Files of which whoever is served may have content cached that is no more: nobody had them open when it changed.
  var stale: Set<InodeNumber> = []
  var growthSums = GrowthSums()
  /// Nodes without a name that somebody may still hold.
  var orphans: Set<InodeNumber> = []
  /// When the room on the volume was looked at before an operation, by the monotonic clock; of `lock`.
  var lastLook: UInt64 = 0
  var failure: String?
  /// The first content that was written and could not be saved, since the vault was opened.
  var loss: String?
  /// The first damage that was met since then.
  var damage: String?
  /// Where the view went on in the journal before it was opened, after a clean end. Set before the vault is used.
  var formerPosition: ViewPosition?
  /// Its journal is damaged: it is shown, and nothing is written, not even at its end. Set before the vault is used.
  var isClosedForDamage = false
  var hasEpoch = false
  var reported: Set<String> = []
  /// The last operation before the last collection: what history holds is known up to there.
  var historyWeighed = LSN.zero
  /// When it was looked last whether the history policy lets go of something, seconds since 1970; nil: not since the vault was opened.
  var expiryLooked: Int64?
  /// How long it took to apply the history policy last.
  var expirySeconds: Int64 = 0
  /// The volume that holds the vault has less than the reserve left: only what frees space goes on.
  let diskIsFull = Atomic<Bool>(false)
  /// Set when the vault is opened, before anybody uses it.
  var keeper: Keeper?
  /// Called where a change of content took privileges from a node's mode: whoever remembers the mode must forget it.
  /// Set before the vault is used; holds no lock when it is called.
  public nonisolated(unsafe) var whenModeChanges: (@Sendable (InodeNumber) -> Void)?
  /// Called where a file's content changed and the kernel did not do it: pages it has cached of these bytes are stale, and
  /// its attributes, whatever bytes there are. As `whenModeChanges`. Of much that nobody has open, the next opening says it
  /// (`OpenFile.isStale`): the kernel lets go of page after page, and whoever changed it need not wait for that.
  public nonisolated(unsafe) var whenContentChanges: (@Sendable (InodeNumber, [Range<UInt64>]) -> Void)?
  /// The same of a name in a directory: what it stands for, or that it is there, changed.
  public nonisolated(unsafe) var whenNameChanges: (@Sendable ([UInt8], InodeNumber) -> Void)?
  /// A node that was looked up outlives its last name until `forget`. Set before the vault is used.
  public nonisolated(unsafe) var awaitsForget = false
  public nonisolated(unsafe) var accessTimes = AccessTimes.relative
  let isReadOnly: Bool

  init(configuration: VaultConfiguration, path: String, metadata: Metadata, journal: Journal, containers: ContainerStore,
       packs: PackWriter, owner: OwnerLock, isReadOnly: Bool, log: @escaping @Sendable (String) -> Void) {
    (self.configuration, self.path, self.metadata, self.journal) = (configuration, path, metadata, journal)
    (self.containers, self.packs, self.owner, self.isReadOnly, self.log) = (containers, packs, owner, isReadOnly, log)
    reserve = metadata.reserve ?? Reserve(containers.disk)
    syncer = Syncer(durable: journal.durable)
    saved = Condition(lock)
    // Those of a replay were reported when they came about.
    _ = metadata.state.quotas.takeCrossings()
  }

  // MARK: Changing

  /// Appends `operation` (and the frames it names) to the journal and applies it. `lock` is held.
  /// - Parameter known: chunks whose numbers were just looked up.
  @discardableResult
  func perform(_ operation: Operation, frames: [Journal.InlineFrame] = [], known: [ChunkID: ChunkNumber] = [:]) throws(VaultError) -> LSN {
    try checkWritable()
    try lookAfterSilence()
    // Before, not after: where there is no room for it, nothing new is taken, and what was taken is lost by nobody.
    if metadata.isCommitDue { try commit() }
    let lsn: LSN, places: [UInt64]
    do throws(VaultError) { (lsn, places) = try append(operation, frames) } catch {
      // Others have taken the last of the disk: what frees space must go on.
      guard case .diskFull = error, operation.mayUseReserve, reserve.giveUp() else { throw error }
      (lsn, places) = try append(operation, frames)
    }
    do throws(VaultError) {
      try metadata.begin()
      for (frame, place) in zip(frames, places) { try metadata.insert(frame.header, at: place, in: journal.segment) }
      try metadata.apply(operation, lsn: lsn, stamp: journal.stamp, known: known)
      notePosition()
      reportCrossings()
    } catch { throw fail(error) }
    keeper?.wake()
    return lsn
  }

  private func append(_ operation: Operation, _ frames: [Journal.InlineFrame]) throws(VaultError) -> (LSN, [UInt64]) {
    if journal.isFull { try rotate() }
    do throws(VaultError) { return try journal.append(operation, frames: frames) } catch {
      // Nothing was written.
      if case .diskFull = error { throw error }
      if case .invalidArgument = error { throw error }
      throw fail(error)
    }
  }

  /// The view has seen the journal up to its end. `lock` is held.
  func notePosition() {
    metadata.state.segment = journal.segment
    metadata.state.segmentOffset = journal.end
  }

  /// Goes on in a new segment. `lock` is held.
  func rotate() throws(VaultError) {
    // What is large of it, while nothing depends on it yet.
    try commit()
    do throws(VaultError) { try journal.rotate(to: containers.takeNumber()) } catch {
      if case .diskFull = error { throw error }
      throw fail(error)
    }
    do throws(VaultError) {
      // Named at once, so that a segment with acknowledged operations can never be missing unnoticed.
      try metadata.begin()
      notePosition()
      try commitView()
    } catch { throw fail(error) }
  }

  func checkWritable() throws(VaultError) {
    if let failure { throw .readOnly(reason: failure) }
    // A lookup may have met the error that ended the open transaction.
    do throws(VaultError) { try metadata.database.checkWhole() } catch { throw fail(error) }
    if isReadOnly { throw .readOnly(reason: mountedReadOnly) }
  }

  var mountedReadOnly: String { "\(path) was mounted so; unmount it, and mount it without --read-only" }

  /// Refuses what needs space where the disk has only the reserve left.
  func checkSpace() throws(VaultError) {
    if diskIsFull.load(ordering: .relaxed) { try checkRoom(for: 0) }
  }

  /// The first operation of a commit needs this much, bytes, and its followers.
  private static let commitBytes: UInt64 = 8 << 20
  private static let silence: UInt64 = 1_000_000_000

  /// Others may have filled the disk while nobody looked, on a volume so large that there is no reserve: then nothing begins that the
  /// view could not take. `lock` is held.
  private func lookAfterSilence() throws(VaultError) {
    guard metadata.operationsSinceCommit == 0, case let now = monotonicNanoseconds(), now - lastLook > Self.silence, let space = try? reserve.space() else { return }
    diskIsFull.store(space.available < Limits.reserveBytes, ordering: .relaxed)
    if Reserve.usable(space) < Self.commitBytes { throw .diskFull }
    lastLook = now
  }

  /// Looks how much room the volume has, and refuses `wanted` bytes more where that would eat into the reserve.
  func checkRoom(for wanted: Int) throws(VaultError) {
    guard let space = try? reserve.space() else { return }
    let isFull = space.available < Limits.reserveBytes
    diskIsFull.store(isFull, ordering: .relaxed)
    if isFull || space.available - Limits.reserveBytes < UInt64(wanted) { throw .diskFull }
  }

  /// Room for moving what survives in a pack that goes: out of what is kept back from everybody else, for it gives more back.
  func makeRoom(moving bytes: Int) throws(VaultError) {
    guard let space = try? reserve.space() else { return }
    if Reserve.usable(space) < Reserve.needed + UInt64(bytes) { throw .diskFull }
    reserve.makeRoom(for: Reserve.needed + UInt64(bytes))
  }

  /// From here on the vault is read-only. `lock` is held.
  func fail(_ error: VaultError) -> VaultError {
    if failure == nil {
      if error.isDamage { noteDamage("\(error)") }
      failure = "\(error)"
      log("the vault is read-only from now on: \(error); unmount it, see to the disk, and mount it again")
    }
    return error
  }

  /// Commits the view. `lock` is held.
  /// - Throws: `.diskFull` where there is no room for it: nothing has begun, and the next commit may find some. After any other error
  ///   the vault is read-only.
  func commit() throws(VaultError) {
    // After a failure the view may hold half an operation: what is committed is the truth, and the journal.
    if let failure { throw .readOnly(reason: failure) }
    do throws(VaultError) { try commitView() } catch {
      if case .diskFull = error, metadata.database.isWhole { throw error }
      throw fail(error)
    }
  }

  func commitView() throws(VaultError) {
    let settled = packs.settled
    metadata.state.pack = settled.container
    metadata.state.packOffset = settled.offset
    metadata.state.nextContainer = containers.next
    try metadata.commit()
  }

  static func now() -> Timestamp { .now }
}

/// Who asks for a change: what a new node belongs to, and whose privileges a write may keep.
public struct Requester: Sendable {
  public var user: UInt32
  public var group: UInt32
  public var umask: UInt32
  /// Whether a group is one of the requester's: asked only where that decides something.
  public var isMember: @Sendable (UInt32) -> Bool
  public init(user: UInt32, group: UInt32, umask: UInt32, isMember: (@Sendable (UInt32) -> Bool)? = nil) {
    (self.user, self.group, self.umask) = (user, group, umask)
    self.isMember = isMember ?? { $0 == group }
  }
}

/// Things that are dear to make and belong to one thread at a time, kept for reuse.
final class Pool<Thing: AnyObject>: @unchecked Sendable {
  // Sendable: a thing is in the pool or with one thread.
  private let lock = Lock()
  private var idle: [Thing] = []
  private let make: @Sendable () -> Thing
  private static var idleMax: Int { 4 }
  init(_ make: @escaping @Sendable () -> Thing) { self.make = make }

  func with<R, E: Error>(_ body: (Thing) throws(E) -> R) throws(E) -> R {
    let thing = lock.withLock { idle.popLast() } ?? make()
    defer { lock.withLock { if idle.count < Self.idleMax { idle.append(thing) } } }
    return try body(thing)
  }
}
