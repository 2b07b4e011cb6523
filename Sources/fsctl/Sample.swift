// What a vault did between two moments, as `fsctl top` shows it.

import CommandSupport
import FoundationEssentials
import Printable
import VaultClient

struct Sample: Encodable {
  struct Kind: Encodable {
    var kind: String
    var perSecond: Double
    /// Since the mount.
    var total: UInt64
    /// Of the requests between the two moments, seconds; nil where there were none.
    var mean: Double?
    var p50: Double?
    var p90: Double?
    var p99: Double?
  }
  var seconds: Double
  /// The busiest first.
  var kinds: [Kind]
  var operationsPerSecond: Double
  var bytesReadPerSecond: Double
  var bytesWrittenPerSecond: Double
  /// The share of frames that were decoded already; nil where none was needed.
  var cacheHitShare: Double?
  struct Waiting: Encodable {
    var kind: String
    var count: Int
    /// How long the oldest of them takes by now, seconds.
    var oldest: Double
  }
  /// What was being answered at the second moment, the longest first.
  var inFlight: [Waiting]

  init(from before: ActivityReport, to now: ActivityReport) {
    let seconds = max(Double(now.nanoseconds &- before.nanoseconds) / 1e9, 1e-6)
    self.seconds = seconds
    func rate(_ new: UInt64, _ old: UInt64) -> Double { new >= old ? Double(new - old) / seconds : 0 }
    kinds = now.mount.latencies.map { kind, all in
      let here = all.since(before.mount.latencies[kind])
      func time(_ share: Double) -> Double? { here.percentile(share).map { $0 / 1e9 } }
      return Kind(kind: kind, perSecond: Double(here.count) / seconds, total: all.count, mean: here.mean.map { $0 / 1e9 }, p50: time(0.5), p90: time(0.9), p99: time(0.99))
    }.sorted { ($0.perSecond, $0.total, $1.kind) > ($1.perSecond, $1.total, $0.kind) }
    operationsPerSecond = kinds.reduce(0) { $0 + $1.perSecond }
    bytesReadPerSecond = rate(now.mount.bytesRead, before.mount.bytesRead)
    bytesWrittenPerSecond = rate(now.mount.bytesWritten, before.mount.bytesWritten)
    inFlight = now.mount.inFlight.map { Waiting(kind: $0, count: $1.count, oldest: Double($1.max() ?? 0) / 1e9) }.sorted { ($0.oldest, $0.kind) > ($1.oldest, $1.kind) }
    let hits = now.cacheHits &- before.cacheHits, all = hits &+ (now.cacheMisses &- before.cacheMisses)
    cacheHitShare = all > 0 ? Double(hits) / Double(all) : nil
  }

  /// - Parameter most: lines; of the kinds, the busiest.
  func text(of vault: String, _ sizes: SizeOption, lines most: Int) -> String {
    var lines = [
      "\(vault): \(Int(operationsPerSecond.rounded())) operations/s, read \(sizes.text(UInt64(bytesReadPerSecond)))/s, written \(sizes.text(UInt64(bytesWrittenPerSecond)))/s, "
        + "cache hits \(cacheHitShare.map { "\(Int(($0 * 100).rounded())) %" } ?? "–")",
      "in flight: " + (inFlight.isEmpty ? "nothing" : inFlight.map { "\($0.count) \($0.kind) (\(duration($0.oldest)))" }.joined(separator: ", ")),
      "",
      row("OPERATION", ["PER S", "MEDIAN", "90 %", "99 %", "TOTAL"]),
    ]
    for kind in kinds.prefix(max(most - lines.count - 1, 1)) { lines.append(row(kind.kind, ["\(Int(kind.perSecond.rounded()))", duration(kind.p50), duration(kind.p90), duration(kind.p99), "\(kind.total)"])) }
    return lines.joined(separator: "\n")
  }

  private func row(_ name: String, _ values: [String]) -> String {
    name + String(repeating: " ", count: max(0, 20 - name.count)) + values.map { String(repeating: " ", count: max(1, 11 - $0.count)) + $0 }.joined()
  }

  private func duration(_ seconds: Double?) -> String {
    guard let seconds else { return "–" }
    let (value, unit) = seconds < 1e-3 ? (seconds * 1e6, "µs") : seconds < 1 ? (seconds * 1e3, "ms") : (seconds, "s")
    return "\(value < 10 ? decimal(value, places: 1) : "\(Int(value.rounded()))") \(unit)"
  }
}
