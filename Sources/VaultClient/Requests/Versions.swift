// A file's versions: which there are, their bytes, and taking one back.
//
// What must stay true: whoever may not read a file now is shown none of its versions, and of those others wrote only what
// their modes let them read; only a file's owner, root and the vault's owner take one back, hold one or let all go.

import Glibc
import Printable
public import VaultFS

/// A moment, as people say it.
public enum MomentAddress: Codable, Sendable {
  /// A file's version by its id; of a directory, that operation of the journal.
  case version(UInt64)
  /// What stood after an operation of the journal.
  case operation(UInt64)
  /// The end of a second since 1970.
  case second(Int64)

  func moment(in vault: Vault) throws -> LSN {
    let present = vault.present
    switch self {
    case .version(let number), .operation(let number):
      guard number > 0, number <= present.value else { throw ServiceError(.notFound, "there is no version \(number); `fsctl versions list PATH` shows which there are") }
      return LSN(number)
    case .second(let second):
      let now = Timestamp.now.seconds
      guard second <= now else { throw ServiceError(.invalidArgument, "\(When.text(of: second)) is in the future; now it is \(When.text(of: now))") }
      guard second >= vault.configuration.created else { throw ServiceError(.notFound, "\(When.text(of: second)) is before the vault was made (\(When.text(of: vault.configuration.created)))") }
      return try vault.moment(atEndOf: second)
    }
  }

  /// - Parameter moment: what this is in the vault.
  func means(_ version: FileVersion, at moment: LSN) -> Bool {
    if case .version(let number) = self { version.id == number } else { version.id <= moment.value && moment.value < version.died ?? .max }
  }
}

public struct VersionsRequest: VaultRequest {
  public static let name = "versions"
  public static let access = Access.everyone
  public var path: VaultPath
  public init(_ path: VaultPath) { self.path = path }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<FileVersion>) throws -> Nothing {
    for version in try peer.versions(of: path, in: host.vault) { try answer.item(version) }
    return Nothing()
  }
}

extension Peer {
  /// The versions of what is, or was, at `path`: those that this peer may read.
  func versions(of path: VaultPath, in vault: Vault) throws -> [FileVersion] {
    guard let name = path.names.last else { throw ServiceError(.isADirectory, "/ is a directory; versions are of files") }
    if path.names.first == Vault.pastName { throw ServiceError(.notSupported, "\(path): the hidden directory shows what was; name the path that the file has or had, without it") }
    let (parent, isThere) = try directory(of: path, in: vault)
    guard maySearch(try vault.lastProtection(of: parent)) else { throw ServiceError(.notPermitted, "\(path): you may not search its directory") }
    let now = isThere ? try vault.lookup(name, in: parent) : nil
    if let now {
      guard mayRead(try vault.protection(of: now.inode)) else { throw ServiceError(.notPermitted, "\(path): you may not read it") }
    }
    let all = try vault.versions(named: name, in: parent, for: viewer)
    guard all.isEmpty else { return all }
    switch now.map({ $0.mode & S_IFMT }) {
    case S_IFDIR: throw ServiceError(.isADirectory, "\(path) is a directory; versions are of files. `.vaultfs/at/TIME` at the root of the mount shows a directory as it was")
    case S_IFLNK: throw ServiceError(.notSupported, "\(path) is a symlink; versions are of files: name the path that it leads to")
    case .some(let type) where type != S_IFREG: throw ServiceError(.notSupported, "\(path) is no file with content; versions are of files")
    default: throw ServiceError(.notFound, "\(path): nothing is known of a file of that name")
    }
  }

  /// The directory that a path's last name is, or was, in: where none is there, the one that was there last.
  private func directory(of path: VaultPath, in vault: Vault) throws -> (inode: InodeNumber, isThere: Bool) {
    let way = path.parent
    let (inode, leads) = try furthest(way, in: vault)
    var at = inode
    if leads == way.names.count { return (at, true) }
    for name in way.names[leads...] {
      guard maySearch(try vault.lastProtection(of: at)) else { throw ServiceError(.notPermitted, "\(path): you may not search a directory on the way there") }
      guard let gone = try vault.goneDirectory(named: name, in: at, for: viewer) else { throw ServiceError(.notFound, "\(path): nothing is known of its directory") }
      at = gone.inode
    }
    // Renamed, or in one that is: what is in it now is there.
    return (at, try vault.isThere(at))
  }

