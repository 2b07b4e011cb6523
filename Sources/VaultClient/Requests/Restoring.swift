// Taking back what was: a version of a file, a directory with all below it; in place, or elsewhere.
//
// What must stay true: nobody gives by this what chown(2) would not let them give, nor sees what they may not read. What is
// theirs comes back as it was; what is another's as a copy of their own, or as the content of what they may write to.

import Glibc
import Printable
public import VaultFS

/// What was taken back, and where it came.
public struct RestoreAnswer: Codable, Sendable {
  public var path: VaultPath
  public var restored: Restored
  /// Of one that was asked for and not done; false: there is more than was told, and all of it would be made anew.
  public var isPlanComplete: Bool?
}

/// Takes back a file, or a directory with all below it; or only tells what that would change.
public struct RestoreRequest: VaultRequest {
  public static let name = "restore"
  public static let access = Access.everyone
  public var path: VaultPath
  public var moment: MomentAddress
  /// Where it comes back; nil: in place.
  public var target: VaultPath?
  /// The directory that so many of the path's names lead to now, and whose name or place may have been another then; nil: the root.
  public var start: Start?
  public struct Start: Codable, Sendable {
    public var directory: UInt64
    public var depth: Int
    public init(directory: UInt64, depth: Int) { (self.directory, self.depth) = (directory, depth) }
  }
  public var isDry: Bool
  public init(_ path: VaultPath, at moment: MomentAddress, to target: VaultPath?, from start: Start? = nil, isDry: Bool = false) {
    (self.path, self.moment, self.target, self.start, self.isDry) = (path, moment, target, start, isDry)
  }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<RestoreChange>) throws -> RestoreAnswer {
    let vault = host.vault, plan = isDry ? RestorePlan() : nil
    let restored = try peer.restoring(at: isDry ? nil : target ?? path, in: vault, answer) { options in
      var options = options
      (options.plan, options.isCopy) = (plan, target != nil && target != path)
      return try restore(in: vault, for: peer, options)
    }
    for change in plan?.changes ?? [] { try answer.item(change) }
    return RestoreAnswer(path: target ?? path, restored: restored, isPlanComplete: plan?.isComplete)
  }

  private func restore(in vault: Vault, for peer: Peer, _ options: RestoreOptions) throws -> Restored {
    let rights = RestoreRights(peer), options = rights.binding(options), moment = try moment.moment(in: vault)
    // (What was a file then may have been a directory before.)
    let then = try node(at: moment, vault, peer), type = then.map { $0.mode & S_IFMT }
    if let then, type != S_IFREG, type != S_IFDIR { return try restoreOther(then, moment, vault, peer, options, rights) }
    if type != S_IFREG, let kept = try self.moment.treeMoment(in: vault), let directory = try wasDirectory(at: kept.moment, vault, peer) {
      var restored = try vault.inTurn(options) { options in
        if let target { return try peer.revive(directory, at: kept.moment, to: target, in: vault, options, rights) }
        return try inPlace(directory, kept.moment, vault, peer, options, rights)
      }
      restored.asOf = kept.asOf
      return restored
    }
    if let now = try? peer.find(path, in: vault, followingLast: false), now.mode & S_IFMT == S_IFDIR, (try? fileVersion(at: moment, vault, peer)) == nil {
      throw ServiceError(.notFound, "\(path) was no directory then, or what it was is not kept any more, and nothing was changed; `.vaultfs/at/TIME` at the root of the mount shows what was where")
    }
    let version: FileVersion
    do { version = try fileVersion(at: moment, vault, peer) } catch let error as ServiceError where error.code == .isADirectory {
      throw ServiceError(.notFound, "\(path) was no directory at that moment, or what it was is not kept any more; `fsctl trash list` shows what was deleted, and when")
    }
    let inode = InodeNumber(version.inode), id = LSN(version.id)
    let now = target == nil ? try? peer.find(path, in: vault, followingLast: false) : nil
    if !peer.isAdministrator, version.user != peer.user { return try restoreOthers(inode, id, now, vault, peer, options, rights) }
    if let target { return try peer.revive(inode, at: id, to: target, in: vault, options, rights) }
    guard let now else { return try peer.revive(inode, at: id, to: path, in: vault, options, rights) }
    guard now.mode & S_IFMT == S_IFREG else { return try replace(now, with: inode, at: id, vault, peer, options, rights) }
    try peer.mustOwn(now.user, path)
    return try become(inode, id, now, vault, options, rights)
  }

  private func become(_ inode: InodeNumber, _ id: LSN, _ now: NodeInfo, _ vault: Vault, _ options: RestoreOptions, _ rights: RestoreRights) throws -> Restored {
    var restored = Restored(nodes: 1)
    do throws(VaultError) { restored.isUnchanged = try !vault.restore(now.inode, from: inode, at: id, options) } catch { throw rights.failure(error, path, vault) }
    return restored
  }

  /// A version of another's that this peer may read: elsewhere it comes back as their own, as cp(1) makes one; in place as the content of
  /// what they may write to.
  private func restoreOthers(_ inode: InodeNumber, _ id: LSN, _ now: NodeInfo?, _ vault: Vault, _ peer: Peer, _ options: RestoreOptions, _ rights: RestoreRights) throws -> Restored {
    var options = options
    if let target {
      let was = try vault.info(inode, at: id)
      options = rights.bindingCopy(options)
      options.owner = RestoreOptions.Owner(user: peer.user, group: peer.group, mode: was.mode & 0o777)
      return try peer.revive(inode, at: id, to: target, in: vault, options, rights)
    }
    guard let now, now.mode & S_IFMT == S_IFREG, peer.mayWrite(try vault.protection(of: now.inode)) else { throw ServiceError(.notPermitted, "\(path): \(RestoreRights.others)") }
    // It is whose it is, with what it has.
    (options.isContentOnly, options.mayReturn, options.mayReplace) = (true, nil, { peer.mayWrite($1) })
    return try become(inode, id, now, vault, options, rights)
  }

  /// What was no file and no directory: a symlink, mostly.
  private func restoreOther(_ then: NodeInfo, _ moment: LSN, _ vault: Vault, _ peer: Peer, _ options: RestoreOptions, _ rights: RestoreRights) throws -> Restored {
    let now = try? peer.find(path, in: vault, followingLast: false)
    if target == nil, let now { return try replace(now, with: then.inode, at: moment, vault, peer, options, rights) }
    var options = options
    if target != nil, !peer.isAdministrator, then.user != peer.user {
      options = rights.bindingCopy(options)
      options.owner = RestoreOptions.Owner(user: peer.user, group: peer.group, mode: then.mode & 0o777)
    }
    return try peer.revive(then.inode, at: moment, to: target ?? path, in: vault, options, rights)
  }

  /// What is at the path gives way to what was.
  private func replace(_ now: NodeInfo, with inode: InodeNumber, at moment: LSN, _ vault: Vault, _ peer: Peer, _ options: RestoreOptions, _ rights: RestoreRights) throws -> Restored {
    guard now.mode & S_IFMT != S_IFDIR else { throw ServiceError(.alreadyExists, "\(path) is a directory now; nothing was changed") }
    let (parent, name) = try peer.place(of: path, in: vault)
    try peer.mustOwn(now.user, path)
    var restored = Restored(nodes: 1)
    do throws(VaultError) { restored.isUnchanged = try !vault.replace(name, in: parent, with: inode, at: moment, options) } catch { throw rights.failure(error, path, vault) }
    return restored
  }

  /// Others wait while so many names of a directory are replaced: some 20 microseconds for each.
  private static let namesMax = 5000
  private var tooMany: ServiceError {
    ServiceError(.notPermitted, "\(path): there are more than \(Self.namesMax) names directly in it, and others would wait for their replacing; take it back elsewhere with --to PATH, or have root or the vault's owner do it")
  }

  private func inPlace(_ directory: InodeNumber, _ moment: LSN, _ vault: Vault, _ peer: Peer, _ options: RestoreOptions, _ rights: RestoreRights) throws -> Restored {
    let now = try? peer.find(path, in: vault, followingLast: false)
    // It may be one that was made when this one, or one above it, was taken back before.
    guard let now else { return try peer.revive(directory, at: moment, to: path, in: vault, options, rights) }
    guard try now.inode == directory || vault.isSuccessor(now.inode, of: directory) || wasHere(directory, moment, now, vault) else {
      throw ServiceError(.alreadyExists, "\(path) is another one than \(try words(directory, moment, vault)), and nothing was changed")
    }
    // What is in it now gives way.
    if try !peer.isAdministrator && max(vault.nameCount(of: now.inode), vault.nameCount(of: directory, at: moment)) > Self.namesMax { throw tooMany }
    do throws(VaultError) { return try vault.restoreTree(now.inode, from: directory, at: moment, options) } catch { throw rights.failure(error, path, vault) }
  }

  /// Whether a directory that is gone was where another one is now: that becomes what it was.
  private func wasHere(_ directory: InodeNumber, _ moment: LSN, _ now: NodeInfo, _ vault: Vault) throws -> Bool {
    guard now.mode & S_IFMT == S_IFDIR, now.inode != .root, try vault.living(directory) == nil else { return false }
    return try vault.path(of: directory, at: moment) == vault.path(of: now.inode)
  }

  private func words(_ directory: InodeNumber, _ moment: LSN, _ vault: Vault) throws -> String {
    try vault.path(of: directory, at: moment).map { "the directory that was at \(printable($0.isEmpty ? [0x2F] : $0))" } ?? "the directory that was meant"
  }

  private func fileVersion(at moment: LSN, _ vault: Vault, _ peer: Peer) throws -> FileVersion {
    do { return try peer.version(of: path, at: self.moment, in: vault) } catch let error as ServiceError where error.code == .notFound {
      // A tree that was taken back has other directories than the one it was: the way at that moment leads to the file.
      guard peer.isAdministrator, let was = try node(at: moment, vault, peer) else { throw error }
      guard let found = try vault.versions(of: was.inode).first(where: { self.moment.means($0, at: moment) }) else { throw error }
      return found
    }
  }

  /// The directory that the path led to; nil where it led to something else, or the peer might not have gone there then.
  private func wasDirectory(at moment: LSN, _ vault: Vault, _ peer: Peer) throws -> InodeNumber? {
    try node(at: moment, vault, peer).flatMap { $0.mode & S_IFMT == S_IFDIR ? $0.inode : nil }
  }

  /// What the path led to; nil where that is not kept, or the peer might not have gone there.
  private func node(at moment: LSN, _ vault: Vault, _ peer: Peer) throws -> NodeInfo? {
    // Of a directory on the way the past may be forgotten, though that of what was in it is kept.
    do { return try walk(at: moment, vault, peer) } catch VaultError.notFound { return nil }
  }

  private func walk(at moment: LSN, _ vault: Vault, _ peer: Peer) throws -> NodeInfo? {
    // A directory by its number is for those who need not go the way to it.
    let start = peer.isAdministrator ? start : nil
    var at = try vault.info(start.map { InodeNumber($0.directory) } ?? .root, at: moment)
    for name in path.names.dropFirst(max(start?.depth ?? 0, 0)) {
      guard at.mode & S_IFMT == S_IFDIR, let protection = try vault.protection(of: at.inode, at: moment), peer.maySearch(protection) else { return nil }
      guard let info = try vault.lookup(name, in: at.inode, at: moment) else { return nil }
      at = info
    }
    return at
  }
}

