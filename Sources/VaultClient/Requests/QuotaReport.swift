// A limit and how its subject stands, and changes of limits, as they travel.

import VaultFS

/// What becomes of limits; nil: what it was.
public struct QuotaChange: Codable, Sendable {
  public enum Bound: Codable, Sendable, Equatable { case none, at(UInt64) }
  public var softBytes: Bound?
  public var hardBytes: Bound?
  public var softNodes: Bound?
  public var hardNodes: Bound?
  public var graceSeconds: UInt32?
  public init() {}

  /// - Parameter whom: whose limits they are, for messages.
  /// - Returns: nil where none is left.
  func applied(to old: QuotaLimits?, of whom: String) throws -> QuotaLimits? {
    var limits = old ?? QuotaLimits()
    func change(_ limit: inout UInt64?, _ bound: Bound?) {
      switch bound {
      case nil: break
      case Bound.none?: limit = nil
      case .at(let value)?: limit = value
      }
    }
    change(&limits.bytes.soft, softBytes)
    change(&limits.bytes.hard, hardBytes)
    change(&limits.nodes.soft, softNodes)
    change(&limits.nodes.hard, hardNodes)
    if let graceSeconds { limits.graceSeconds = graceSeconds }
    for (what, limit) in [("bytes", limits.bytes), ("inodes", limits.nodes)] {
      guard let soft = limit.soft, let hard = limit.hard, soft > hard else { continue }
      throw ServiceError(.invalidArgument, "\(whom): the soft limit of \(soft) \(what) would be above the hard one of \(hard); give both, or `none` for one of them. Nothing was changed")
    }
    guard limits.bytes != QuotaLimit() || limits.nodes != QuotaLimit() else {
      // `none` of the last one that there is takes the limit away; of none, somebody mistyped whose.
      if old != nil { return nil }
      throw ServiceError(.invalidArgument, "\(whom): there is no limit yet, and none was given: say how many bytes or inodes")
    }
    return limits
  }
}

public struct QuotaReport: Codable, Sendable {
  public enum Kind: String, Codable, Sendable { case vault, user, group, tree }
  public var kind: Kind
  /// The user's or group's number; the directory's node.
  public var id: UInt64?
  /// Of a directory; nil where it has none any more.
  public var path: VaultPath?
  public var bytes: Resource
  public var nodes: Resource
  /// nil where there is no limit.
  public var graceSeconds: UInt32?

  public struct Resource: Codable, Sendable {
    public var used: UInt64
    public var soft: UInt64?
    public var hard: UInt64?
    /// Seconds since 1970: since when the soft limit is exceeded, and from when on nothing can be added.
    public var overSince: Int64?
    public var graceEnd: Int64?
  }

  public var isLimited: Bool { graceSeconds != nil }
}

extension QuotaReport {
  init(_ quota: Quota, in vault: Vault) throws {
    try self.init(quota.subject, quota.used, in: vault)
    let limits = quota.limits
    (bytes.soft, bytes.hard, nodes.soft, nodes.hard, graceSeconds) = (limits.bytes.soft, limits.bytes.hard, limits.nodes.soft, limits.nodes.hard, limits.graceSeconds)
    (bytes.overSince, bytes.graceEnd) = (quota.bytesOver?.since.seconds, quota.bytesOver?.end.seconds)
    (nodes.overSince, nodes.graceEnd) = (quota.nodesOver?.since.seconds, quota.nodesOver?.end.seconds)
  }

  /// Limited or not.
  init(of subject: QuotaSubject, in vault: Vault) throws {
    if let quota = try vault.quota(of: subject) { try self.init(quota, in: vault) } else { try self.init(subject, try vault.usage(by: subject), in: vault) }
  }

  private init(_ subject: QuotaSubject, _ used: Usage, in vault: Vault) throws {
    (bytes, nodes) = (Resource(used: used.bytes), Resource(used: used.nodes))
    (kind, id) = Kind.of(subject)
    if case .tree(let inode) = subject { path = try vault.path(of: inode).flatMap { VaultPath($0) } }
  }
}

extension QuotaReport.Kind {
  /// - Returns: also the user's or group's number, the directory's node.
  static func of(_ subject: QuotaSubject) -> (Self, id: UInt64?) {
    switch subject {
    case .vault: (.vault, nil)
    case .user(let user): (.user, UInt64(user))
    case .group(let group): (.group, UInt64(group))
    case .tree(let inode): (.tree, inode.value)
    }
  }
}
