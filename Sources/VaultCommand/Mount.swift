// `vaultfs mount`: starts the process that owns the vault and serves the mount, and returns when the mount is usable.

import ArgumentParser
import FuseBridge
import Glibc
import VaultFS

struct Mount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Mount a vault on a directory.",
    discussion: """
      Returns when the mount is usable. As root, others may enter with --allow-other; ordinary users mount through \
      fusermount3 (package fuse3) and need `user_allow_other` in /etc/fuse.conf for that.
      What a killed owner left behind on DIR is recognised and cleaned up.

      fstab: VAULT DIR vaultfs defaults,allow_other,nofail 0 0   (with `vaultfs` linked as /sbin/mount.vaultfs)
      """)

  @Argument(help: "The vault's directory.", transform: Path.argument) var vault: Path
  @Argument(help: "The directory to mount on.", transform: Path.argument) var directory: Path
  @Flag(help: "Stay in the foreground; the log goes to standard error.") var foreground = false
  @Flag(help: "Let other users in; modes, owners and ACLs decide what they may do.") var allowOther = false
  @Flag(help: "Refuse every change.") var readOnly = false
  @Option(name: .customShort("o"), parsing: .singleValue, help: ArgumentHelp("Mount options, comma-separated: ro, allow_other, suid, dev, noexec, …", valueName: "options"))
  var options: [String] = []
  @Flag(help: .hidden) var fake = false
  @Option(help: .hidden) var readyDescriptor: Int32?

  func run() throws {
    // As the owner, started by this same command: it has checked everything.
    if let readyDescriptor { return try Owner.serve(Ready(readyDescriptor)) { try MountSettings(self) } }
    let settings = try MountSettings(self)
    try settings.check()
    if fake { return }
    try Mount.freeStale(settings.directory)
    if foreground { try Owner.serve(Ready(nil)) { settings } } else { try OwnerStart(settings, options).run() }
  }

  /// A mount whose owner was killed answers nothing but ENOTCONN: take it away.
  static func freeStale(_ directory: Path) throws {
    guard let entry = MountTable.read().top(at: directory), entry.isVault else { return }
    let inUse = "\(directory) is in use: the vault \(entry.source) is mounted there"
    let next = "`vaultfs unmount \(directory)` first, or choose another directory"
    // The owner first, and not the mount: where the owner is stopped, that would wait for ever.
    if ControlSocket.ask(entry.source, "status") != nil { throw Failure("\(inUse); \(next)") }
    if let owner = survivor(of: entry) {
      throw Failure("\(inUse), and \(owner), which owns it, does not answer. If it was stopped, let it go on (`kill -CONT`); else \(next)")
    }
    guard isDead(entry) else { throw Failure("\(inUse); \(next)") }
    complain("\(directory) is what an owner that was killed left behind; cleaning it up")
    do throws(SessionError) { try entry.detach(lazily: true) } catch { throw Failure("\(error)") }
  }

  /// The owner, unless it ends within two seconds: the kernel needs a moment for a process that was killed.
  private static func survivor(of entry: MountEntry) -> String? {
    guard let vault = try? entry.source.ofVault else { return nil }
    for _ in 0..<20 {
      if Vault.owner(of: vault) == nil { return nil }
      usleep(100_000)
    }
    return Vault.owner(of: vault)
  }

  /// statfs(2) always asks the owner; stat(2) may be answered by what the kernel remembers.
  private static func isDead(_ entry: MountEntry) -> Bool {
    var info = statvfs()
    return unsafe entry.point.withCString { unsafe statvfs($0, &info) } != 0 && (errno == ENOTCONN || errno == ECONNABORTED)
  }
}

/// What the arguments and options of a mount come to.
struct MountSettings {
  /// Both resolved: whoever has them may leave the directory they were given in.
  var vault: Path
  var directory: Path
  var allowOther: Bool
  var readOnly: Bool
  var mountOptions: [String] = []
  var accessTimes = AccessTimes.relative
  /// `vault`, for the engine.
  let vaultText: String

  /// What fstab and mount(8) say for themselves, and what is the default anyway.
  private static let ignored: Set<String> = [
    "defaults", "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "relatime", "norelatime", "diratime", "nodiratime",
    "lazytime", "nolazytime", "iversion", "noiversion", "acl", "noacl", "user_xattr", "silent", "loud", "mand", "nomand", "default_permissions",
  ]

  init(_ command: Mount) throws {
    let mounts = MountTable.read()
    (vault, directory) = (command.vault.resolved(mounts), command.directory.resolved(mounts))
    vaultText = try vault.ofVault
    allowOther = command.allowOther
    readOnly = command.readOnly
    for option in command.options.flatMap({ $0.split(separator: ",").map(String.init) }) {
      switch option {
      case "ro": readOnly = true
      case "allow_other": allowOther = true
      case "strictatime": accessTimes = .always
      case let word where Self.ignored.contains(word) || word.hasPrefix("x-") || word.hasPrefix("comment="): break
      case "noatime":
        accessTimes = .never
        mountOptions.append(option)
      default: mountOptions.append(option)
      }
    }
  }

  /// Everything that can be said before another process starts is said better by this one.
  func check() throws {
    if vault == directory || vault.contains(directory) {
      throw Failure("cannot mount \(vault) on \(directory): the owner needs the vault's files, and the mount would hide them; choose a directory outside the vault")
    }
    if directory.contains(vault) {
      throw Failure("cannot mount \(vault) on \(directory): the vault is in that directory, and the mount would hide it from its owner; choose another directory, or move the vault")
    }
    let mounts = MountTable.read()
    if let outer = mounts.holding(vault), outer.isVault {
      throw Failure("\(vault) is inside the vault mounted on \(outer.point); a vault cannot live in another: move it to a place outside")
    }
    if let outer = mounts.holding(directory), outer.isVault, outer.point != directory, ControlSocket.ask(outer.source, "status") == nil {
      throw Failure("\(directory) is in the vault mounted on \(outer.point), whose owner does not answer; choose another directory, or see \(outer.source)/log")
    }
    _ = try Vault.readConfiguration(vaultText)
  }

  func sessionOptions() -> SessionOptions {
    var options = SessionOptions(name: vaultText, subtype: "vaultfs")
    options.allowOther = allowOther
    options.readOnly = readOnly
    options.mountOptions = mountOptions
    options.exportable = true
    return options
  }
}

/// mount(8) calls `mount.vaultfs SOURCE DIR [-sfnv] [-o options] [-t type]`.
enum MountHelper {
  static func translate(_ arguments: [String]) -> [String] {
    var result = ["mount"], rest = arguments[...]
    while let argument = rest.popFirst() {
      switch argument {
      case "-t", "-N": _ = rest.popFirst()
      // "Fake": everything but the mount itself.
      case "-f": result.append("--fake")
      case "-s", "-n", "-v", "-i", "-w", "-rw": break
      case "-r": result.append("--read-only")
      case let flags where isFlags(flags): rest = flags.dropFirst().map { "-\($0)" } + rest
      default: result.append(argument)
      }
    }
    return result
  }

  /// Several in one word, such as `-fnv`.
  private static func isFlags(_ word: String) -> Bool {
    word.utf8.count > 2 && word.hasPrefix("-") && word.dropFirst().allSatisfy { "sfnvirw".contains($0) }
  }
}
