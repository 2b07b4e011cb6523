// The threads that take requests from the kernel and answer them.
//
// libfuse has such a loop (`fuse_session_loop_mt`), but it stops its threads with pthread_cancel
// inside our read hook (a forced unwind through Swift frames), and notices a stop only with the
// next request. This one uses the two public calls that loop is made of.
//
// What must stay true:
// 1. The number of threads is fixed: creating one per burst costs more than the request.
// 2. A request that was received is answered, also while stopping: the stop flag is looked at
//    between requests only.
// 3. A thread blocked in read(2) is freed by a signal whose handler does nothing, sent again until
//    the thread is gone: sent once, it could come between the look at the flag and the read. Threads
//    busy with a request get none, so that the file system's own system calls see no EINTR.

import CFuse3
import Glibc
import Synchronization

@safe final class Workers: Sendable {
  /// Interrupts a worker's read. The process must not use it for anything else.
  static let wakeSignal = SIGUSR2

  nonisolated(unsafe) private let session: OpaquePointer
  private let threadCount: Int
  private let stopping = Atomic<Bool>(false)
  private let running = Atomic<Int>(0)
  private let failure = Atomic<Int32>(0)
  private let bell: Semaphore
  /// One for each thread.
  private let recorders: [LatencyRecorder]

  /// - Parameter bell: rings where something happened that `run` should look at.
  init(session: OpaquePointer, threadCount: Int, bell: Semaphore) {
    unsafe self.session = unsafe session
    self.threadCount = threadCount
    self.bell = bell
    recorders = (0..<threadCount).map { _ in LatencyRecorder() }
  }

  /// How long requests took, of all threads together.
  var latencies: RequestLatencies { RequestLatencies(recorders) }

  var isRunning: Bool { running.load(ordering: .acquiring) > 0 }

  /// From any thread; also before `run`, which then returns at once.
  func stop() {
    stopping.store(true, ordering: .releasing)
    bell.post()
  }

  /// Answers requests until `stop`, the end of the mount, or a failure of the device.
  /// - Parameter rung: runs in the calling thread each time the bell rings.
  /// - Parameter beforeStop: runs in the calling thread while the workers still answer.
  /// - Throws: why threads could not start, or the device could not be read.
  func run(rung: () -> Void, beforeStop: () -> Void) throws(Errno) {
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in }  // without SA_RESTART: read(2) must return
    unsafe sigaction(Self.wakeSignal, &action, nil)

    var started: [(worker: Worker, thread: pthread_t)] = []
    for recorder in recorders {
      let worker = Worker(self, recorder)
      guard let thread = start(worker) else { break }
      started.append((worker, thread))
    }
    if started.count < threadCount {
      failure.store(EAGAIN, ordering: .releasing)
      stopping.store(true, ordering: .releasing)
    }

    while !stopping.load(ordering: .acquiring) {
      bell.wait()
      rung()
    }
    beforeStop()
    while isRunning {
      for (worker, thread) in started where worker.isReceiving.load(ordering: .acquiring) {
        pthread_kill(thread, Self.wakeSignal)
      }
      bell.wait(milliseconds: 10)
    }
    for (_, thread) in started { pthread_join(thread, nil) }
    let reason = failure.load(ordering: .acquiring)
    if reason != 0 { throw Errno(rawValue: reason) }
  }

  private func start(_ worker: Worker) -> pthread_t? {
    running.add(1, ordering: .acquiringAndReleasing)
    var thread = pthread_t()
    let passed = unsafe Unmanaged.passRetained(worker)
    let failure = unsafe pthread_create(&thread, nil, { argument in
      let worker = unsafe Unmanaged<Worker>.fromOpaque(argument!).takeRetainedValue()
      worker.workers.work(as: worker)
      return nil
    }, unsafe passed.toOpaque())
    if failure == 0 { return thread }
    unsafe passed.release()
    running.subtract(1, ordering: .acquiringAndReleasing)
    return nil
  }

  private func work(as worker: Worker) {
    // Signals are the business of the process's own threads; a handler must not run on top of a request.
    SignalWatch.blockAll(but: Self.wakeSignal)

    var buffer = unsafe fuse_buf()
    while !stopping.load(ordering: .acquiring), unsafe fuse_session_exited(session) == 0 {
      worker.isReceiving.store(true, ordering: .releasing)
      let received = unsafe fuse_session_receive_buf(session, &buffer)
      worker.isReceiving.store(false, ordering: .releasing)
      if received == -EINTR || received == -EAGAIN { continue }
      if received == 0 { break }  // unmounted, or the connection was aborted
      if received < 0 {
        failure.store(-received, ordering: .releasing)
        break
      }
      let opcode = unsafe buffer.mem.assumingMemoryBound(to: fuse_in_header.self).pointee.opcode, began = LatencyRecorder.now
      worker.recorder.begin(opcode, began)
      unsafe fuse_session_process_buf(session, &buffer)
      worker.recorder.record(opcode, LatencyRecorder.now &- began)
    }
    unsafe free(buffer.mem)
    running.subtract(1, ordering: .acquiringAndReleasing)
    stop()  // where one worker has nothing left to do, none has
  }
}

/// One thread, as the thread that stops it sees it.
private final class Worker: Sendable {
  let workers: Workers
  let recorder: LatencyRecorder
  let isReceiving = Atomic<Bool>(false)
  init(_ workers: Workers, _ recorder: LatencyRecorder) { (self.workers, self.recorder) = (workers, recorder) }
}

/// A counting semaphore. `post` may be called from anywhere, even a signal handler.
@safe final class Semaphore: Sendable {
  nonisolated(unsafe) private let semaphore: UnsafeMutablePointer<sem_t>

  init() {
    unsafe semaphore = .allocate(capacity: 1)
    unsafe semaphore.initialize(to: sem_t())
    unsafe sem_init(semaphore, 0, 0)
  }

  deinit {
    unsafe sem_destroy(semaphore)
    unsafe semaphore.deallocate()
  }

  func post() { unsafe sem_post(semaphore) }

  /// Returns after a post, or early because of a signal.
  func wait() { unsafe sem_wait(semaphore) }

  /// Returns after a post, the time, or early because of a signal.
  func wait(milliseconds: Int) {
    var until = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &until)
    until.tv_nsec += milliseconds * 1_000_000
    (until.tv_sec, until.tv_nsec) = (until.tv_sec + until.tv_nsec / 1_000_000_000, until.tv_nsec % 1_000_000_000)
    unsafe sem_timedwait(semaphore, &until)
  }
}
