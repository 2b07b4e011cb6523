// Taking a mount away: umount(2) as root, fusermount3 for everyone else.
//
// What must stay true: only the mount that was meant goes. What was mounted on its place meanwhile stays.

import Glibc
import Printable

extension MountEntry {
  private enum Refusal { case busy, other(String) }

  /// Takes this mount away. Where it is gone already, that is fine.
  /// - Parameter lazily: even if files are open there, which go on working until they are closed.
  /// - Throws: `.unmountBusy`, `.mountCovered`, `.unmountFailed`, or why there is no fusermount3.
  public func detach(lazily: Bool) throws(SessionError) {
    // A program that has just ended may hold the mount for a moment more.
    for attempt in 1...10 {
      // Looked at again each time, right before the call: it takes away whatever is on top.
      let mounts = MountTable.read()
      guard mounts.contains(self) else { return }
      guard let top = mounts.top(at: point), top == self else {
        throw .mountCovered(path: point.description, by: mounts.top(at: point).map { "\($0.type) from \($0.source)" } ?? "another")
      }
      switch geteuid() == 0 ? unmount(lazily: lazily) : try runHelper(lazily: lazily) {
      case nil: return
      case .busy: usleep(useconds_t(20_000 * attempt))
      case .other(let detail): throw .unmountFailed(path: point.description, detail: detail)
      }
    }
    throw .unmountBusy(path: point.description)
  }

  /// Takes a mount away whose owner is gone, and does not wait for what the kernel does then: whoever detaches it also
  /// evicts its inodes, which takes seconds for hundreds of thousands. umount(8) has the time.
  public func detachDead() throws(SessionError) {
    if geteuid() == 0, MountTable.read().top(at: point) == self, startUmount() {
      for _ in 0..<100 {
        if !MountTable.read().contains(self) { return }
        usleep(5000)
      }
    }
    try detach(lazily: true)
  }

  /// - Returns: whether umount(8) was started. Nobody waits for it; it holds nothing of ours open.
  private func startUmount() -> Bool {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    for stream in 0...2 as ClosedRange<Int32> { unsafe posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_RDWR, 0) }
    // Not made canonical: that would ask the mount.
    let call = ["umount", "-c", "-i", "-l"].map { Path($0) } + [point]
    var words: [UnsafeMutablePointer<CChar>?] = unsafe call.map { unsafe $0.withCString { unsafe strdup($0) } } + [nil]
    defer { for unsafe word in unsafe words { unsafe free(word) } }
    var child = pid_t()
    return unsafe posix_spawn(&child, "/bin/umount", &actions, nil, &words, environ) == 0
  }

  private func unmount(lazily: Bool) -> Refusal? {
    if unsafe point.withCString({ unsafe umount2($0, Int32(lazily ? MNT_DETACH : 0) | Int32(UMOUNT_NOFOLLOW)) }) == 0 { return nil }
    return errno == EBUSY ? .busy : .other("\(Errno.current)")
  }

  private func runHelper(lazily: Bool) throws(SessionError) -> Refusal? {
    let (status, said) = try Fusermount.run([lazily ? "-uz" : "-u", "--"].map { Path($0) } + [point])
    if status == 0 { return nil }
    return said.contains("busy") ? .busy : .other(said.isEmpty ? "fusermount3 ended with \(status)" : said)
  }
}

/// The set-uid program that mounts and unmounts for ordinary users.
enum Fusermount {
  /// Where libfuse looks: in its own directory, then in PATH.
  static func find() throws(SessionError) -> String {
    var folders = ["/usr/bin", "/bin", "/usr/local/bin"]
    if let search = unsafe getenv("PATH") { unsafe folders += String(cString: search).split(separator: ":").map(String.init) }
    for folder in folders {
      let helper = folder + "/fusermount3"
      var status = stat()
      guard unsafe stat(helper, &status) == 0, unsafe access(helper, X_OK) == 0 else { continue }
      guard status.st_uid == 0, status.st_mode & S_ISUID != 0 else { throw .helperNotPrivileged(path: helper) }
      return helper
    }
    throw .helperMissing
  }

  /// - Returns: how it ended, and what it said.
  static func run(_ arguments: [Path]) throws(SessionError) -> (status: Int32, said: String) {
    let helper = try find()
    var ends: [Int32] = [0, 0]
    guard unsafe pipe(&ends) == 0 else { throw .libraryFailed(detail: "no pipe: \(Errno.current)") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    for output in [1, 2] as [Int32] { unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], output) }
    var words: [UnsafeMutablePointer<CChar>?] = unsafe ([Path("fusermount3")] + arguments).map { unsafe $0.withCString { unsafe strdup($0) } } + [nil]
    defer { for unsafe word in unsafe words { unsafe free(word) } }
    var child = pid_t()
    let failure = unsafe posix_spawn(&child, helper, &actions, nil, &words, environ)
    close(ends[1])
    guard failure == 0 else { return (127, "\(helper): \(Errno(rawValue: failure))") }
    var said: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 1024)
    while true {
      let count = unsafe read(ends[0], &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { break }
      said += buffer[0..<count]
    }
    var status: Int32 = 0
    while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
    return (status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F, said.split(separator: 10).map { printable($0) }.joined(separator: "; "))
  }
}
