// `vaultfs mount`: starts the process that owns the vault and serves the mount, and returns when the mount is usable.

import ArgumentParser
import CommandSupport
import FuseBridge
import Glibc
import VaultFS

struct Mount: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount", abstract: "Mount a vault on a directory.",
    discussion: """
      Returns when the mount is usable. As root, others may enter with --allow-other; ordinary users mount through \
      fusermount3 (package fuse3) and need `user_allow_other` in /etc/fuse.conf for that.
      What a killed owner left behind on DIR is recognised and cleaned up.

      fstab: VAULT DIR vaultfs defaults,allow_other,nofail 0 0   (with `vaultfs` linked as /sbin/mount.vaultfs)
      """)

  @Argument(help: "The vault's directory.", completion: .directory, transform: Path.argument) var vault: Path
  @Argument(help: "The directory to mount on.", completion: .directory, transform: Path.argument) var directory: Path
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
    do { try settings.check() } catch let error as VaultError {
      guard settings.mayBeMissing, case .vaultMissing = error else { throw error }
      return complain("not mounting it: \(error)")
    }
    if fake { return }
    try Mount.freeStale(settings.directory)
    try settings.checkDirectory()
    if foreground { try Owner.serve(Ready(nil)) { settings } } else { try OwnerStart(settings, options).run() }
  }

  /// A mount whose owner was killed answers nothing but ENOTCONN: take it away.
  static func freeStale(_ directory: Path) throws {
    guard let entry = MountTable.read().top(at: directory), entry.isVault else { return }
    let inUse = "\(directory) is in use: the vault \(entry.source) is mounted there"
    let next = "`vaultfs unmount \(directory.quoted)` first, or choose another directory"
    // The owner first, and not the mount: where the owner is stopped, that would wait for ever.
    var owner = OwnerProcess.serving(entry)
    if owner?.answers == true { throw Failure("\(inUse); \(next)") }
    // The kernel needs a moment for a process that was killed.
    for _ in 0..<20 where owner != nil {
      usleep(100_000)
      owner = OwnerProcess.serving(entry)
    }
    if let owner { throw Failure("\(inUse), and \(owner.displacement(of: entry) ?? owner.silence)") }
    guard entry.isDead(nil) == true else { throw Failure("\(inUse); \(next)") }
    complain("\(directory) is what an owner that was killed left behind; cleaning it up")
    do throws(SessionError) { try entry.detachDead() } catch { throw Failure("\(error)") }
  }
}
