// `fsctl versions policy`: what of the past is kept.

import ArgumentParser
import CommandSupport
import Printable
import VaultClient
import VaultFS

extension Versions {
  struct Policy: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "policy", abstract: "Show or set what of the past is kept, and for how long. For root and the vault's owner.",
      discussion: """
        Everything is kept for a while, then what stood at the end of each hour, of each day, of each week. Ages are such as 12h, \
        "30 days", 1y, or `none`. With a limit the oldest goes before its age where the past alone needs more (`fsctl stats` says how much it does): whatever ended before a certain operation, also what needs nothing, and of one deleted thing that is larger than the limit nothing is left, of a tree that was just being deleted then only what went later. What goes is in the log. Snapshots and pinned versions are kept in any case. What is shortened is forgotten at once, what comes of age later at most a minute after it did (an hour, where everything is kept for long), and its space comes back within a minute or so.
        """)
    @OptionGroup var address: VaultAddress
    @Option(help: "Keep everything for so long.") var all: String?
    @Option(help: "Keep what stood at the end of each hour for so long.") var hourly: String?
    @Option(help: "Of each day.") var daily: String?
    @Option(help: "Of each week.") var weekly: String?
    @Option(help: "Changes within so long after a version began belong to it.") var window: String?
    @Option(help: ArgumentHelp("Let the oldest go where the past alone needs more than so many bytes, such as 50G; or `none`.", valueName: "size")) var limit: String?
    @Flag(inversion: .prefixedNo, exclusivity: .exclusive, help: "Whether anything of the past is kept at all; --no-keep forgets all of it but what snapshots and pins hold.") var keep: Bool?
    @Flag(help: "Only say how much would be forgotten.") var dryRun = false
    @OptionGroup var sizes: SizeOption
    @Flag(help: "One JSON object, ages in seconds; with --dry-run, how many versions (`nodes`) and `names`, and of a limit the `excess`: bytes that are `needed` and `forgotten`, and `until` when those ended.") var json = false

    func run() throws {
      try address.ask("versions policy") { vault in
        var policy = try vault.service.ask(HistoryPolicyRequest())
        let before = policy
        policy.all = try seconds(all) ?? policy.all
        policy.hourly = try seconds(hourly) ?? policy.hourly
        policy.daily = try seconds(daily) ?? policy.daily
        policy.weekly = try seconds(weekly) ?? policy.weekly
        policy.window = try seconds(window) ?? policy.window
        guard window == nil || policy.window <= Self.windowMax else {
          throw Failure("a window of \(Self.age(policy.window)) would make one version of all that is written in that time, and keep none between; it is a day at most", code: 2)
        }
        policy.limit = try limit.map(bytes) ?? policy.limit
        policy.isOn = keep ?? policy.isOn
        if policy != before { try address.mustNameAll(of: vault, "the policy is one for all of the vault") }
        if dryRun { return try tellExpiring(under: policy, in: vault) }
        if policy != before {
          // Before it goes.
          let excess = policy.limit != before.limit ? try weigh(policy, in: vault).excess : nil
          policy = try vault.service.ask(HistoryPolicyRequest(policy))
          for warning in Self.warnings(policy) { complain("warning: \(warning)") }
          if let excess { complain("warning: \(words(excess, policy.limit, "is forgotten")); `fsctl versions policy --limit none` ends that") }
        }
        try say(json ? asJSON(policy) : text(policy))
      }
    }

    private static let windowMax: UInt32 = 86_400

    private func tellExpiring(under policy: HistoryPolicy, in vault: ReachedVault) throws {
      let found = try weigh(policy, in: vault)
      if json { return try say(asJSON(found)) }
      try say("\(found.nodes) versions and \(found.names) former names would be forgotten at once")
      if let excess = found.excess { try say(words(excess, policy.limit, "would be forgotten, too")) }
    }

    private func weigh(_ policy: HistoryPolicy, in vault: ReachedVault) throws -> ExpiringRequest.Answer {
      Interruption.hear()
      let line = ProgressLine("weighing")
      defer { line.end() }
      return try vault.service.ask(ExpiringRequest(under: policy), line.receiver(interrupted: "interrupted: nothing was changed") { _ in })
    }

    private func words(_ excess: HistoryExcess, _ limit: UInt64, _ end: String) -> String {
      "beside what snapshots, pins and open files hold, the past needs \(sizes.text(excess.needed)): for the limit of \(sizes.text(limit)) what ended until \(When.text(of: excess.until)) \(end), \(sizes.text(excess.forgotten))"
    }

    private func seconds(_ text: String?) throws -> UInt32? {
      guard let text else { return nil }
      if ["none", "0"].contains(text) { return 0 }
      guard let seconds = When.duration(text).flatMap({ UInt32(exactly: $0) }) else { throw Failure("`\(printable(text.utf8))` is no age; ages are such as 90s, 12h, \"30 days\", 1y", code: 2) }
      return seconds
    }

    private func bytes(_ text: String) throws -> UInt64 {
      if text == "none" { return 0 }
      guard let bytes = Amount.bytes(text), bytes > 0, bytes < UInt64(Int64.max) else {
        throw Failure("`\(printable(text.utf8))` is no size; sizes are such as 500M, 10G, 1.5T, and `none` takes the limit away", code: 2)
      }
      // What was meant were other units.
      guard bytes >= HistoryPolicy.limitMin else { throw Failure("a limit of \(human(bytes)) would let nearly all of the past go; sizes are such as 500M, 10G, 1.5T, and --no-keep keeps nothing", code: 2) }
      return bytes
    }

    private func text(_ policy: HistoryPolicy) -> String {
      guard policy.isOn else { return "nothing of the past is kept but what snapshots and pins hold" }
      return """
        everything   \(kept(policy.all))
        hourly       \(kept(policy.hourly))
        daily        \(kept(policy.daily))
        weekly       \(kept(policy.weekly))
        window       \(policy.window == 0 ? "none" : Self.age(policy.window))
        limit        \(policy.limit == 0 ? "none" : sizes.text(policy.limit))
        """
    }

    private func kept(_ seconds: UInt32) -> String { seconds == 0 ? "not kept" : "for \(Self.age(seconds))" }

    /// What a policy does not keep though it may seem to.
    private static func warnings(_ policy: HistoryPolicy) -> [String] {
      let periods = [("everything", policy.all), ("hourly", policy.hourly), ("daily", policy.daily), ("weekly", policy.weekly)]
      guard policy.isOn, let first = periods.first(where: { $0.1 > 0 }) else {
        return ["nothing of the past is kept now: what is overwritten or deleted is gone, but for what snapshots and pins hold\(policy.isOn ? "" : "; --keep ends that")"]
      }
      var warnings: [String] = [], longest = first
      if first.1 != policy.all { warnings.append("what is made and replaced or deleted between two moments that are kept (\(first.0)) is gone at once: give --all more than 0s to keep everything for a while") }
      for period in periods.dropFirst() where period.1 > 0 && period != first {
        if period.1 <= longest.1 {
          warnings.append("--\(period.0) \(period.1 == longest.1 ? "is as long as" : "is shorter than") what is kept before it, and so does nothing: \(longest.0 == "everything" ? "everything is kept" : "\(longest.0) is kept") for \(age(longest.1))")
        } else { longest = period }
      }
      return warnings
    }

    private static func age(_ seconds: UInt32) -> String {
      for (unit, length) in [("days", UInt32(86_400)), ("hours", 3600), ("minutes", 60)] where seconds > 0 && seconds % length == 0 {
        return seconds == length ? "a\(unit == "hours" ? "n" : "") \(unit.dropLast())" : "\(seconds / length) \(unit)"
      }
      return "\(seconds) second\(seconds == 1 ? "" : "s")"
    }
  }
}
