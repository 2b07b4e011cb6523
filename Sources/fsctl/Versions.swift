// `fsctl versions`: what a file was, and taking it back.

import ArgumentParser
import CommandSupport
import FoundationEssentials
import FuseBridge
import Glibc
import Printable
import VaultClient
import VaultFS

struct Versions: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "versions", abstract: "List, show, compare and take back the versions of a file.",
    discussion: """
      Each closing of a file that was written makes a version; those within ten seconds are one. A version is named by its \
      number (`versions list`), or by any moment at which it stood: 2026-11-21, 2026-11-21T10:00, "2h ago", @1795828648, now. \
      `.vaultfs/versions/PATH/` at the root of a mount shows the same to any program.
      """,
    subcommands: [List.self, Show.self, Cat.self, Diff.self, Restore.self, Pin.self, Unpin.self, Prune.self, Policy.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the versions of a file, the present one first; also of one that is gone.")
    @OptionGroup var file: FileAddress
    @OptionGroup var sizes: SizeOption
    @Flag(help: "One JSON object a version.") var json = false

    func run() throws {
      try file.ask("versions list") { vault, path in
        var rows = FileVersion.listing()
        _ = try vault.service.ask(VersionsRequest(path), Receiver(item: { version in if json { try say(asJSON(VersionLine(version))) } else { try rows.add(version.row(sizes)) } }))
        if !json { try rows.end() }
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show what is known of one version.")
    @OptionGroup var which: VersionArguments
    @OptionGroup var sizes: SizeOption
    @Flag(help: "One JSON object.") var json = false

    func run() throws {
      let moment = try which.moment
      try which.file.ask("versions show") { vault, path in
        let version = try vault.service.readVersion(of: path, at: moment) { _ in }
        try say(json ? asJSON(VersionLine(version)) : version.lines(sizes))
      }
    }
  }

  struct Cat: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "cat", abstract: "Write the content of a version to standard output.")
    @OptionGroup var which: VersionArguments

    func run() throws {
      let moment = try which.moment
      try which.file.ask("versions cat") { vault, path in try vault.service.readVersion(of: path, at: moment) { try writeAll($0, to: 1) } }
    }
  }

  struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "diff", abstract: "Compare two versions, or one with the present: as diff -u does, or in short where they are not text.", discussion: "It ends with 0 whether they differ or not; where they do not, it prints nothing.")
    @OptionGroup var which: VersionArguments
    @Argument(help: "The other version; by default the present one, which is `present` or `now`.") var other: String?

    func run() throws {
      let folder = try TemporaryFolder(), moments = [try which.moment, try other.map(moment(of:)) ?? moment(of: "now")]
      defer { folder.remove() }
      try which.file.ask("versions diff") { vault, path in
        for (name, moment) in zip(["a", "b"], moments) {
          do { try folder.write(name) { take in try vault.service.readVersion(of: path, at: moment, take) } } catch let error as ServiceError where name == "b" && other == nil && error.code == .notFound {
            throw Failure("\(vault.name(of: path)) is not there now: name the version to compare with, too; `fsctl versions list` shows which there are")
          }
        }
        let labels = ["a\(path) (\(which.version))", "b\(path) (\(other ?? "now"))"]
        guard let difference = try folder.difference() else { return try run(folder, labels: labels) }
        if let first = difference.first {
          try say("Binary files \(labels[0]) of \(human(difference.sizes[0])) and \(labels[1]) of \(human(difference.sizes[1])) differ, first at offset \(first)")
        }
      }
    }

    private func run(_ folder: TemporaryFolder, labels: [String]) throws {
      var words: [UnsafeMutablePointer<CChar>?] = unsafe ["diff", "-u", "--label", labels[0], "--label", labels[1], "\(folder.path)/a", "\(folder.path)/b"].map { unsafe $0.withCString { unsafe strdup($0) } } + [nil]
      defer { for unsafe word in unsafe words { unsafe free(word) } }
      // Where nobody reads on, it ends by that as programs do.
      signal(SIGPIPE, SIG_DFL)
      defer { signal(SIGPIPE, SIG_IGN) }
      var child = pid_t(), status: Int32 = 0
      let code = unsafe posix_spawnp(&child, "diff", nil, nil, &words, environ)
      guard code == 0 else { throw Failure("diff cannot be started: \(systemWords(code)) (it is in the package diffutils)") }
      while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
      if status & 0x7F != 0 { throw Failure.writing(EPIPE) }
      if status >> 8 & 0xFF > 1 { throw Failure("diff could not compare them") }
    }
  }

  struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "restore", abstract: "Take back a version of a file, or a directory or symlink as it was, in place or elsewhere.",
      discussion: "Content comes back by reference, whatever its size. What was there becomes a version, or goes to the trash, so this can be taken back, too, as far as the policy keeps anything (`fsctl versions policy`). A directory takes back whoever owns all that was in it and is; else root and the vault's owner.")
    @OptionGroup var which: VersionArguments
    @OptionGroup var target: TargetOption
    @Flag(help: "Only say which names would come back, change, or go: to the trash, unless what has the name has another one, too, or comes back under another. Whether a limit refuses a directory is seen when it is done.") var dryRun = false
    @Flag(help: "One JSON object: what came back, and where; of --dry-run, one a name.") var json = false

    func run() throws {
      let moment = try which.moment
      try which.file.ask("versions restore") { vault, path in
        if dryRun { return try target.planning(in: vault, asJSON: json) { RestoreRequest(path, at: moment, to: $0, isDry: true) } }
        try target.restoring(in: vault, asJSON: json) { RestoreRequest(path, at: moment, to: $0) }
      }
    }
  }

  struct Pin: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "pin", abstract: "Keep a version whatever its age.", discussion: "It is found under the name that the file had when the version began, whatever is forgotten later.")
    @OptionGroup var which: VersionArguments
    func run() throws { try which.pin(true, "versions pin") }
  }
  struct Unpin: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "unpin", abstract: "Keep a version no longer than the policy says.")
    @OptionGroup var which: VersionArguments
    func run() throws { try which.pin(false, "versions unpin") }
  }

  struct Prune: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "prune", abstract: "Forget all versions of a file but the present one, and those that a pin or a snapshot holds.")
    @OptionGroup var file: FileAddress
    @Flag(help: "Only say how many it would be.") var dryRun = false
    @Flag(help: "One JSON object: how many `versions` go, and how many former ones are `left`.") var json = false

    func run() throws {
      try file.ask("versions prune") { vault, path in
        let answer = try vault.service.ask(PruneRequest(path, isDry: dryRun))
        let left = answer.left > 0 ? "; \(answer.left) left: a snapshot or a pin holds \(answer.left == 1 ? "it, or it is" : "them, or they are") of another name, too" : ""
        try say(json ? asJSON(answer) : "\(answer.versions) version\(answer.versions == 1 ? "" : "s") \(dryRun ? "would go" : answer.versions == 1 ? "is gone" : "are gone")\(left)")
      }
    }
  }
}

