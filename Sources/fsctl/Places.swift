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

extension VaultAddress {
  /// What is for all of a vault is not done to it by the name of a place inside.
  /// - Parameter what: would be done.
  func mustNameAll(of vault: ReachedVault, _ what: String) throws {
    guard let path, let place = vault.place, place != .root else { return }
    throw Failure("\(path) is a path inside a vault, and \(what); give the vault's mount point if you mean that", code: 2)
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
  /// - Parameter take: gets what it tells by the way.
  private func ask<Request: VaultRequest>(_ request: (VaultPath?) throws -> Request, in vault: ReachedVault, _ take: @escaping (Request.Item) throws -> Void) throws -> RestoreAnswer
  where Request.Answer == RestoreAnswer {
    let target = try to.map(vault.place(of:))
    Interruption.hear()
    let line = ProgressLine("taking back")
    defer { line.end() }
    var receiver: Receiver<Request.Item> = line.cancellingReceiver()
    receiver.item = take
    do { return try vault.service.ask(request(target), receiver) } catch let error as ServiceError {
      if Interruption.came, error.code == .interrupted, error.message.hasSuffix("\(VaultError.interrupted)") { throw Failure("interrupted: nothing of it is back") }
      var words = error.message
      if let to, let target { words = vault.naming(error, target, to).message }
      if error.code == .alreadyExists { words += to == nil ? "; say where it shall come with --to PATH" : "; give another PATH with --to" }
      throw Failure(words)
    }
  }

  /// - Parameter request: what takes it back, to where it was where that is nil.
  /// - Throws: also where some of it is not kept any more, or is damaged; all else is back then.
  func restoring<Request: VaultRequest>(in vault: ReachedVault, asJSON json: Bool, _ request: (VaultPath?) throws -> Request) throws
  where Request.Answer == RestoreAnswer {
    let answer = try ask(request, in: vault) { _ in }
    let nodes = answer.restored.nodes, name = vault.name(of: answer.path)
    tellMoment(of: answer.restored)
    let lost = [answer.restored.lost(), answer.restored.damage()]
    if json { try say(asJSON(RestoreLine(answer))) } else if lost == [nil, nil] {
      try say(answer.restored.isUnchanged ? "nothing changed: \(name) is what it was" : "\(name) is back\(nodes > 1 ? ": \(nodes) files and directories" : "")")
    }
    if lost != [nil, nil] { throw Failure("\(name) is back, but " + [lost[0].map { "for \($0)" }, lost[1]].compactMap { $0 }.joined(separator: "; and ")) }
  }

  private func tellMoment(of restored: Restored) {
    guard let second = restored.asOf else { return }
    complain("note: of that moment not everything is kept any more; this is as of \(When.text(of: second)), the last before it of which all is")
  }

  /// Says what taking it back would change.
  func planning(in vault: ReachedVault, asJSON json: Bool, _ request: (VaultPath?) throws -> RestoreRequest) throws {
    var changes: [RestoreChange] = [], rows = RestoreChange.listing()
    let answer = try ask(request, in: vault) { changes.append($0) }
    let base = Array(answer.path.bytesForJSON)
    for change in changes {
      let path = base + (change.path.isEmpty ? [] : (answer.path == .root ? [] : [0x2F]) + change.path)
      if json { try say(asJSON(ChangeLine(change, path))) } else { try rows.add(change.row(VaultPath(path).map(vault.name(of:)) ?? printable(path))) }
    }
    let name = vault.name(of: answer.path)
    tellMoment(of: answer.restored)
    if !json { if changes.isEmpty { try say(answer.restored.missing == 0 ? "nothing would change: \(name) is what it was" : "nothing would change") } else { try rows.end() } }
    if answer.isPlanComplete == false { complain("there is more: so much has changed that all of \(name) would be made anew") }
    if let lost = answer.restored.lost(isPlanned: true) { throw Failure("\(name) would come back but for \(lost)") }
  }
}

extension Restored {
  /// What does not come back, in words; nil where all does.
  fileprivate func lost(isPlanned: Bool = false) -> String? {
    guard missing > 0 else { return nil }
    let names = Self.words(missingNames, of: missing)
    let stayed = stayed == 0 ? "" : stayed == missing ? "; what has \(missing == 1 ? "that name" : "those names") now \(isPlanned ? "stays" : "was left") there" : "; what has \(stayed) of those names now \(isPlanned ? "stays" : "was left") there, and what has the others, if anything, \(isPlanned ? "goes to" : "is in") the trash"
    return "\(missing) of the names in it, of which nothing is kept any more: \(names)\(stayed)"
  }

  /// What is damaged of it, in words; nil where nothing is known to be.
  fileprivate func damage() -> String? {
    guard damaged > 0 else { return nil }
    return "\(damaged == 1 ? "a file" : "\(damaged) files") in it, as stored, cannot be read in part: \(Self.words(damagedNames, of: damaged)). An earlier version may be whole; see `fsctl scrub`"
  }

  private static func words(_ names: [[UInt8]], of count: UInt64) -> String {
    (names.map { "`\(printable($0))`" } + (count > names.count ? ["…"] : [])).joined(separator: ", ")
  }
}
