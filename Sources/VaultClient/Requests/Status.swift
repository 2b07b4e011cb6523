// What a vault holds, what it costs and who has it: what `vaultfs status` shows.

public import FoundationEssentials
import Printable
public import VaultFS

public struct StatusRequest: VaultRequest {
  public static let name = "status"
  public static let command = "vaultfs status"
  public static let access = Access.administrators
  public init() {}

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> StatusReport {
    StatusReport(host.vault.status(), requests: host.mount?().requests)
  }
}

extension VaultService {
  public func status() throws -> StatusReport { try ask(StatusRequest()) }
}

/// The status as it travels over the socket and as JSON.
public struct StatusReport: Codable, Sendable {
  public var vault: String
  public var name: String
  public var id: String
  public var owner: String?
  /// Where it is mounted here; whether someone serves that, and who. Known to the command, not to the owner.
  public var mount: String?
  public var live: Bool?
  public var pid: Int32?
  public var readOnlyReason: String?
  /// The first damage that was met since it was mounted.
  public var damage: String?
  /// Chunks that are noted as damaged: what a scrub found, and nobody has put back or written again.
  public var damagedChunks: Int64
  /// The first content since then that was written and could not be saved.
  public var loss: String?
  public var nodes: Int64
  public var operations: UInt64
  public var logicalBytes: Int64
  public var uniqueBytes: Int64
  public var compressedBytes: Int64
  public var storedBytes: UInt64
  public var packBytes: UInt64
  public var journalBytes: UInt64
  public var databaseBytes: UInt64
  public var unsavedBytes: UInt64
  public var availableBytes: UInt64
  /// Who is above a soft limit, or at a hard one.
  public var quotaWarnings: [Warning]
  /// Its owner was killed, and nobody has mounted it since: the journal may have more than is counted here.
  public var isBehind: Bool
  public var chunks: Int64
  /// nil where it is below 1: content of the past is unique, too.
  public var dedupRatio: Double?
  public var compressionRatio: Double
  /// Requests of each kind that the kernel has sent since the mount; there where the vault is mounted.
  public var requests: [String: UInt64]?

  public struct Warning: Codable, Sendable {
    public var kind: QuotaReport.Kind
    /// The user's or group's number; the directory's node.
    public var id: UInt64?
    /// Of a directory, from the vault's root.
    public var path: String?
    public var pathBytes: Data?
    /// How it stands, as a sentence without its end.
    public var detail: String

    init(_ warning: QuotaWarning) {
      (kind, id) = QuotaReport.Kind.of(warning.subject)
      let place = warning.place.map { $0.isEmpty ? [0x2F] : $0 }
      (path, pathBytes, detail) = (place.map { printable($0) }, place.map { Data($0) }, warning.detail)
    }
  }

  public init(_ status: VaultStatus, requests: [String: UInt64]? = nil) {
    self.requests = requests
    (vault, name, id, owner, readOnlyReason, damage) = (status.path, status.name, status.id, status.owner, status.readOnlyReason, status.damage)
    (loss, damagedChunks) = (status.loss, status.damagedChunks)
    (nodes, operations, chunks) = (status.counters.nodes, status.operations, status.counters.chunks)
    (logicalBytes, uniqueBytes, compressedBytes) = (status.counters.logicalBytes, status.counters.uniqueBytes, status.counters.frameBytes)
    (storedBytes, packBytes, journalBytes, databaseBytes) = (status.storedBytes, status.packBytes, status.journalBytes, status.databaseBytes)
    (unsavedBytes, availableBytes, quotaWarnings, isBehind) = (status.unsavedBytes, status.availableBytes, status.quotaWarnings.map(Warning.init), status.isBehind)
    dedupRatio = status.dedupRatio >= 1 ? (status.dedupRatio * 100).rounded() / 100 : nil
    compressionRatio = (status.compressionRatio * 100).rounded() / 100
  }
}
