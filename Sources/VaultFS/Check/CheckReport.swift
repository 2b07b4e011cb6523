// What a check tells, and how whoever asked for it follows and ends it.

import Synchronization

/// Ends long work early; given to it by whoever starts it. Any thread may call.
public final class Cancellation: Sendable {
  private let flag = Atomic<Bool>(false)
  public init() {}
  public func cancel() { flag.store(true, ordering: .relaxed) }
  public var isCancelled: Bool { flag.load(ordering: .relaxed) }
}

public struct CheckProgress: Codable, Sendable {
  /// What is being looked at, in words.
  public var phase: String
  /// The share that is done, 0…1.
  public var done: Double
  public var findings: Int
}

public struct CheckOptions: Sendable {
  /// Also replay the journal beside and compare with the view, row by row: finds pages of the database that are stale but valid.
  public var comparesWithJournal = false
  public var cancellation = Cancellation()
  public var progress: @Sendable (CheckProgress) -> Void = { _ in }
  public init() {}
}

public struct CheckReport: Codable, Sendable {
  /// The first of them, `Limits.findingsMax` at most.
  public internal(set) var findings: [Finding] = []
  /// How many there are of each kind, by its name.
  public internal(set) var counts: [String: Int] = [:]
  /// Up to which operation.
  public internal(set) var operation: UInt64 = 0
  public internal(set) var nodes = 0
  public internal(set) var entries = 0
  public internal(set) var chunks = 0
  /// Chunks that were noted as damaged before, and are still needed by nobody knows whom: a scrub names the files.
  public internal(set) var damagedChunks = 0
  /// False where it was cancelled, or something is so damaged that the rest could not be looked at.
  public internal(set) var isComplete = false

  /// Everything was looked at, and nothing is wrong.
  public var isClean: Bool { isComplete && findings.allSatisfy(\.isNote) }
}

/// Ends a check early.
struct CheckCancelled: Error {}

extension Limits {
  /// Findings that a check keeps; it counts all.
  public static let findingsMax = 10_000
}
