// `fsctl check`: whether a vault is sound, and putting right what is not.

import ArgumentParser
import CommandSupport
import FuseBridge
import VaultClient
import VaultFS

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Look whether a vault is sound, while it is in use or not, and put right what is not.",
    discussion: """
      Looks at every rule of the database, at the places of all content, at packs and journal; what is in the files' bytes is for \
      `fsctl scrub`. Findings are grouped by kind, each with what --repair would do. A repair deletes nothing: what is taken out goes to \
      `quarantine/` in the vault's folder, what has lost its name to `lost+found-DATE/`. Some of it needs the vault for itself, so repair a \
      vault that is not mounted (--vault VAULT) where that can be.

      Ends with 0 where the vault is sound (with --repair: is sound now), and with 1 where it is not or could not be looked at to the end; \
      --json tells which: `isClean`, `isComplete`. For root and the vault's owner.
      """)

  @OptionGroup var address: VaultAddress
  @Flag(help: "Put right what can be put right, and check again.") var repair = false
  @Flag(help: "Also replay the journal beside, and compare with the database row by row: as long as a rebuild.") var compareJournal = false
  @Flag(help: "One JSON object.") var json = false

  func run() throws {
    Interruption.hear()
    var found: [Finding] = [], actions: [RepairAction] = [], remaining: [Finding] = []
    let line = ProgressLine(repair ? "repairing" : "checking")
    defer { line.end() }
    let receiver: Receiver<CheckRequest.Item> = line.receiver(interrupted: "interrupted\(repair ? "; what was put right until then is; `fsctl check --repair` does the rest" : "")") { item in
      switch item {
      case .found(let finding): found.append(finding)
      case .did(let action): actions.append(action)
      case .remains(let finding): remaining.append(finding)
      }
    }
    let (answer, folder) = try address.ask(CheckRequest(repairs: repair, comparesWithJournal: compareJournal), receiver)
    line.end()
    if json { try say(asJSON(CheckLine(folder, answer, found, actions, remaining))) } else { try tell(answer, folder, found, actions, remaining) }
    if !answer.last.isSound { throw Failure(Self.conclusion(answer, folder, repairs: repair, canRepair: found.contains(where: \.isRepairable))) }
  }

  private func tell(_ answer: CheckRequest.Answer, _ folder: Path, _ found: [Finding], _ actions: [RepairAction], _ remaining: [Finding]) throws {
    if found.isEmpty, answer.check.damagedChunks > 0 { try say("nothing new was found") } else { try say(Findings.text(found, answer.check.counts, withRepair: !repair)) }
    if repair {
      for action in actions { try say("done: \(action.finding.map { "\($0.kind.rawValue)\(Findings.place($0)): " } ?? "")\(action.done)") }
      if let left = answer.left { try say("left: \(left)") }
      if answer.afterwards != nil, !answer.check.isClean { try say("afterwards: " + Findings.text(remaining, answer.last.counts, withRepair: true)) }
    }
    let last = answer.last
    try say("\(folder): \(last.nodes) nodes, \(last.entries) names, \(last.chunks) chunks were looked at, up to operation \(last.operation)")
    // A check knows chunks; who has them is a search of its own.
    let isOfContent = (repair ? remaining : found).contains { $0.chunk != nil }
    if isOfContent { try say("which files hold these chunks, `fsctl scrub` tells") }
    if last.damagedChunks > 0 { try say("known to be damaged: \(Findings.count(last.damagedChunks, "chunk")); `fsctl scrub` names the files") }
  }

  private static func conclusion(_ answer: CheckRequest.Answer, _ folder: Path, repairs: Bool, canRepair: Bool) -> String {
    let last = answer.last, count = last.counts.values.reduce(0, +)
    if !last.isComplete, count == 0 { return "the check of \(folder) did not come to its end; run it again" }
    if last.isClean {
      return "\(folder) is sound, but for \(Findings.count(last.damagedChunks, "chunk")) known to be damaged: `fsctl scrub` names the files; copy them in again, or put the vault's damaged files back from a copy of it, and scrub again"
    }
    let what = "\(folder) is not sound: \(Findings.count(count, "finding"))"
    if !repairs { return "\(what); \(canRepair ? "`fsctl check --repair` puts right what can be" : "no repair can put that right: put the files that it names back from a copy of the vault")" }
    return "\(what) \(count == 1 ? "is" : "are") left; "
      + (answer.left != nil ? "unmount it, and run `fsctl check --repair --vault \(folder.quoted)`" : "what they say tells what to do; a copy of the vault has what is lost here")
  }
}

extension CheckSummary {
  /// Nothing is wrong, nor is it known that content is.
  fileprivate var isSound: Bool { isClean && damagedChunks == 0 }
}

/// As JSON.
private struct CheckLine: Encodable {
  var vault: String
  var isClean: Bool
  var isComplete: Bool
  /// At first, and, of a repair, afterwards.
  var check: CheckSummary
  var afterwards: CheckSummary?
  var findings: [FindingLine]
  var actions: [RepairAction]?
  var remaining: [FindingLine]?
  var left: String?

  init(_ folder: Path, _ answer: CheckRequest.Answer, _ found: [Finding], _ actions: [RepairAction], _ remaining: [Finding]) {
    (vault, isClean, isComplete, check, afterwards) = ("\(folder)", answer.last.isSound, answer.last.isComplete, answer.check, answer.afterwards)
    (findings, left) = (found.map(FindingLine.init), answer.left)
    if answer.afterwards != nil { (self.actions, self.remaining) = (actions, remaining.map(FindingLine.init)) }
  }
}
