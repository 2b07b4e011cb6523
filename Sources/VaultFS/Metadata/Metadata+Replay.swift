// The view made from the journal and the packs: a little of it after an unclean end, all of it in a rebuild.

extension Metadata {
  /// Notes the chunks of all packs from `first` on, beginning at `offset` in it.
  func learnPacks(_ containers: ContainerStore, from first: ContainerNumber, at offset: UInt64, verifyPayload: Bool) throws(VaultError) {
    for number in containers.numbers(.pack) where number >= first {
      _ = try PackScanner.frames(of: try containers.file(number), from: number == first ? offset : 0, verifyPayload: verifyPayload) {
        header, at throws(VaultError) in
        try begin()
        try insert(header, at: at, in: number)
      }
    }
  }

  /// Applies what a journal reader finds.
  var replaying: JournalReader.Visitor {
    JournalReader.Visitor(
      frame: { [self] header, offset, container throws(VaultError) in
        try begin()
        try insert(header, at: offset, in: container)
      },
      operation: { [self] operation, lsn throws(VaultError) in
        try apply(operation, lsn: lsn)
        if operationsSinceCommit >= Limits.commitOperations { try commit() }
      })
  }
}

extension Vault {
  /// Makes the metadata database of the vault at `path` anew from its journal and packs.
  /// - Parameter progress: called with the share that is done, 0…1.
  public static func rebuild(at path: String, progress: (Double) -> Void) throws(VaultError) {
    let configuration = try readConfiguration(path)
    let owner = try OwnerLock(vault: path, purpose: "rebuilding it")
    defer { withExtendedLifetime(owner) {} }
    try rebuild(path, configuration: configuration, disk: try RealDisk(path: path), progress: progress)
  }

  static func rebuild(_ path: String, configuration: VaultConfiguration, disk: any Disk, progress: (Double) -> Void) throws(VaultError) {
    let new = databaseName + ".new"
    for suffix in ["", "-wal", "-shm"] where disk.exists(new + suffix) { try disk.remove(new + suffix) }
    let containers = try ContainerStore(disk: disk)
    let packs = containers.numbers(.pack), segments = containers.journal
    guard let first = segments.first else { throw .journalDamaged(detail: "\(path)/journal has no segments") }
    try fill("\(path)/\(new)", configuration, containers, packs: packs, first: first, last: segments.last!, progress)
    for suffix in ["-wal", "-shm"] where disk.exists(databaseName + suffix) { try disk.remove(databaseName + suffix) }
    try disk.rename(new, to: databaseName)
    try disk.syncDirectory(".")
    progress(1)
  }

  private static func fill(_ file: String, _ configuration: VaultConfiguration, _ containers: ContainerStore, packs: [ContainerNumber],
                           first: ContainerNumber, last: ContainerNumber, _ progress: (Double) -> Void) throws(VaultError) {
    let database = try Database(path: file)
    try Schema.prepare(database)
    let metadata = try Metadata(database: database, nameKey: configuration.nameKey)
    try metadata.learnPacks(containers, from: ContainerNumber(0), at: 0, verifyPayload: false)
    progress(0.3)
    let end = try JournalReader(containers: containers, vault: configuration.id).read(after: .zero, from: first, at: 0, metadata.replaying)
    guard end.lastLSN > .zero else { throw .journalDamaged(detail: "it holds no operation") }
    metadata.state.segment = last
    metadata.state.segmentOffset = try containers.file(last).size()
    metadata.state.pack = packs.last ?? ContainerNumber(0)
    metadata.state.nextContainer = max(last.value, packs.last?.value ?? 0) + 1
    progress(0.9)
    try metadata.begin()
    try metadata.commit()
    try metadata.database.checkpoint()
  }
}
