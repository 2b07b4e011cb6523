// What a vault holds and what it costs.

import Glibc
import Synchronization

/// Room on the volume that holds the vault, and what it means for the mount. Bytes.
public struct VaultSpace: Sendable {
  public var total: UInt64
  public var free: UInt64
  /// Without what is reserved: for root on the volume, and for deleting and recovery in the vault.
  public var available: UInt64
  public var nodes: UInt64
  public var nodesFree: UInt64
}

public struct VaultStatus: Sendable {
  public var path: String
  public var name: String
  public var id: String
  /// What owns the vault now; nil if nothing does.
  public var owner: String?
  public var readOnlyReason: String?
  /// The first damage that was met since it was opened; nil where nobody owns it.
  public var damage: String?
  /// The first content since then that was written and could not be saved.
  public var loss: String?
  public var counters: Counters
  /// Chunks that are noted as damaged.
  public var damagedChunks: Int64
  /// Plain bytes that only the past refers to, and that nothing does and are still on disk: as the last collection found them.
  public var historyBytes: UInt64
  public var reclaimableBytes: UInt64
  /// Operations in the journal.
  public var operations: UInt64
  /// Bytes on disk: of packs, of the journal, of the database.
  public var packBytes: UInt64
  public var journalBytes: UInt64
  public var databaseBytes: UInt64
  /// Bytes written by programs and not yet saved.
  public var unsavedBytes: UInt64
  /// Room for content; see `VaultSpace.available`.
  public var availableBytes: UInt64
  public var quotaWarnings: [QuotaWarning]
  /// A collection has looked what the past needs.
  public var isHistoryCounted = false
  /// Its owner was killed, and nobody has opened it since: the journal may have more than is counted here.
  public var isBehind = false

  public var storedBytes: UInt64 { packBytes + journalBytes + databaseBytes }
  /// Bytes of different content that not only the past needs, as far as is known.
  public var presentBytes: Int64 { counters.uniqueBytes - (isHistoryCounted ? Int64(clamping: historyBytes) : 0) }
  /// Bytes of files for each byte of different content: what only the past needs is spared by nobody.
  public var dedupRatio: Double { ratio(counters.logicalBytes, presentBytes) }
  /// Bytes of different content for each byte of frames.
  public var compressionRatio: Double { ratio(counters.uniqueBytes, counters.frameBytes) }
  private func ratio(_ a: Int64, _ b: Int64) -> Double { b > 0 ? Double(a) / Double(b) : 1 }
}

extension Vault {
  /// What of a volume's room is never filled with content, bytes.
  public static let spaceKeptBack = Limits.reserveBytes

  public func space() throws(VaultError) -> VaultSpace {
    let disk = try reserve.space()
    let nodes = lock.withLock { UInt64(max(metadata.state.counters.nodes, 0)) }
    let unsaved = UInt64(max(dirtyBytes.load(ordering: .relaxed), 0))
    let available = disk.available > Limits.reserveBytes + unsaved ? disk.available - Limits.reserveBytes - unsaved : 0
    // A node costs some 200 bytes of database and journal; nothing else limits their number.
    return VaultSpace(total: disk.total, free: max(disk.free, unsaved) - unsaved, available: available, nodes: nodes, nodesFree: available / 256)
  }

  /// What the volume and the limits above a node leave.
  public func space(at inode: InodeNumber) throws(VaultError) -> VaultSpace {
    let disk = try space()
    return try lock.withLock { () throws(VaultError) in try metadata.room(at: inode, of: disk, now: now, growth: growth) }
  }

  public func status() -> VaultStatus {
    let (state, operations, reason, damage, warnings) = lock.withLock {
      (metadata.state, journal.lastLSN.value, failure ?? (isReadOnly ? "it was mounted read-only" : nil), self.damage, (try? metadata.quotaWarnings()) ?? [])
    }
    // The same number as statfs(2) on the mount tells.
    var status = Self.status(path, configuration, state, operations, owner: Self.owner(of: path), reason: reason,
                             unsaved: UInt64(max(dirtyBytes.load(ordering: .relaxed), 0)), available: (try? space(at: .root).available) ?? 0, warnings,
                             containers.storedBytes(in: path), containers.disk)
    (status.damage, status.loss, status.isHistoryCounted) = lock.withLock { (damage, loss, historyWeighed > .zero || state.historyBytes > 0) }
    return status
  }

