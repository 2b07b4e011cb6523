// What a vault's content comes to, by counters that are kept anyway: as quick in a vault of any size.
//
// What must stay true: whoever does not administer learns nothing of what others store. The exact size of different
// content would tell whether somebody has a given file already: store it, and look whether the number grows.

import VaultFS

public struct StatsRequest: VaultRequest {
  public static let name = "stats"
  public static let access = Access.everyone
  public init() {}

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> StatsReport {
    let status = host.vault.status(), counters = status.counters
    var report = StatsReport(name: status.name, nodes: counters.nodes, logicalBytes: counters.logicalBytes, availableBytes: status.availableBytes)
    guard peer.isAdministrator else { return report }
    report.vault = status.path
    (report.chunks, report.uniqueBytes, report.compressedBytes) = (counters.chunks, counters.uniqueBytes, counters.frameBytes)
    (report.storedBytes, report.unsavedBytes) = (status.storedBytes, status.unsavedBytes)
    report.dedupRatio = Self.ratio(counters.logicalBytes, counters.uniqueBytes)
    report.compressionRatio = Self.ratio(counters.uniqueBytes, counters.frameBytes)
    report.ratio = Self.ratio(counters.logicalBytes, Int64(clamping: status.storedBytes))
    return report
  }

  /// nil where there is nothing to compare.
  private static func ratio(_ a: Int64, _ b: Int64) -> Double? { a > 0 && b > 0 ? (Double(a) / Double(b) * 1000).rounded() / 1000 : nil }
}

extension VaultService {
  public func stats() throws -> StatsReport { try ask(StatsRequest()) }
}

/// What is nil is not told to whoever asked, or not there.
public struct StatsReport: Codable, Sendable {
  public var vault: String?
  public var name: String
  public var nodes: Int64
  /// What the files hold, without holes.
  public var logicalBytes: Int64
  public var availableBytes: UInt64
  public var chunks: Int64?
  /// What is left of it when everything that is there more than once counts once.
  public var uniqueBytes: Int64?
  /// What that takes in frames.
  public var compressedBytes: Int64?
  /// All that the vault has on disk.
  public var storedBytes: UInt64?
  /// Written by programs and not saved yet.
  public var unsavedBytes: UInt64?
  /// Logical for each byte of unique; unique for each byte of compressed; logical for each byte of stored.
  public var dedupRatio: Double?
  public var compressionRatio: Double?
  public var ratio: Double?

  init(name: String, nodes: Int64, logicalBytes: Int64, availableBytes: UInt64) {
    (self.name, self.nodes, self.logicalBytes, self.availableBytes) = (name, nodes, logicalBytes, availableBytes)
  }
}