  /// How far a path leads today.
  /// - Returns: the last node on the way, and how many of the names lead there.
  func furthest(_ path: VaultPath, in vault: Vault) throws -> (inode: InodeNumber, names: Int) {
    func place(_ count: Int) throws -> InodeNumber? {
      do { return try find(path.first(count), in: vault).inode } catch let error as ServiceError where [.notFound, .notADirectory].contains(error.code) { return nil }
    }
    let count = path.names.count
    if let inode = try place(count) { return (inode, count) }
    // By halves, since it may be long.
    var (leads, fails) = (0, count), at = InodeNumber.root
    while fails - leads > 1 {
      let middle = (leads + fails) / 2
      if let inode = try place(middle) { (leads, at) = (middle, inode) } else { fails = middle }
    }
    return (at, leads)
  }

  /// The version of `path` at a moment.
  func version(of path: VaultPath, at address: MomentAddress, in vault: Vault) throws -> FileVersion {
    let moment = try address.moment(in: vault), all = try versions(of: path, in: vault)
    let found = all.filter { address.means($0, at: moment) }
    guard let newest = found.first else {
      let which = if case .version(let number) = address { "no version \(number) of it is kept\(isAdministrator ? "" : ", or none that you may read")" } else { "no version of that moment is kept" }
      throw ServiceError(.notFound, "\(path): \(which); `fsctl versions list` shows those that are")
    }
    // What has the name now may have been elsewhere then.
    let then = found.count > 1 ? try vault.lookup(path.names.last!, in: try directory(of: path, in: vault).inode, at: moment)?.inode.value : nil
    return found.first { $0.inode == then } ?? newest
  }

  func mustOwn(_ user: UInt32, _ object: some CustomStringConvertible) throws {
    guard isAdministrator || user == self.user else { throw ServiceError(.notPermitted, "\(object): that is for its owner, root and the vault's owner") }
  }
}

extension VaultPath {
  public var parent: VaultPath { first(names.count - 1) }
  /// Its first names.
  func first(_ count: Int) -> VaultPath { VaultPath(names.prefix(max(count, 0)).joined(separator: [UInt8(ascii: "/")])) ?? .root }
  public func appending(_ name: [UInt8]) -> VaultPath? { VaultPath((names + [name]).joined(separator: [UInt8(ascii: "/")])) }
}

/// Bytes of a version.
public struct ReadVersionRequest: VaultRequest {
  public static let name = "read-version"
  public static let access = Access.everyone
  public var path: VaultPath
  public var moment: MomentAddress
  public init(_ path: VaultPath, at moment: MomentAddress) { (self.path, self.moment) = (path, moment) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> FileVersion {
    let version = try peer.version(of: path, at: moment, in: host.vault)
    let file = try host.vault.openPast(InodeNumber(version.inode), at: LSN(version.id))
    defer { host.vault.close(file) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: WireLimits.bulkBytesMax, alignment: 4096)
    defer { unsafe buffer.deallocate() }
    var sent: UInt64 = 0
    while true {
      let count = try unsafe host.vault.read(file, at: sent, into: buffer)
      if count == 0 { return version }
      try answer.bytes(unsafe UnsafeRawBufferPointer(rebasing: buffer[..<count]).bytes)
      sent += UInt64(count)
    }
  }
}

/// What was taken back, and where it came.
public struct RestoreAnswer: Codable, Sendable {
  public var path: VaultPath
  public var restored: Restored
}

/// Takes back a file, or a directory with all below it.
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
  public init(_ path: VaultPath, at moment: MomentAddress, to target: VaultPath?, from start: Start? = nil) {
    (self.path, self.moment, self.target, self.start) = (path, moment, target, start)
  }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> RestoreAnswer {
    let vault = host.vault, moment = try moment.moment(in: vault)
    return RestoreAnswer(path: target ?? path, restored: try peer.restoring(answer) { try restore(at: moment, vault, peer, $0) })
  }

