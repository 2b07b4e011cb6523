// The view made from the journal and the packs: a little of it after an unclean end, all of it in a rebuild.

import Glibc

extension Metadata {
  /// Notes the chunks of all packs from `first` on, beginning at `offset` in it.
  func learnPacks(_ containers: ContainerStore, from first: ContainerNumber, at offset: UInt64, progress: (Double) -> Void = { _ in }) throws(VaultError) {
    let packs = containers.numbers(.pack).filter { $0 >= first }, decoder = Decoder()
    for (index, number) in packs.enumerated() {
      progress(Double(index) / Double(packs.count))
      let file = try containers.file(number)
      _ = try PackScanner.frames(of: file, from: number == first ? offset : 0, verifyPayload: true, searches: true) {
        header, at, find throws(VaultError) in
        let place = FramePlace(container: number, offset: at, length: UInt32(header.totalLength))
        if find == .searched, !Self.isGenuine(place, file, containers, decoder) { return }
        try begin()
        try insert(header, at: at, in: number)
      }
    }
  }

  /// Whether a frame's chunks are what their ids say. (A program can store bytes that look like a frame.)
  private static func isGenuine(_ place: FramePlace, _ file: any DiskFile, _ containers: ContainerStore, _ decoder: Decoder) -> Bool {
    let frame = try? DecodedFrame(reading: file, at: place, decoder: decoder) { base throws(VaultError) in
      try DecodedFrame(reading: try containers.file(base.container), at: base, isBase: true, decoder: Decoder()) { _ throws(VaultError) in
        throw .chunkDamaged(detail: "a base that has a base")
      }
    }
    guard let frame else { return false }
    var offset: UInt32 = 0
    return frame.chunks.allSatisfy { chunk in
      defer { offset += chunk.length }
      return unsafe frame.withChunk(chunk.id, at: offset) { plain in unsafe ChunkID(of: plain) == chunk.id } == true
    }
  }

  /// Applies what a journal reader finds.
  /// - Parameter log: told of content that is not stored any more. (What it belongs to is read as an error there, alone.)
  func replaying(_ log: @escaping (String) -> Void) -> JournalReader.Visitor {
    JournalReader.Visitor(
      frame: { [self] header, offset, container throws(VaultError) in
        try begin()
        try insert(header, at: offset, in: container)
      },
      isComplete: { [self] operation throws(VaultError) in try missing(operation).isEmpty },
      operation: { [self] operation, lsn, stamp throws(VaultError) in
        for id in try missing(operation) {
          log("a chunk that operation \(lsn.value) names is not stored any more: what holds it can be read only in part")
          try insertMissing(id)
        }
        try apply(operation, lsn: lsn, stamp: stamp)
        if operationsSinceCommit >= Limits.commitOperations { try commit() }
      })
  }
}

extension Metadata {
  /// The chunks that `operation` names and that are not stored.
  func missing(_ operation: Operation) throws(VaultError) -> [ChunkID] {
    guard case .content(_, _, let extents, _, _) = operation else { return [] }
    var missing: [ChunkID] = []
    for extent in extents {
      if case .chunk(let id, _) = extent.source, try chunk(id) == nil { missing.append(id) }
    }
    return missing
  }
}

extension Vault {
  /// Makes the metadata database of the vault at `path` anew from its journal and packs.
  /// - Parameter progress: called with the share that is done, 0…1.
  public static func rebuild(at path: String, log: @escaping (String) -> Void = { _ in }, progress: (Double) -> Void) throws(VaultError) {
    let configuration = try readConfiguration(path)
    let owner = try OwnerLock(vault: path, purpose: "rebuilding it")
    defer { withExtendedLifetime(owner) {} }
    try rebuild(path, configuration: configuration, disk: try RealDisk(path: path), log: log, progress: progress)
  }

