// `vaultfs mount`: starts the process that owns the vault and serves the mount, and returns when the mount is usable.
//
// The owner is this same program again, started with --foreground in a session of its own; it says through a pipe
// that the kernel talks to it, or why it could not come to be. (A fork without exec would inherit a runtime's state.)

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

  @Argument(help: "The vault's directory.") var vault: String
  @Argument(help: "The directory to mount on.") var directory: String
  @Flag(help: "Stay in the foreground; the log goes to standard error.") var foreground = false
  @Flag(help: "Let other users in; modes, owners and ACLs decide what they may do.") var allowOther = false
  @Flag(help: "Refuse every change.") var readOnly = false
  @Option(name: .customShort("o"), parsing: .singleValue, help: ArgumentHelp("Mount options, comma-separated: ro, allow_other, suid, dev, noexec, …", valueName: "options"))
  var options: [String] = []
  @Option(help: .hidden) var readyDescriptor: Int32?

  func run() throws {
    let settings = try MountSettings(self)
    if Mounts.containing(vault) != nil { throw Failure("\(vault) is inside a mounted vault; a vault cannot live in another") }
    try Mount.freeStale(directory)
    if foreground { try Owner.serve(settings, readyDescriptor) } else { try startOwner(settings) }
  }

  /// A mount whose owner was killed answers nothing but ENOTCONN: take it away.
  static func freeStale(_ directory: String) throws {
    guard let entry = Mounts.vault(at: directory) else { return }
    // statfs(2) always asks the owner; stat(2) may be answered by what the kernel remembers.
    var info = statvfs()
    guard statvfs(entry.point, &info) != 0, errno == ENOTCONN || errno == ECONNABORTED else {
      throw Failure("\(directory) is in use: the vault \(entry.source) is mounted there; `vaultfs unmount \(directory)` first, or choose another directory")
    }
    complain("\(directory) is what an owner that was killed left behind; cleaning it up")
    try detach(entry.point, lazily: true)
  }

  /// Starts the owner and waits for its word.
  private func startOwner(_ settings: MountSettings) throws {
    // Everything that can be said before another process starts is said better by this one.
    _ = try Vault.readConfiguration(vault)
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw Failure("cannot make a pipe: \(String(cString: strerror(errno)))") }
    var arguments = ["vaultfs", "mount", settings.vault, settings.directory, "--foreground", "--ready-descriptor", "3"]
    if allowOther { arguments.append("--allow-other") }
    if readOnly { arguments.append("--read-only") }
    for option in options { arguments += ["-o", option] }
    let child = try spawn(arguments, ready: ends[1], log: "\(settings.vault)/log")
    close(ends[1])
    var said: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(ends[0], &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { break }
      said += buffer[0..<count]
    }
    if said == Owner.readyWord { return }
    var status: Int32 = 0
    waitpid(child, &status, 0)
    let message = String(decoding: said, as: UTF8.self)
    throw Failure(message.isEmpty ? "the owner ended before the mount was usable; see \(settings.vault)/log" : message)
  }

  private func spawn(_ arguments: [String], ready: Int32, log: String) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    // Not dup2 of a descriptor onto itself: that would keep close-on-exec.
    posix_spawn_file_actions_adddup2(&actions, ready, 3)
    posix_spawn_file_actions_addclose(&actions, 4)
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    var child = pid_t()
    // By its own name, which ps(1) and top(1) then show; by the kernel's where that was replaced meanwhile.
    let own = resolved("/proc/self/exe")
    let code = posix_spawn(&child, access(own, X_OK) == 0 ? own : "/proc/self/exe", &actions, nil, &argv, environ)
    guard code == 0 else { throw Failure("cannot start the owner: \(String(cString: strerror(code)))") }
    return child
  }
}

/// What the arguments and options of a mount come to.
struct MountSettings {
  var vault: String
  var directory: String
  var allowOther: Bool
  var readOnly: Bool
  var mountOptions: [String] = []

  /// What fstab and mount(8) say for themselves, and what is the default anyway.
  private static let ignored: Set<String> = [
    "defaults", "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "relatime", "norelatime", "strictatime", "diratime", "nodiratime",
    "lazytime", "nolazytime", "iversion", "noiversion", "acl", "noacl", "user_xattr", "silent", "loud", "mand", "nomand", "default_permissions",
  ]

  init(_ command: Mount) throws {
    vault = resolved(command.vault)
    directory = resolved(command.directory)
    allowOther = command.allowOther
    readOnly = command.readOnly
    for option in command.options.flatMap({ $0.split(separator: ",").map(String.init) }) {
      switch option {
      case "ro": readOnly = true
      case "allow_other": allowOther = true
      case let word where Self.ignored.contains(word) || word.hasPrefix("x-") || word.hasPrefix("comment="): break
      default: mountOptions.append(option)
      }
    }
  }
}

/// mount(8) calls `mount.vaultfs SOURCE DIR [-sfnv] [-o options] [-t type]`.
enum MountHelper {
  static func translate(_ arguments: [String]) -> [String] {
    var result = ["mount"], rest = arguments[...]
    while let argument = rest.popFirst() {
      switch argument {
      case "-t", "-N": _ = rest.popFirst()
      case "-s", "-f", "-n", "-v", "-i": break
      case "-r": result.append("--read-only")
      case "-w", "-rw": break
      default: result.append(argument)
      }
    }
    return result
  }
}