  private func restore(at moment: LSN, _ vault: Vault, _ peer: Peer, _ options: RestoreOptions) throws -> Restored {
    if let directory = try wasDirectory(at: moment, vault, peer) {
      let names = try peer.mustOwnAll(below: directory, at: moment, in: vault)
      if target == nil, names > Self.namesMax { throw tooMany }
      return if let target { try peer.revive(directory, at: moment, to: target, in: vault, options) } else { try inPlace(directory, moment, vault, peer, options) }
    }
    if let now = try? peer.find(path, in: vault, followingLast: false), now.mode & S_IFMT == S_IFDIR, (try? fileVersion(at: moment, vault, peer)) == nil {
      throw ServiceError(.notFound, "\(path) was no directory then, or what it was is not kept any more, and nothing was changed; `.vaultfs/at/TIME` at the root of the mount shows what was where")
    }
    let version = try fileVersion(at: moment, vault, peer), inode = InodeNumber(version.inode), id = LSN(version.id)
    let now = target == nil ? try? peer.find(path, in: vault, followingLast: false) : nil
    if !peer.isAdministrator, version.user != peer.user { return try restoreOthers(inode, id, now, vault, peer, options) }
    try peer.mustBeGiveable(inode, at: id, in: vault, now: now)
    if let target { return try peer.revive(inode, at: id, to: target, in: vault, options) }
    guard let now else { return try peer.revive(inode, at: id, to: path, in: vault, options) }
    guard now.mode & S_IFMT == S_IFREG else { throw ServiceError(.alreadyExists, "\(path) is no file now; nothing was changed") }
    try peer.mustOwn(now.user, path)
    do throws(VaultError) {
      try vault.restore(now.inode, from: inode, at: id, options)
    } catch { throw ServiceError(error, of: "\(path)", in: vault) }
    return Restored(nodes: 1)
  }

  /// A version of another's that this peer may read: elsewhere it comes back as their own, as cp(1) makes one; in place as the content of
  /// what they may write to.
  private func restoreOthers(_ inode: InodeNumber, _ id: LSN, _ now: NodeInfo?, _ vault: Vault, _ peer: Peer, _ options: RestoreOptions) throws -> Restored {
    var options = options
    if try vault.wasRootsToGive(inode, at: id) { try peer.mustBeGiveable(inode, at: id, in: vault) }
    if let target {
      let was = try vault.info(inode, at: id)
      options.owner = RestoreOptions.Owner(user: peer.user, group: peer.group ?? was.group, mode: was.mode & 0o777)
      return try peer.revive(inode, at: id, to: target, in: vault, options)
    }
    guard let now, now.mode & S_IFMT == S_IFREG, peer.mayWrite(try vault.protection(of: now.inode)), try vault.hasSameXattrs(now.inode, as: inode, at: id) else {
      throw ServiceError(.notPermitted, "\(path): it was another's then, and comes back as that: for its owner, root and the vault's owner. A copy of your own you get with --to PATH")
    }
    options.owner = RestoreOptions.Owner(user: now.user, group: now.group, mode: now.mode & ~(S_ISUID | S_ISGID))
    do throws(VaultError) { try vault.restore(now.inode, from: inode, at: id, options) } catch { throw ServiceError(error, of: "\(path)", in: vault) }
    return Restored(nodes: 1)
  }

  /// Others wait while so many names of a directory are replaced: some 20 microseconds for each.
  private static let namesMax = 5000
  private var tooMany: ServiceError {
    ServiceError(.notPermitted, "\(path): there are more than \(Self.namesMax) names directly in it, and others would wait for their replacing; take it back elsewhere with --to PATH, or have root or the vault's owner do it")
  }

