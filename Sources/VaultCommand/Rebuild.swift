// `vaultfs rebuild`: the metadata database anew, from the journal and the packs.

import ArgumentParser
import Glibc
import VaultFS

struct Rebuild: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a vault's metadata database anew from its journal and packs.",
    discussion: "For when the database is damaged or lost. The old one is replaced only when the new one is complete. The vault must not be mounted.")

  @Argument(help: "The vault's directory.") var vault: String

  func run() throws {
    let path = resolved(vault)
    let onTerminal = isatty(2) == 1
    try Vault.rebuild(at: path) { share in
      if onTerminal { complain("\rrebuilding \(path): \(Int(share * 100)) %", prefix: "") }
    }
    let status = try Vault.status(at: path)
    print("Rebuilt \(path): \(status.counters.nodes) nodes from \(status.operations) operations, \(status.counters.chunks) chunks.")
  }
}
