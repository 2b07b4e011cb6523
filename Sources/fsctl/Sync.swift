// `fsctl sync`: everything that was written, on disk. sync(2) never reaches a FUSE file system.

import ArgumentParser
import CommandSupport
import VaultClient

struct Sync: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Put everything that was written on disk, and return when it is there.",
    discussion: "What was written before is safe from a power cut then. Without it, that is so five seconds after writing.")

  @OptionGroup var address: VaultAddress

  func run() throws {
    let vault = try address.reach(purpose: "used by `fsctl sync`")
    do { try vault.service.sync() } catch {
      try? vault.end()
      throw error
    }
    try vault.end()
  }
}
