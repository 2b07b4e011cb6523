// The metadata database made anew, beside the present one, from the journal and the packs.
//
// What must stay true: the present database is replaced only by one that is complete and knows no less. Whatever fails
// before leaves everything as it was: no file of the new database, and nothing cut off the journal.

import Glibc

extension Vault {
  /// Makes the metadata database of the vault at `path` anew from its journal and packs.
  /// - Parameter log: told what a person should know: what was cut off, which content is not stored any more.
  /// - Parameter progress: called with the share that is done, 0…1.
  public static func rebuild(at path: String, log: @escaping (String) -> Void = { _ in }, progress: (Double) -> Void) throws(VaultError) {
    let configuration = try readConfiguration(path)
    let owner = try OwnerLock(vault: path, purpose: "rebuilding it")
    defer { withExtendedLifetime(owner) {} }
    let disk = try RealDisk(path: path)
    // (A copy with other names is replaced, and they keep it.)
    do throws(VaultError) { try PlainFile.check("\(path)/\(databaseName)") } catch { if case .misplaced = error { throw error } }
    try rebuild(path, configuration: configuration, disk: disk, lastEnd: try LastEnd(path, disk), log: log, progress: progress)
  }

  private static let newName = databaseName + ".new"
  private static let suffixes = ["", "-wal", "-shm"]

  /// - Parameter settingAside: called when the new database is made, before it takes the old one's place.
  static func rebuild(_ path: String, configuration: VaultConfiguration, disk: any Disk, lastEnd: LastEnd, log: (String) -> Void,
                      settingAside: () throws(VaultError) -> Void = {}, progress: (Double) -> Void) throws(VaultError) {
    // A second database needs room; the next opening takes its own again.
    _ = Reserve(disk).giveUp()
    func removeNew() throws(VaultError) { for suffix in suffixes where disk.exists(newName + suffix) { try disk.remove(newName + suffix) } }
    try removeNew()
    do throws(VaultError) {
      let containers = try ContainerStore(disk: disk)
      guard let first = containers.journal.first else { throw .journalDamaged(detail: "\(path)/journal has no segments") }
      let known = KnownBefore(path, withLog: !lastEnd.distrustsLog)
      containers.raiseNext(to: known.nextContainer)
      let reader = JournalReader(containers: containers, vault: configuration.id, path: path)
      func fill(but refused: inout LSN?) throws(VaultError) -> JournalReader.End.Torn? {
        try self.fill("\(path)/\(newName)", path, configuration, reader, first: first, afterPowerCut: lastEnd.isPowerCut, known, but: &refused, log, progress)
      }
      var refused: LSN?, torn: JournalReader.End.Torn?
      do throws(VaultError) { torn = try fill(but: &refused) } catch {
        guard refused != nil else { throw error }
        // Half of it is in the new database.
        try removeNew()
        torn = try fill(but: &refused)
      }
      if let torn { log(try reader.cut(torn)) }
    } catch {
      try? removeNew()
      throw error
    }
    try settingAside()
    for name in [databaseLogName, databaseName + "-shm", checkpointName] where disk.exists(name) { try disk.remove(name) }
    for suffix in suffixes.dropFirst() where disk.exists(newName + suffix) { try disk.remove(newName + suffix) }
    try disk.rename(newName, to: databaseName)
    try disk.syncDirectory(".")
    progress(1)
  }

