// A vault, mounted by the program that was built, for the length of a test.
//
// What must stay true: whatever a test does, no mount, no process and no directory stays behind; and where nothing
// can be mounted these tests fail and say why: they are never skipped.

import Foundation
import FuseBridge
import Glibc
import Testing

/// What a command said and how it ended.
struct Ran: Sendable {
  var status: Int32
  var output: String
}

/// Runs a shell script; it is ended after `seconds`.
///
/// Not Foundation's `Process`: its children inherit descriptors by which it learns of their end, and an owner that
/// outlives the script would keep it waiting. What the script says goes to a file for the same reason.
@discardableResult
func shell(_ script: String, seconds: Int = 120) throws -> Ran {
  var template = Array("\(temporaryPlace)/vaultfs-said-XXXXXX".utf8CString)
  let said = try check(mkstemp(&template))
  defer {
    close(said)
    unlink(template)
  }
  let child = try start(script, seconds: seconds, output: said)
  var status: Int32 = 0
  while waitpid(child, &status, 0) < 0, errno == EINTR {}
  let output = FileManager.default.contents(atPath: String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)) ?? Data()
  return Ran(status: status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F, output: String(decoding: output, as: UTF8.self))
}

/// Starts a script, to be waited for with `waitpid`. All of it is ended after `seconds`.
func start(_ script: String, seconds: Int, output: Int32? = nil) throws -> pid_t {
  var actions = posix_spawn_file_actions_t(), attributes = posix_spawnattr_t(), none = sigset_t()
  posix_spawn_file_actions_init(&actions)
  posix_spawnattr_init(&attributes)
  defer {
    posix_spawn_file_actions_destroy(&actions)
    posix_spawnattr_destroy(&attributes)
  }
  // The threads of a Swift program block signals that a script must hear.
  sigemptyset(&none)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
  if let output { posix_spawn_file_actions_adddup2(&actions, output, 1) } else { posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0) }
  posix_spawn_file_actions_adddup2(&actions, 1, 2)
  _ = closeFrom(&actions, 3)
  var argv: [UnsafeMutablePointer<CChar>?] = ["timeout", "-k", "5", "\(seconds)", "/bin/sh", "-c", script].map { (word: String) in strdup(word) } + [nil]
  defer { for word in argv { free(word) } }
  var child = pid_t()
  try #require(posix_spawnp(&child, "timeout", &actions, &attributes, &argv, environ) == 0)
  return child
}

/// posix_spawn_file_actions_addclosefrom_np(3), which Glibc's module does not show.
private func closeFrom(_ actions: inout posix_spawn_file_actions_t, _ first: Int32) -> Int32 {
  typealias Call = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32
  return unsafeBitCast(dlsym(nil, "posix_spawn_file_actions_addclosefrom_np")!, to: Call.self)(&actions, first)
}

