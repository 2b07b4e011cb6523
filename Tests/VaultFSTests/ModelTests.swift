// Random work on a vault, compared with a model in memory (Model/): content, history, limits, references, through
// reopenings, kills and rebuilds. What fails is walked again with fewer steps, until hardly any are left.

import Foundation
import Testing
@testable import VaultFS

struct ModelTests {
  @Test(arguments: Walks.asked)
  func `random work is what it is in a model, through garbage collections, kills and rebuilds`(walks: Walks) throws {
    guard let failure = walks.failure() else { return }
    Issue.record("\(walks) failed \(failure); at last \(walks.shortened(failure))")
  }
}

/// A seed, and the steps of it that are walked.
struct Walks: CustomTestStringConvertible, CustomStringConvertible {
  var seed: UInt64
  var steps: [Int]

  struct Failure: CustomStringConvertible {
    /// How many steps were taken.
    var taken: Int
    var error: any Error
    var trail: ArraySlice<String>
    var description: String { "after \(taken) steps: \(error)\n\(trail.joined(separator: "\n"))" }
  }

  var description: String {
    let command = "VAULTFS_MODEL_SEED=\(seed) VAULTFS_MODEL_STEPS=\(isWhole ? "\(steps.count)" : steps.map { "\($0)" }.joined(separator: ",")) scripts/test --filter ModelTests"
    return "\(steps.count) steps of seed \(seed) (\(command))"
  }
  var testDescription: String { "seed \(seed), \(steps.count) steps" }
  private var isWhole: Bool { steps.last == steps.count - 1 }

  func failure() -> Failure? {
    var taken = 0, trail: ArraySlice<String> = []
    do {
      try Walk.walk(steps, seed: seed) { walk, _ in
        taken += 1
        trail = walk.trail.suffix(30)
      }
      return nil
    } catch { return Failure(taken: taken, error: error, trail: trail) }
  }

  private static let shorteningMax: TimeInterval = 120

  /// Fewer steps that fail still, in whatever way: halves are left out, then quarters, and so on.
  func shortened(_ failure: Failure) -> String {
    var shortest = Walks(seed: seed, steps: Array(steps.prefix(failure.taken))), last = failure
    let end = Date.now + Self.shorteningMax
    var part = shortest.steps.count / 2
    while part > 0, Date.now < end {
      var at = 0
      while at < shortest.steps.count, Date.now < end {
        var fewer = shortest
        fewer.steps.removeSubrange(at..<min(at + part, shortest.steps.count))
        if let failure = fewer.failure() {
          fewer.steps = Array(fewer.steps.prefix(failure.taken))
          (shortest, last) = (fewer, failure)
        } else { at += part }
      }
      part /= 2
    }
    return "\(shortest): \(last)"
  }

  // MARK: What is asked for

  /// By the environment; else some short ones.
  static var asked: [Walks] {
    let environment = ProcessInfo.processInfo.environment
    func numbers(_ name: String) -> [Int]? { environment[name].map { $0.split(separator: ",").compactMap { Int($0) } } }
    let steps = numbers("VAULTFS_MODEL_STEPS") ?? [2500]
    let seeds = numbers("VAULTFS_MODEL_SEED").map { $0.map { UInt64($0) } } ?? Array(1...4)
    return seeds.map { Walks(seed: $0, steps: steps.count == 1 ? Array(0..<steps[0]) : steps) }
  }
}
