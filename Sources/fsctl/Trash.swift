// `fsctl trash`: what was deleted, and taking it back.

import ArgumentParser
import CommandSupport
import FuseBridge
import VaultClient
import VaultFS

struct Trash: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trash", abstract: "See what was deleted, and take it back.",
    discussion: "What was in a directory that was deleted comes back with it. `.vaultfs/trash/` at the root of a mount shows the same. Users see what is theirs.",
    subcommands: [List.self, Restore.self, Empty.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List what was deleted at PATH and below it, newest first: its number, when, and where it was, or `…` where you may not look.",
      discussion: "Without a PATH, what was deleted in the whole vault.")
    @OptionGroup var address: PlaceAddress
    @Option(help: ArgumentHelp("Only the newest so many.", valueName: "count")) var limit: Int?
    @OptionGroup var sizes: SizeOption
    @Flag(help: "One JSON object a line.") var json = false

    func validate() throws { if let limit, limit < 1 { throw ValidationError("a limit is at least 1") } }

    func run() throws {
      try address.ask("trash list") { vault in
        // The working directory only says which vault is meant.
        let place = address.path.flatMap { _ in vault.place }
        var rows = TrashItem.listing(), left = limit ?? .max
        do {
          _ = try vault.service.ask(TrashRequest(at: place == .root ? nil : place), Receiver(item: { item in
            if json { try say(asJSON(TrashLine(item))) } else { try rows.add(item.row(sizes)) }
            left -= 1
            if left == 0 { throw Enough() }
          }))
        } catch is Enough {}
        if !json { try rows.end() }
      }
    }

  }

  struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "restore", abstract: "Take back what was deleted: to where it was, or elsewhere.",
      discussion: """
          fsctl trash restore 4711 ~/files       by its number in `fsctl trash list`
          fsctl trash restore ~/files/report     by where it was: what was deleted there last
        What was deleted from a directory that has another name now is told, and asked for, by that name. \
        What was in a directory that was deleted comes back with it. One file of it alone: `fsctl versions list` with the path it had, \
        then `fsctl versions restore PATH VERSION --to ELSEWHERE`; or copy it out of `.vaultfs/trash/` at the root of the mount.
        """)
    @Argument(help: ArgumentHelp("Its number in the list, or its path: where it was in the mount, or, as the list tells it, from the vault's root.", valueName: "number-or-path"), completion: .file(), transform: Path.argument) var what: Path
    @OptionGroup var address: PlaceAddress
    @OptionGroup var target: TargetOption
    @Flag(help: "One JSON object: what came back, and where.") var json = false

    func run() throws {
      if let number = UInt64("\(what)") { return try address.ask("trash restore") { try restore(number, in: $0) } }
      if let place = try placeFromRoot() { return try address.ask("trash restore") { vault in try restore(newest(at: place, in: vault), in: vault) } }
      guard address.path == nil else { throw Failure("\(what) is no number of the trash; give the path that was deleted alone, or a number of `fsctl trash list`", code: 2) }
      var address = address
      address.path = what
      try address.ask("trash restore") { vault in try restore(newest(at: vault.place ?? .root, in: vault), in: vault) }
    }

    /// A path as the list tells it: in the vault that PATH, or the working directory, is in.
    private func placeFromRoot() throws -> VaultPath? {
      let mounts = MountTable.read()
      func isInside(_ path: Path) throws -> Bool { try mounts.holding(path.resolved(mounts))?.isVault == true }
      guard what.isAbsolute, address.folder.vault == nil, try !isInside(what), try isInside(address.path ?? Path(".")) else { return nil }
      return VaultPath(what.bytes)
    }

    /// What was deleted there last.
    private func newest(at place: VaultPath, in vault: ReachedVault) throws -> UInt64 {
      var newest: TrashItem?
      do {
        _ = try vault.service.ask(TrashRequest(at: place, alone: true), Receiver(item: { item in
          newest = item
          throw Enough()
        }))
      } catch is Enough {}
      guard let newest else { throw Failure("nothing in the trash was at \(what); `fsctl trash list` shows what there is, by the names that directories have now. What was in a directory that was deleted comes back with it, or by `fsctl versions restore PATH VERSION --to ELSEWHERE`") }
      return newest.id
    }

    private func restore(_ number: UInt64, in vault: ReachedVault) throws {
      try target.restoring(in: vault, asJSON: json) { RestoreTrashRequest(number, to: $0) }
    }
  }

  /// Ends an answer that goes on.
  private struct Enough: Error {}

  struct Empty: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "empty", abstract: "Forget all that was deleted in a vault, but for what a snapshot or a pin holds. For root and the vault's owner.",
      discussion: "It is all or nothing: what was deleted in one directory alone cannot be forgotten apart from the rest.")
    @OptionGroup var address: VaultAddress
    @Flag(help: "Only say how many it would be.") var dryRun = false
    @Flag(help: "One JSON object: how many files and directories (`items`).") var json = false
    func run() throws {
      try address.ask("trash empty") { vault in
        try address.mustNameAll(of: vault, "all of the vault's trash would be emptied")
        Interruption.hear()
        let line = ProgressLine("emptying")
        defer { line.end() }
        let answer = try vault.service.ask(EmptyTrashRequest(isDry: dryRun), line.receiver(interrupted: "interrupted; what was forgotten by then is") { _ in })
        line.end()
        let held = answer.held.map { $0 > 0 ? "; \($0) left: snapshots or pins hold them (`fsctl snapshot restore`, `fsctl versions restore`), or they have another name" : "" } ?? ""
        try say(json ? asJSON(answer) : "\(answer.items == 1 ? "1 file or directory" : "\(answer.items) files and directories") \(dryRun ? "would be forgotten" : "forgotten")\(held)")
      }
    }
  }
}
