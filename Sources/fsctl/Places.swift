// Where in which vault a command works, and where what it takes back shall come.

import ArgumentParser
import CommandSupport
import FuseBridge
import VaultClient

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
  func restoring<R>(in vault: ReachedVault, _ body: (VaultPath?) throws -> R) throws -> R {
    let target = try to.map(vault.place(of:))
    do { return try body(target) } catch let error as ServiceError {
      var words = error.message
      if let to, let target { words = vault.naming(error, target, to).message }
      if error.code == .alreadyExists { words += to == nil ? "; say where it shall come with --to PATH" : "; give another PATH with --to" }
      throw Failure(words)
    }
  }
}
