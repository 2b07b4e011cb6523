// `fsctl stats`: what a vault holds, and what of that deduplication and compression spare.

import ArgumentParser
import CommandSupport
import Printable
import VaultClient

struct Stats: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what a vault holds and what it costs, with what deduplication and compression spare.",
    discussion: """
      logical is what the files hold; unique what is left of it when everything that is there more than once counts once; \
      compressed what that takes; stored all that the vault has on disk. Content that no file has any more stays in unique \
      and what follows. Others than root and the vault's owner are shown what df(1) shows them, and no more.
      """)

  @OptionGroup var address: VaultAddress
  @Flag(help: "One JSON object, sizes in bytes.") var json = false
  @Flag(help: "Sizes in bytes.") var bytes = false

  func run() throws {
    let vault = try address.reach(purpose: "used by `fsctl stats`")
    let report: StatsReport
    do { report = try vault.service.stats() } catch {
      try? vault.end()
      throw error
    }
    try vault.end()
    try say(json ? asJSON(report) : text(report, "\(vault.folder)"))
  }

  private func text(_ report: StatsReport, _ folder: String) -> String {
    func size(_ value: some BinaryInteger) -> String { bytes ? "\(value)" : human(UInt64(clamping: value)) }
    var lines = [
      "vault        \(folder) (\(printable(report.name.utf8)))",
      "nodes        \(report.nodes)",
      "logical      \(size(report.logicalBytes))   what the files hold",
    ]
    if let unique = report.uniqueBytes, let compressed = report.compressedBytes, let stored = report.storedBytes {
      lines += [
        "unique       \(size(unique))   \(ratio(report.dedupRatio, "deduplication", "stored content, also of files deleted since"))",
        "compressed   \(size(compressed))   \(ratio(report.compressionRatio, "compression", "after compression"))",
        "stored       \(size(stored))   \(ratio(report.ratio, "all in all", "all that the vault has on disk"))",
      ]
    } else { lines.append("             what of it is unique, and what it costs, is for root and the vault's owner to know") }
    lines.append("available    \(size(report.availableBytes))   for content")
    if let unsaved = report.unsavedBytes, unsaved > 0 { lines.append("unsaved      \(size(unsaved))   being written now") }
    return lines.joined(separator: "\n")
  }

  /// Below 1 there is nothing to be proud of, only something to explain.
  private func ratio(_ value: Double?, _ what: String, _ otherwise: String) -> String { value.map { $0 >= 1 ? "\(what) \($0) : 1" : otherwise } ?? otherwise }
}
