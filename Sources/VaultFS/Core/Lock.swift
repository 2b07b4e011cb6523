// The two locks of the engine, as plain as pthreads has them: they span work on non-Sendable state (SQLite, a file's
// draft), which `Mutex` is not made for. Order: a draft's `saveLock`, its `lock`, the vault's lock; nothing is acquired
// the other way round, and nobody waits for a disk flush holding the vault's lock but for a checkpoint.

import Glibc

@safe final class Lock: @unchecked Sendable {
  // Sendable: a pthread mutex is made to be shared; it never moves.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe pthread_mutex_init(mutex, nil)
  }
  deinit {
    unsafe pthread_mutex_destroy(mutex)
    unsafe mutex.deallocate()
  }
  func withLock<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return try body()
  }
  fileprivate var pointer: UnsafeMutablePointer<pthread_mutex_t> { unsafe mutex }
}

/// A condition on what a `Lock` guards.
@safe final class Condition: @unchecked Sendable {
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private let lock: Lock
  init(_ lock: Lock) {
    self.lock = lock
    unsafe condition = .allocate(capacity: 1)
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    unsafe pthread_cond_init(condition, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
  }
  deinit {
    unsafe pthread_cond_destroy(condition)
    unsafe condition.deallocate()
  }
  /// The lock must be held; it is held again on return.
  func wait() { unsafe pthread_cond_wait(condition, lock.pointer) }
  /// - Returns: whether it was signalled before `timeout` passed.
  func wait(_ timeout: Duration) -> Bool {
    var until = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &until)
    let parts = timeout.components
    until.tv_sec += Int(parts.seconds)
    until.tv_nsec += Int(parts.attoseconds / 1_000_000_000)
    if until.tv_nsec >= 1_000_000_000 { until.tv_sec += 1; until.tv_nsec -= 1_000_000_000 }
    return unsafe pthread_cond_timedwait(condition, lock.pointer, &until) == 0
  }
  func signalAll() { unsafe pthread_cond_broadcast(condition) }
}

/// Many readers or one writer. A writer that waits goes before readers that come later: a stream of reads would else
/// hold it off without end. So nobody may take it for reading twice in one thread.
@safe final class ReadWriteLock: @unchecked Sendable {
  private let lock: UnsafeMutablePointer<pthread_rwlock_t>
  init() {
    unsafe lock = .allocate(capacity: 1)
    var attributes = pthread_rwlockattr_t()
    unsafe pthread_rwlockattr_init(&attributes)
    unsafe pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
    unsafe pthread_rwlock_init(lock, &attributes)
    unsafe pthread_rwlockattr_destroy(&attributes)
  }
  deinit {
    unsafe pthread_rwlock_destroy(lock)
    unsafe lock.deallocate()
  }
  func reading<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    unsafe pthread_rwlock_rdlock(lock)
    defer { unsafe pthread_rwlock_unlock(lock) }
    return try body()
  }
  func writing<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    unsafe pthread_rwlock_wrlock(lock)
    defer { unsafe pthread_rwlock_unlock(lock) }
    return try body()
  }
}

/// A thread of the engine's own, with a name that `top -H` shows.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) -> pthread_t {
  final class Box { let name: String, body: @Sendable () -> Void; init(_ n: String, _ b: @escaping @Sendable () -> Void) { (name, body) = (n, b) } }
  var thread = pthread_t()
  let code = unsafe pthread_create(&thread, nil, { raw in
    let box = unsafe Unmanaged<Box>.fromOpaque(raw!).takeRetainedValue()
    let comm = unsafe open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    if comm >= 0 {
      _ = unsafe write(comm, box.name, box.name.utf8.count)
      close(comm)
    }
    blockSignals()
    box.body()
    return nil
  }, unsafe Unmanaged.passRetained(Box(name, body)).toOpaque())
  precondition(code == 0, "no thread can be started: \(systemMessage(code))")
  return thread
}

/// Signals are the business of the process's own threads, but for those that say that this one failed: blocked, they
/// would end the process without a word of where it was.
private func blockSignals() {
  var signals = sigset_t()
  unsafe sigfillset(&signals)
  for failure in [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV] { unsafe sigdelset(&signals, failure) }
  unsafe pthread_sigmask(SIG_SETMASK, &signals, nil)
}
