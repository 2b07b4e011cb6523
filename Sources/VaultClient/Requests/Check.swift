// Whether a vault is sound, and putting right what is not. For administrators: what is found tells of what others store.
//
// What must stay true: findings go one by one, for thousands of them are more than one frame holds.

public import VaultFS

public struct CheckRequest: ClosedVaultRequest {
  public static let name = "check"
  public static let access = Access.administrators
  public var repairs: Bool
  /// Also replay the journal beside, and compare.
  public var comparesWithJournal: Bool
  public init(repairs: Bool = false, comparesWithJournal: Bool = false) { (self.repairs, self.comparesWithJournal) = (repairs, comparesWithJournal) }

  public enum Item: Codable, Sendable {
    case found(Finding)
    /// Of a repair: what was done, and what is found afterwards.
    case did(RepairAction)
    case remains(Finding)
  }

  public struct Answer: Codable, Sendable {
    public var check: CheckSummary
    /// Of a repair: the check afterwards, and why something was left.
    public var afterwards: CheckSummary?
    public var left: String?
    /// What counts in the end.
    public var last: CheckSummary { afterwards ?? check }
  }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Item>) throws -> Answer {
    let vault = host.vault
    return try host.works.run("check", answer) {
      try perform(answer, check: { options in try vault.check(options) }, repair: { options in try vault.repair(options) })
    }
  }

  public func perform(onClosed path: String, log: @escaping @Sendable (String) -> Void, _ answer: Receiver<Item>) throws -> Answer {
    try perform(answer, check: { options in try Vault.check(at: path, options, log: log) }, repair: { options in try Vault.repair(at: path, options, log: log) })
  }

  private func perform(_ answer: Receiver<Item>, check: @escaping @Sendable (CheckOptions) throws -> CheckReport,
                       repair: @escaping @Sendable (CheckOptions) throws -> RepairReport) throws -> Answer {
    var options = CheckOptions()
    options.comparesWithJournal = comparesWithJournal
    let prepared = options
    func run<Report: Sendable>(_ work: @escaping @Sendable (CheckOptions) throws -> Report) throws -> Report {
      try LongWork.run(prepared.cancellation, answer) { tell in
        var options = prepared
        options.progress = { tell(Progress($0)) }
        return try work(options)
      }
    }
    guard repairs else {
      let report = try run(check)
      for finding in report.findings { try answer.item(.found(finding)) }
      return Answer(check: CheckSummary(report))
    }
    let report = try run(repair)
    for finding in report.before.findings { try answer.item(.found(finding)) }
    for action in report.actions { try answer.item(.did(action)) }
    for finding in report.after.findings { try answer.item(.remains(finding)) }
    return Answer(check: CheckSummary(report.before), afterwards: CheckSummary(report.after), left: report.left)
  }
}

/// A check without its findings.
public struct CheckSummary: Codable, Sendable {
  /// How many findings there are of each kind, by its name; more than were sent where they are very many.
  public var counts: [String: Int]
  /// Up to which operation, and of how much.
  public var operation: UInt64
  public var nodes: Int
  public var entries: Int
  public var chunks: Int
  /// Chunks that were noted as damaged before: a scrub names the files.
  public var damagedChunks: Int
  public var isComplete: Bool
  public var isClean: Bool

  init(_ report: CheckReport) {
    (counts, operation, nodes, entries, chunks) = (report.counts, report.operation, report.nodes, report.entries, report.chunks)
    (damagedChunks, isComplete, isClean) = (report.damagedChunks, report.isComplete, report.isClean)
  }
}

extension Progress {
  /// A check knows shares only.
  private static let parts = 10_000.0

  init(_ progress: CheckProgress) {
    let share = min(max(progress.done, 0), 1)
    self.init(Self.with(progress.findings, progress.phase), done: UInt64(share * Self.parts), total: UInt64(Self.parts))
  }
  static func with(_ findings: Int, _ what: String) -> String { findings > 0 ? "\(what), \(findings) found" : what }
}
