// The process that serves a mount, seen from outside: who it is, whether it answers, and where its vault is by now.
//
// Nothing here touches the mount: its owner may be stopped, and then whoever asks waits for ever.

import FoundationEssentials
public import FuseBridge
public import Glibc
import Printable
import VaultClient
import VaultFS

public struct OwnerProcess {
  /// What it says of itself in the vault's file `owner`: `process N on HOST, mounted on DIR`.
  public let words: String
  /// The vault's folder as it is now: it may have been moved. nil where it was deleted.
  public let folder: Path?

  public init(words: String, folder: Path?) { (self.words, self.folder) = (words, folder) }

  /// As this computer numbers it.
  public var id: pid_t? {
    let parts = words.split(separator: " ")
    return parts.count > 1 && parts[0] == "process" ? pid_t(parts[1]) : nil
  }

  /// Who serves `mount`; nil where nobody does, or nobody whom this user may see.
  public static func serving(_ mount: MountEntry, in mounts: [MountEntry] = MountTable.read()) -> OwnerProcess? {
    // It names the place where it mounted; the same file system may be bound to others.
    func isNamed(_ other: MountEntry, by words: String) -> Bool { words.hasSuffix(", mounted on \(other.point)") }
    func serves(_ words: String) -> Bool { mounts.contains { $0.device == mount.device && isNamed($0, by: words) } }
    let named = (try? mount.source.ofVault).flatMap { Vault.owner(of: $0) }
    if let named, serves(named) { return OwnerProcess(words: named, folder: mount.source) }
    if let holder = holder(mount.user, serves) { return holder }
    // The vault's owner may have been killed, and the next one has mounted it elsewhere.
    guard let named, !mounts.contains(where: { $0.isVault && $0.device != mount.device && isNamed($0, by: named) }) else { return nil }
    let owner = OwnerProcess(words: named, folder: mount.source)
    // Whoever mounted it can write into that file what he likes.
    if let user = mount.user, let process = owner.id, let its = userOf(process), its != user { return nil }
    return owner
  }

  private static func userOf(_ process: pid_t) -> UInt32? {
    var info = stat()
    return unsafe stat("/proc/\(process)", &info) == 0 ? info.st_uid : nil
  }

  /// The process whose file `owner` says what is looked for, wherever that file is by now. Others may write such files, too:
  /// it must be a process of the mount's user.
  private static func holder(_ user: UInt32?, _ serves: (String) -> Bool) -> OwnerProcess? {
    for process in entries(of: "/proc") where pid_t(process) != nil {
      var info = stat()
      guard unsafe stat("/proc/\(process)", &info) == 0, info.st_uid == user else { continue }
      let links = entries(of: "/proc/\(process)/fd").compactMap { name in Path("/proc/\(process)/fd/\(name)").linkTarget.map { (name, $0) } }
      for (name, file) in links {
        let deleted = " (deleted)".utf8, isDeleted = file.bytes.suffix(deleted.count).elementsEqual(deleted)
        let place = isDeleted ? Path(file.bytes.dropLast(deleted.count)) : file
        guard place.name?.elementsEqual("owner".utf8) == true, let words = contents(of: "/proc/\(process)/fd/\(name)", atMost: 512)?.split(separator: 10).first else { continue }
        let said = String(decoding: words, as: UTF8.self)
        guard said.hasPrefix("process \(process) "), serves(said) else { continue }
        // The file may have been deleted alone: the owner has the directory open, too.
        return OwnerProcess(words: said, folder: !isDeleted || links.contains { $0.1 == place.parent } ? place.parent : nil)
      }
    }
    return nil
  }