extension Peer {
  /// Takes something back in a thread of its own; ends it where nobody waits for it any more.
  /// - Parameter path: where it comes back, if it does.
  func restoring<Item>(at path: VaultPath?, in vault: Vault, _ answer: Receiver<Item>, _ work: @escaping @Sendable (RestoreOptions) throws -> Restored) throws -> Restored {
    let options = RestoreOptions(keepsPrivileges: isAdministrator)
    return try LongWork.run(options.cancellation, answer, tellsOutcome: true) { tell in
      var options = options
      options.progress = { tell(Progress($0)) }
      var restored = try work(options)
      // By reference: what is damaged comes back as that. (It is back, whether this can be told or not.)
      if let path, let back = try? find(path, in: vault, followingLast: false),
        let damaged = try? vault.damagedFiles(in: back.inode, called: path.names.last ?? [], while: { !options.cancellation.isCancelled }) {
        (restored.damaged, restored.damagedNames) = damaged
      }
      return restored
    }
  }

  /// The directory that a path's last name is in, where this peer may change its names.
  func place(of path: VaultPath, in vault: Vault) throws -> (parent: InodeNumber, name: [UInt8]) {
    guard let name = path.names.last else { throw ServiceError(.alreadyExists, "/ is there already") }
    if path.names.first == Vault.pastName { throw ServiceError(.readOnly, "\(path): the hidden directory shows what was, and nothing can be put there; give another PATH") }
    let parent: NodeInfo
    do { parent = try find(path.parent, in: vault) } catch let error as ServiceError where error.code == .notFound {
      throw ServiceError(.notFound, "\(path): its directory is not there: it was deleted (`fsctl trash list`), or has another name; take it back or make it first, or give a place that is there with --to PATH")
    }
    let protection = try vault.protection(of: parent.inode)
    guard mayWrite(protection), maySearch(protection) else { throw ServiceError(.notPermitted, "\(path): you may not write in its directory") }
    return (parent.inode, name)
  }

  /// Makes what was anew under a path that nothing has.
  func revive(_ inode: InodeNumber, at moment: LSN, to target: VaultPath, in vault: Vault, _ options: RestoreOptions, _ rights: RestoreRights) throws -> Restored {
    let (parent, name) = try place(of: target, in: vault)
    var restored = Restored()
    do throws(VaultError) {
      if let plan = options.plan { try vault.plan(plan, inode, at: moment, as: name, in: parent, options) } else { try vault.revive(inode, at: moment, as: name, in: parent, &restored, options) }
    } catch {
      if case .alreadyExists = error { throw ServiceError(.alreadyExists, "\(target) exists already; nothing was changed") }
      throw rights.failure(error, target, vault)
    }
    return restored
  }
}

extension Progress {
  fileprivate init(_ progress: RestoreProgress) {
    switch progress {
    case .waiting: self.init("waiting, another tree is being taken back", done: 0)
    case .compared(let names): self.init("comparing, \(names) names", done: names)
    case .made(let nodes, let total): self.init("\(nodes) files and directories are made", done: nodes, total: total)
    }
  }
}
