// `fsctl snapshot`: names for moments of a directory, and coming back to them.

import ArgumentParser
import CommandSupport
import FuseBridge
import Printable
import VaultClient
import VaultFS

struct SnapshotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot", abstract: "Name a moment of the whole tree, or of a directory, and come back to it.",
    discussion: "A snapshot costs nothing but what is changed or deleted later: what all of the vault was at its moment is kept, also beside its directory. `.vaultfs/snapshots/NAME/` at the root of a mount shows it. Root and the vault's owner make and delete them.",
    subcommands: [Create.self, List.self, Show.self, Restore.self, Delete.self])

  struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "create", abstract: "Make a snapshot of now, of the directory PATH and all below it.",
      discussion: "The directory is what it shows, and what comes back. What it keeps is what all of the vault was at that moment: a snapshot of a small directory lets nothing go elsewhere, either.")
    @Argument(help: "Its name.") var name: String
    @OptionGroup var address: PlaceAddress
    @Flag(help: "One JSON object: what was made.") var json = false
    func run() throws {
      try address.ask("snapshot create") { vault in
        let made = try vault.service.ask(MakeSnapshotRequest(Arguments.bytes(of: name), of: vault.place ?? .root))
        if json { try say(asJSON(SnapshotLine(made))) }
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the snapshots, oldest first: when they were made, their names, and of which directories they are.")
    @OptionGroup var address: VaultAddress
    @Flag(help: "One JSON object a snapshot.") var json = false
    func run() throws {
      try address.ask("snapshot list") { vault in
        var rows = SnapshotReport.listing()
        _ = try vault.service.ask(SnapshotsRequest(), Receiver(item: { if json { try say(asJSON(SnapshotLine($0))) } else { try rows.add($0.row) } }))
        if !json { try rows.end() }
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one snapshot.")
    @Argument(help: "Its name.") var name: String
    @OptionGroup var address: VaultAddress
    @Flag(help: "One JSON object.") var json = false
    func run() throws {
      try address.ask("snapshot show") { vault in
        let found = try vault.service.snapshot(name)
        try say(json ? asJSON(SnapshotLine(found)) : found.lines)
      }
    }
  }

  struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "restore", abstract: "Bring the directory that a snapshot is of, or PATH in it, back to what it was then.",
      discussion: """
        What is there now goes to the trash, or becomes a version, as far as the policy keeps anything (`fsctl versions policy`). Without a PATH all that the snapshot is of comes back, whatever the working \
        directory is, which only says in which vault; `.` is the working directory alone.
        """)
    @Argument(help: "The snapshot's name.") var name: String
    @OptionGroup var address: PlaceAddress
    @OptionGroup var target: TargetOption
    @Flag(help: "Only say which names would come back, change, or go: to the trash, unless what has the name has another one, too, or comes back under another. Whether a limit refuses a directory is seen when it is done.") var dryRun = false
    @Flag(help: "One JSON object: what came back, and where; of --dry-run, one a name.") var json = false

    func run() throws {
      try address.ask("snapshot restore") { vault in
        let snapshot = try vault.service.snapshot(name)
        let (path, start) = try place(in: vault, of: snapshot)
        if dryRun { return try target.planning(in: vault, asJSON: json) { RestoreRequest(path, at: .operation(snapshot.moment), to: $0, from: start, isDry: true) } }
        if address.path == nil, !json { complain("taking back all of \(vault.name(of: path))") }
        try target.restoring(in: vault, asJSON: json) { RestoreRequest(path, at: .operation(snapshot.moment), to: $0, from: start) }
      }
    }

    private func place(in vault: ReachedVault, of snapshot: SnapshotReport) throws -> (VaultPath, RestoreRequest.Start?) {
      // The working directory only says which vault is meant, and so does the mount point.
      let given = address.path.flatMap { _ in vault.place == .root && snapshot.path != .root ? nil : vault.place }
      guard let directory = snapshot.path else {
        // All of it, wherever it was.
        if let given = given ?? snapshot.formerPath { return (given, .init(directory: snapshot.directory, depth: given.names.count)) }
        throw Failure("the snapshot `\(printable(snapshot.name))` is of \(snapshot.place); give the PATH where all of it shall come back")
      }
      // What was made of it when it was taken back may be elsewhere: by the path that it had, it comes back there.
      if let given, let former = snapshot.formerPath, !given.names.starts(with: directory.names), given.names.starts(with: former.names) {
        return (given, .init(directory: snapshot.directory, depth: former.names.count))
      }
      let path = given ?? directory
      guard path.names.starts(with: directory.names) else {
        throw Failure("the snapshot `\(printable(snapshot.name))` is of \(directory); \(address.path.map { "\($0)" } ?? "\(path)") is outside of it. Without a PATH, \(directory) comes back as it was; what was elsewhere at that moment comes back with `fsctl versions restore PATH MOMENT`")
      }
      return (path, .init(directory: snapshot.directory, depth: directory.names.count))
    }
  }

  struct Delete: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Delete a snapshot; what it shows is then kept as the policy says.")
    @Argument(help: "Its name.") var name: String
    @OptionGroup var address: VaultAddress
    @Flag(help: "Only say which it would be.") var dryRun = false
    func run() throws {
      try address.ask("snapshot delete") { vault in
        guard dryRun else {
          _ = try vault.service.ask(DeleteSnapshotRequest(Arguments.bytes(of: name)))
          return
        }
        let found = try vault.service.snapshot(name)
        try say("the snapshot `\(printable(found.name))` of \(found.place), made \(When.text(of: found.second)), would be deleted; what it shows would be kept as the policy says")
      }
    }
  }
}

extension VaultService {
  fileprivate func snapshot(_ name: String) throws -> SnapshotReport {
    let name = Arguments.bytes(of: name)
    var found: SnapshotReport?
    _ = try ask(SnapshotsRequest(), Receiver(item: { if $0.name == name { found = $0 } }))
    guard let found else { throw Failure("there is no snapshot `\(printable(name))`; `fsctl snapshot list` shows which there are") }
    return found
  }
}