/// `PATH VERSION`.
struct VersionArguments: ParsableArguments {
  @OptionGroup var file: FileAddress
  @Argument(help: "A version's number, or a moment at which it stood.") var version: String
  var moment: MomentAddress { get throws { try fsctl.moment(of: version) } }

  func pin(_ isPinned: Bool, _ command: String) throws {
    let moment = try moment
    try file.ask(command) { vault, path in
      let before = try vault.service.ask(PinRequest(path, at: moment, isPinned))
      if !isPinned, !before.isPinned { complain("warning: version \(before.id) of \(vault.name(of: path)) was not pinned") }
    }
  }
}

func moment(of text: String) throws -> MomentAddress {
  if let number = UInt64(text) { return .version(number) }
  guard let second = When.second(of: text, now: Timestamp.now.seconds) else {
    throw Failure("`\(printable(text.utf8))` is neither a version's number nor a moment; moments are such as 2026-11-21, 2026-11-21T10:00:30, 10:00, yesterday, \"2h ago\", \"Nov 28\", @1795828648", code: 2)
  }
  return .second(second)
}

extension VaultService {
  @discardableResult
  fileprivate func readVersion(of path: VaultPath, at moment: MomentAddress, _ take: @escaping (RawSpan) throws -> Void) throws -> FileVersion {
    try ask(ReadVersionRequest(path, at: moment), Receiver(bytes: take))
  }
}
