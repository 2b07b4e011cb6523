// `vaultfs status`: what a vault holds, what it costs, who has it.

import ArgumentParser
import Foundation
import FuseBridge
import VaultFS

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Show what a vault holds and what it costs; without an argument, the vaults mounted here.")

  @Argument(help: "A vault, or a directory inside a mounted one.", transform: Path.argument) var path: Path?
  @Flag(help: "One JSON object, sizes in bytes.") var json = false
  @Flag(help: "Sizes in bytes.") var bytes = false

  func run() throws {
    let mounts = MountTable.read()
    guard let path = path?.resolved(mounts) else { return try list(mounts.filter(\.isVault)) }
    let mount = mounts.holding(path)
    let vault = mount?.isVault == true ? mount!.source : path
    let report = try report(of: vault)
    try say(json ? report.json : report.text(mountPoint: mounts.last { $0.isVault && $0.source == Path(report.vault) }?.point, inBytes: bytes))
  }

  private func report(of vault: Path) throws -> StatusReport {
    if let answer = ControlSocket.ask(vault, "status"), let found = StatusReport(json: answer) { return found }
    let text = try vault.ofVault
    do throws(VaultError) { return StatusReport(try Vault.status(at: text)) } catch {
      guard case .owned(let path, let owner) = error else { throw error }
      throw Failure("\(owner) owns \(path) and does not answer; ask as root or as its owner, or see \(path)/log")
    }
  }

  private func list(_ mounts: [MountEntry]) throws {
    if json {
      let objects = mounts.map { ["mount": "\($0.point)", "vault": "\($0.source)"] }
      try say(String(decoding: try JSONSerialization.data(withJSONObject: objects, options: [.sortedKeys]), as: UTF8.self))
    } else if mounts.isEmpty {
      try say("No vault is mounted here. `vaultfs mount VAULT DIR` mounts one.")
    } else {
      for mount in mounts { try say("\(mount.point)  (vault \(mount.source))") }
    }
  }
}

/// The status as it travels over the socket and is printed.
struct StatusReport: Codable {
  var vault: String
  var name: String
  var id: String
  var owner: String?
  var readOnlyReason: String?
  var nodes: Int64
  var operations: UInt64
  var logicalBytes: Int64
  var uniqueBytes: Int64
  var frameBytes: Int64
  var storedBytes: UInt64
  var packBytes: UInt64
  var journalBytes: UInt64
  var databaseBytes: UInt64
  var unsavedBytes: UInt64
  var availableBytes: UInt64
  var chunks: Int64
  var dedupRatio: Double
  var compressionRatio: Double
  /// Requests of each kind that the kernel has sent since the mount; there where the vault is mounted.
  var requests: [String: UInt64]?

  init(_ status: VaultStatus, requests: [String: UInt64]? = nil) {
    self.requests = requests
    (vault, name, id, owner, readOnlyReason) = (status.path, status.name, status.id, status.owner, status.readOnlyReason)
    (nodes, operations, chunks) = (status.counters.nodes, status.operations, status.counters.chunks)
    (logicalBytes, uniqueBytes, frameBytes) = (status.counters.logicalBytes, status.counters.uniqueBytes, status.counters.frameBytes)
    (storedBytes, packBytes, journalBytes, databaseBytes) = (status.storedBytes, status.packBytes, status.journalBytes, status.databaseBytes)
    (unsavedBytes, availableBytes) = (status.unsavedBytes, status.availableBytes)
    dedupRatio = (status.dedupRatio * 100).rounded() / 100
    compressionRatio = (status.compressionRatio * 100).rounded() / 100
  }

  init?(json: String) {
    guard let found = try? JSONDecoder().decode(Self.self, from: Data(json.utf8)) else { return nil }
    self = found
  }

  var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }

  func text(mountPoint: Path?, inBytes: Bool) -> String {
    func size(_ value: some BinaryInteger) -> String { inBytes ? "\(value)" : human(UInt64(clamping: value)) }
    var lines = [
      "vault        \(vault) (\(printable(name.utf8)))",
      "mounted      \(mountPoint.map { "\($0)" } ?? owner.map { "no; in use by \(printable($0.utf8))" } ?? "no")",
      "nodes        \(nodes)",
      "logical      \(size(logicalBytes))   what the files hold",
      "unique       \(size(uniqueBytes))   after deduplication, \(dedupRatio) : 1",
      "compressed   \(size(frameBytes))   after compression, \(compressionRatio) : 1",
      "stored       \(size(storedBytes))   on disk: packs \(size(packBytes)), journal \(size(journalBytes)), database \(size(databaseBytes))",
      "available    \(size(availableBytes))   on the volume",
    ]
    if unsavedBytes > 0 { lines.append("unsaved      \(size(unsavedBytes))   being written now") }
    if let readOnlyReason { lines.append("read-only    \(printable(readOnlyReason.utf8))") }
    return lines.joined(separator: "\n")
  }
}

/// Bytes for people, in binary units.
func human(_ bytes: UInt64) -> String {
  var value = Double(bytes), unit = 0
  let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
  while value >= 1024, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
  return unit == 0 ? "\(bytes) B" : String(format: value < 10 ? "%.2f %@" : "%.1f %@", value, units[unit])
}
