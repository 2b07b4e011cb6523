// A check: every invariant of the vault, looked for in a copy of the view and in the vault's files, while programs use the
// vault or nobody does.
//
// What must stay true:
// 1. Nothing is found in a vault that is sound, whatever goes on in it meanwhile: the view is looked at as it was at one
//    moment; files that change by themselves are looked at again with the vault's lock held before anything is told.
// 2. The vault's lock is held for some milliseconds at a time; memory is bounded by named limits, not by the vault.
// 3. Nothing of the vault is changed.

extension Vault {
  /// Checks the vault. Programs may go on using it.
  public func check(_ options: CheckOptions = CheckOptions()) throws(VaultError) -> CheckReport {
    let work = CheckWork(self, options)
    do { try Checker.run(work) } catch let error as VaultError { throw error } catch is CheckCancelled {} catch { throw .disk(operation: "check", path: path, code: 5) }
    return work.report
  }

  /// Checks the vault at `path`, which nobody owns: opens it and closes it again.
  public static func check(at path: String, _ options: CheckOptions = CheckOptions(), log: @escaping @Sendable (String) -> Void = { _ in }) throws(VaultError) -> CheckReport {
    let vault: Vault
    do throws(VaultError) { vault = try open(at: path, purpose: "checking it", log: log) } catch {
      guard let report = CheckReport(ofRefusal: error) else { throw error }
      return report
    }
    defer { try? vault.shutDown() }
    return try vault.check(options)
  }
}

extension CheckReport {
  /// Where a vault is so damaged that it cannot be opened; nil where that is no damage.
  init?(ofRefusal error: VaultError) {
    let finding: Finding
    switch error {
    case .databaseDamaged: finding = Finding(.databaseStructure, file: Vault.databaseName, "\(error)")
    case .journalDamaged, .journalBehind: finding = Finding(.journalSegment, file: "journal", "\(error)")
    default: return nil
    }
    findings = [finding]
    counts = [finding.kind.rawValue: 1]
  }
}

enum Checker {
  static func run(_ work: CheckWork) throws {
    try work.begin("database pages", share: 0.03)
    try DatabasePages.look(work.vault, work.found) { _ in try work.proceed() }
    try work.begin("copying the database", share: 0.05)
    let copy: ViewCopy
    do { copy = try ViewCopy(of: work) } catch let error as VaultError {
      guard case .databaseDamaged(let detail) = error else { throw error }
      return cannotRead(detail, work)
    }
    work.note { $0.operation = copy.state.applied.value }
    do { try look(copy, work) } catch let error as VaultError {
      guard case .databaseDamaged(let detail) = error else { throw error }
      return cannotRead(detail, work)
    }
    addPaths(copy, work)
    work.note { $0.isComplete = work.isWhole }
  }

  /// Nothing more can be asked of it. Where a page is told to be damaged, that is why.
  private static func cannotRead(_ detail: String, _ work: CheckWork) {
    if work.report.counts[Finding.Kind.databasePage.rawValue] ?? 0 > 0 { return }
    work.found(Finding(.databaseStructure, file: Vault.databaseName, "the database cannot be read: \(detail)"))
  }

  private static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try work.begin("database", share: 0.05)
    try DatabaseStructure.look(copy, work)
    try work.begin("nodes", share: 0.1)
    try Shape.make(in: copy, work)
    for invariant in Invariants.ofTables {
      try work.begin("\(invariant.kind.rawValue)", share: 0.01)
      try invariant.look(copy, work)
    }
    try work.begin("manifests", share: 0.15)
    try ManifestWalk.look(copy, work)
    try work.begin("places of chunks", share: 0.15)
    try ChunkPlaces.look(copy, work)
    try work.begin("packs", share: 0.05)
    try PackWhole.look(work)
    try work.begin("journal", share: 0.05)
    try JournalWalk.look(copy, work)
    if work.comparesWithJournal {
      try work.begin("replaying the journal", share: 0.5)
      try ViewReplay.look(copy, work)
    }
  }

  /// A path for each finding that names a node.
  private static func addPaths(_ copy: ViewCopy, _ work: CheckWork) {
    work.note { report in
      for index in report.findings.indices where report.findings[index].path == nil {
        report.findings[index].path = report.findings[index].inode.flatMap { copy.path(of: $0) }
      }
    }
  }
}
