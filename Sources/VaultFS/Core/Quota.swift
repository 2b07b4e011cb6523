// Limits: whom they bind, what they allow, and what counts against them.
//
// Bytes are logical, as `st_blocks` counts them: what is allocated, so that holes cost nothing and content that is
// shared with other files counts in full. Nobody's room may depend on what others hold.

/// What something takes. Sums wrap: clones can make one that no 64 bits hold, and it is right again once some are gone.
public struct Usage: Hashable, Sendable {
  public var bytes: UInt64
  public var nodes: UInt64
  public init(bytes: UInt64 = 0, nodes: UInt64 = 0) { (self.bytes, self.nodes) = (bytes, nodes) }

  static func &+ (a: Usage, b: Usage) -> Usage { Usage(bytes: a.bytes &+ b.bytes, nodes: a.nodes &+ b.nodes) }
  static func &- (a: Usage, b: Usage) -> Usage { Usage(bytes: a.bytes &- b.bytes, nodes: a.nodes &- b.nodes) }
  /// What takes it back, added.
  var negated: Usage { Usage() &- self }

  subscript(resource: QuotaResource) -> UInt64 { resource == .bytes ? bytes : nodes }
}

public enum QuotaResource: Hashable, Sendable, CaseIterable { case bytes, nodes }

/// Whom a limit binds.
public enum QuotaSubject: Hashable, Sendable {
  /// Every node of the vault, also one without a name that is open still.
  case vault
  /// The nodes that a user or a group owns, whoever writes to them.
  case user(UInt32)
  case group(UInt32)
  /// What is below a directory, itself not included.
  case tree(InodeNumber)

  var isTree: Bool { if case .tree = self { true } else { false } }
}

/// How much of one resource: up to `soft` for as long as one likes, beyond it while the grace lasts, never beyond `hard`.
public struct QuotaLimit: Hashable, Sendable {
  public var soft: UInt64?
  public var hard: UInt64?
  public init(soft: UInt64? = nil, hard: UInt64? = nil) { (self.soft, self.hard) = (soft, hard) }
}

public struct QuotaLimits: Hashable, Sendable {
  public var bytes: QuotaLimit
  public var nodes: QuotaLimit
  /// How long a soft limit may be exceeded; 0: not at all.
  public var graceSeconds: UInt32
  public static let graceSecondsDefault: UInt32 = 7 * 86_400

  public init(bytes: QuotaLimit = QuotaLimit(), nodes: QuotaLimit = QuotaLimit(), graceSeconds: UInt32 = graceSecondsDefault) {
    (self.bytes, self.nodes, self.graceSeconds) = (bytes, nodes, graceSeconds)
  }
  subscript(resource: QuotaResource) -> QuotaLimit { resource == .bytes ? bytes : nodes }
}

extension QuotaSubject: CustomStringConvertible {
  public var description: String {
    switch self {
    case .vault: "the vault"
    case .user(let id): "user \(id)"
    case .group(let id): "group \(id)"
    case .tree(let inode): "the tree of directory \(inode.value)"
    }
  }
}
