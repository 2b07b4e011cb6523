// `fsctl sync`: everything that was written, on disk. sync(2) never reaches a FUSE file system.

import ArgumentParser
import CommandSupport
import VaultClient

struct Sync: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sync", abstract: "Put everything that was written on disk, and return when it is there.",
    discussion: "What was written before is safe from a power cut then. Without it, that is so five seconds after writing.")

  @OptionGroup var address: VaultAddress
  @Flag(help: "One JSON object: which vault, and how many seconds it took.") var json = false

  func run() throws {
    try address.ask("sync") { vault in
      let began = ContinuousClock.now
      try vault.service.sync()
      guard json else { return }
      let took = (ContinuousClock.now - began).components
      try say(asJSON(Line(vault: "\(vault.folder)", seconds: Double(took.seconds) + Double(took.attoseconds / 1_000_000_000_000) / 1e6)))
    }
  }

  private struct Line: Encodable {
    var vault: String
    var seconds: Double
  }
}