  /// - Parameter settingAside: called when the new database is made, before it takes the old one's place.
  static func rebuild(_ path: String, configuration: VaultConfiguration, disk: any Disk, log: @escaping (String) -> Void,
                      settingAside: () throws(VaultError) -> Void = {},
                      progress: (Double) -> Void) throws(VaultError) {
    let new = databaseName + ".new"
    for suffix in ["", "-wal", "-shm"] where disk.exists(new + suffix) { try disk.remove(new + suffix) }
    let containers = try ContainerStore(disk: disk)
    let packs = containers.numbers(.pack), segments = containers.journal
    guard let first = segments.first else { throw .journalDamaged(detail: "\(path)/journal has no segments") }
    let known = appliedBefore(path, disk)
    do throws(VaultError) {
      try fill("\(path)/\(new)", configuration, containers, packs: packs, first: first, last: segments.last!, log, progress) { end throws(VaultError) in
        guard end < known else { return }
        throw .journalDamaged(detail: """
          it ends at operation \(end.value), and the present database has seen \(known.value): files in \(path)/journal were cut short, or are missing. Nothing \
          was changed. Put the journal's files back from a copy of the vault; to go on without what they held, move \(path)/\(databaseName) away and rebuild again
          """)
      }
    } catch {
      for suffix in ["", "-wal", "-shm"] where disk.exists(new + suffix) { try? disk.remove(new + suffix) }
      throw error
    }
    try settingAside()
    for name in [databaseName + "-wal", databaseName + "-shm", checkpointName] where disk.exists(name) { try disk.remove(name) }
    for suffix in ["-wal", "-shm"] where disk.exists(new + suffix) { try disk.remove(new + suffix) }
    try disk.rename(new, to: databaseName)
    try disk.syncDirectory(".")
    progress(1)
  }

  /// The last operation that the present database has seen; 0 where nobody can tell. After a power cut its log may have
  /// seen more than the journal kept, and says nothing.
  private static func appliedBefore(_ path: String, _ disk: any Disk) -> LSN {
    let file = "\(path)/\(databaseName)"
    guard unsafe access(file, F_OK) == 0, !wasPowerCut(path, disk), let database = try? Database(path: file),
      let applied = try? database.integer("SELECT value FROM state WHERE key = 'applied'") else { return .zero }
    return LSN(UInt64(bitPattern: max(applied, 0)))
  }

  private static func fill(_ file: String, _ configuration: VaultConfiguration, _ containers: ContainerStore, packs: [ContainerNumber],
                           first: ContainerNumber, last: ContainerNumber, _ log: @escaping (String) -> Void, _ progress: (Double) -> Void,
                           checkEnd: (LSN) throws(VaultError) -> Void) throws(VaultError) {
    let database = try Database(path: file)
    try Schema.prepare(database)
    let metadata = try Metadata(database: database, nameKey: configuration.nameKey)
    // Payloads are verified: a frame that a power cut took must not stand in the way of a good one elsewhere.
    try metadata.learnPacks(containers, from: ContainerNumber(0), at: 0) { progress(0.6 * $0) }
    let reader = JournalReader(containers: containers, vault: configuration.id)
    let end = try reader.read(after: .zero, from: first, at: 0, afterPowerCut: true, metadata.replaying { _ in })
    // Before anything is cut off for good.
    try checkEnd(end.lastLSN)
    try metadata.settleMissing(log)
    if let torn = end.torn {
      log("cut off \(torn.detail)")
      try reader.cut(torn)
    }
    guard end.lastLSN > .zero else { throw .journalDamaged(detail: "it holds no operation") }
    metadata.state.nextContainer = max(last.value, packs.last?.value ?? 0) + 1
    let last = containers.journal.last ?? last
    // What was read is believed to be there: it must be, before the database is.
    for number in containers.numbers(.pack) + containers.numbers(.segment) { try containers.file(number).sync() }
    for directory in ["packs", "journal"] { try containers.disk.syncDirectory(directory) }
    metadata.state.flushedSegment = last
    metadata.state.flushedPack = packs.last ?? ContainerNumber(0)
    metadata.state.segment = last
    metadata.state.segmentOffset = try containers.file(last).size()
    metadata.state.pack = packs.last ?? ContainerNumber(0)
    progress(0.9)
    try metadata.begin()
    try metadata.commit()
    try metadata.database.checkpoint()
  }
}
