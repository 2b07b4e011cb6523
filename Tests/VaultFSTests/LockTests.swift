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

  @Test func `a thread that fails may say so: the signals of failures are not blocked, all others are`() {
    let blocked = Mutex<[Int32]>([])
    let thread = startThread("fails") {
      var set = sigset_t()
      pthread_sigmask(SIG_BLOCK, nil, &set)
      blocked.withLock { found in found = (1..<32).filter { sigismember(&set, $0) == 1 } }
    }
    pthread_join(thread, nil)
    let never: Set<Int32> = [SIGKILL, SIGSTOP], failures: Set<Int32> = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV]
    #expect(Set(blocked.withLock { $0 }) == Set(1..<32).subtracting(never).subtracting(failures))
  }
}
