// What all parts of one check share: the vault, where findings go, whether to go on.
//
// What must stay true: the vault's lock is held for bounded batches only. Belongs to the thread that checks.

final class CheckWork {
  let vault: Vault
  private let options: CheckOptions
  private(set) var report = CheckReport()
  private var phase = ""
  private var done = 0.0
  private var share = 0.0

  init(_ vault: Vault, _ options: CheckOptions) { (self.vault, self.options) = (vault, options) }

  var comparesWithJournal: Bool { options.comparesWithJournal }

  /// Calls `body` with the vault's lock held and the view committed: SQLite then knows all that memory does.
  func holding<R>(_ body: (Metadata) throws(VaultError) -> R) throws(VaultError) -> R {
    try vault.lock.withLock { () throws(VaultError) in
      try vault.commit()
      return try body(vault.metadata)
    }
  }

  func found(_ finding: Finding) {
    report.counts[finding.kind.rawValue, default: 0] += 1
    if report.findings.count < Limits.findingsMax { report.findings.append(finding) }
  }

  /// Something is so damaged that a part of the check cannot be done.
  func leaveOut() { isWhole = false }
  private(set) var isWhole = true

  func note(_ change: (inout CheckReport) -> Void) { change(&report) }

  /// Begins a part of the work that is `share` of it all.
  func begin(_ phase: String, share: Double) throws {
    done += self.share
    (self.phase, self.share) = (phase, share)
    try proceed(0)
  }

  /// To be called at least every few milliseconds of work.
  /// - Parameter part: how much of the phase is done.
  func proceed(_ part: Double) throws {
    if options.cancellation.isCancelled { throw CheckCancelled() }
    options.progress(CheckProgress(phase: phase, done: min(done + share * min(max(part, 0), 1), 1), findings: report.findings.count))
  }

  /// As `proceed`, for loops over rows.
  func proceed() throws { if options.cancellation.isCancelled { throw CheckCancelled() } }
}
