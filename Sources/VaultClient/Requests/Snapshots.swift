// Snapshots, the trash, the policy of history, and giving back what nothing refers to.

public import VaultFS

public struct SnapshotsRequest: VaultRequest {
  public static let name = "snapshots"
  public static let access = Access.everyone
  public init() {}
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Snapshot>) throws -> Nothing {
    for snapshot in try host.vault.snapshots() { try answer.item(snapshot) }
    return Nothing()
  }
}

public struct MakeSnapshotRequest: VaultRequest {
  public static let name = "make-snapshot"
  public static let access = Access.administrators
  public var snapshot: [UInt8]
  public var path: VaultPath
  public init(_ snapshot: [UInt8], of path: VaultPath) { (self.snapshot, self.path) = (snapshot, path) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Snapshot {
    do { return try host.vault.makeSnapshot(snapshot, of: try peer.find(path, in: host.vault).inode) } catch let error as VaultError {
      switch error {
      case .alreadyExists: throw ServiceError(.alreadyExists, "there is a snapshot of that name already; choose another, or delete that one")
      case .nameInvalid, .nameTooLong: throw ServiceError(error, of: "the snapshot's name")
      default: throw ServiceError(error, of: "\(path)")
      }
    }
  }
}

public struct DeleteSnapshotRequest: VaultRequest {
  public static let name = "delete-snapshot"
  public static let access = Access.administrators
  public var snapshot: [UInt8]
  public init(_ snapshot: [UInt8]) { self.snapshot = snapshot }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Nothing {
    do throws(VaultError) { try host.vault.deleteSnapshot(snapshot) } catch {
      guard case .notFound = error else { throw error }
      throw ServiceError(.notFound, "there is no snapshot of that name; `fsctl snapshot list` shows which there are")
    }
    return Nothing()
  }
}

public struct TrashRequest: VaultRequest {
  public static let name = "trash"
  public static let access = Access.everyone
  public init() {}
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<TrashItem>) throws -> Nothing {
    for item in try host.vault.trash() where peer.isAdministrator || item.user == peer.user { try answer.item(item) }
    return Nothing()
  }
}

public struct RestoreTrashRequest: VaultRequest {
  public static let name = "restore-trash"
  public static let access = Access.everyone
  public var id: UInt64
  public var target: VaultPath?
  public init(_ id: UInt64, to target: VaultPath?) { (self.id, self.target) = (id, target) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> VaultPath {
    guard let item = try host.vault.trash().first(where: { $0.id == id }), peer.isAdministrator || item.user == peer.user else {
      throw ServiceError(.notFound, "nothing in the trash has the number \(id); `fsctl trash list` shows what there is")
    }
    guard let path = target ?? VaultPath((item.place ?? []) + [0x2F] + item.name) else { throw ServiceError(.nameTooLong, "the path it had is too long; say where it shall come with --to PATH") }
    try peer.revive(InodeNumber(item.inode), at: try host.vault.momentBefore(item), to: path, in: host.vault)
    return path
  }
}

public struct EmptyTrashRequest: VaultRequest {
  public static let name = "empty-trash"
  public static let access = Access.administrators
  public var isDry: Bool
  public init(isDry: Bool) { self.isDry = isDry }

  public struct Answer: Codable, Sendable {
    public var items: Int
  }
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Answer {
    Answer(items: isDry ? try host.vault.trash().count : try host.vault.emptyTrash())
  }
}

public struct HistoryPolicyRequest: VaultRequest {
  public static let name = "history-policy"
  public static let access = Access.administrators
  /// nil: only says what it is.
  public var policy: HistoryPolicy?
  public init(_ policy: HistoryPolicy? = nil) { self.policy = policy }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> HistoryPolicy {
    if let policy { try host.vault.setHistoryPolicy(policy) }
    return host.vault.historyPolicy
  }
}

public struct CollectRequest: VaultRequest {
  public static let name = "collect"
  public static let access = Access.administrators
  public var isDry: Bool
  public init(isDry: Bool) { self.isDry = isDry }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Collection {
    try host.vault.collectGarbage(isDry: isDry) { (try? answer.checkCancelled()) != nil }
  }
}
