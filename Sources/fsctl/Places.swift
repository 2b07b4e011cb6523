// Where in which vault a command works, and where what it takes back shall come.

import ArgumentParser
import CommandSupport
import FuseBridge
import Printable
import VaultClient
import VaultFS

extension VaultAddress {
  /// Reaches the vault, mounted or not, and lets go of it whatever happens.
  func ask(_ command: String, _ body: (ReachedVault) throws -> Void) throws {
    let vault = try reach(purpose: "used by `fsctl \(command)`")
    do { try body(vault) } catch {
      try? vault.end()
      throw error
    }
    try vault.end()
  }
}

/// A file inside a mount: where it is in the vault, and whom to ask.
struct FilePlace {
  let vault: ReachedVault
  let path: VaultPath
  var service: any VaultService { vault.service }

  init(_ given: Path) throws {
    vault = try ReachedVault(inside: given)
    path = vault.place ?? .root
  }
}

/// `--to PATH`, of what takes something back.
struct TargetOption: ParsableArguments {
  @Option(help: "Where it shall come, inside the same vault; by default where it was.", completion: .file(), transform: Path.argument) var to: Path?

  /// - Parameter body: takes it back; nil: to where it was.
  /// - Parameter tell: says that it is back.
  /// - Throws: also where some of it is not kept any more; all else is back then.
  func restoring(in vault: ReachedVault, asJSON json: Bool, _ body: (VaultPath?) throws -> RestoreAnswer, tell: (RestoreAnswer) throws -> Void = { _ in }) throws {
    let target = try to.map(vault.place(of:)), answer: RestoreAnswer
    do { answer = try body(target) } catch let error as ServiceError {
      var words = error.message
      if let to, let target { words = vault.naming(error, target, to).message }
      if error.code == .alreadyExists { words += to == nil ? "; say where it shall come with --to PATH" : "; give another PATH with --to" }
      throw Failure(words)
    }
    if json { try say(asJSON(RestoreLine(answer))) } else { try tell(answer) }
    let restored = answer.restored
    guard restored.missing > 0 else { return }
    let names = restored.missingNames.map { "`\(printable($0))`" } + (restored.missing > restored.missingNames.count ? ["…"] : [])
    throw Failure("\(vault.name(of: answer.path)) is back, but for \(restored.missing) of the names in it, of which nothing is kept any more: \(names.joined(separator: ", "))")
  }
}
