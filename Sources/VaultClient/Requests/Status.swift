// What a vault holds, what it costs and who has it: what `vaultfs status` shows.

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
  /// Who is above a soft limit, or at a hard one: a sentence each.
  public var quotaWarnings: [String]
  public var chunks: Int64
  public var dedupRatio: Double
  public var compressionRatio: Double
  /// Requests of each kind that the kernel has sent since the mount; there where the vault is mounted.
  public var requests: [String: UInt64]?

  public init(_ status: VaultStatus, requests: [String: UInt64]? = nil) {
    self.requests = requests
    (vault, name, id, owner, readOnlyReason, damage) = (status.path, status.name, status.id, status.owner, status.readOnlyReason, status.damage)
    loss = status.loss
    (nodes, operations, chunks) = (status.counters.nodes, status.operations, status.counters.chunks)
    (logicalBytes, uniqueBytes, compressedBytes) = (status.counters.logicalBytes, status.counters.uniqueBytes, status.counters.frameBytes)
    (storedBytes, packBytes, journalBytes, databaseBytes) = (status.storedBytes, status.packBytes, status.journalBytes, status.databaseBytes)
    (unsavedBytes, availableBytes, quotaWarnings) = (status.unsavedBytes, status.availableBytes, status.quotaWarnings)
    dedupRatio = (status.dedupRatio * 100).rounded() / 100
    compressionRatio = (status.compressionRatio * 100).rounded() / 100
  }
}