  /// - Returns: what is to be cut off the journal before the new database takes its place.
  private static func fill(_ file: String, _ path: String, _ configuration: VaultConfiguration, _ reader: JournalReader, first: ContainerNumber,
                           afterPowerCut: Bool, _ known: KnownBefore, but refused: inout LSN?, _ log: (String) -> Void, _ progress: (Double) -> Void) throws(VaultError) -> JournalReader.End.Torn? {
    let containers = reader.containers, database = try Database(path: file)
    try Schema.prepare(database)
    let metadata = try Metadata(database: database, nameKey: configuration.nameKey), replay = Replay(metadata, containers)
    // Payloads are verified: a frame that a power cut took must not stand in the way of a good one elsewhere.
    try replay.learnPacks(from: .none, at: 0) { progress(0.6 * $0) }
    let end: JournalReader.End
    do throws(VaultError) { end = try reader.read(after: .zero, from: first, at: 0, afterPowerCut: afterPowerCut, but: refused, replay.visitor) } catch {
      refused = replay.refused
      throw error
    }
    guard end.lastLSN > .zero else { throw .journalDamaged(detail: "\(path)/journal holds no operation") }
    if let position = known.position, end.lastLSN < position.applied, try position.disproof(in: containers, configuration) == nil {
      throw .journalBehind(vault: path, journal: end.lastLSN.value, database: position.applied.value)
    }
    // What was read is believed to be there: it must be, before the database is.
    for number in containers.numbers(.pack) + containers.numbers(.segment) { try containers.file(number).sync() }
    for directory in ["packs", "journal"] { try containers.disk.syncDirectory(directory) }
    let packs = containers.numbers(.pack)
    metadata.state.nextContainer = containers.next
    (metadata.state.segment, metadata.state.segmentOffset) = try position(after: end, containers)
    metadata.state.flushedSegment = metadata.state.segment
    metadata.state.flushedPack = packs.last ?? .none
    metadata.state.pack = packs.last ?? .none
    for note in end.notes { log(note) }
    if let losses = try replay.losses(in: path, of: try metadata.settleMissing(), missing: known.missing(from: containers)) { log(losses) }
    progress(0.9)
    try metadata.begin()
    try metadata.commit()
    try metadata.database.checkpoint()
    return end.torn
  }

  /// Where the journal goes on, once what is torn is cut off.
  private static func position(after end: JournalReader.End, _ containers: ContainerStore) throws(VaultError) -> (ContainerNumber, UInt64) {
    let segments = containers.journal
    if let torn = end.torn, torn.offset >= UInt64(SegmentHeader.length) { return (torn.segment, torn.offset) }
    guard let last = segments.last(where: { segment in end.torn.map { segment < $0.segment } ?? true }) else { throw .journalDamaged(detail: "it has no segments") }
    return (last, try containers.file(last).size())
  }
}

/// What the database that is to be replaced still tells, as far as it can be read.
private struct KnownBefore {
  /// Its last operation, and where that ends; nil where nobody knows.
  private(set) var position: Vault.ViewPosition?
  private(set) var nextContainer: UInt64 = 0
  /// From which chunks were read.
  private var containers: [ContainerNumber] = []

  /// - Parameter withLog: the database's log is not ahead of the journal.
  init(_ path: String, withLog: Bool) {
    let file = "\(path)/\(Vault.databaseName)"
    guard unsafe access(file, F_OK) == 0, let database = try? Database(lookingAt: file, withLog: withLog && Vault.hasDatabaseLog(path)) else { return }
    func state(_ key: String) -> UInt64 { (try? database.integer("SELECT value FROM state WHERE key = '\(key)'")).map { UInt64(bitPattern: $0) } ?? 0 }
    // What no vault can have says nothing.
    let last = state("applied")
    if last < UInt64(Int64.max) { position = Vault.ViewPosition(segment: ContainerNumber(state("segment")), offset: state("segment_offset"), applied: LSN(last)) }
    let highest = (try? database.integer("SELECT max(number) FROM container")).map { UInt64(bitPattern: $0) &+ 1 } ?? 0
    nextContainer = max(state("next_container"), highest)
    guard let select = try? database.prepare("SELECT number FROM container WHERE chunks > 0 AND number > 0") else { return }
    while (try? select.step()) == true { containers.append(ContainerNumber(select.unsigned(0))) }
  }

  func missing(from store: ContainerStore) -> [ContainerNumber] { containers.filter { store.kind($0) == nil } }
}