/// Where this run keeps its files.
var temporaryPlace: String { ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp" }

/// Runs a script that must succeed.
/// - Returns: what it said.
@discardableResult
func succeed(_ script: String, seconds: Int = 120, at location: SourceLocation = #_sourceLocation) throws -> String {
  let ran = try shell(script, seconds: seconds)
  try #require(ran.status == 0, "\(script)\n→ exit code \(ran.status)\n\(ran.output.suffix(4000))", sourceLocation: location)
  return ran.output
}

/// Runs a script that must fail, with what its message must hold.
func fails(_ script: String, code: Int32 = 1, saying words: String..., at location: SourceLocation = #_sourceLocation) throws {
  let ran = try shell(script, seconds: 60)
  #expect(ran.status == code, "\(script): \(ran.output)", sourceLocation: location)
  for word in words { #expect(ran.output.contains(word), "\(script) said: \(ran.output)", sourceLocation: location) }
  #expect(!ran.output.contains("Fatal error") && !ran.output.contains("Program crashed"), "\(ran.output)", sourceLocation: location)
}

/// What a command says on standard output, an object of JSON.
func json(_ command: String, code: Int32 = 0, at location: SourceLocation = #_sourceLocation) throws -> [String: Any] {
  let ran = try shell("\(command) 2> /dev/null")
  #expect(ran.status == code, "\(command): \(ran.output.suffix(2000))", sourceLocation: location)
  return try #require(JSONSerialization.jsonObject(with: Data(ran.output.utf8)) as? [String: Any], sourceLocation: location)
}

/// Why a call of the system failed.
struct SystemFailure: Error, Equatable {
  let code: Int32
}
@discardableResult
func check<N: SignedInteger>(_ result: N) throws -> N {
  if result < 0 { throw SystemFailure(code: errno) }
  return result
}

/// Changes one bit of a file.
func flip(_ path: String, at place: Int) throws {
  let descriptor = try check(open(path, O_RDWR))
  defer { close(descriptor) }
  var byte: UInt8 = 0
  try #require(pread(descriptor, &byte, 1, place) == 1)
  byte ^= 8
  try #require(pwrite(descriptor, &byte, 1, place) == 1)
}

final class MountedVault {
  /// A directory of the test's own; in it `vault` and, unless said otherwise, the mount `m`.
  let directory: String
  var vault: String { directory + "/vault" }
  var point: String { directory + "/m" }

  /// The programs, built beside the test bundle.
  static var program: String { built("vaultfs") }
  static var fsctl: String { built("fsctl") }
  private static func built(_ name: String) -> String {
    URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appendingPathComponent(name).path
  }

  /// Makes a vault, mounts it, calls `body`, and cleans up.
  @discardableResult
  static func run<R>(mounted: Bool = true, _ body: (MountedVault) throws -> R) throws -> R {
    try #require(access("/dev/fuse", R_OK | W_OK) == 0, "these tests mount for real: /dev/fuse must be there, and be ours to use")
    try #require(getuid() == 0, "these tests change owners and users: run them as root")
    try #require(access(program, X_OK) == 0, "\(program) must be built: swift build -c release --product vaultfs")
    let home = try MountedVault()
    defer { home.cleanUp() }
    if mounted {
      try home.create()
      try home.mount()
    }
    let result = try body(home)
    if mounted, home.isMounted { try home.unmount() }
    return result
  }

  private init() throws {
    var template = Array("\(temporaryPlace)/vaultfs-mount-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    try check(mkdir(point, 0o755))
    // Others are to reach the mount.
    try check(chmod(directory, 0o755))
  }

  func create() throws { try succeed("\(Self.program) init \(vault)") }

  func mount(_ options: String = "--allow-other", at location: SourceLocation = #_sourceLocation) throws {
    try succeed("\(Self.program) mount \(vault) \(point) \(options)", seconds: 30, at: location)
  }
  func unmount(at location: SourceLocation = #_sourceLocation) throws {
    try succeed("\(Self.program) unmount \(point)", seconds: 90, at: location)
  }
  func remount() throws {
    try unmount()
    try mount()
  }

  var isMounted: Bool { Self.isMounted(point) }
  static func isMounted(_ point: String) -> Bool {
    MountTable.read().top(at: Path(point)) != nil
  }

  /// The process that owns the vault, as the vault names it, if there is one.
  var owner: pid_t? {
    let text = (try? String(contentsOfFile: vault + "/owner", encoding: .utf8)) ?? ""
    let words = text.split(separator: " ")
    guard words.first == "process", words.count > 1, let process = pid_t(words[1]),
      let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8), line.contains("vaultfs") else { return nil }
    return process
  }

  func killOwner(with signal: Int32 = SIGKILL) throws {
    let process = try #require(owner, "the vault has no owner")
    kill(process, signal)
    for _ in 0..<1000 {
      // A zombie nobody waits for is as dead as it can be.
      let state = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8))?.split(separator: ")").last?.split(separator: " ").first
      if state == nil || state == "Z" { return }
      usleep(10_000)
    }
    Issue.record("process \(process) is still there 10 s after signal \(signal)")
  }

  /// What `vaultfs status --json` says.
  func status(_ path: String? = nil) throws -> [String: Any] {
    let text = try succeed("\(Self.program) status \(path ?? vault) --json")
    return try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
  }
  func number(_ key: String) throws -> Int { try #require(try status()[key] as? NSNumber).intValue }

  /// What the owner said in its log.
  var log: String { (try? String(contentsOfFile: vault + "/log", encoding: .utf8)) ?? "" }

  private func cleanUp() {
    let last = owner
    if isMounted { _ = try? shell("timeout 20 \(Self.program) unmount \(point) || umount -l \(point)", seconds: 30) }
    for _ in 0..<20 where isMounted { umount2(point, Int32(MNT_DETACH)) }
    if let last, owner == last { kill(last, SIGKILL) }
    _ = try? shell("rm -rf --one-file-system \(directory)")
  }
}

/// All tests on mounts run one after another: each takes what the computer has.
@Suite(.serialized) struct MountTests {}

extension MountedVault {
  /// As `run`, on a mount on which each closing makes a version, however soon.
  static func runWithEachVersion(_ body: (MountedVault) throws -> Void) throws {
    try run { mounted in
      try succeed("\(fsctl) versions policy --window 0s \(mounted.point)")
      try body(mounted)
    }
  }
}
