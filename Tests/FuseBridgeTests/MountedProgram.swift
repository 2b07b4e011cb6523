// memory-fs as a subprocess, mounted for the length of one test.
//
// What must stay true: whatever a test does, no mount, process or directory stays behind; and a file
// system that hangs fails the test (the watchdog kills it, and every waiting call gets ENOTCONN).

import Foundation
import Glibc
import Synchronization
import Testing

final class MountedProgram: Sendable {
  let path: String
  let process = Process()
  private let said = Pipe()
  private let finished = Mutex(false)

  /// Mounts, waits until it is mounted, calls `body`, and cleans up.
  static func run<Result>(_ arguments: [String] = [], _ body: (MountedProgram) throws -> Result) throws -> Result {
    try #require(access("/dev/fuse", R_OK | W_OK) == 0, "these tests mount for real: /dev/fuse must be there, and be ours to use")
    let program = try MountedProgram(arguments)
    defer { program.cleanUp() }
    try program.waitUntilMounted()
    return try body(program)
  }

  private init(_ arguments: [String]) throws {
    var template = Array("\(temporaryFolder)/fuse-bridge-test-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    process.executableURL = Self.executable
    process.arguments = arguments + [path]
    process.standardError = said
    try process.run()
    let watched = process.processIdentifier
    Thread.detachNewThread { [self] in
      for _ in 0..<600 where !finished.withLock({ $0 }) { usleep(100_000) }
      if !finished.withLock({ $0 }) { kill(watched, SIGKILL) }
    }
  }

  /// Built beside the test bundle.
  static var executable: URL {
    let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    return own.deletingLastPathComponent().appendingPathComponent("memory-fs")
  }

  private func waitUntilMounted() throws {
    for _ in 0..<200 {
      if isMounted { return }
      if !process.isRunning { break }
      usleep(50_000)
    }
    Issue.record("memory-fs did not mount: \(process.isRunning ? "no mount after 10 s" : saidSoFar())")
    throw Failure(code: ENOTCONN)
  }

  var isMounted: Bool {
    let mounts = (try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)) ?? ""
    return mounts.contains(" \(path) ")
  }

  /// What it wrote to standard error since the last look; waits for some.
  func saidSoFar() -> String { String(decoding: said.fileHandleForReading.availableData, as: UTF8.self) }

  /// Requests of each kind so far, by the name of the kind.
  func requestCounts() throws -> [String: Int] {
    kill(process.processIdentifier, SIGUSR1)
    var text = ""
    while !text.hasSuffix(".\n") {
      let more = saidSoFar()
      if more.isEmpty { throw Failure(code: EPIPE) }
      text += more
    }
    let pairs = text.split(separator: "\n").map { $0.split(separator: " ") }.filter { $0.count == 2 }
    return Dictionary(uniqueKeysWithValues: pairs.map { (String($0[0]), Int($0[1])!) })
  }

  /// - Returns: the exit status, or nil where it did not end in time.
  func waitForEnd(seconds: Int) -> Int32? {
    for _ in 0..<(seconds * 100) {
      if !process.isRunning { return process.terminationStatus }
      usleep(10_000)
    }
    return nil
  }

  private func cleanUp() {
    finished.withLock { $0 = true }
    if process.isRunning {
      kill(process.processIdentifier, SIGTERM)
      if waitForEnd(seconds: 5) == nil {
        Issue.record("memory-fs did not end within 5 s of SIGTERM")
        kill(process.processIdentifier, SIGKILL)
        _ = waitForEnd(seconds: 5)
      }
    }
    if isMounted { _ = try? shell("fusermount3 -uz \(path) || umount -l \(path)") }
    rmdir(path)
  }
}

struct Failure: Error, Equatable { let code: Int32 }

/// Throws errno where `result` is negative.
@discardableResult
func check<Number: SignedInteger>(_ result: Number) throws -> Number {
  if result < 0 { throw Failure(code: errno) }
  return result
}

/// Runs one or more commands, none in the background: threads of the test pool block all signals, the
/// shell inherits that, and its `wait` would never hear of a child's end.
@discardableResult
func shell(_ command: String) throws -> (status: Int32, output: String) {
  let process = Process()
  let output = Pipe()
  process.executableURL = URL(fileURLWithPath: "/bin/sh")
  process.arguments = ["-c", command]
  process.standardOutput = output
  process.standardError = output
  try process.run()
  let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  process.waitUntilExit()
  return (process.terminationStatus, text)
}

// MARK: files by bytes

extension MountedProgram {
  func withPath<Result>(_ name: [UInt8], _ body: (UnsafePointer<CChar>) throws -> Result) rethrows -> Result {
    try (Array(path.utf8) + [UInt8(ascii: "/")] + name + [0]).withUnsafeBytes {
      try body($0.baseAddress!.assumingMemoryBound(to: CChar.self))
    }
  }

  func write(_ content: [UInt8], to name: [UInt8], flags: Int32 = O_WRONLY | O_CREAT | O_TRUNC) throws {
    let descriptor = try check(withPath(name) { open($0, flags, 0o644) })
    defer { close(descriptor) }
    #expect(try check(content.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }) == content.count)
  }

  func read(_ name: [UInt8]) throws -> [UInt8] {
    let descriptor = try check(withPath(name) { open($0, O_RDONLY) })
    defer { close(descriptor) }
    var content: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = try check(Glibc.read(descriptor, &buffer, buffer.count))
      if count == 0 { return content }
      content += buffer[..<count]
    }
  }

  func write(_ content: String, to name: String) throws { try write(Array(content.utf8), to: Array(name.utf8)) }
  func read(_ name: String) throws -> String { String(decoding: try read(Array(name.utf8)), as: UTF8.self) }

  func makeDirectory(_ name: String) throws { try check(withPath(Array(name.utf8)) { mkdir($0, 0o755) }) }

  func list(_ name: String = ".") throws -> [[UInt8]] {
    guard let directory = withPath(Array(name.utf8), { opendir($0) }) else { throw Failure(code: errno) }
    defer { closedir(directory) }
    var names: [[UInt8]] = []
    while let entry = readdir(directory) {
      names.append(withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) })
    }
    return names
  }

  /// renameat2(2), which Swift's Glibc does not show.
  func rename(_ name: String, to newName: String, flags: UInt32 = 0) throws {
    typealias Call = @convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32
    let call = unsafeBitCast(dlsym(nil, "renameat2")!, to: Call.self)
    try check(withPath(Array(name.utf8)) { old in withPath(Array(newName.utf8)) { new in call(AT_FDCWD, old, AT_FDCWD, new, flags) } })
  }

  func status(_ name: String) throws -> stat {
    var status = stat()
    try check(withPath(Array(name.utf8)) { lstat($0, &status) })
    return status
  }
}

/// Where the run's files go: what the caller of the tests says, who cleans it up.
var temporaryFolder: String { getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp" }
