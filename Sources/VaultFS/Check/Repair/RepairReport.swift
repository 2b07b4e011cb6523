// What a repair tells.

public struct RepairAction: Codable, Sendable {
  /// What was found; nil where it was done for several.
  public var finding: Finding?
  /// What was done about it, as a sentence without its end.
  public var done: String
}

public struct RepairReport: Codable, Sendable {
  /// What was found at first, and what is found now.
  public internal(set) var before: CheckReport
  public internal(set) var after: CheckReport
  /// The first of what was done, `Limits.findingsMax` at most.
  public internal(set) var actions: [RepairAction] = []
  /// What was left for a repair that has the vault for itself: why.
  public internal(set) var left: String?

  public var isClean: Bool { after.isClean }

  init(_ before: CheckReport) { (self.before, after) = (before, before) }

  mutating func did(_ finding: Finding?, _ done: String) {
    if actions.count < Limits.findingsMax { actions.append(RepairAction(finding: finding, done: done)) }
  }
}
