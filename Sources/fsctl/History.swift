// `fsctl snapshot`, `fsctl trash`, `fsctl gc`, and the policy of history.

import ArgumentParser
import CommandSupport
import FuseBridge
import Printable
import VaultClient
import VaultFS

struct SnapshotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshot", abstract: "Name a moment of the whole tree, or of a directory, and come back to it.",
    discussion: "A snapshot costs nothing but what is changed later. `.vaultfs/snapshots/NAME/` at the root of a mount shows it. Root and the vault's owner make and delete them.",
    subcommands: [Create.self, List.self, Show.self, Restore.self, Delete.self])

  struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a snapshot of now.")
    @Argument(help: "Its name.") var name: String
    @OptionGroup var address: VaultAddress
    func run() throws {
      try address.ask("snapshot") { service, place in _ = try service.ask(MakeSnapshotRequest(Array(name.utf8), of: place ?? .root)) }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the snapshots, oldest first.")
    @OptionGroup var address: VaultAddress
    @Flag(help: "One JSON object a snapshot.") var json = false
    func run() throws {
      try address.ask("snapshot") { service, _ in
        _ = try service.ask(SnapshotsRequest(), Receiver(item: { try say(json ? asJSON($0) : "\(When.text(of: $0.second))\t\(printable($0.name))") }))
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show one snapshot.")
    @Argument(help: "Its name.") var name: String
    @OptionGroup var address: VaultAddress
    @Flag(help: "One JSON object.") var json = false
    func run() throws {
      try address.ask("snapshot") { service, _ in
        let found = try service.snapshot(name)
        try say(json ? asJSON(found) : "name      \(printable(found.name))\nmade      \(When.text(of: found.second))\nversion   \(found.moment)\ndirectory node \(found.directory)")
      }
    }
  }

  struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring a file or directory, by default all, back to what it was in a snapshot.", discussion: "What is there now goes to the trash, or becomes a version.")
    @Argument(help: "The snapshot's name.") var name: String
    @OptionGroup var address: VaultAddress
    @Option(help: "Where it shall come, inside the same mount; by default in place.", transform: Path.argument) var to: Path?
    func run() throws {
      try address.ask("snapshot") { service, place in
        let moment = MomentAddress.operation(try service.snapshot(name).moment)
        _ = try service.ask(RestoreRequest(place ?? .root, at: moment, to: try to.map { try FilePlace($0).path }))
      }
    }
  }

  struct Delete: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Delete a snapshot; what it shows is then kept as the policy says.")
    @Argument(help: "Its name.") var name: String
    @OptionGroup var address: VaultAddress
    @Flag(help: "Only say whether there is one.") var dryRun = false
    func run() throws {
      try address.ask("snapshot") { service, _ in
        if dryRun { _ = try service.snapshot(name) } else { _ = try service.ask(DeleteSnapshotRequest(Array(name.utf8))) }
      }
    }
  }
}

struct Trash: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "See what was deleted, and take it back.",
    discussion: "What was in a directory that was deleted comes back with it. `.vaultfs/trash/` at the root of a mount shows the same. Users see what is theirs.",
    subcommands: [List.self, Restore.self, Empty.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List what was deleted, newest first: its number, when, and where it was.")
    @OptionGroup var address: VaultAddress
    @Flag(help: "One JSON object a line.") var json = false
    func run() throws {
      try address.ask("trash") { service, _ in
        _ = try service.ask(TrashRequest(), Receiver(item: { item in
          try say(json ? asJSON(item) : "\(item.id)\t\(When.text(of: item.second))\t\(item.mode & 0o170000 == 0o040000 ? "directory" : human(item.size))\t\(printable((item.place ?? []) + [0x2F] + item.name))")
        }))
      }
    }
  }

  struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Take back what was deleted: to where it was, or elsewhere.")
    @Argument(help: "Its number in the list.") var number: UInt64
    @OptionGroup var address: VaultAddress
    @Option(help: "Where it shall come, inside the same mount.", transform: Path.argument) var to: Path?
    func run() throws {
      try address.ask("trash") { service, _ in
        try say("\(try service.ask(RestoreTrashRequest(number, to: try to.map { try FilePlace($0).path }))) is back")
      }
    }
  }

  struct Empty: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Forget what was deleted, but for what a snapshot or a pin holds. For root and the vault's owner.")
    @OptionGroup var address: VaultAddress
    @Flag(help: "Only say how many it would be.") var dryRun = false
    func run() throws {
      try address.ask("trash") { service, _ in
        let answer = try service.ask(EmptyTrashRequest(isDry: dryRun))
        try say("\(answer.items) \(dryRun ? "would be forgotten" : "forgotten")")
      }
    }
  }
}