  private func inPlace(_ directory: InodeNumber, _ moment: LSN, _ vault: Vault, _ peer: Peer, _ options: RestoreOptions) throws -> Restored {
    let now = try? peer.find(path, in: vault, followingLast: false)
    // It may be one that was made when this one, or one above it, was taken back before.
    guard let now else { return try peer.revive(directory, at: moment, to: path, in: vault, options) }
    guard try now.inode == directory || vault.isSuccessor(now.inode, of: directory) || wasHere(directory, moment, now, vault) else {
      throw ServiceError(.alreadyExists, "\(path) is another one than \(try words(directory, moment, vault)), and nothing was changed")
    }
    // What is in it now gives way.
    if try peer.mustOwnAll(below: now.inode, at: vault.present, in: vault) > Self.namesMax { throw tooMany }
    do throws(VaultError) { return try vault.restoreTree(now.inode, from: directory, at: moment, options) } catch { throw ServiceError(error, of: "\(path)", in: vault) }
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
  func restoring<Item>(_ answer: Receiver<Item>, _ work: @escaping @Sendable (RestoreOptions) throws -> Restored) throws -> Restored {
    let options = RestoreOptions(keepsPrivileges: isAdministrator)
    return try LongWork.run(options.cancellation, answer, tellsOutcome: true) { tell in
      var options = options
      options.progress = { tell(Progress($0)) }
      return try work(options)
    }
  }

  /// Makes what was anew under a path that nothing has.
  func revive(_ inode: InodeNumber, at moment: LSN, to target: VaultPath, in vault: Vault, _ options: RestoreOptions) throws -> Restored {
    guard let name = target.names.last else { throw ServiceError(.alreadyExists, "/ is there already") }
    if target.names.first == Vault.pastName { throw ServiceError(.readOnly, "\(target): the hidden directory shows what was, and nothing can be put there; give another PATH") }
    let parent: NodeInfo
    do { parent = try find(target.parent, in: vault) } catch let error as ServiceError where error.code == .notFound {
      throw ServiceError(.notFound, "\(target): its directory is not there: it was deleted (`fsctl trash list`), or has another name; take it back first, or say where this shall come with --to PATH")
    }
    let protection = try vault.protection(of: parent.inode)
    guard mayWrite(protection), maySearch(protection) else { throw ServiceError(.notPermitted, "\(target): you may not write in its directory") }
    var restored = Restored()
    do throws(VaultError) { try vault.revive(inode, at: moment, as: name, in: parent.inode, &restored, options) } catch {
      if case .alreadyExists = error { throw ServiceError(.alreadyExists, "\(target) exists already; nothing was changed") }
      throw ServiceError(error, of: "\(target)", in: vault)
    }
    return restored
  }

  /// Who may give a file the powers that root gave it once is for root to say, today; and to a group, as chown(2), for its members.
  /// - Parameter now: what becomes that again, where that is there: it stays in its group.
  func mustBeGiveable(_ inode: InodeNumber, at moment: LSN, in vault: Vault, now: NodeInfo? = nil) throws {
    if isAdministrator { return }
    if try vault.wasRootsToGive(inode, at: moment) {
      throw ServiceError(.notPermitted, "there is a device, or a file with attributes that only root can give (such as capabilities); root and the vault's owner can bring it back, or copy what you may read from .vaultfs at the root of the mount")
    }
    let was = try vault.info(inode, at: moment)
    guard was.group == now?.group || isMember(of: was.group) else {
      throw ServiceError(.notPermitted, "there is something of group \(was.group), of which you are no member; root and the vault's owner can bring it back, or copy what you may read from .vaultfs at the root of the mount")
    }
  }

  /// A directory of this peer's may have held, or hold, what is others': it is not for them to bring that back with its owner, nor to
  /// replace it.
  /// - Returns: how many names are directly in it; 0 where that is not asked.
  @discardableResult
  func mustOwnAll(below directory: InodeNumber, at moment: LSN, in vault: Vault) throws -> Int {
    if isAdministrator { return 0 }
    var waiting = [directory], names = 0
    while let inode = waiting.popLast() {
      let info = try vault.info(inode, at: moment)
      guard info.user == user else {
        throw ServiceError(.notPermitted, "others' files are in it, which are not yours to bring back or replace; root and the vault's owner can, or copy what you may read from .vaultfs at the root of the mount")
      }
      try mustBeGiveable(inode, at: moment, in: vault)
      guard info.mode & S_IFMT == S_IFDIR else { continue }
      try eachPage { cookie throws(VaultError) in try vault.list(inode, after: cookie, count: Self.entriesPerPage, at: moment) } body: {
        if inode == directory { names += $0.count }
        waiting += $0.filter { $0.info != nil }.map(\.inode)
      }
    }
    return names
  }

  static let entriesPerPage = 500

  /// Goes through a listing that comes in pages.
  func eachPage(_ page: (UInt64) throws(VaultError) -> [DirectoryEntry], body: ([DirectoryEntry]) throws(VaultError) -> Void) throws(VaultError) {
    var last: UInt64 = 0
    while case let entries = try page(last), let end = entries.last {
      try body(entries)
      last = end.cookie
    }
  }
}

extension Progress {
  fileprivate init(_ progress: RestoreProgress) {
    switch progress {
    case .compared(let names): self.init("comparing, \(names) names", done: names)
    case .made(let nodes, let total): self.init("\(nodes) files and directories are made", done: nodes, total: total)
    }
  }
}

/// Holds a version whatever the policy says, or not any more.
public struct PinRequest: VaultRequest {
  public static let name = "pin"
  public static let access = Access.everyone
  public var path: VaultPath
  public var moment: MomentAddress
  public var isPinned: Bool
  public init(_ path: VaultPath, at moment: MomentAddress, _ isPinned: Bool) { (self.path, self.moment, self.isPinned) = (path, moment, isPinned) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> FileVersion {
    let version = try peer.version(of: path, at: moment, in: host.vault)
    try peer.mustOwn(version.user, path)
    do throws(VaultError) { try host.vault.pin(InodeNumber(version.inode), at: LSN(version.id), isPinned, isLimited: !peer.isAdministrator) } catch {
      guard case .quotaExceeded = error else { throw error }
      throw ServiceError(.quotaExceeded, "\(path): what you hold with pins would be more bytes than your limit allows you; let go of other versions, with `fsctl versions unpin`")
    }
    return version
  }
}

/// Lets go of all versions of a file but the present one and those that a snapshot or a pin holds.
public struct PruneRequest: VaultRequest {
  public static let name = "prune"
  public static let access = Access.everyone
  public var path: VaultPath
  public var isDry: Bool
  public init(_ path: VaultPath, isDry: Bool) { (self.path, self.isDry) = (path, isDry) }

