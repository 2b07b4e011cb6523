// Which vault is meant: by a path inside its mount, or by its folder; and the way to it.
//
// What must stay true: nothing here touches a mount before its owner has answered. What is mounted where is the kernel's table's to say, by the device
// number that stat(2) shows of everything in it; the owner is asked over its socket only.

public import ArgumentParser
public import FuseBridge
import Glibc
import Printable
public import VaultClient
import VaultFS

/// What says which vault is meant, and which place in it.
public protocol Address {
  /// - Parameter purpose: what a vault that nobody owns is opened for, for those who are refused it meanwhile; nil where
  ///   it must be mounted.
  func reach(purpose: String?) throws -> ReachedVault
}

/// `[PATH | --vault VAULT]`, of what is about a vault: PATH says which.
public struct VaultAddress: ParsableArguments, Address {
  @Argument(help: "A path inside a mounted vault; by default the working directory.", completion: .file(), transform: Path.argument) public var path: Path?
  @Option(help: "Address a vault by its folder, mounted or not.", completion: .directory, transform: Path.argument) public var vault: Path?

  public init() {}
  public func validate() throws {
    if path != nil, vault != nil { throw ValidationError("give either a PATH inside a mount or --vault VAULT, not both") }
  }

  public func reach(purpose: String?) throws -> ReachedVault {
    if let vault { return try ReachedVault(folder: vault, purpose: purpose) }
    let reached = try ReachedVault(inside: path ?? Path("."))
    if let path { try reached.expect(path) }
    return reached
  }
}

/// `[PATH] [--vault VAULT]`, of what is about a place in a vault: with VAULT, PATH may be one from the vault's root.
public struct PlaceAddress: ParsableArguments, Address {
  @Argument(help: "A path inside a mounted vault; by default the working directory. With --vault, one from the vault's root.", completion: .file(), transform: Path.argument) public var path: Path?
  @OptionGroup public var folder: FolderOption

  public init() {}
  public func reach(purpose: String?) throws -> ReachedVault { try folder.reach(path, purpose: purpose) }
}

/// `--vault VAULT`, beside a PATH.
public struct FolderOption: ParsableArguments {
  @Option(help: "Address a vault by its folder, mounted or not.", completion: .directory, transform: Path.argument) public var vault: Path?

  public init() {}
  public func reach(_ path: Path?, purpose: String?) throws -> ReachedVault {
    guard let vault else { return try ReachedVault(inside: path ?? Path(".")) }
    return try ReachedVault(folder: vault, purpose: purpose, at: path)
  }
}

extension VaultAddress {
  /// Asks the vault's owner; where there is none, the vault itself, which need not be one that can be opened.
  public func ask<Request: ClosedVaultRequest>(_ request: Request, _ receiver: Receiver<Request.Item>) throws -> (answer: Request.Answer, folder: Path) {
    if let vault {
      let (path, text) = try ReachedVault.folder(vault)
      if Vault.owner(of: text) == nil { return (try request.ask(closed: text, log: { complain($0) }, receiver), path) }
    }
    let reached = try reach(purpose: nil)
    return (try reached.service.ask(request, receiver), reached.folder)
  }
}

/// A vault, and how to ask it.
public struct ReachedVault {
  public let service: any VaultService
  /// Its folder.
  public let folder: Path
  /// Where in the vault the path is that was given; nil where none was, only the vault's folder.
  public let place: VaultPath?
  /// The mount that it was reached by.
  private let mount: MountEntry?
  private let opened: Vault?

  /// By a path inside its mount.
  public init(inside given: Path) throws {
    let mounts = MountTable.read(), path = try given.resolved(mounts)
    guard let mount = mounts.holding(path), mount.isVault else { throw Self.notInside(path, mounts) }
    let place = try VaultPath(path, in: mount), (service, folder) = try Self.serving(mount, mounts)
    self.service = NamingService(service: service, place: place, given: given == Path(".") ? path : given, mount: mount)
    (self.folder, self.place, self.mount, opened) = (folder, place, mount, nil)
  }

  /// Refuses a path that leads to nothing: somebody mistyped it, and another vault may be meant. (The owner has answered, or this could
  /// wait for it for ever.)
  fileprivate func expect(_ given: Path) throws {
    var info = stat()
    guard unsafe given.withCString({ unsafe lstat($0, &info) }) != 0, [ENOENT, ENOTDIR].contains(errno) else { return }
    throw Failure("\(given) does not exist; to say which vault is meant, name its mount point\(mount.map { ", \($0.point)" } ?? "")")
  }

  /// Where another path is in this same vault. Where the vault was addressed by its folder, one that is not inside a mount is one
  /// from the vault's root.
  public func place(of given: Path) throws -> VaultPath { try Self.place(of: given, in: folder, mountedOn: mount) }