  private static func entries(of directory: String) -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] }

  /// Whether it has not ended.
  public var isAlive: Bool {
    if let text = try? folder?.ofVault { return Vault.owner(of: text) == words }
    return ![nil, "Z", "X"].contains(state)
  }

  /// As ps(1) shows it.
  private var state: String? {
    guard let id, let status = contents(of: "/proc/\(id)/stat"), let end = status.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    return status[(end + 1)...].split(separator: 32).first.map { String(decoding: $0, as: UTF8.self) }
  }
  public var isStopped: Bool { ["T", "t"].contains(state) }

  /// Whether it serves its mount and says so, at once or within five seconds.
  public var answers: Bool { !isStopped && folder.map { RemoteService(vault: $0.bytes).answers } ?? false }

  /// Whether it can be asked and says nothing.
  public var isSilent: Bool {
    if isStopped { return true }
    let began = ContinuousClock.now
    // Where nobody listens that is clear at once.
    return folder != nil && !answers && ContinuousClock.now - began > .seconds(4)
  }

  /// Why nothing goes on, and how it could.
  public var silence: String {
    let who = "\(printable(words.utf8)), which owns it, does not answer", process = id.map { "\($0)" } ?? "PROCESS"
    if !isStopped, let folder, RemoteService(vault: folder.bytes).isDeserted {
      let next = mountPoint.map { ", or `vaultfs unmount \($0.quoted)` and mount it again" } ?? ""
      return "\(who): nobody listens on \(folder)/\(VaultServer.socketName), which was removed, or the owner is just beginning or ending; try again in a moment\(next)"
    }
    return """
      \(who)\(isStopped ? ": it is stopped" : ""). `kill -CONT \(process)` lets a stopped process go on; \
      as the last resort `kill -KILL \(process)` ends it: what was saved is safe, and the next mount recovers
      """
  }

  /// As it names it.
  private var mountPoint: Path? {
    guard let end = words.firstRange(of: ", mounted on ")?.upperBound else { return nil }
    return Path(String(words[end...]))
  }

  /// What has become of the folder that `mount` names as its source; nil where it is in its place.
  public func displacement(of mount: MountEntry) -> String? {
    guard folder != mount.source else { return nil }
    let next = "`vaultfs unmount \(mount.point.quoted)`"
    // (A disk that was taken away lazily leaves a path that leads nowhere.)
    guard let folder, (try? folder.ofVault).map({ Vault.owner(of: $0) == words }) == true else {
      return "the folder \(mount.source) of the vault mounted on \(mount.point) is not there any more: it was deleted, or its disk was taken away; copy from there what can still be read, then \(next)"
    }
    return "the folder \(mount.source) of the vault mounted on \(mount.point) was moved, and is \(folder) now; \(next), and mount it from there"
  }
}

extension MountEntry {
  /// Whether whoever served it has ended; nil where this user may not know. (A live one is not found where the vault's disk fails.)
  public func isDead(_ owner: OwnerProcess?) -> Bool? {
    if owner != nil { return false }
    // (Who may not look for the owner might wait for one that is stopped.)
    guard unsafe geteuid() == 0 || source.appending("owner").withCString({ unsafe access($0, R_OK) }) == 0 else { return nil }
    // statfs(2) always asks the owner; stat(2) may be answered by what the kernel remembers.
    var info = statvfs()
    if unsafe point.withCString({ unsafe statvfs($0, &info) }) == 0 { return false }
    return errno == ENOTCONN || errno == ECONNABORTED ? true : nil
  }
}

extension [MountEntry] {
  /// The mount of the vault at `path`, or the one that `path` lies in.
  public func ofVault(_ path: Path) -> MountEntry? {
    if let around = holding(path), around.isVault { return around }
    return ofFolder(path)
  }

  /// The mount of the vault whose folder `path` is, or was when it was mounted.
  public func ofFolder(_ path: Path) -> MountEntry? {
    if let mount = last(where: { $0.isVault && $0.source == path }) { return mount }
    guard let words = (try? path.ofVault).flatMap({ Vault.owner(of: $0) }) else { return nil }
    return last { $0.isVault && words.hasSuffix(", mounted on \($0.point)") && OwnerProcess.serving($0, in: self)?.folder == path }
  }

  /// Refuses `path` where its vault is mounted and was moved since, from there or to there; or nobody can answer for it, because its
  /// owner is stopped.
  public func refuseDisplaced(_ path: Path) throws {
    guard let mount = ofFolder(path), let owner = OwnerProcess.serving(mount, in: self) else { return }
    if let words = owner.displacement(of: mount) { throw Failure(words) }
    if owner.isStopped { throw Failure("the vault \(mount.source) is mounted on \(mount.point), and \(owner.silence)") }
  }
}

/// What to do with a mount that nobody serves.
public func deathNotice(_ mount: MountEntry) -> String { "\(mount.point) is \(deathNotice(mount.point, mount.source))" }
public func deathNotice(_ point: Path, _ vault: Path) -> String {
  "dead: its owner ended; `vaultfs mount \(vault.quoted) \(point.quoted)` or `vaultfs unmount \(point.quoted)` clears it"
}
