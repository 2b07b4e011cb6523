// The engine's locks.

import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct LockTests {
  @Test func `a writer gets its turn among readers that never stop`() {
    let lock = ReadWriteLock(), stop = Atomic<Bool>(false)
    // Each reader comes while the other still reads.
    let readers = (0..<4).map { index in
      startThread("reader-\(index)") { while !stop.load(ordering: .relaxed) { lock.reading { _ = usleep(2000) } } }
    }
    usleep(10_000)
    let took = ContinuousClock().measure { for _ in 0..<20 { lock.writing {} } }
    stop.store(true, ordering: .relaxed)
    for reader in readers { pthread_join(reader, nil) }
    #expect(took < .seconds(5), "20 turns took \(took)")
  }
}
