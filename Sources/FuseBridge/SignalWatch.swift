// Signals that are waited for by a thread, instead of interrupting one in the middle of a request.

import Glibc

/// Takes signals out of the way of all threads and hands them to one.
///
/// Make it first thing in `main`, before any thread starts: threads inherit what is blocked.
public struct SignalWatch: Sendable {
  private let signals: [Int32]

  /// Blocks `signals` in this thread and those it will start. Programs started from here inherit
  /// that too, unless they reset it.
  public init(_ signals: [Int32]) {
    self.signals = signals
    var set = Self.set(signals)
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// Calls `body` for each signal that comes, one after the other, in a thread that lives as long
  /// as the process. `body` may lock, allocate and call `Session.stop`. Call it once.
  public func start(_ body: @escaping @Sendable (Int32) -> Void) {
    var thread = pthread_t()
    let passed = unsafe Unmanaged.passRetained(Work(signals, body))
    let failure = unsafe pthread_create(&thread, nil, { argument in
      let work = unsafe Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue()
      var set = SignalWatch.set(work.signals)
      var signal: Int32 = 0
      while true { if unsafe sigwait(&set, &signal) == 0 { work.body(signal) } }
    }, unsafe passed.toOpaque())
    precondition(failure == 0, "no thread left to wait for signals")
    pthread_detach(thread)
  }

  /// Blocks all signals in this thread but one, and but those that say that this thread failed: blocked, they would end
  /// the process without a word of where it was.
  static func blockAll(but wanted: Int32) {
    var blocked = sigset_t()
    unsafe sigfillset(&blocked)
    for signal in [wanted, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV] { unsafe sigdelset(&blocked, signal) }
    unsafe pthread_sigmask(SIG_SETMASK, &blocked, nil)
  }

  private static func set(_ signals: [Int32]) -> sigset_t {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in signals { unsafe sigaddset(&set, signal) }
    return set
  }

  private final class Work {
    let signals: [Int32]
    let body: @Sendable (Int32) -> Void
    init(_ signals: [Int32], _ body: @escaping @Sendable (Int32) -> Void) { (self.signals, self.body) = (signals, body) }
  }
}
