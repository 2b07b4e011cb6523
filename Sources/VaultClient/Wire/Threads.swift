// Threads of the owner's socket. None is there: that is an answer here, and no reason to stop the owner.

import Glibc

/// Starts a thread with a name that `top -H` shows, and all signals blocked, which are others' business, but
/// for those that say that this thread failed: blocked, they would end the process without a word of where it was.
/// - Returns: nil where the system has no thread left.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) -> pthread_t? {
  final class Work: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  var all = sigset_t(), before = sigset_t(), thread = pthread_t()
  unsafe sigfillset(&all)
  for failure in [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV] { unsafe sigdelset(&all, failure) }
  unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
  defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
  let work = unsafe Unmanaged.passRetained(Work {
    setOwnName(name)
    body()
  })
  let failure = unsafe pthread_create(&thread, nil, { raw in
    unsafe Unmanaged<Work>.fromOpaque(raw!).takeRetainedValue().body()
    return nil
  }, unsafe work.toOpaque())
  guard failure == 0 else {
    unsafe work.release()
    return nil
  }
  return thread
}

/// Of the thread that calls.
private func setOwnName(_ name: String) {
  let file = unsafe open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
  guard file >= 0 else { return }
  _ = unsafe write(file, name, name.utf8.count)
  close(file)
}

func systemWords(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }
