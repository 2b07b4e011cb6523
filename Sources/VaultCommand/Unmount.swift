// `vaultfs unmount`: takes a mount away and waits until the vault is clean.

import ArgumentParser
import FuseBridge
import Glibc
import VaultFS

struct Unmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Unmount a vault, and return when everything is on disk.",
    discussion: "The same as umount(8) or `fusermount3 -u`, but it waits for the owner to finish and says what is in the way.")

  @Argument(help: "The directory it is mounted on.", transform: Path.argument) var directory: Path
  @Flag(help: "Take the mount away even if files are open there; they fail from then on.") var lazy = false

  func run() throws {
    let entry = try findMount()
    let vault = try entry.source.ofVault
    // An owner that was killed has nothing to finish: the next mount recovers.
    let owner = Vault.owner(of: vault)
    do throws(SessionError) { try entry.detach(lazily: lazy) } catch {
      guard case .unmountBusy = error else { throw Failure("\(error)") }
      throw Failure("\(error), or use --lazy")
    }
    if let owner { try waitForEnd(of: owner, vault) }
  }

  private func findMount() throws -> MountEntry {
    let mounts = MountTable.read(), point = directory.resolved(mounts)
    if let top = mounts.top(at: point), top.isVault { return top }
    if let vault = mounts.last(where: { $0.point == point && $0.isVault }), let top = mounts.top(at: point) {
      throw Failure("\(SessionError.mountCovered(path: "\(point)", by: "\(top.type) from \(top.source)")); the vault \(vault.source) lies beneath it")
    }
    if let other = mounts.last(where: { $0.isVault && $0.source == point }) {
      throw Failure("\(directory) is a vault, mounted on \(other.point); run `vaultfs unmount \(other.point)`")
    }
    throw Failure("no vault is mounted on \(directory); `vaultfs status VAULT` says where one is")
  }

  private func waitForEnd(of owner: String, _ vault: String) throws {
    var waited = 0
    while Vault.owner(of: vault) == owner {
      if lazy && waited > 50 { return try say("Detached; \(owner) goes on until the files in use are closed.") }
      if waited == 600 { throw Failure("\(owner) is still writing to \(vault) after a minute; see \(vault)/log") }
      usleep(100_000)
      waited += 1
    }
    // Where there is an owner again, it has begun with what the last one left.
    if !Vault.endedCleanly(vault), Vault.owner(of: vault) == nil {
      throw Failure("\(directory) is unmounted, but the vault \(vault) could not be put away cleanly: \(vault)/log says why; what was synced is safe, and the next mount recovers")
    }
  }
}
