// What the arguments and options of a mount come to, and what of it can be refused before anything is mounted.

import CommandSupport
import FuseBridge
import Glibc
import Printable
import VaultFS

/// What the arguments and options of a mount come to.
struct MountSettings {
  /// Both resolved: whoever has them may leave the directory they were given in.
  var vault: Path
  var directory: Path
  var allowOther: Bool
  var readOnly: Bool
  var mountOptions: [String] = []
  var accessTimes = AccessTimes.relative
  /// A vault that does not exist is no failure, by the words of mount(8).
  var mayBeMissing = false
  /// The directory need not be empty.
  private var mayHide = false
  /// `vault`, for the engine.
  let vaultText: String

  /// What fstab and mount(8) say for themselves, and what is the default anyway.
  private static let ignored: Set<String> = [
    "defaults", "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "relatime", "norelatime", "diratime", "nodiratime",
    "lazytime", "nolazytime", "iversion", "noiversion", "acl", "noacl", "user_xattr", "silent", "loud", "mand", "nomand", "default_permissions",
  ]

  /// For the manual: all that do something.
  static let described: [ManualChapter.Item] = [
    ("ro", "Refuse every change; as --read-only."),
    ("allow_other", "Let other users in; as --allow-other."),
    ("nonempty", "Mount on a directory that is not empty, and hide what is in it."),
    ("noatime, relatime, strictatime", "When reading a file changes its time of access: never; where that is older than its last change or than a day (the default); always."),
    ("noexec, sync, dirsync", "As mount(8) has them."),
    ("suid, dev", "For root; the default is nosuid,nodev."),
    ("context=, fscontext=, defcontext=, rootcontext=", "SELinux's."),
    ("nofail", "Where the vault does not exist, do nothing and succeed."),
    ("defaults, noauto, user, _netdev, x-..., comment=...", "And others that only fstab(5) and mount(8) are told, and the opposites of all these, are accepted. remount is refused."),
  ]

  private static let strict = "strictatime"
  private static let nonempty = "nonempty"
  private static let nofail = "nofail"
  private static var allKnown: String {
    let words = ignored.union(SessionOptions.known).union([strict, nonempty, nofail]).sorted(), prefixes = SessionOptions.knownPrefixes + ["x-", "comment="]
    return (words + prefixes.map { "\($0)…" }).joined(separator: ", ")
  }

  init(_ command: Mount) throws {
    let mounts = MountTable.read()
    (vault, directory) = (try command.vault.resolved(mounts), try command.directory.resolved(mounts))
    vaultText = try vault.ofVault
    allowOther = command.allowOther
    readOnly = command.readOnly
    for option in command.options.flatMap({ $0.split(separator: ",").map(String.init) }) {
      switch option {
      case "ro": readOnly = true
      case "allow_other": allowOther = true
      case Self.strict: accessTimes = .always
      case Self.nonempty: mayHide = true
      case Self.nofail: mayBeMissing = true
      case "remount":
        throw Failure("a mounted vault cannot be given other options (`remount`); unmount \(directory) and mount it anew with those options")
      case let word where Self.ignored.contains(word) || word.hasPrefix("x-") || word.hasPrefix("comment="): break
      case "noatime":
        accessTimes = .never
        mountOptions.append(option)
      // The session says why not the one.
      case let word where SessionOptions.knows(word) || word == "auto_unmount": mountOptions.append(word)
      default: throw Failure("the mount option `\(printable(option.utf8))` is not known; known are \(Self.allKnown)", code: 2)
      }
    }
  }

  /// What is in the directory would be hidden for as long as the vault is mounted, and often nobody means that.
  func checkDirectory() throws {
    // First of all: whoever may not mount there at all has no use for -o nonempty.
    guard mayMount else {
      throw Failure("you may not mount on \(directory): an ordinary user mounts on directories that they may write to\(isSticky ? ", and own where they are open to all" : ""); make one of your own, or mount as root")
    }
    // A directory that cannot be looked at is the mount's to refuse.
    guard !mayHide, let names = unsafe directory.withCString({ unsafe opendir($0) }) else { return }
    defer { unsafe closedir(names) }
    var count = 0
    while unsafe readdir(names) != nil { count += 1 }
    if count > 2 {
      throw Failure("\(directory) is not empty, and the mount would hide what is in it; choose an empty directory, or say `-o nonempty` if that is what you want")
    }
  }

  /// As fusermount3 asks it. What is not there at all is the mount's to refuse.
  private var mayMount: Bool {
    if geteuid() == 0 { return true }
    if unsafe directory.withCString({ unsafe access($0, W_OK) }) == 0 { return !isSticky }
    return errno == ENOENT || errno == ENOTDIR
  }
  /// Whether it is somebody else's, in which everybody may make and only owners remove.
  private var isSticky: Bool {
    var info = stat()
    return unsafe directory.withCString { unsafe stat($0, &info) } == 0 && info.st_mode & S_ISVTX != 0 && info.st_uid != geteuid()
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
    if let outer = mounts.holding(directory), outer.isVault, outer.point != directory {
      let owner = OwnerProcess.serving(outer, in: mounts), place = "\(directory) is in the vault mounted on \(outer.point)"
      if let owner, !owner.answers { throw Failure("\(place), and \(owner.displacement(of: outer) ?? owner.silence). Or choose another directory") }
      if outer.isDead(owner) == true { throw Failure("\(place), which is dead: its owner ended; `vaultfs unmount \(outer.point.quoted)` clears it") }
    }
    try mounts.refuseDisplaced(vault)
    _ = try Vault.readConfiguration(vaultText)
    do throws(SessionError) { try sessionOptions().validate(isRoot: geteuid() == 0) } catch { throw Failure("\(error)", code: 2) }
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
