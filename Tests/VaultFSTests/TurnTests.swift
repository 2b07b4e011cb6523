// The lock for work that takes long.

import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct TurnTests {
  private struct CalledOff: Error {}

  @Test func `those that wait get it in their order, one of each user, and whoever is called off leaves`() throws {
    let users: [UInt32] = [0, 7, 7, 7, 8, 0, 7, 9]
    let turn = Turn(), order = Mutex<[Int]>([]), waiting = Atomic(0)
    turn.take(for: 0) {}
    let threads = users.indices.map { number in
      let thread = startThread("waits") {
        var isSeen = false
        do throws(CalledOff) {
          try turn.take(for: users[number]) { () throws(CalledOff) in
            if number == 2, isSeen { throw CalledOff() }
            if !isSeen { waiting.add(1, ordering: .relaxed) }
            isSeen = true
          }
        } catch { return }
        order.withLock { $0.append(number) }
        turn.end()
      }
      while waiting.load(ordering: .relaxed) <= number { usleep(100) }
      return thread
    }
    pthread_join(threads[2], nil)
    turn.end()
    for (number, thread) in threads.enumerated() where number != 2 { pthread_join(thread, nil) }
    #expect(order.withLock { $0 } == [1, 4, 7, 0, 3, 5, 6], "\(order.withLock { $0 })")
    turn.take(for: 0) {}
    turn.end()
  }
}