struct GC: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc", abstract: "Give back the space of what nothing refers to any more, now.",
    discussion: "The vault does this by itself, twice a minute where there is something to do. What history keeps is referred to: see `fsctl versions policy`.")
  @OptionGroup var address: VaultAddress
  @Flag(help: "Only say what could go now.") var dryRun = false
  @Flag(help: "One JSON object, sizes in bytes.") var json = false

  func run() throws {
    try address.ask("gc") { service, _ in
      let done = try service.ask(CollectRequest(isDry: dryRun))
      if json { return try say(asJSON(done)) }
      let found = "\(done.chunks) chunks (\(human(done.bytes))) that nothing refers to"
      try say(dryRun ? found : "\(found); \(done.packs) packs rewritten or removed, \(human(UInt64(max(done.reclaimed, 0)))) given back")
    }
  }
}

extension Versions {
  struct Policy: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show or set what of the past is kept, and for how long. For root and the vault's owner.",
      discussion: """
        Everything is kept for a while, then what stood at the end of each hour, of each day, of each week. Ages are such as 12h, \
        "30 days", 1y. Snapshots and pinned versions are kept in any case. What is shortened is forgotten with the next `fsctl gc`, or within an hour in which the vault is used.
        """)
    @OptionGroup var address: VaultAddress
    @Option(help: "Keep everything for so long.") var all: String?
    @Option(help: "Keep what stood at the end of each hour for so long.") var hourly: String?
    @Option(help: "Of each day.") var daily: String?
    @Option(help: "Of each week.") var weekly: String?
    @Option(help: "Changes within so long after a version began belong to it.") var window: String?
    @Flag(inversion: .prefixedNo, help: "Keep something of the past at all.") var keep: Bool?
    @Flag(help: "One JSON object, ages in seconds.") var json = false

    func run() throws {
      try address.ask("versions policy") { service, _ in
        var policy = try service.ask(HistoryPolicyRequest())
        let before = policy
        policy.all = try seconds(all) ?? policy.all
        policy.hourly = try seconds(hourly) ?? policy.hourly
        policy.daily = try seconds(daily) ?? policy.daily
        policy.weekly = try seconds(weekly) ?? policy.weekly
        policy.window = try seconds(window) ?? policy.window
        policy.isOn = keep ?? policy.isOn
        if policy != before { policy = try service.ask(HistoryPolicyRequest(policy)) }
        try say(json ? asJSON(policy) : text(policy))
      }
    }

    private func seconds(_ text: String?) throws -> UInt32? {
      guard let text else { return nil }
      guard let seconds = When.duration(text).flatMap({ UInt32(exactly: $0) }) else { throw Failure("`\(printable(text.utf8))` is no age; ages are such as 90s, 12h, \"30 days\", 1y", code: 2) }
      return seconds
    }

    private func text(_ policy: HistoryPolicy) -> String {
      guard policy.isOn else { return "nothing of the past is kept but what snapshots and pins hold" }
      return """
        everything   for \(age(policy.all))
        hourly       for \(age(policy.hourly))
        daily        for \(age(policy.daily))
        weekly       for \(age(policy.weekly))
        window       \(age(policy.window))
        """
    }

    private func age(_ seconds: UInt32) -> String {
      for (unit, length) in [("days", UInt32(86_400)), ("hours", 3600), ("minutes", 60)] where seconds > 0 && seconds % length == 0 {
        return seconds == length ? "a\(unit == "hours" ? "n" : "") \(unit.dropLast())" : "\(seconds / length) \(unit)"
      }
      return "\(seconds) seconds"
    }
  }
}

extension VaultService {
  func snapshot(_ name: String) throws -> Snapshot {
    var found: Snapshot?
    _ = try ask(SnapshotsRequest(), Receiver(item: { if $0.name == Array(name.utf8) { found = $0 } }))
    guard let found else { throw Failure("there is no snapshot `\(printable(name.utf8))`; `fsctl snapshot list` shows which there are") }
    return found
  }
}

extension VaultAddress {
  /// Reaches the vault, mounted or not, and lets go of it whatever happens.
  func ask(_ command: String, _ body: (any VaultService, VaultPath?) throws -> Void) throws {
    let vault = try reach(purpose: "used by `fsctl \(command)`")
    do { try body(vault.service, vault.place) } catch {
      try? vault.end()
      throw error
    }
    try vault.end()
  }
}