  private static func place(of given: Path, in folder: Path, mountedOn mount: MountEntry?) throws -> VaultPath {
    let mounts = MountTable.read(), path = try given.resolved(mounts)
    guard let other = mounts.holding(path), other.isVault else {
      guard mount == nil else { throw Failure("\(given) is not inside the vault \(folder), and what is taken back stays in its vault; copy it from there with cp") }
      guard let place = VaultPath(given.bytes) else { throw Failure("\(given) is no path from a vault's root: it has `..`, or is too long", code: 2) }
      return place
    }
    guard mount.map({ $0.device == other.device }) ?? (other.source == folder) else {
      throw Failure("\(given) is in another vault, \(other.source), than \(folder), and only a copy, made with cp, goes from one to the other")
    }
    return try VaultPath(path, in: other)
  }

  /// `place` as people reach it, where they do; else from the vault's root.
  public func name(of place: VaultPath) -> String { mount?.path(of: place).map { "\($0)" } ?? "\(place)" }

  /// What was said against `place`, as it was typed.
  public func naming(_ error: ServiceError, _ place: VaultPath, _ given: Path) -> ServiceError { error.naming(place, given, mount) }

  private static func notInside(_ path: Path, _ mounts: [MountEntry]) -> Failure {
    if let mount = mounts.last(where: { $0.isVault && $0.source.contains(path) }) {
      return Failure("\(path) is in the folder of a vault, which is mounted on \(mount.point); name a path in there, or `--vault \(mount.source.quoted)`")
    }
    if let text = try? path.ofVault, Vault.isVault(text) {
      return Failure("\(path) is a vault that is not mounted; `--vault \(path.quoted)` addresses it as it is, or `vaultfs mount \(path.quoted) DIR` mounts it")
    }
    return Failure("\(path) is not inside a mounted vault; `vaultfs status` lists the vaults mounted here, and `--vault VAULT` addresses one by its folder")
  }

  /// By its folder: through its owner where there is one.
  /// - Parameter place: a path in it.
  public init(folder given: Path, purpose: String?, at place: Path? = nil) throws {
    let (path, text) = try Self.folder(given)
    (folder, mount) = (path, nil)
    self.place = try place.map { try Self.place(of: $0, in: path, mountedOn: nil) }
    if let words = Vault.owner(of: text) {
      service = try Self.answering(RemoteService(vault: path.bytes), OwnerProcess(words: words, folder: path))
      opened = nil
      return
    }
    guard let purpose else { throw Failure("the vault \(path) is not mounted; `vaultfs mount \(path.quoted) DIR` mounts it") }
    let vault = try Vault.open(at: text, purpose: purpose, log: { complain($0) })
    (service, opened) = (LocalService(vault), vault)
  }

  /// The folder of a vault that is where it was mounted from, if it is mounted.
  fileprivate static func folder(_ given: Path) throws -> (path: Path, text: String) {
    let mounts = MountTable.read(), path = try given.resolved(mounts), text = try path.ofVault
    if let mount = mounts.holding(path), mount.isVault { throw Failure("\(path) is a path inside the mount of the vault \(mount.source); name it without --vault") }
    try mounts.refuseDisplaced(path)
    // Root may ask everybody's, by who owns it.
    if geteuid() != 0 || Vault.owner(of: text) == nil { _ = try Vault.readConfiguration(text) }
    return (path, text)
  }

  /// Lets go of it: a vault that was opened for this is put away.
  public func end() throws { try opened?.shutDown() }

  private static func serving(_ mount: MountEntry, _ mounts: [MountEntry]) throws -> (any VaultService, Path) {
    let owner = OwnerProcess.serving(mount, in: mounts)
    if let words = owner?.displacement(of: mount) { throw Failure(words) }
    if mount.isDead(owner) == true { throw Failure(deathNotice(mount)) }
    // Who may look into the folder administers; the socket for everyone is for the others.
    if let owner, let folder = owner.folder, owner.isOurs(mount) { return (try answering(RemoteService(vault: folder.bytes), owner), folder) }
    do {
      let service = RemoteService(device: mount.device)
      try service.ping()
      return (service, mount.source)
    } catch let error as ServiceError where error.code == .unreachable {
      throw Failure("""
        you may not ask the vault mounted on \(mount.point): others than root and user \(mount.user.map { "\($0)" } ?? "who mounted it") are let in where root \
        mounted it with --allow-other, and its owner is alive; ask as one of them
        """)
    }
  }

  private static func answering(_ service: RemoteService, _ owner: OwnerProcess) throws -> any VaultService {
    if owner.isStopped { throw Failure(owner.silence) }
    do { try service.ping() } catch let error as ServiceError {
      switch error.code {
      case .silent, .unreachable: throw Failure(owner.silence)
      default: throw error
      }
    }
    return service
  }
}

extension OwnerProcess {
  /// Whether this user may use the socket in the vault's folder.
  fileprivate func isOurs(_ mount: MountEntry) -> Bool { geteuid() == 0 || mount.user == geteuid() }
}
