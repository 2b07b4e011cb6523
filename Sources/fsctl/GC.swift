// `fsctl gc`: the space of what nothing refers to any more, back now.

import ArgumentParser
import CommandSupport
import VaultClient
import VaultFS

struct GC: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc", abstract: "Give back the space of what nothing refers to any more, now.",
    discussion: "The vault does this by itself, twice a minute where there is something to do. What history keeps is referred to: see `fsctl versions policy`.")
  @OptionGroup var address: VaultAddress
  @Flag(help: "Only say what could go now.") var dryRun = false
  @OptionGroup var sizes: SizeOption
  @Flag(help: "One JSON object, sizes in bytes.") var json = false

  func run() throws {
    Interruption.hear()
    let line = ProgressLine("collecting")
    defer { line.end() }
    try address.ask("gc") { vault in
      let done = try vault.service.ask(CollectRequest(isDry: dryRun), line.receiver(interrupted: "interrupted; what was given back by then is") { _ in })
      line.end()
      if json { return try say(asJSON(done)) }
      let found = "\(done.chunks) chunks (\(sizes.text(done.bytes))) that nothing refers to"
      let known = done.containers > 0 ? "; \(done.containers) packs and segments of the journal are due, with \(sizes.text(max(done.reclaimed, 0))) that was found before" : ""
      let lately = done.lately.map { "; by itself the vault gave \(sizes.text(max($0.reclaimed, 0))) back, \($0.secondsAgo) s ago" } ?? ""
      try say((dryRun ? found + known : "\(found); \(done.containers) packs and segments of the journal rewritten or removed, \(sizes.text(max(done.reclaimed, 0))) given back") + lately)
    }
  }
}
