// `--user U | --group G | --tree PATH | --vault`, and which vault is meant.

import ArgumentParser
import CommandSupport
import FuseBridge
import VaultClient

struct QuotaSubjectArguments: ParsableArguments {
  @Argument(help: "A path inside a mounted vault; by default the working directory. With --vault VAULT, one from the vault's root.", completion: .file(), transform: Path.argument) var path: Path?
  @Option(help: "A user: a name or a number.") var user: String?
  @Option(help: "A group: a name or a number.") var group: String?
  @Option(help: "What is below a directory: a path inside a mount; with --vault VAULT, one from the vault's root.", completion: .directory, transform: Path.argument) var tree: Path?
  @Option(
    defaultAsFlag: VaultOption.itself, parsing: .next,
    help: ArgumentHelp("The vault as a whole. With VAULT, its folder, that vault is addressed, mounted or not, whoever is named besides.", valueName: "vault"),
    completion: .directory)
  var vault: VaultOption?

  func validate() throws {
    if [user != nil, group != nil, tree != nil].filter({ $0 }).count > 1 { throw ValidationError("give one of --user, --group, --tree, --vault") }
    if vault == .itself, user != nil || group != nil || tree != nil { throw ValidationError("give one of --user, --group, --tree, --vault") }
    if path != nil, tree != nil { throw ValidationError("--tree says where; give no other PATH") }
  }

  private var folder: Path? { if case .folder(let folder)? = vault { folder } else { nil } }

  /// Reaches the vault, mounted or not, and lets go of it whatever happens.
  /// - Parameter body: also gets where in the vault PATH is, or the working directory; nil where the vault is addressed by its folder.
  func ask(_ command: String, isNeeded: Bool, _ body: (any VaultService, QuotaHolder?, VaultPath?) throws -> Void) throws {
    let named = try namedAccount()
    if isNeeded, named == nil, tree == nil, !isOfVault { throw Failure("say whose limit: --user U, --group G, --tree PATH or --vault; `fsctl quota --help` has examples", code: 2) }
    let reached = try reach("used by `fsctl \(command)`")
    do { try body(reached.service, named ?? holder(in: reached), reached.place) } catch {
      try? reached.end()
      throw error
    }
    try reached.end()
  }

  private func reach(_ purpose: String) throws -> ReachedVault {
    guard let folder else { return try ReachedVault(inside: tree ?? path ?? Path(".")) }
    // `--vault ~/files` may well be meant for what is mounted there.
    let mounts = MountTable.read()
    if tree == nil, path == nil, let mount = mounts.holding(try folder.resolved(mounts)), mount.isVault { return try ReachedVault(inside: folder) }
    return try ReachedVault(folder: folder, purpose: purpose, at: tree ?? path)
  }

  private func namedAccount() throws -> QuotaHolder? {
    if let user { return .user(try Account.user(user)) }
    return try group.map { .group(try Account.group($0)) }
  }

  private func holder(in reached: ReachedVault) -> QuotaHolder? {
    if tree != nil { return .tree(.path(reached.place ?? .root)) }
    return isOfVault ? .vault : nil
  }
  /// Whether the vault itself is meant, not a place in it.
  private var isOfVault: Bool { vault == .itself || vault != nil && path == nil }
}

/// `--vault`, or `--vault VAULT`.
enum VaultOption: ExpressibleByArgument, Equatable, CustomStringConvertible {
  case itself
  case folder(Path)

  init?(argument: String) {
    guard let path = try? Path.argument(argument) else { return nil }
    self = .folder(path)
  }
  var description: String {
    switch self {
    case .itself: "the one that PATH is in"
    case .folder(let path): "\(path)"
    }
  }
}
