// What a vault's content comes to, by counters that are kept anyway: as quick in a vault of any size; and, where that is asked for,
// what a part of it needs, which is looked up node by node.
//
// What must stay true: whoever does not administer learns nothing of what others store. The exact size of different
// content would tell whether somebody has a given file already: store it, and look whether the number grows.

public import FoundationEssentials
import Glibc
public import VaultFS

public struct StatsRequest: VaultRequest {
  public static let name = "stats"
  public static let access = Access.everyone
  /// Also of these: a directory with what is below it, a user, a group.
  public var tree: VaultPath?
  public var user: UInt32?
  public var group: UInt32?
  /// Also what they need of the stored content, and of the past.
  public var withContent: Bool?
  public init(tree: VaultPath? = nil, user: UInt32? = nil, group: UInt32? = nil, withContent: Bool = false) {
    (self.tree, self.user, self.group, self.withContent) = (tree, user, group, withContent)
  }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> StatsReport {
    let status = host.vault.status(), counters = status.counters
    var report = StatsReport(name: status.name, nodes: counters.nodes, logicalBytes: counters.logicalBytes, availableBytes: status.availableBytes)
    do { report.tree = try tree.flatMap { try part($0, host.vault, peer) } } catch let error as ServiceError {
      switch error.code {
      case .notPermitted: report.treeRefusal = "you may not read it, or not come to it; its owner can let you, with chmod or setfacl"
      case .notADirectory, .invalidArgument: report.treeRefusal = error.message
      default: throw error
      }
    }
    report.user = try user.map { try part(.user($0), UInt64($0), host.vault, peer) }
    report.group = try group.map { try part(.group($0), UInt64($0), host.vault, peer) }
    guard peer.isAdministrator else { return report }
    report.vault = status.path
    (report.lastScrub, report.damagedChunks) = (host.vault.lastScrub, status.damagedChunks)
    (report.chunks, report.uniqueBytes, report.compressedBytes) = (counters.chunks, counters.uniqueBytes, counters.frameBytes)
    if status.isHistoryCounted { (report.historyBytes, report.reclaimableBytes) = (status.historyBytes, status.reclaimableBytes) }
    (report.storedBytes, report.unsavedBytes) = (status.storedBytes, status.unsavedBytes)
    report.dedupRatio = Self.ratio(counters.logicalBytes, status.presentBytes)
    report.compressionRatio = Self.ratio(counters.uniqueBytes, counters.frameBytes)
    report.ratio = Self.ratio(counters.logicalBytes, Int64(clamping: status.storedBytes))
    guard withContent == true else { return report }
    try fill(&report.tree, report.tree.map { .tree(InodeNumber($0.id)) }, "what is below \(tree ?? .root)", host, answer)
    try fill(&report.user, user.map { .user($0) }, "what the user owns", host, answer)
    try fill(&report.group, group.map { .group($0) }, "what the group owns", host, answer)
    return report
  }

  /// - Returns: nil where it is all of the vault.
  private func part(_ path: VaultPath, _ vault: Vault, _ peer: Peer) throws -> StatsReport.Part? {
    if path.names.isEmpty { return nil }
    if path.isOfPast { throw ServiceError(.invalidArgument, "it shows what was, and what that costs is counted for the directory as it is; name that one") }
    let info = try peer.findReadable(.path(path), in: vault)
    guard info.mode & S_IFMT == S_IFDIR else { throw ServiceError(.notADirectory, "it is no directory, and stats are of directories, users and groups; `du` shows what one file takes, `fsctl versions list` what its past is") }
    let usage = try vault.usage(of: info.inode)
    return StatsReport.Part(id: info.inode.value, path: "\(path)", pathBytes: path.bytesForJSON, logicalBytes: usage.bytes, nodes: usage.nodes)
  }

  private func part(_ subject: QuotaSubject, _ id: UInt64, _ vault: Vault, _ peer: Peer) throws -> StatsReport.Part {
    guard try peer.maySee(subject, at: nil, in: vault) else {
      throw ServiceError(.notPermitted, "what \(subject) stores is for them, for root and for the vault's owner to know")
    }
    let usage = try vault.usage(by: subject)
    return StatsReport.Part(id: id, logicalBytes: usage.bytes, nodes: usage.nodes)
  }

  private func fill(_ part: inout StatsReport.Part?, _ scope: ContentScope?, _ what: String, _ host: ServiceHost, _ answer: Receiver<Nothing>) throws {
    guard let scope, let total = part?.nodes else { return }
    let vault = host.vault, cancellation = Cancellation()
    let sum = try LongWork.run(cancellation, answer) { tell in
      try vault.content(of: scope) { nodes in
        tell(Progress(what, done: min(nodes, total), total: total))
        return !cancellation.isCancelled
      }
    }
    guard let sum else { return }
    part!.content = sum
    part!.dedupRatio = Self.ratio(Int64(clamping: total > 0 ? part!.logicalBytes : 0), Int64(clamping: sum.uniqueBytes) - Int64(clamping: sum.historyBytes))
    part!.compressionRatio = Self.ratio(Int64(clamping: sum.uniqueBytes), Int64(clamping: sum.compressedBytes))
  }

  /// nil where there is nothing to compare, or nothing is spared: unique content is also that of the past.
  private static func ratio(_ a: Int64, _ b: Int64) -> Double? { a > 0 && b > 0 && a >= b ? (Double(a) / Double(b) * 1000).rounded() / 1000 : nil }
}

/// What is told of chunks that are noted as damaged; nil where there are none.
public func damagedWords(_ chunks: Int64) -> String? {
  chunks > 0 ? "\(chunks) chunk\(chunks == 1 ? "" : "s") cannot be read; `fsctl scrub` names the files, and says what heals them" : nil
}

extension VaultService {
  public func stats(tree: VaultPath? = nil) throws -> StatsReport { try ask(StatsRequest(tree: tree)) }
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
  /// nil until the first collection. What of `uniqueBytes` only the past needs, and, beside it, what nothing needs any more and is on disk still; as the last
  /// collection found them (twice a minute where something may have become free, or history has a limit and something changes).
  public var historyBytes: UInt64?
  public var reclaimableBytes: UInt64?
  /// All that the vault has on disk.
  public var storedBytes: UInt64?
  /// Written by programs and not saved yet.
  public var unsavedBytes: UInt64?
  /// nil where it is below 1. Logical for each byte of unique; unique for each byte of compressed; logical for each byte of stored.
  public var dedupRatio: Double?
  public var compressionRatio: Double?
  public var ratio: Double?
  /// Those that are noted as damaged.
  public var damagedChunks: Int64?
  /// When the last whole scrub ended, seconds since 1970.
  public var lastScrub: Int64?

  public var tree: Part?
  /// Why nothing is told of a directory that was asked for.
  public var treeRefusal: String?
  public var user: Part?
  public var group: Part?
  /// What a directory holds, itself not included; what a user or a group owns. As limits count it, what is unsaved not included.
  public struct Part: Codable, Sendable {
    /// The directory's node; the user's or group's number.
    public var id: UInt64
    /// A directory's, from the vault's root: to be shown, and its bytes.
    public var path: String?
    public var pathBytes: Data?
    public var logicalBytes: UInt64
    public var nodes: UInt64
    /// What that and its past need; where it was asked for by root or the vault's owner.
    public var content: ContentSum?
    public var dedupRatio: Double?
    public var compressionRatio: Double?
  }

  init(name: String, nodes: Int64, logicalBytes: Int64, availableBytes: UInt64) {
    (self.name, self.nodes, self.logicalBytes, self.availableBytes) = (name, nodes, logicalBytes, availableBytes)
  }
}
