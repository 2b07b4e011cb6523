// `vaultfs unmount`: takes a mount away and waits until the vault is clean.

import ArgumentParser
import CommandSupport
import FuseBridge
import Glibc
import Printable
import VaultClient
import VaultFS

struct Unmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unmount", abstract: "Unmount a vault, and return when everything is on disk.",
    discussion: "The same as umount(8) or `fusermount3 -u`, but it waits for the owner to finish and says what is in the way.")

  @Argument(help: "The directory it is mounted on.", completion: .directory, transform: Path.argument) var directory: Path
  @Flag(help: "Take the mount away even if files are open there: they go on working until they are closed, and the vault is in use as long.")
  var lazy = false

  func run() throws {
    let mounts = MountTable.read(), entry = try findMount(mounts)
    let owner = OwnerProcess.serving(entry, in: mounts), isDead = entry.isDead(owner), isLiveAndNotFound = isDead == false && owner == nil
    if let user = entry.user, geteuid() != 0, user != geteuid() {
      let name = user == 0 ? "root" : unsafe getpwuid(user).map { unsafe String(cString: $0.pointee.pw_name) } ?? "user \(user)"
      throw Failure("\(entry.point) was mounted by \(name); run this as \(name): `vaultfs unmount \(entry.point.quoted)`")
    }
    // Asked while it can be: its log is for those who look for something.
    let before = owner.flatMap { owner in owner.answers ? owner.folder.flatMap { try? RemoteService(vault: $0.bytes).status() } : nil }
    if let loss = before?.loss { complain("warning: \(printable(loss.utf8))") }
    if !lazy {
      // The kernel would wait for it, for ever.
      if let owner, owner.isSilent { throw Failure("cannot unmount \(entry.point): \(owner.silence)") }
      if let inner = mounts.last(where: { $0.parent == entry.id && $0.point != entry.point }) {
        throw Failure("\(inner.point) is mounted inside \(entry.point); unmount that first: `umount \(inner.point.quoted)`")
      }
    }
    do throws(SessionError) { try entry.detach(lazily: lazy || isDead == true) } catch {
      guard case .unmountBusy = error else { throw Failure("\(error)") }
      throw Failure("\(error), or use --lazy")
    }
    if let other = MountTable.read().last(where: { $0.device == entry.device && $0.isVault }) {
      return try say("Unmounted from \(entry.point); the vault \(entry.source) is still mounted on \(other.point).")
    }
    // It has nothing to finish, and what is open there is open for nothing.
    if isDead == true { return try say("Unmounted from \(entry.point); its owner had been killed: what was saved is safe, and the next mount of \(entry.source) recovers.") }
    if isLiveAndNotFound {
      throw Failure("\(entry.point) is unmounted, but the disk of the vault \(entry.source) cannot be read, and nobody knows whether it could be put away cleanly; what was synced is safe as far as the disk is, and the next mount recovers")
    }
    if let owner, try waitForEnd(of: owner, entry) { try judge(owner, entry, before?.damage) }
  }

  private func findMount(_ mounts: [MountEntry]) throws -> MountEntry {
    let point = try directory.resolved(mounts)
    if let top = mounts.top(at: point), top.isVault { return top }
    if let vault = mounts.last(where: { $0.point == point && $0.isVault }), let top = mounts.top(at: point) {
      throw Failure("\(SessionError.mountCovered(path: "\(point)", by: "\(top.type) from \(top.source)")); the vault \(vault.source) lies beneath it")
    }
    if let other = mounts.ofFolder(point) {
      throw Failure("\(directory) is a vault, mounted on \(other.point); run `vaultfs unmount \(other.point.quoted)`")
    }
    if let mount = mounts.holding(point), mount.isVault {
      throw Failure("\(directory) is inside the vault mounted on \(mount.point); `vaultfs unmount \(mount.point.quoted)` unmounts it")
    }
    throw Failure("no vault is mounted on \(directory); `vaultfs status` lists the vaults mounted here")
  }

  /// - Returns: whether the owner has ended; false where it goes on as it was asked to.
  private func waitForEnd(of owner: OwnerProcess, _ entry: MountEntry) throws -> Bool {
    let words = printable(owner.words.utf8), began = ContinuousClock.now
    while owner.isAlive {
      let waited = ContinuousClock.now - began
      // One that finishes does not answer any more.
      if lazy, waited > .milliseconds(300), owner.isSilent || owner.answers {
        try say("Detached from \(entry.point); \(words), goes on until the files that are open there are closed.")
        return false
      }
      if waited > .seconds(5) {
        if owner.isSilent { throw Failure("\(entry.point) is unmounted, but \(owner.silence)") }
        if owner.answers {
          throw Failure("""
            \(entry.point) is unmounted here, but \(words), goes on: the vault is still mounted in another mount namespace (a container's, say), or files are \
            open there. `grep -l " \(entry.device) " /proc/[0-9]*/mountinfo` finds the processes that have it; unmount it there, too, or end them
            """)
        }
      }
      if waited > .seconds(60) {
        throw Failure("\(entry.point) is unmounted, but \(words), is still writing to \(entry.source) after a minute; see \(entry.source)/log")
      }
      usleep(100_000)
    }
    return true
  }

  /// What the owner left.
  private func judge(_ owner: OwnerProcess, _ entry: MountEntry, _ damage: String?) throws {
    guard let folder = owner.folder else {
      throw Failure("\(entry.point) is unmounted, but its vault is gone: the folder \(entry.source) was deleted while it was in use; put it back from a copy, if there is one")
    }
    let vault = try folder.ofVault
    if let damage {
      throw Failure("\(directory) is unmounted, but damage was met in the vault \(vault) while it was mounted: \(damage). \(vault)/log has all of it, and vaultfs's README says what to do (\"When something is damaged\")")
    }
    // Where there is an owner again, it has begun with what the last one left.
    if !Vault.endedCleanly(vault), Vault.owner(of: vault) == nil {
      throw Failure("\(directory) is unmounted, but the vault \(vault) could not be put away cleanly: \(vault)/log says why; what was synced is safe, and the next mount recovers")
    }
    if folder != entry.source { try say("The vault was moved while it was in use: it was \(entry.source), and is \(folder) now.") }
  }
}
