// How `vaultfs mount` comes to an owner: this same program again, started with --foreground, which leaves its caller and
// says through a pipe that the kernel talks to it, or why it could not come to be. (A fork without exec would inherit a
// runtime's state.)

import CommandSupport
import FuseBridge
import Glibc
import VaultFS

struct OwnerStart {
  let settings: MountSettings
  /// As given to -o.
  let options: [String]
  /// What the new process knows the pipe by.
  private static let readyDescriptor: Int32 = 3

  init(_ settings: MountSettings, _ options: [String]) { (self.settings, self.options) = (settings, options) }

  /// Starts the owner and waits for its word.
  func run() throws {
    let log = try openLog()
    defer { close(log) }
    var ends: [Int32] = [0, 0]
    guard unsafe pipe(&ends) == 0 else { throw Failure("cannot make a pipe: \(systemWords(errno))") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    let child = try spawn(ready: ends[1], log: log)
    close(ends[1])
    var said: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = unsafe read(ends[0], &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { break }
      said += buffer[0..<count]
    }
    if said == Ready.word || said.starts(with: Ready.word + [10]) {
      for note in said.dropFirst(Ready.word.count).split(separator: 10) { complain("warning: \(String(decoding: note, as: UTF8.self))") }
      return
    }
    while waitpid(child, nil, 0) < 0, errno == EINTR {}
    let message = String(decoding: said, as: UTF8.self)
    throw Failure(message.isEmpty ? "the owner ended before the mount was usable; see \(settings.vault)/log" : message)
  }

  private func spawn(ready: Int32, log: Int32) throws -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, log, 2)
    unsafe posix_spawn_file_actions_adddup2(&actions, ready, Self.readyDescriptor)
    var words = ["vaultfs", "mount"].map { Path($0) } + [settings.vault, settings.directory]
    words += ["--foreground", "--ready-descriptor", "\(Self.readyDescriptor)"].map { Path($0) }
    if settings.allowOther { words.append(Path("--allow-other")) }
    if settings.readOnly { words.append(Path("--read-only")) }
    for option in options { words += [Path("-o"), Path(Arguments.bytes(of: option))] }
    var argv: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe $0.withCString { unsafe strdup($0) } } + [nil]
    defer { for unsafe argument in unsafe argv { unsafe free(argument) } }
    var child = pid_t()
    // By its own name, which ps(1) and top(1) then show; by the kernel's where that was replaced meanwhile.
    let kernels = Path("/proc/self/exe"), own = try kernels.resolved()
    let program = unsafe own.withCString { unsafe access($0, X_OK) } == 0 ? own : kernels
    let code = unsafe program.withCString { unsafe posix_spawn(&child, $0, &actions, nil, &argv, environ) }
    guard code == 0 else { throw Failure("cannot start the owner of \(settings.vault): \(systemWords(code))") }
    return child
  }

  /// The vault's `log`, and never what a symlink of that name leads to.
  private func openLog() throws -> Int32 {
    let directory = unsafe settings.vault.withCString { unsafe open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    guard directory >= 0 else { throw Failure("cannot open \(settings.vault): \(systemWords(errno))") }
    defer { close(directory) }
    let log = unsafe openat(directory, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0o600)
    let misplaced = "\(settings.vault)/log is not a plain file of its own; remove it: the owner makes a new one"
    guard log >= 0 else {
      let failure = errno
      switch failure {
      case ELOOP, ENXIO: throw Failure(misplaced)
      case EROFS: throw Failure("\(settings.vault) is on a read-only file system, and whoever uses a vault must write to it, even to look (--read-only); make that one writable, or copy the vault elsewhere")
      case ENOSPC, EDQUOT: throw Failure("the disk that holds \(settings.vault) is full, and the owner of a vault must write to it; delete something there or give it more space")
      default: throw Failure("cannot open \(settings.vault)/log: \(systemWords(failure))")
      }
    }
    var info = stat()
    guard unsafe fstat(log, &info) == 0, info.st_mode & S_IFMT == S_IFREG, info.st_nlink == 1 else {
      close(log)
      throw Failure(misplaced)
    }
    return log
  }
}
