// A file's versions: which there are, their bytes, holding one and letting all go.
//
// What must stay true: whoever may not read a file now is shown none of its versions, and of those others wrote only what
// their modes let them read; only a file's owner, root and the vault's owner hold one or let all go.

import Glibc
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
      guard second <= now else { throw ServiceError(.invalidArgument, "\(When.text(of: second)) UTC is in the future; now it is \(When.text(of: now)) UTC") }
      guard second >= vault.configuration.created else { throw ServiceError(.notFound, "\(When.text(of: second)) UTC is before the vault was made (\(When.text(of: vault.configuration.created)) UTC)") }
      return try vault.moment(atEndOf: second)
    }
  }

  /// The moment that a tree is looked at as of: the last up to this one of which everything is kept. (Of an operation that a snapshot
  /// names it is.)
  /// - Returns: also when that was, where it is another one; nil where nothing is kept that is as old.
  func treeMoment(in vault: Vault) throws -> (moment: LSN, asOf: Int64?)? {
    let moment = try moment(in: vault)
    if case .operation = self { return (moment, nil) }
    return try vault.keptMoment(upTo: moment).map { ($0.lsn, $0.second) }
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
    case S_IFLNK: throw ServiceError(.notSupported, "\(path) is a symlink; versions are of files: name the path that it leads to. `fsctl versions restore` takes the symlink itself back as of a moment")
    case .some(let type) where type != S_IFREG: throw ServiceError(.notSupported, "\(path) is no file with content; versions are of files")
    default:
      if try vault.goneDirectory(named: name, in: parent, for: viewer) != nil {
        throw ServiceError(.isADirectory, "\(path) was a directory; versions are of files. `.vaultfs/at/TIME` at the root of the mount shows it as it was; `fsctl versions restore` takes it back as of a moment, `fsctl trash list` shows what was deleted")
      }
      throw ServiceError(.notFound, "\(path): nothing is known of a file of that name, as far as the past is kept; `fsctl trash list` shows what was deleted")
    }
  }

  /// The directory that a path's last name is, or was, in: where none is there, the one that was there last.
  private func directory(of path: VaultPath, in vault: Vault) throws -> (inode: InodeNumber, isThere: Bool) {
    let way = path.parent
    var (at, leads) = try furthest(way, in: vault), isFile = false
    if leads > 0, try vault.info(at).mode & S_IFMT != S_IFDIR {
      // It may have the name of a directory that was.
      (at, isFile) = (try find(way.first(leads - 1), in: vault).inode, true)
      leads -= 1
    }
    if leads == way.names.count { return (at, true) }
    for name in way.names[leads...] {
      guard maySearch(try vault.lastProtection(of: at)) else { throw ServiceError(.notPermitted, "\(path): you may not search a directory on the way there") }
      let found = try vault.goneDirectory(named: name, in: at, for: viewer)
      if found == nil, isFile { throw ServiceError(.notADirectory, "\(path): what it is in is a file; name that one") }
      guard let gone = found else { throw ServiceError(.notFound, "\(path): nothing is known of its directory; `fsctl trash list` shows what was deleted") }
      (at, isFile) = (gone.inode, false)
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
      let which = if case .version(let number) = address { "no version \(number) of it is kept\(isAdministrator ? "" : ", or none that you may read")" } else { "it was not there at that moment, or what it was then is not kept" }
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
      let count: Int
      do throws(VaultError) { count = try unsafe host.vault.read(file, at: sent, into: buffer) } catch { throw ServiceError(error, of: "\(path)", in: host.vault) }
      if count == 0 { return version }
      try answer.bytes(unsafe UnsafeRawBufferPointer(rebasing: buffer[..<count]).bytes)
      sent += UInt64(count)
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
    if !isPinned, version.isPinned { peer.note("\(path): version \(version.id) is not held any more", in: host.vault) }
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
    /// Former ones that stay: a snapshot or a pin holds them, or they are those of another name, too.
    public var left: Int
  }
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Answer {
    let vault = host.vault
    let before = try peer.versions(of: path, in: vault)
    for version in before { try peer.mustOwn(version.user, path) }
    let listed = Dictionary(grouping: before, by: \.inode), former = before.count { $0.died != nil }
    // Up to which operation.
    var going: [UInt64: UInt64] = [:], count = 0
    let moments = isDry ? try vault.snapshots().map(\.moment) : []
    let present = before.first { $0.died == nil }?.inode
    for (inode, versions) in listed {
      // What has another name now has its past there.
      if inode != present, try vault.living(InodeNumber(inode)) == InodeNumber(inode) { continue }
      // What is not in the list is not theirs to forget: it was another's, or is of another path.
      let ids = Set(versions.map(\.id)), all = try vault.versions(of: InodeNumber(inode)).filter { $0.died != nil }, others = all.filter { !ids.contains($0.id) }
      if others.contains(where: { !peer.isAdministrator && $0.user != peer.user }) {
        throw ServiceError(.notPermitted, "\(path): there are versions of it that another user owns; root and the vault's owner can let go of them")
      }
      // Up to where it got another name.
      let next = others.map(\.id).min() ?? .max, ends = versions.compactMap(\.died).filter { $0 <= next }
      guard let last = ends.max() else { continue }
      going[inode] = last
      // (Its end, not that of its having the name.)
      if isDry { count += all.count { ids.contains($0.id) && $0.died! <= last && !$0.isPinned && !$0.isIn(moments) } }
    }
    if isDry { return Answer(versions: count, left: former - count) }
    // (What is left need not be found under this name any more.)
    for (inode, last) in going {
      try vault.forget(pastOf: InodeNumber(inode), through: LSN(last))
      let left = Set(try vault.versions(of: InodeNumber(inode)).map(\.id))
      count += listed[inode]!.count { $0.died != nil && !left.contains($0.id) }
    }
    if count > 0 { peer.note("\(path): \(count) former versions were forgotten", in: vault) }
    return Answer(versions: count, left: former - count)
  }
}

extension FileVersion {
  /// Whether it was there at one of these moments.
  fileprivate func isIn(_ moments: [UInt64]) -> Bool { moments.contains { $0 >= id && $0 < died ?? .max } }
}
