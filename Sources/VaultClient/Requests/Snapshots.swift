// Snapshots, the trash, the policy of history, and giving back what nothing refers to.

import Glibc
import Printable
public import VaultFS

public struct SnapshotsRequest: VaultRequest {
  public static let name = "snapshots"
  public static let access = Access.everyone
  public init() {}
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<SnapshotReport>) throws -> Nothing {
    var access = PastAccess(peer.viewer)
    for snapshot in try host.vault.snapshots() where try host.vault.mayReach(InodeNumber(snapshot.directory), at: LSN(snapshot.moment), &access) {
      try answer.item(try SnapshotReport(snapshot, in: host.vault, for: peer))
    }
    return Nothing()
  }
}

public struct MakeSnapshotRequest: VaultRequest {
  public static let name = "make-snapshot"
  public static let command = "fsctl snapshot create"
  public static let access = Access.administrators
  public var snapshot: [UInt8]
  public var path: VaultPath
  public init(_ snapshot: [UInt8], of path: VaultPath) { (self.snapshot, self.path) = (snapshot, path) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> SnapshotReport {
    do { return try SnapshotReport(host.vault.makeSnapshot(snapshot, of: try peer.find(path, in: host.vault).inode), in: host.vault, for: peer) } catch let error as VaultError {
      switch error {
      case .alreadyExists: throw ServiceError(.alreadyExists, "there is a snapshot `\(printable(snapshot))` already; choose another name, or delete that one")
      case .nameInvalid: throw ServiceError(error.code, "`\(printable(snapshot))` is not valid as a snapshot's name: one is not empty, not `.` or `..`, and has no slash and no NUL; choose another")
      case .nameTooLong: throw ServiceError(error, of: "the snapshot's name")
      case .notADirectory: throw ServiceError(.notADirectory, "\(path) is no directory, and a snapshot is of one: name the one it is in. (A version of a file stays with `fsctl versions pin`.)")
      default: throw ServiceError(error, of: "\(path)")
      }
    }
  }
}

public struct DeleteSnapshotRequest: VaultRequest {
  public static let name = "delete-snapshot"
  public static let command = "fsctl snapshot delete"
  public static let access = Access.administrators
  public var snapshot: [UInt8]
  public init(_ snapshot: [UInt8]) { self.snapshot = snapshot }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Nothing {
    do throws(VaultError) { try host.vault.deleteSnapshot(snapshot) } catch {
      guard case .notFound = error else { throw error }
      throw ServiceError(.notFound, "there is no snapshot `\(printable(snapshot))`; `fsctl snapshot list` shows which there are")
    }
    peer.note("the snapshot `\(printable(snapshot))` was deleted", in: host.vault)
    return Nothing()
  }
}

/// A snapshot, and where the directory that it is of is now.
public struct SnapshotReport: Codable, Sendable {
  public var name: [UInt8]
  /// The operation it was made by.
  public var moment: UInt64
  /// Seconds since 1970.
  public var second: Int64
  public var directory: UInt64
  /// Where it is, or what was made of it when it was taken back; nil where it is not there any more, or not for whoever asks to know.
  public var path: VaultPath?
  /// Where it was, where it is not there any more, or what is there was made of it.
  public var formerPath: VaultPath?

  init(_ snapshot: Snapshot, in vault: Vault, for peer: Peer) throws {
    (name, moment, second, directory) = (snapshot.name, snapshot.moment, snapshot.second, snapshot.directory)
    let inode = InodeNumber(directory), then = LSN(moment)
    guard let living = try vault.living(inode) else {
      formerPath = try former(inode, at: then, vault, peer)
      return
    }
    if living != inode { formerPath = try former(inode, at: then, vault, peer) }
    guard let path = try vault.path(of: living).flatMap({ VaultPath($0) }) else { return }
    if peer.isAdministrator || (try? peer.find(path, in: vault, followingLast: false))?.inode == living { self.path = path }
  }

