// The view of a vault after whatever happened to it: the database brought to where the journal ends; and where the
// journal is damaged, for a read-only mount, as far as it can be known.

import Glibc

extension Vault {
  static let databaseName = "metadata.db"
  /// Its log, which SQLite names.
  static let databaseLogName = databaseName + "-wal"
  /// There while the database's log is being copied into the database.
  static let checkpointName = "checkpointing"

  /// The view, where the journal ends, and what no flush of the last owner may have covered.
  struct Recovered {
    var metadata: Metadata
    /// Where the view went on.
    var position: ViewPosition
    var end: JournalReader.End
    var unsyncedSegments: [ContainerNumber] = []
    var unsyncedPacks: [any DiskFile] = []
  }

  /// - Parameter say: told what a person should know of it.
  static func recover(_ path: String, _ configuration: VaultConfiguration, _ containers: ContainerStore, _ reserve: Reserve, afterPowerCut: Bool,
                      _ say: (String) -> Void) throws(VaultError) -> Recovered {
    var replay = Replay(try openView(path, configuration, containers.disk, reserve), containers), end: JournalReader.End
    let state = replay.metadata.state
    do throws(VaultError) { end = try self.replay(replay, path, configuration, containers, afterPowerCut: afterPowerCut) } catch {
      guard let refused = replay.refused else { throw error }
      // Half of it is in the view: that begins again from what the database holds.
      replay.metadata.database.close()
      replay = Replay(try openView(path, configuration, containers.disk, reserve), containers)
      let last = Result { () throws(VaultError) in try self.replay(replay, path, configuration, containers, afterPowerCut: afterPowerCut, but: refused) }
      guard case .success(let found) = last else {
        replay.metadata.database.close()
        throw error
      }
      end = found
    }
    let metadata = replay.metadata
    try metadata.commit()
    for note in end.notes { say(note) }
    if let losses = try replay.losses(in: path) { say(losses) }
    // The view's position moves with every commit; what a flush has covered ends earlier, if nobody flushed since.
    return Recovered(metadata: metadata, position: ViewPosition(state), end: end,
                     unsyncedSegments: containers.numbers(.segment).filter { $0 >= min(state.flushedSegment, state.segment) },
                     unsyncedPacks: try containers.files(containers.numbers(.pack).filter { $0 >= min(state.flushedPack, state.pack) }))
  }

  /// The view as far as the journal can be followed. Nothing is cut, nothing is written but what the journal says.
  static func recoverDamaged(_ path: String, _ configuration: VaultConfiguration, _ containers: ContainerStore, _ reserve: Reserve, afterPowerCut: Bool) throws(VaultError) -> Recovered {
    let replay = Replay(try openView(path, configuration, containers.disk, reserve), containers)
    do throws(VaultError) { _ = try self.replay(replay, path, configuration, containers, afterPowerCut: afterPowerCut) } catch {
      guard error.isOfJournal else { throw error }
    }
    var metadata = replay.metadata
    // Half an operation is nothing to show: it begins again, and ends before that one. (One at a time has the database.)
    if replay.isHalfway {
      metadata.database.close()
      let again = Replay(try openView(path, configuration, containers.disk, reserve), containers)
      do throws(VaultError) { _ = try self.replay(again, path, configuration, containers, afterPowerCut: afterPowerCut, but: replay.refused) } catch {
        guard error.isOfJournal else { throw error }
      }
      metadata = again.metadata
      if again.isHalfway {
        metadata.database.close()
        metadata = try openView(path, configuration, containers.disk, reserve)
      }
    }
    var end = JournalReader.End.start
    end.lastLSN = metadata.state.applied
    return Recovered(metadata: metadata, position: ViewPosition(metadata.state), end: end)
  }

  private static func replay(_ replay: Replay, _ path: String, _ configuration: VaultConfiguration, _ containers: ContainerStore,
                             afterPowerCut: Bool, but refused: LSN? = nil) throws(VaultError) -> JournalReader.End {
    let state = replay.metadata.state
    // A segment is durable by name before the view may refer to it: that it is missing is damage, not a power cut.
    guard containers.journal.contains(state.segment) else {
      throw .journalDamaged(detail: "\(path)/\(ContainerStore.path(state.segment, .segment)), which the database goes on from, is missing")
    }
    // A segment that became an archive is read from its start: what the view has seen of it is skipped by its LSN.
    let offset = containers.kind(state.segment) == .archive ? 0 : state.segmentOffset
    guard try containers.file(state.segment).size() >= offset else {
      var last = LSN.zero
      for number in containers.journal where number >= state.segment {
        if let found = try Segment(number, in: containers, vault: configuration.id).lastLSN { last = max(last, found) }
      }
      throw .journalBehind(vault: path, journal: last.value, database: state.applied.value)
    }
    if let last = try ViewPosition(state).disproof(in: containers, configuration) {
      throw .databaseDamaged(detail: "\(path)/\(databaseName): its state `applied` is \(state.applied.value), and the last operation of the journal before its place there is \(last.value)")
    }
    try replay.learnPacks(from: state.pack, at: state.packOffset)
    let reader = JournalReader(containers: containers, vault: configuration.id, path: path)
    return try reader.read(after: state.applied, from: state.segment, at: offset, afterPowerCut: afterPowerCut, but: refused, replay.visitor)
  }