  public struct Answer: Codable, Sendable {
    public var versions: Int
  }
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Answer {
    let before = try peer.versions(of: path, in: host.vault)
    for version in before { try peer.mustOwn(version.user, path) }
    let listed = Dictionary(grouping: before, by: \.inode).mapValues { Set($0.map(\.id)) }
    var going: Set<UInt64> = []
    let present = before.first { $0.died == nil }?.inode
    for (inode, ids) in listed {
      // What has another name now has its past there.
      if inode != present, try host.vault.living(InodeNumber(inode)) == InodeNumber(inode) { continue }
      // What is not in the list is not theirs to forget: it was another's, or is of another path.
      let others = try host.vault.versions(of: InodeNumber(inode)).filter { $0.died != nil && !ids.contains($0.id) }
      if others.isEmpty { going.insert(inode) } else if others.contains(where: { !peer.isAdministrator && $0.user != peer.user }) {
        throw ServiceError(.notPermitted, "\(path): there are versions of it that another user owns; root and the vault's owner can let go of them")
      }
    }
    if isDry {
      let moments = try host.vault.snapshots().map(\.moment)
      return Answer(versions: before.filter { version in
        guard let died = version.died, going.contains(version.inode), !version.isPinned else { return false }
        return !moments.contains { $0 >= version.id && $0 < died }
      }.count)
    }
    for inode in going { try host.vault.forget(pastOf: InodeNumber(inode)) }
    return Answer(versions: before.count - ((try? peer.versions(of: path, in: host.vault).count) ?? 0))
  }
}
