// `fsctl quota`: limits of users, groups, directories and the vault.

import ArgumentParser
import CommandSupport
import FuseBridge
import Printable
import VaultClient
import VaultFS

struct QuotaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quota", abstract: "Limit what users, groups, directories and the whole vault may hold, and see how they stand.",
    discussion: """
      Bytes are what files have allocated, shared content in full, and zeros not at all: blocks of them are holes; inodes are files, directories and \
      all else that has a name. Up to the soft limit anything goes; above it only while the grace lasts; above the hard one nothing (EDQUOT, "Disk quota \
      exceeded"). Who is above a limit of bytes makes no new files, either.

        fsctl quota set --user ada --bytes 10G --soft-bytes 8G ~/files
        fsctl quota set --tree ~/files/project --bytes 100G --inodes 1M
        fsctl quota set --vault --bytes 1T ~/files
        fsctl quota show ~/files                what binds you there
        fsctl quota list --vault ~/vault        all limits, mounted or not

      History does not count; it has a limit of its own: `fsctl versions policy --limit 50G`.
      Root and the vault's owner set limits and see all. Others see their own, their groups', the vault's, and those of directories that they may read.
      """,
    subcommands: [Set.self, Show.self, List.self, Remove.self])

  struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "set", abstract: "Set limits; those that are not named stay what they are.",
      discussion: """
        Sizes are such as 500M, 10G, 1.5T (powers of 1024), counts such as 5000, 100k, 1M (thousands); `none` takes one limit away. One below what \
        is used already is allowed: then nothing can be added. For root and the vault's owner.
        """)
    @OptionGroup var subject: QuotaSubjectArguments
    @Option(help: "Bytes that are never exceeded.") var bytes: String?
    @Option(name: [.customLong("soft-bytes"), .customLong("soft")], help: "Bytes that are exceeded for as long as the grace lasts.") var softBytes: String?
    @Option(help: "Inodes that are never exceeded.") var inodes: String?
    @Option(help: "Inodes that are exceeded for as long as the grace lasts.") var softInodes: String?
    @Option(help: "How long soft limits may be exceeded, such as 12h, 7d; 0s for not at all. At first it is seven days.") var grace: String?
    @Flag(help: "One JSON object.") var json = false

    func run() throws {
      var change = QuotaChange()
      change.hardBytes = try bound(bytes, Amount.bytes, "size; sizes are such as 4096, 500M, 10G, 1.5T")
      change.softBytes = try bound(softBytes, Amount.bytes, "size; sizes are such as 4096, 500M, 10G, 1.5T")
      change.hardNodes = try bound(inodes, Amount.count, "count; counts are such as 5000, 100k, 1M")
      change.softNodes = try bound(softInodes, Amount.count, "count; counts are such as 5000, 100k, 1M")
      change.graceSeconds = try grace.map(seconds)
      guard bytes != nil || softBytes != nil || inodes != nil || softInodes != nil || grace != nil else {
        throw Failure("say what to limit: --bytes, --inodes, --soft-bytes, --soft-inodes, --grace", code: 2)
      }
      try subject.ask("quota set", isNeeded: true) { service, holder, _ in
        let report = try service.ask(SetQuotaRequest(holder!, change))
        try say(json ? asJSON(QuotaLine(report)) : QuotaLine(report).text())
        for (what, used, hard) in [("bytes", report.bytes.used, report.bytes.hard), ("inodes", report.nodes.used, report.nodes.hard)] where hard.map({ used >= $0 }) == true {
          complain("note: \(QuotaLine(report).whom) uses that many \(what) already: nothing can be added")
        }
      }
    }

    private func bound(_ text: String?, _ parse: (String) -> UInt64?, _ words: String) throws -> QuotaChange.Bound? {
      guard let text else { return nil }
      if text == "none" { return QuotaChange.Bound.none }
      guard let value = parse(text) else { throw Failure("`\(printable(text.utf8))` is no \(words), or it is too large; `none` takes a limit away", code: 2) }
      // Other systems take it for no limit, and nobody wants to learn which is meant by trying.
      guard value > 0 else { throw Failure("a limit of 0 may mean two things: say `none` for no limit, or 1 for next to nothing", code: 2) }
      return .at(value)
    }

    private func seconds(_ text: String) throws -> UInt32 {
      guard let seconds = When.duration(text).flatMap({ UInt32(exactly: $0) }) else { throw Failure("`\(printable(text.utf8))` is no time; times are such as 0s, 12h, 7d, \"30 days\"", code: 2) }
      return seconds
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Show what somebody or something may hold, and holds; by default what binds you at PATH.",
      discussion: "Without --user, --group, --tree or --vault: your own limit, those of your groups, of the directories that PATH is in, and the vault's.")
    @OptionGroup var subject: QuotaSubjectArguments
    @OptionGroup var sizes: SizeOption
    @Flag(help: "One JSON object a line, sizes in bytes.") var json = false

    func run() throws {
      try subject.ask("quota show", isNeeded: false) { service, holder, place in
        if let holder { return try show(try service.ask(QuotaRequest(holder)), isFirst: true) }
        var isFirst = true
        _ = try service.ask(QuotasRequest(onlyMine: true, around: place), Receiver(item: { report in
          try show(report, isFirst: isFirst)
          isFirst = false
        }))
        if isFirst, !json { try say("no limit binds you here, but the room on the disk") }
      }
    }

    private func show(_ report: QuotaReport, isFirst: Bool) throws {
      if json { return try say(asJSON(QuotaLine(report))) }
      try say((isFirst ? "" : "\n") + QuotaLine(report).text { sizes.text($0) })
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the limits that are set, and how far they are used.")
    @OptionGroup var address: VaultAddress
    @OptionGroup var sizes: SizeOption
    @Flag(help: "One JSON object a line, sizes in bytes.") var json = false

    func run() throws {
      try address.ask("quota list") { vault in
        var list = Listing(["OF", "BYTES", "SOFT", "HARD", "%", "INODES", "SOFT", "HARD", "%", "GRACE"], left: [0])
        _ = try vault.service.ask(QuotasRequest(), Receiver(item: { report in
          let line = QuotaLine(report)
          if json { try say(asJSON(line)) } else { try list.add(line.row { sizes.text($0) }) }
        }))
        if !json { try list.end() }
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Take a limit away; nothing that it bound is touched. For root and the vault's owner.")
    @OptionGroup var subject: QuotaSubjectArguments
    @Flag(help: "Only say what it is.") var dryRun = false

    func run() throws {
      try subject.ask("quota remove", isNeeded: true) { service, holder, _ in
        let line: QuotaLine
        do { line = QuotaLine(try service.ask(RemoveQuotaRequest(holder!, isDry: dryRun))) } catch let error as ServiceError where error.code == .notFound {
          guard let report = try? service.ask(QuotaRequest(holder!)) else { throw error }
          throw Failure("\(QuotaLine(report).whom) has no limit; `fsctl quota list` shows which there are")
        }
        try say(dryRun ? line.text() : "the limit of \(line.whom) is gone")
      }
    }
  }
}