  /// What a view says of the journal.
  struct ViewPosition {
    /// Where it goes on, and the operation before that.
    let segment: ContainerNumber, offset: UInt64, applied: LSN
    init(segment: ContainerNumber, offset: UInt64, applied: LSN) { (self.segment, self.offset, self.applied) = (segment, offset, applied) }
    init(_ state: Metadata.State) { self.init(segment: state.segment, offset: state.segmentOffset, applied: state.applied) }

    /// The operation before that place in truth, where `applied` is another one and all of the segment up to there is whole: then no
    /// file of the journal was cut short, and the number is wrong. (An archive has other places.)
    func disproof(in containers: ContainerStore, _ configuration: VaultConfiguration) throws(VaultError) -> LSN? {
      guard containers.kind(segment) == .segment else { return nil }
      let last = try Segment(segment, in: containers, vault: configuration.id).lastLSN(before: offset)
      return last.flatMap { $0 != applied ? $0 : nil }
    }
  }

  private static func openView(_ path: String, _ configuration: VaultConfiguration, _ disk: any Disk, _ reserve: Reserve) throws(VaultError) -> Metadata {
    let database = try openDatabase(path)
    try Schema.prepare(database)
    if disk.exists(checkpointName) {
      // Finished before anything else enters the log: all that is in it now is durable in the journal.
      try reserve.makeRoom(forCheckpointOf: database)
      try reserve.lend { () throws(VaultError) in try database.checkpoint() }
      try disk.remove(checkpointName)
      try disk.syncDirectory(".")
    }
    let metadata = try Metadata(database: database, nameKey: configuration.nameKey)
    guard metadata.state.applied > .zero else { throw metadata.damaged("it holds no vault") }
    metadata.reserve = reserve
    return metadata
  }

  /// The database of the vault at `path`. SQLite would make one where there is none.
  static func openDatabase(_ path: String) throws(VaultError) -> Database {
    let file = "\(path)/\(databaseName)"
    var info = stat()
    guard unsafe lstat(file, &info) == 0 else { throw .databaseDamaged(detail: "\(file): it is missing") }
    guard info.st_size > 0 else { throw .databaseDamaged(detail: "\(file): it is empty (0 bytes)") }
    return try Database(path: file)
  }

  /// The file of the database, beside SQLite. It stays open for as long as the vault is: closing any descriptor of a file ends all of a
  /// process's locks on it (fcntl(2)), and SQLite's are such.
  func databaseFile() throws(VaultError) -> any DiskFile {
    try lock.withLock { () throws(VaultError) in try databaseFileLocked() }
  }
  func databaseFileLocked() throws(VaultError) -> any DiskFile {
    if let openedDatabase { return openedDatabase }
    let file = try containers.disk.open(Self.databaseName, .update)
    openedDatabase = file
    return file
  }

  var databaseBytes: UInt64 {
    var info = stat()
    return unsafe lstat("\(path)/\(Self.databaseName)", &info) == 0 ? UInt64(info.st_size) : 0
  }

  static func isViewOutdated(_ path: String) throws(VaultError) -> Bool {
    do throws(VaultError) { try Schema.prepare(try openDatabase(path)) } catch {
      if case .databaseOutdated = error { return true }
      throw error
    }
    return false
  }

  static func hasDatabaseLog(_ path: String) -> Bool { databaseLogBytes(path) > 0 }

  static func databaseLogBytes(_ path: String) -> Int {
    var info = stat()
    return unsafe lstat("\(path)/\(databaseLogName)", &info) == 0 ? Int(info.st_size) : 0
  }

  static func discardDatabaseLog(_ disk: any Disk) throws(VaultError) {
    for suffix in ["-wal", "-shm"] where disk.exists(databaseName + suffix) { try disk.remove(databaseName + suffix) }
  }
}