  private func former(_ inode: InodeNumber, at moment: LSN, _ vault: Vault, _ peer: Peer) throws -> VaultPath? {
    try vault.mayReach(inode, at: moment, peer.viewer) ? try vault.path(of: inode, at: moment).flatMap { VaultPath($0) } : nil
  }
}

public struct TrashRequest: VaultRequest {
  public static let name = "trash"
  public static let access = Access.everyone
  /// Only what was there; nil: everything.
  public var path: VaultPath?
  /// And nothing of what was below it.
  public var isAlone: Bool
  public init(at path: VaultPath? = nil, alone isAlone: Bool = false) { (self.path, self.isAlone) = (path, isAlone) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<TrashItem>) throws -> Nothing {
    // Where a symlink leads there, it is meant; but where it is one that was deleted.
    let path = path.map { peer.withoutLinks($0, in: host.vault, followingLast: !isAlone) }
    var places = KnownPlaces(peer), next: UInt64? = .max, isEmpty = true
    // Page by page: whoever reads slowly keeps nobody waiting.
    while let before = next {
      let page = try host.vault.trash(before: before, of: peer.isAdministrator ? nil : peer.user)
      for var item in page.items {
        if try !places.mayKnow(item, in: host.vault) { item.place = nil }
        if let path, item.isAt(path, orBelow: !isAlone) != true { continue }
        isEmpty = false
        try answer.item(item)
      }
      next = page.next
    }
    if isEmpty, !isAlone, let given = self.path, (try? peer.find(given, in: host.vault, followingLast: false)) == nil {
      throw ServiceError(.notFound, "\(given): nothing is there, and nothing in the list of what was deleted (`fsctl trash list`) was at that path; what was in a directory that was deleted is listed with that")
    }
    return Nothing()
  }
}

extension TrashItem {
  /// It may be longer than a `VaultPath`. nil where it is not told.
  public var fullPath: [UInt8]? { place.map { $0 + [0x2F] + name } }

  /// nil where it is not told.
  fileprivate func isAt(_ path: VaultPath, orBelow: Bool) -> Bool? {
    guard let names = fullPath?.split(separator: 0x2F).map(Array.init) else { return nil }
    return orBelow ? names.starts(with: path.names) : names == path.names
  }
}

extension Peer {
  /// A path as it is without the symlinks on the way, as far as that leads today and this peer may go it.
  fileprivate func withoutLinks(_ path: VaultPath, in vault: Vault, followingLast: Bool) -> VaultPath {
    let way = followingLast ? path : path.parent
    guard let (inode, count) = try? furthest(way, in: vault), let place = try? vault.path(of: inode) else { return path }
    return VaultPath(place + path.names.dropFirst(count).flatMap { [0x2F] + $0 }) ?? path
  }
}

/// Whether a peer may come to the directories that things were deleted from: they may have moved since. Where one is gone, whether the peer
/// might have, then.
private struct KnownPlaces {
  let peer: Peer
  private var access: PastAccess
  /// Of those that are there; nil: it is not.
  private var known: [UInt64: Bool?] = [:]
  init(_ peer: Peer) { (self.peer, access) = (peer, PastAccess(peer.viewer)) }

  mutating func mayKnow(_ item: TrashItem, in vault: Vault) throws -> Bool {
    if peer.isAdministrator { return true }
    let answer = try known[item.parent] ?? mayReach(item, in: vault)
    known[item.parent] = .some(answer)
    return try answer ?? vault.mayReach(InodeNumber(item.parent), at: LSN(item.id &- 1), &access)
  }

  private func mayReach(_ item: TrashItem, in vault: Vault) throws -> Bool? {
    if try vault.living(InodeNumber(item.parent)) == nil { return nil }
    return item.place.flatMap { VaultPath($0) }.map { path in (try? peer.find(path, in: vault, followingLast: false))?.inode.value == item.parent } ?? false
  }
}

public struct RestoreTrashRequest: VaultRequest {
  public static let name = "restore-trash"
  public static let access = Access.everyone
  public var id: UInt64
  public var target: VaultPath?
  public init(_ id: UInt64, to target: VaultPath?) { (self.id, self.target) = (id, target) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> RestoreAnswer {
    guard id < .max, let item = try host.vault.trash(before: id + 1, rows: 1).items.first(where: { $0.id == id }), peer.isAdministrator || item.user == peer.user else {
      throw ServiceError(.notFound, "nothing in the trash has the number \(id); `fsctl trash list` shows what there is. (What was at a path that is a number is `./\(id)`.)")
    }
    let vault = host.vault, moment = try vault.momentBefore(item)
    var places = KnownPlaces(peer)
    guard try target != nil || places.mayKnow(item, in: vault) else {
      throw ServiceError(.notPermitted, "the directory it was in is where you may not look now; say where it shall come with --to PATH")
    }
    guard let path = target ?? item.fullPath.flatMap({ VaultPath($0) }) else { throw ServiceError(.nameTooLong, "the path it had is too long; say where it shall come with --to PATH") }
    let inode = InodeNumber(item.inode)
    return RestoreAnswer(path: path, restored: try peer.restoring(at: path, in: vault, answer) { options in
      let rights = RestoreRights(peer), options = rights.binding(options)
      func revive(_ options: RestoreOptions) throws -> Restored { try peer.revive(inode, at: moment, to: path, in: vault, options, rights) }
      return item.mode & S_IFMT == S_IFDIR ? try vault.inTurn(options, revive) : try revive(options)
    })
  }
}

public struct EmptyTrashRequest: VaultRequest {
  public static let name = "empty-trash"
  public static let command = "fsctl trash empty"
  public static let access = Access.administrators
  public var isDry: Bool
  public init(isDry: Bool) { self.isDry = isDry }
  private static let beat: Duration = .milliseconds(200)

