// `vaultfs status`: what a vault holds, what it costs, who has it.

import ArgumentParser
import CommandSupport
import FuseBridge
import Glibc
import Printable
import VaultClient
import VaultFS

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "status", abstract: "Show what a vault holds and what it costs; without an argument, the vaults mounted here.",
    discussion: "It ends with status 1 where a mount is dead (its owner was killed), or its owner is stopped.")

  @Argument(help: "A vault, or a directory inside a mounted one.", completion: .directory, transform: Path.argument) var path: Path?
  @Flag(help: "One JSON object, sizes in bytes.") var json = false
  @Flag(help: "Sizes in bytes.") var bytes = false

  func run() throws {
    let mounts = MountTable.read()
    guard let path = try path?.resolved(mounts) else { return try list(mounts) }
    let mount = mounts.ofVault(path), owner = mount.flatMap { OwnerProcess.serving($0, in: mounts) }
    if let mount, let words = owner?.displacement(of: mount) { throw Failure(words) }
    if let mount, geteuid() != 0, mount.user != geteuid(), (try? RemoteService(device: mount.device).ping()) != nil {
      let others = mount.user.flatMap { $0 == 0 ? nil : " and \(Account.name(ofUser: $0))" } ?? ""
      throw Failure("what the vault \(mount.source) costs is for root\(others) to know; `fsctl stats \((path == mount.source ? mount.point : self.path ?? mount.point).quoted)` shows what is for everyone")
    }
    var report = try report(of: mount?.source ?? path, owner)
    (report.mount, report.live, report.pid) = (mount?.point.description, mount?.isDead(owner).map { !$0 }, owner?.id)
    try say(json ? asJSON(report) : report.text(inBytes: bytes))
    if report.live == false { throw ExitCode.failure }
  }

  private func report(of vault: Path, _ owner: OwnerProcess?) throws -> StatusReport {
    if owner?.isSilent != true, let found = try? RemoteService(vault: vault.bytes).status() { return found }
    let text = try vault.ofVault
    do throws(VaultError) { return StatusReport(try Vault.status(at: text)) } catch {
      guard case .owned(let path, let words) = error else { throw error }
      throw Failure("\(path) is in use: \((owner ?? OwnerProcess(words: words, folder: vault)).silence); see also \(path)/log")
    }
  }

  private struct Listed: Encodable {
    var mount: String
    var vault: String
    /// Not there where this user may not know.
    var live: Bool?
    var pid: Int32?
    /// Why it is not to be used as it is.
    var trouble: String?
  }

  private func list(_ all: [MountEntry]) throws {
    let mounts = all.filter(\.isVault)
    let found = mounts.map { mount in
      let owner = OwnerProcess.serving(mount, in: all), isDead = mount.isDead(owner)
      let trouble = isDead == true ? deathNotice(mount.point, mount.source) : owner?.displacement(of: mount) ?? (owner?.isStopped == true ? owner!.silence : nil)
      return Listed(mount: "\(mount.point)", vault: "\(mount.source)", live: isDead.map { !$0 }, pid: owner?.id, trouble: trouble)
    }
    if json { try say(asJSON(found)) } else if mounts.isEmpty { try say("No vault is mounted here. `vaultfs mount VAULT DIR` mounts one.") }
    for listed in found where !json { try say("\(listed.mount)  (vault \(listed.vault))\(listed.trouble.map { "  \($0)" } ?? "")") }
    if found.contains(where: { $0.trouble != nil }) { throw ExitCode.failure }
  }
}

extension StatusReport {
  func text(inBytes: Bool) -> String {
    func size(_ value: some BinaryInteger) -> String { inBytes ? "\(value)" : human(UInt64(clamping: value)) }
    // Below 1 there is nothing to be proud of, only something to explain.
    func ratio(_ value: Double) -> String { value >= 1 ? ", \(value) : 1" : "" }
    let place = mount.map { live == false ? "\($0), \(deathNotice(Path($0), Path(vault)))" : $0 }
    let unique = dedupRatio.map { "after deduplication" + ratio($0) } ?? "stored content, also of files deleted since: history keeps them for a while"
    var lines = [
      "vault        \(printable(vault.utf8)) (\(printable(name.utf8)))",
      "mounted      \(place ?? owner.map { "no; in use by \(printable($0.utf8))\($0.contains(", mounted on ") ? ": files are open there, or another mount namespace has it" : "")" } ?? "no")",
      "nodes        \(nodes)",
      "logical      \(size(logicalBytes))   what the files hold",
      "unique       \(size(uniqueBytes))   \(unique)",
      "compressed   \(size(compressedBytes))   after compression\(ratio(compressionRatio))",
      "stored       \(size(storedBytes))   on disk: packs \(size(packBytes)), journal \(size(journalBytes)), database \(size(databaseBytes))",
      "available    \(size(availableBytes))   for content: what the volume and the limits leave",
    ]
    if isBehind { lines.append("as of        the last save of its database: its owner was killed, and what the journal has beyond that is counted when it is mounted next") }
    if unsavedBytes > 0 { lines.append("unsaved      \(size(unsavedBytes))   being written now") }
    if let damage { lines.append("damage       \(printable(damage.utf8)) (\(vault)/log has all that was met)") }
    if let words = damagedWords(damagedChunks) { lines.append("damaged      \(words)") }
    if let loss { lines.append("lost         \(printable(loss.utf8)) (\(vault)/log has all)") }
    for warning in quotaWarnings { lines.append("quota        \(printable(Account.words(warning.kind, warning.id, warning.path).utf8)): \(printable(warning.detail.utf8))") }
    if let readOnlyReason { lines.append("read-only    \(printable(readOnlyReason.utf8))") }
    return lines.joined(separator: "\n")
  }
}
