// `vaultfs rebuild`: the metadata database anew, from the journal and the packs.

import ArgumentParser
import CommandSupport
import FuseBridge
import Glibc
import VaultFS

struct Rebuild: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebuild", abstract: "Make a vault's metadata database anew from its journal and packs.",
    discussion: "For when the database is damaged or lost. The old one is replaced only when the new one is complete. The vault must not be mounted.")

  @Argument(help: "The vault's directory.", completion: .directory, transform: Path.argument) var vault: Path

  func run() throws {
    let mounts = MountTable.read(), resolved = try vault.resolved(mounts)
    // Nothing in a mount is asked: its owner may be dead.
    if let mount = mounts.holding(resolved), mount.isVault {
      throw Failure("""
        \(resolved) is in the mount of the vault \(mount.source), and a rebuild is of the vault itself, while it is not mounted: \
        `vaultfs unmount \(mount.point.quoted) && vaultfs rebuild \(mount.source.quoted)`
        """)
    }
    try mounts.refuseDisplaced(resolved)
    let path = try resolved.ofVault
    let onTerminal = isatty(2) == 1
    let hasDatabase = unsafe access("\(path)/metadata.db", F_OK) == 0
    let untouched = hasDatabase ? "The present database is untouched" : "There is no database, and nothing was changed"
    // What the journal has lost, the present database may still know.
    if let file = Vault.missingSegment(of: path) {
      throw Failure("""
        cannot rebuild \(path): \(file) is missing, and the present database has seen what was in it. \(untouched). Put the file back from a copy \
        of the vault; or, to do without, move `metadata.db*` in \(path) away and rebuild again
        """)
    }
    var notes: [String] = []
    do throws(VaultError) {
      try Vault.rebuild(at: path, log: { notes.append($0) }) { share in
        if onTerminal { complain("\rrebuilding \(path): \(Int(share * 100)) %", prefix: "", end: share < 1 ? "" : "\n") }
      }
    } catch {
      guard case .journalDamaged(let detail) = error else { throw error }
      throw Failure("""
        cannot rebuild \(path), because its journal is damaged: \(detail). \(untouched). Put what is missing or damaged in \(path)/journal back from a copy \
        of the vault\(hasDatabase ? "; or, where the present database is sound, `vaultfs mount \(resolved.quoted) DIR` (or with --read-only) shows what it knows" : ", or `metadata.db`")
        """)
    }
    for note in notes { complain("warning: \(note)") }
    let status = try Vault.status(at: path)
    try say("Rebuilt \(path): \(status.counters.nodes) nodes from \(status.operations) operations, \(status.counters.chunks) chunks.")
  }
}
