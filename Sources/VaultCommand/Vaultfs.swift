// The command `vaultfs`: makes vaults, mounts and unmounts them, tells of them, rebuilds them.
// Installed (or linked) as `mount.vaultfs` it is what mount(8) and fstab(5) call.
//
// Exit codes: 0 done, 1 failed (a message on standard error says what and what to do), 2 wrongly called.

import ArgumentParser
import CommandSupport
import Glibc
import VaultFS

/// All of the program.
public func runVaultfs() -> Never { Vaultfs.main() }

struct Vaultfs: ManualHaving {
  static let configuration = CommandConfiguration(
    commandName: "vaultfs",
    abstract: "A directory that stores nothing twice, compresses what it stores, and survives what happens to it.",
    discussion: """
      A vault is a directory with everything in it; mounted, it is a file system.

        vaultfs init ~/vault                make a vault
        vaultfs mount ~/vault ~/files       use it: ~/files is now an ordinary directory
        vaultfs status ~/files              see what it holds and costs
        vaultfs unmount ~/files             put it away
      """,
    version: "vaultfs 0.1 (vault format \(VaultConfiguration.formatVersion))",
    subcommands: [Init.self, Mount.self, Unmount.self, Status.self, Rebuild.self, ManPage<Vaultfs>.self])

  static func main() -> Never {
    settle()
    var arguments = Arguments.given
    let program = arguments.isEmpty ? "" : arguments.removeFirst()
    if let translated = MountHelper.arguments(program, arguments, commands: commands) { Glibc.exit(MountHelper.exitCode(run(translated))) }
    Glibc.exit(misnamed(arguments) ?? misspelled(arguments) ?? run(arguments))
  }
}
