// Repair: checks, puts right what it can, and checks again. What each kind of finding gets is in docs/check.md.
//
// What must stay true: a view that is not what the journal says is made anew before anything of the tree is changed.

extension Vault {
  private static let roundsMax = 16

  /// Repairs an open vault; programs may go on using it. What needs the vault for itself is left, and said.
  public func repair(_ options: CheckOptions = CheckOptions()) throws(VaultError) -> RepairReport {
    try repair(try check(options), options, isViewOfJournal: nil)
  }

  /// Repairs the vault at `path`, which nobody owns.
  public static func repair(at path: String, _ options: CheckOptions = CheckOptions(), log: @escaping @Sendable (String) -> Void = { _ in }) throws(VaultError) -> RepairReport {
    let before = try check(at: path, options, log: log)
    if before.isClean { return RepairReport(before) }
    var done: [RepairAction] = [], isViewOfJournal: Bool?
    if before.findings.contains(where: { $0.kind.isOfView }) {
      do throws(VaultError) {
        try rebuildAside(path, log)
        done.append(RepairAction(finding: nil, done: "the database was made anew from the journal; the old one is in \(Quarantine.directory)"))
        isViewOfJournal = true
      } catch {
        guard error.isOfJournal else { throw error }
        // Nothing can be made of the journal, then: what the view says is all there is, and it may change.
        done.append(RepairAction(finding: nil, done: "the database could not be made anew: \(error)"))
        isViewOfJournal = true
      }
    }
    let vault: Vault
    do throws(VaultError) { vault = try open(at: path, purpose: "repairing it", log: log) } catch {
      guard let report = CheckReport(ofRefusal: error) else { throw error }
      var result = RepairReport(before)
      (result.after, result.actions) = (report, done)
      return result
    }
    defer { try? vault.shutDown() }
    var result = try vault.repair(isViewOfJournal == nil ? before : try vault.check(options), options, isViewOfJournal: isViewOfJournal)
    result.before = before
    result.actions = done + result.actions
    return result
  }

  /// Makes the database anew; the old one is kept. (It is in its place until the new one is made: it knows where the journal must end.)
  private static func rebuildAside(_ path: String, _ log: @escaping @Sendable (String) -> Void) throws(VaultError) {
    let configuration = try readConfiguration(path), owner = try OwnerLock(vault: path, purpose: "repairing it"), disk = try RealDisk(path: path)
    defer { withExtendedLifetime(owner) {} }
    try rebuild(path, configuration: configuration, disk: disk, lastEnd: try LastEnd(path, disk), log: log, settingAside: { () throws(VaultError) in try Quarantine(disk).takeDatabase() }) { _ in }
  }

  /// - Parameter isViewOfJournal: nil where that is not known yet.
  private func repair(_ first: CheckReport, _ options: CheckOptions, isViewOfJournal: Bool?) throws(VaultError) -> RepairReport {
    var repairer = Repairer(self, first), now = first, isViewOfJournal = isViewOfJournal
    let isRebuilt = isViewOfJournal == true
    for _ in 0..<Self.roundsMax where !now.isClean {
      if isViewOfJournal == nil, now.findings.contains(where: { $0.kind.remedy == .tree }) {
        var deep = options
        deep.comparesWithJournal = true
        let report = try check(deep)
        isViewOfJournal = report.isComplete && report.counts[Finding.Kind.viewStale.rawValue] == nil
      }
      guard try repairer.repair(now.findings, mayChangeTree: isViewOfJournal == true) else { break }
      now = try check(options)
      if !now.isComplete { break }
    }
    if now.findings.contains(where: { $0.kind.isOfView }) {
      repairer.report.left = isRebuilt ? "the database was made anew, and the journal says the same: nothing is lost by that, and nothing more can be put right"
        : "the database is not what the journal says, or cannot be read; a repair that has the vault for itself makes it anew: unmount it first"
    }
    repairer.report.after = now
    return repairer.report
  }
}

extension Finding.Kind {
  /// A view made anew may not have it.
  fileprivate var isOfView: Bool { remedy == .rebuild || remedy == .tree }
}