  public struct Answer: Codable, Sendable {
    public var items: Int
    /// What a snapshot or a pin holds, or has another name, and is not forgotten.
    public var held: Int?
  }
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Answer {
    var told = ContinuousClock.now, gone = 0, isDone = false
    defer { if gone > 0, !isDone { peer.note("the emptying of the trash was ended after \(gone) files and directories", in: host.vault) } }
    let (items, held) = try host.vault.emptyTrash(isDry: isDry) { found, forgotten throws(VaultError) in
      gone = forgotten
      if (try? answer.checkCancelled()) == nil { throw .interrupted }
      guard ContinuousClock.now - told > Self.beat else { return }
      told = .now
      try? answer.progress(forgotten > 0 ? Progress("forgetting", done: UInt64(forgotten), total: UInt64(found)) : Progress("looking, \(found) files and directories", done: UInt64(found)))
    }
    isDone = true
    if !isDry, items > 0 { peer.note("the trash was emptied: \(items) files and directories", in: host.vault) }
    return Answer(items: items, held: held)
  }
}

public struct HistoryPolicyRequest: VaultRequest {
  public static let name = "history-policy"
  public static let command = "fsctl versions policy"
  public static let access = Access.administrators
  /// nil: only says what it is.
  public var policy: HistoryPolicy?
  public init(_ policy: HistoryPolicy? = nil) { self.policy = policy }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> HistoryPolicy {
    if let policy {
      try host.vault.setHistoryPolicy(policy)
      peer.note("the policy of history was changed", in: host.vault)
    }
    return host.vault.historyPolicy
  }
}

/// What a policy would forget at once, by ages and by its limit. Changes nothing.
public struct ExpiringRequest: VaultRequest {
  public static let name = "expiring"
  public static let command = "fsctl versions policy"
  public static let access = Access.administrators
  public var policy: HistoryPolicy
  public init(under policy: HistoryPolicy) { self.policy = policy }

  public struct Answer: Codable, Sendable {
    /// Versions and names that are too old.
    public var nodes: UInt64
    public var names: UInt64
    /// What goes for the limit, as things are; nil where that is nothing, or there is none.
    public var excess: HistoryExcess?
  }
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Answer {
    let vault = host.vault, limit = policy.isOn ? policy.limit : 0, cancellation = Cancellation()
    let old = try vault.countExpiring(under: policy)
    let excess = limit == 0 ? nil : try LongWork.run(cancellation, answer, isGentle: true) { tell in
      try vault.excess(over: limit, while: { !cancellation.isCancelled }) { what, done, total in tell(Progress(what, done: done, total: total)) }
    }
    return Answer(nodes: old.nodes, names: old.names, excess: excess)
  }
}

public struct CollectRequest: VaultRequest {
  public static let name = "collect"
  public static let command = "fsctl gc"
  public static let access = Access.administrators
  public var isDry: Bool
  public init(isDry: Bool) { self.isDry = isDry }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Collection {
    let vault = host.vault, isDry = isDry, cancellation = Cancellation()
    return try LongWork.run(cancellation, answer, isGentle: true) { tell in
      try vault.collectGarbage(isDry: isDry, while: { !cancellation.isCancelled }) { what, done, total in
        var progress = Progress(what, done: done, total: total)
        progress.isBytes = true
        tell(progress)
      }
    }
  }
}
