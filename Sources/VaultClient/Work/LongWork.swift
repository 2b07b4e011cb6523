// Work of the engine that takes its time: in a thread of its own, while the one that asks tells how far it is, and ends
// it where nobody waits for it any more.
//
// What must stay true: when `run` returns or throws, the work has ended: nothing of it goes on unseen.

import Glibc
import Synchronization
import VaultFS

enum LongWork {
  /// How often whoever waits hears something, though nothing has changed: a client notices only then that it was interrupted.
  private static let beat: Duration = .milliseconds(250)
  private static let napMax: UInt32 = 50_000

  private final class State<Outcome: Sendable>: Sendable {
    let progress = Mutex(Progress("beginning", done: 0))
    let outcome = Mutex<Result<Outcome, any Error>?>(nil)
  }

  /// - Parameter tellsOutcome: also where nobody wanted it any more, what came of it is returned or thrown.
  /// - Parameter isGentle: it gives way to whoever uses the vault.
  /// - Parameter work: gets what it tells its progress to; ends early, in whatever way, once `cancellation` is.
  static func run<Item, Outcome: Sendable>(_ cancellation: Cancellation, _ answer: Receiver<Item>, tellsOutcome: Bool = false, isGentle: Bool = false,
                                           _ work: @escaping @Sendable (_ tell: @escaping @Sendable (Progress) -> Void) throws -> Outcome) throws -> Outcome {
    let state = State<Outcome>()
    let thread = startThread("vault-work") {
      if isGentle { Priority.giveWay() }
      let outcome = Result { try work { progress in state.progress.withLock { $0 = progress } } }
      state.outcome.withLock { $0 = outcome }
    }
    guard let thread else { throw ServiceError(.busy, "there is no thread left to do that with; try again") }
    defer { pthread_join(thread, nil) }
    var failure: (any Error)?, nap: UInt32 = 1000, told = ContinuousClock.now
    while true {
      if let outcome = state.outcome.withLock({ $0 }) {
        if let failure, !tellsOutcome { throw failure }
        return try outcome.get()
      }
      usleep(nap)
      nap = min(nap + nap / 4, napMax)
      if failure != nil || ContinuousClock.now - told < beat { continue }
      told = .now
      do {
        try answer.checkCancelled()
        try answer.progress(state.progress.withLock { $0 })
      } catch {
        failure = error
        cancellation.cancel()
      }
    }
  }
}

/// Which long work is under way: of each kind one at a time, for they keep files of one name in the vault.
final class Works: Sendable {
  private let running = Mutex<Set<String>>([])
  /// One that was given up just now ends within this.
  private static let patience: Duration = .seconds(5)

  func run<Item, Outcome>(_ kind: String, _ answer: Receiver<Item>, _ body: () throws -> Outcome) throws -> Outcome {
    let deadline = ContinuousClock.now + Self.patience
    while !running.withLock({ $0.insert(kind).inserted }) {
      guard ContinuousClock.now < deadline else { throw ServiceError(.busy, "a \(kind) of this vault is under way already; wait until it has ended, or end it") }
      try answer.checkCancelled()
      usleep(20_000)
    }
    defer { _ = running.withLock { $0.remove(kind) } }
    return try body()
  }
}
