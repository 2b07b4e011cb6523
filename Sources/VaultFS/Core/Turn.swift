// A lock for work that takes long. Whoever waits for it can be called off.
//
// What must stay true: of those that wait, whoever's user had it longest ago is the next: nobody waits for more than one of each other
// user's, however many somebody asks for.

import Glibc
import Synchronization

final class Turn: Sendable {
  private struct Line {
    var count: UInt64 = 0
    /// Who has it.
    var owner: UInt64?
    var waiting: [(id: UInt64, user: UInt32)] = []
    /// When users had it last.
    var served: [UInt32: UInt64] = [:]

    mutating func letNext() {
      guard owner == nil else { return }
      guard let next = waiting.min(by: { (served[$0.user] ?? 0, $0.id) < (served[$1.user] ?? 0, $1.id) }) else { return served = [:] }
      waiting.removeAll { $0.id == next.id }
      (owner, count) = (next.id, count + 1)
      served[next.user] = count
    }
    mutating func leave(_ id: UInt64) {
      waiting.removeAll { $0.id == id }
      if owner == id { owner = nil }
      letNext()
    }
  }
  private let line = Mutex(Line())
  /// Nothing that takes a turn is over sooner, most of the time.
  private static let nap: UInt32 = 20_000

  /// - Parameter waiting: called now and then as long as others have it; ends the waiting by throwing.
  func take<E: Error>(for user: UInt32, _ waiting: () throws(E) -> Void) throws(E) {
    let own = line.withLock { line in
      line.count += 1
      line.waiting.append((line.count, user))
      defer { line.letNext() }
      return line.count
    }
    while line.withLock({ $0.owner != own }) {
      do throws(E) { try waiting() } catch {
        line.withLock { $0.leave(own) }
        throw error
      }
      usleep(Self.nap)
    }
  }

  func end() {
    line.withLock { line in
      line.owner = nil
      line.letNext()
    }
  }
}
