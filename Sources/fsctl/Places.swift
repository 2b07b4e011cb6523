// Where in which vault a command works, and where what it takes back shall come.

import ArgumentParser
import CommandSupport
import FuseBridge
import Printable
import VaultClient
import VaultFS

extension Address {
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

/// `PATH [--vault VAULT]`, of what is about one file.
struct FileAddress: ParsableArguments, Address {
  @Argument(help: "The file, inside a mount; with --vault, its path from the vault's root.", completion: .file(), transform: Path.argument) var path: Path
  @OptionGroup var folder: FolderOption

  func reach(purpose: String?) throws -> ReachedVault { try folder.reach(path, purpose: purpose) }

  /// - Parameter body: gets the vault, and the file's place in it.
  func ask(_ command: String, _ body: (ReachedVault, VaultPath) throws -> Void) throws {
    try ask(command) { vault in try body(vault, vault.place ?? .root) }
  }
}

/// `--to PATH`, of what takes something back.
struct TargetOption: ParsableArguments {
  @Option(help: "Where it shall come, inside the same vault; by default where it was.", completion: .file(), transform: Path.argument) var to: Path?

  /// - Parameter request: what takes it back, to where it was where that is nil.
  /// - Parameter tell: says that it is back.
  /// - Throws: also where some of it is not kept any more; all else is back then.
  func restoring<Request: VaultRequest>(in vault: ReachedVault, asJSON json: Bool, _ request: (VaultPath?) throws -> Request, tell: (RestoreAnswer) throws -> Void = { _ in }) throws
  where Request.Answer == RestoreAnswer {
    let target = try to.map(vault.place(of:)), answer: RestoreAnswer
    Interruption.hear()
    let line = ProgressLine("taking back")
    defer { line.end() }
    do { answer = try vault.service.ask(request(target), line.cancellingReceiver()) } catch let error as ServiceError {
      if Interruption.came, error.code == .interrupted, error.message.hasSuffix("\(VaultError.interrupted)") { throw Failure("interrupted: nothing of it is back") }
      var words = error.message
      if let to, let target { words = vault.naming(error, target, to).message }
      if error.code == .alreadyExists { words += to == nil ? "; say where it shall come with --to PATH" : "; give another PATH with --to" }
      throw Failure(words)
    }
    line.end()
    if json { try say(asJSON(RestoreLine(answer))) } else { try tell(answer) }
    let restored = answer.restored
    guard restored.missing > 0 else { return }
    let names = restored.missingNames.map { "`\(printable($0))`" } + (restored.missing > restored.missingNames.count ? ["…"] : [])
    throw Failure("\(vault.name(of: answer.path)) is back, but for \(restored.missing) of the names in it, of which nothing is kept any more: \(names.joined(separator: ", "))")
  }
}
