// `vaultfs status`: what a vault holds, what it costs, who has it.

import ArgumentParser
import Foundation
import VaultFS

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Show what a vault holds and what it costs; without an argument, the vaults mounted here.")

  @Argument(help: "A vault, or a directory inside a mounted one.") var path: String?
  @Flag(help: "One JSON object, sizes in bytes.") var json = false
  @Flag(help: "Sizes in bytes.") var bytes = false

  func run() throws {
    guard let path else { return try listMounts() }
    let mount = Mounts.containing(path)
    let vault = mount?.source ?? path
    let report: StatusReport
    if let answer = ControlSocket.ask(vault, "status"), let found = StatusReport(json: answer) {
      report = found
    } else {
      do throws(VaultError) { report = StatusReport(try Vault.status(at: resolved(vault))) } catch {
        guard case .owned(let path, let owner) = error else { throw error }
        throw Failure("\(owner) owns \(path) and does not answer; ask as root or as its owner, or see \(path)/log")
      }
    }
    print(json ? report.json : report.text(mountPoint: Mounts.all.last { $0.isVault && $0.source == report.vault }?.point, inBytes: bytes))
  }

  private func listMounts() throws {
    let mounts = Mounts.all.filter(\.isVault)
    if json {
      let objects = mounts.map { ["mount": $0.point, "vault": $0.source] }
      print(String(decoding: try JSONSerialization.data(withJSONObject: objects, options: [.sortedKeys]), as: UTF8.self))
    } else if mounts.isEmpty {
      print("No vault is mounted here. `vaultfs mount VAULT DIR` mounts one.")
    } else {
      for mount in mounts { print("\(mount.point)  (vault \(mount.source))") }
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

  func text(mountPoint: String?, inBytes: Bool) -> String {
    func size(_ value: some BinaryInteger) -> String { inBytes ? "\(value)" : human(UInt64(clamping: value)) }
    var lines = [
      "vault        \(vault) (\(name))",
      "mounted      \(mountPoint ?? (owner.map { "no; in use by \($0)" } ?? "no"))",
      "nodes        \(nodes)",
      "logical      \(size(logicalBytes))   what the files hold",
      "unique       \(size(uniqueBytes))   after deduplication, \(dedupRatio) : 1",
      "compressed   \(size(frameBytes))   after compression, \(compressionRatio) : 1",
      "stored       \(size(storedBytes))   on disk: packs \(size(packBytes)), journal \(size(journalBytes)), database \(size(databaseBytes))",
      "available    \(size(availableBytes))   on the volume",
    ]
    if unsavedBytes > 0 { lines.append("unsaved      \(size(unsavedBytes))   being written now") }
    if let readOnlyReason { lines.append("read-only    \(readOnlyReason)") }
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
