// One file system, mounted once: mount, run, stop, unmount, in that order.
//
// What must stay true:
// 1. libfuse's session and the bridge behind its `userdata` live as long as the `Session`.
// 2. Requests are answered inside `run` only; before and after it, users of the mount wait.
// 3. The device is closed only when no worker and no notification uses it.

import CFuse3
import Glibc
import Synchronization

/// A file system on its way into the kernel's tree.
///
/// ```swift
/// let session = try Session(fileSystem: files, options: SessionOptions(name: "demo", subtype: "demo"))
/// try session.mount(at: "/mnt/demo")
/// defer { session.unmount() }
/// try session.run()          // until someone unmounts, or another thread calls stop()
/// ```
/// All methods may be called from any thread. SIGUSR2 belongs to `run`. Nothing in this process may
/// use a path below the mount while it is there: a process that waits for itself waits for ever.
@safe public final class Session: Sendable {
  private struct State {
    var mountPoint: MountPoint?
    /// Our mount as the kernel lists it; nil where there is no /proc to tell.
    var entry: MountEntry?
    var hasRun = false
    var wasMounted = false
    var toldEnd = false
  }

  /// Options as given.
  public var options: SessionOptions { bridge.options }

  private let bridge: Bridge
  nonisolated(unsafe) private let session: OpaquePointer
  private let workers: Workers
  private let state = Mutex(State())
  let notifier = Notifier()

  /// - Throws: `.option` for options that cannot be used; `.libraryFailed`.
  public init(fileSystem: some FileSystem, options: SessionOptions) throws(SessionError) {
    try options.validate(isRoot: geteuid() == 0)
    let bridge = Bridge(files: fileSystem, options: options)
    var table = Operations.table()
    var arguments = unsafe fuse_args()
    defer { unsafe fuse_opt_free_args(&arguments) }
    for argument in options.arguments { unsafe fuse_opt_add_arg(&arguments, argument) }
    let (made, said) = unsafe LibraryLog.capture {
      unsafe fuse_session_new(&arguments, &table, MemoryLayout<fuse_lowlevel_ops>.size, bridge.userData)
    }
    guard let made = unsafe made else { throw .libraryFailed(detail: said) }
    self.bridge = bridge
    unsafe session = unsafe made
    workers = unsafe Workers(session: made, threadCount: options.threads, bell: bridge.tap.bell)
  }

  deinit {
    unmount()
    unsafe fuse_session_destroy(session)
  }

  /// Mounts. Users of the mount wait from now on until `run` answers them.
  /// - Parameter path: a directory.
  /// - Throws: `SessionError`, which says what is in the way. Nothing is mounted then.
  public func mount(at path: Path) throws(SessionError) {
    let place = try MountPoint(checking: path, options: options)
    try state.withLock { state throws(SessionError) in
      if let old = state.mountPoint { throw .alreadyMounted(path: old.path.description) }
      precondition(!state.wasMounted, "a session mounts once; make another")
      let (failure, said) = LibraryLog.captureWithHelpers { unsafe place.path.withCString { unsafe fuse_session_mount(session, $0) } }
      guard failure == 0 else { throw .mountFailed(path: place.path.description, detail: said) }
      var hooks = DeviceTap.hooks()
      guard unsafe fuse_session_custom_io(session, &hooks, fuse_session_fd(session)) == 0 else {
        unsafe fuse_session_unmount(session)
        throw .libraryFailed(detail: "no memory")
      }
      state.mountPoint = place
      state.entry = MountTable.read().top(at: place.path)
      state.wasMounted = true
      unsafe notifier.open(descriptor: fuse_session_fd(session), tap: bridge.tap)
    }
  }

  /// Mounts; see above for paths that are not UTF-8.
  public func mount(at path: String) throws(SessionError) { try mount(at: Path(path)) }

  /// Answers requests until someone unmounts the file system or `stop` is called. Then call `unmount`.
  ///
  /// Blocks the calling thread; handlers run on `options.threads` others. Call it once.
  /// - Throws: `.notMounted`; `.deviceFailed` where the kernel's device fails.
  public func run() throws(SessionError) {
    let entry = try state.withLock { state throws(SessionError) in
      guard state.mountPoint != nil else { throw .notMounted }
      precondition(!state.hasRun, "a session runs once; make another")
      state.hasRun = true
      return state.entry
    }
    var readAhead = options.readAheadKiB
    do throws(Errno) {
      try workers.run(
        rung: { [self] in
          if let kiB = readAhead, bridge.tap.isSettled {
            entry?.setReadAhead(kiB: kiB)
            readAhead = nil
          }
        },
        // While workers still answer: a notification may wait for a lock that a request holds.
        beforeStop: { [self] in notifier.close() })
    } catch { throw .deviceFailed(error) }
  }

  /// Makes `run` return soon: requests being answered are finished, new ones are not taken.
  ///
  /// From any thread (a signal thread too, but not a signal handler), at any time, any number of times.
  public func stop() { workers.stop() }

  /// Unmounts, lazily: files still open fail with ENOTCONN from now on. Does nothing where nothing is
  /// mounted. Where another mount lies on ours, ours dies and stays beneath it. The file system then gets
  /// `unmounted()`; handles that were open are *not* released and references not forgotten one by one.
  ///
  /// Only while `run` is not running; call `stop` and let it return first.
  public func unmount() {
    precondition(!workers.isRunning, "unmount() while run() is running; call stop() and wait for run() first")
    notifier.close()
    let tellEnd = state.withLock { state in
      if let place = state.mountPoint { takeAway(state.entry, from: place.path) }
      state.mountPoint = nil
      defer { state.toldEnd = true }
      return bridge.tap.isReady && !state.toldEnd
    }
    if tellEnd { bridge.files.unmounted() }
  }

  /// libfuse unmounts whatever lies on top of the place: it may only where that is ours.
  private func takeAway(_ entry: MountEntry?, from path: Path) {
    guard entry == nil || MountTable.read().top(at: path) == entry else { return closeDevice() }
    unsafe fuse_session_unmount(session)
    // It takes a connection that was aborted (`umount -f`, or through /sys/fs/fuse) for one that was
    // unmounted, and would leave the dead mount behind.
    try? entry?.detach(lazily: true)
  }

  /// Ends the connection, and leaves its number taken: libfuse closes that when the session ends.
  private func closeDevice() {
    let nothing = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
    guard nothing >= 0 else { return }
    unsafe dup2(nothing, fuse_session_fd(session))
    _ = unsafe fcntl(fuse_session_fd(session), F_SETFD, FD_CLOEXEC)
    close(nothing)
  }

  /// How many requests of each kind have come.
  public var requestCounts: RequestCounts { bridge.tap.counters.snapshot }

  /// How long requests of each kind took.
  public var requestLatencies: RequestLatencies { workers.latencies }

  /// Our mount as the kernel lists it; nil where nothing is mounted, or there is no /proc to tell.
  public var mountEntry: MountEntry? { state.withLock { $0.mountPoint == nil ? nil : $0.entry } }
}