  /// The status of a vault that nobody owns.
  public static func status(at path: String) throws(VaultError) -> VaultStatus {
    let configuration = try readConfiguration(path)
    return try Visit.during(of: path) { () throws(VaultError) in try visitedStatus(of: path, configuration) }
  }

  private static func visitedStatus(of path: String, _ configuration: VaultConfiguration) throws(VaultError) -> VaultStatus {
    // SQLite makes the log it looks into where there is none.
    if unsafe access(path, W_OK) != 0, errno == EROFS { throw OwnerLock.onReadOnlyVolume(path) }
    let database = try openDatabase(path)
    defer { database.close() }
    try Schema.prepare(database)
    let metadata = try Metadata(database: database, nameKey: configuration.nameKey), state = metadata.state
    guard state.applied > .zero else { throw metadata.damaged("it holds no vault") }
    let disk = try RealDisk(path: path), (total, free, available) = try Reserve.space(of: disk)
    let nodes = UInt64(max(state.counters.nodes, 0))
    let space = VaultSpace(total: total, free: free, available: max(available, Limits.reserveBytes) - Limits.reserveBytes, nodes: nodes, nodesFree: 0)
    let room = try metadata.room(at: .root, of: space, now: UInt64(max(Timestamp.now.seconds, 0)) &* 1_000_000_000) { _ throws(VaultError) in 0 }
    var status = status(path, configuration, state, state.applied.value, owner: nil, reason: nil, unsaved: 0,
                        available: room.available, try metadata.quotaWarnings(),
                        (bytes(path, "packs", "", disk), bytes(path, "journal", "", disk)), disk)
    status.isBehind = disk.exists(LastEnd.fileName)
    return status
  }

  /// The journal's file that the database of the vault at `path` goes on from, where that file is not there.
  /// - Returns: nil also where the database cannot be read.
  public static func missingSegment(of path: String) -> String? {
    guard (try? readConfiguration(path)) != nil else { return nil }
    let missing = try? Visit.during(of: path) { () throws(VaultError) -> String? in
      // (Opening one makes it.)
      guard unsafe access("\(path)/\(databaseName)", F_OK) == 0 else { return nil }
      let containers = try ContainerStore(disk: RealDisk(path: path)), database = try Database(path: "\(path)/\(databaseName)")
      defer { database.close() }
      let state = try Metadata.readState(database)
      return state.applied > .zero && !containers.journal.contains(state.segment) ? "\(path)/\(ContainerStore.path(state.segment, .segment))" : nil
    }
    return missing ?? nil
  }

  private static func status(_ path: String, _ configuration: VaultConfiguration, _ state: Metadata.State, _ operations: UInt64,
                             owner: String?, reason: String?, unsaved: UInt64, available: UInt64, _ warnings: [QuotaWarning],
                             _ stored: (packs: UInt64, journal: UInt64), _ disk: any Disk) -> VaultStatus {
    VaultStatus(
      path: path, name: configuration.name, id: hex(configuration.id.high) + hex(configuration.id.low), owner: owner, readOnlyReason: reason,
      counters: state.counted, damagedChunks: state.containers.chunks(in: .none), historyBytes: state.historyBytes, reclaimableBytes: state.containers.dead, operations: operations, packBytes: stored.packs, journalBytes: stored.journal,
      databaseBytes: bytes(path, ".", databaseName, disk), unsavedBytes: unsaved, availableBytes: available, quotaWarnings: warnings)
  }

  private static func bytes(_ path: String, _ directory: String, _ prefix: String, _ disk: any Disk) -> UInt64 {
    let names = (try? disk.list(directory)) ?? []
    return names.filter { $0.hasPrefix(prefix) }.reduce(0) { $0 + allocatedBytes("\(path)/\(directory)/\($1)") }
  }

  /// How often a frame was in memory when a read needed it, and how often not, since the vault was opened.
  public var frameCacheUses: (hits: UInt64, misses: UInt64) { frames.uses }
}

/// What a file takes on disk, bytes; 0 where there is none.
func allocatedBytes(_ path: String) -> UInt64 {
  var info = stat()
  return unsafe lstat(path, &info) == 0 ? UInt64(info.st_blocks) * 512 : 0
}
