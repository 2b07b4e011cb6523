// The threads that save streams while their writers go on, and that share the work of one save.
//
// What must stay true: work is bounded: a file is in the queue once, and its writer waits when it is too far ahead.

import Glibc

final class SaveQueue: @unchecked Sendable {
  // Sendable: `work`, `isClosed` and `threads` are guarded by `lock`.
  private let lock = Lock()
  private let wakeUp: Condition
  private var work: [@Sendable () -> Void] = []
  private var isClosed = false
  private var threads: [pthread_t] = []

  let workers = min(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 2), 4)

  init() {
    wakeUp = Condition(lock)
    for index in 0..<workers {
      threads.append(startThread("vault-save-\(index)") { [unowned self] in
        while true {
          let next: (@Sendable () -> Void)? = lock.withLock {
            while work.isEmpty && !isClosed { wakeUp.wait() }
            return work.isEmpty ? nil : work.removeFirst()
          }
          guard let next else { return }
          next()
        }
      })
    }
  }

  func add(_ task: @escaping @Sendable () -> Void) {
    lock.withLock {
      work.append(task)
      wakeUp.signalAll()
    }
  }

  /// Returns when the work that was added is done.
  func close() {
    let ending = lock.withLock {
      isClosed = true
      wakeUp.signalAll()
      defer { threads = [] }
      return threads
    }
    for thread in ending { pthread_join(thread, nil) }
  }
}

/// Jobs of one save, done while they are still being found: by workers that have nothing else to do, and by the saver
/// once it has found them all.
final class SharedWork<Job: Sendable>: @unchecked Sendable {
  // Sendable: guarded by `lock`, but for `body`, which is immutable.
  private let lock = Lock()
  private let changed: Condition
  private var jobs: [Job] = []
  private var next = 0
  private var isComplete = false
  private var helpers = 0
  private let queue: SaveQueue?
  private let body: @Sendable (Job) -> Void

  /// - Parameter queue: whose workers may help; nil where the jobs are to be done in their order.
  init(_ queue: SaveQueue?, _ body: @escaping @Sendable (Job) -> Void) {
    (self.queue, self.body) = (queue, body)
    changed = Condition(lock)
  }

  func add(_ job: Job) {
    let count = lock.withLock {
      jobs.append(job)
      changed.signalAll()
      return jobs.count
    }
    if let queue, count > 1, count <= queue.workers { queue.add { self.help() } }
  }

  /// Returns when every job that was added is done.
  func finish() {
    lock.withLock {
      isComplete = true
      changed.signalAll()
    }
    while let job = take() { body(job) }
    lock.withLock { while helpers > 0 { changed.wait() } }
  }

  private func help() {
    let isNeeded = lock.withLock {
      if !isComplete { helpers += 1 }
      return !isComplete
    }
    guard isNeeded else { return }
    while let job = take() { body(job) }
    lock.withLock {
      helpers -= 1
      changed.signalAll()
    }
  }

  private func take() -> Job? {
    lock.withLock {
      while next == jobs.count && !isComplete { changed.wait() }
      if next == jobs.count { return nil }
      next += 1
      return jobs[next - 1]
    }
  }
}
