// A vault for the length of a test, without a kernel: its directory, its reopenings, copies of it at some moment.
//
// What must stay true: whatever a test does, no vault stays open and no directory behind; and a test ends with a
// sound vault (Soundness.swift) unless it says that it broke it.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

let root = Requester(user: 0, group: 0, umask: 0o022)

final class Home {
  let directory: String
  private(set) var path: String
  private var opened: Vault?
  let messages = Messages()
  /// Set before an opening: what it works on in place of the real disk.
  var disk: (any Disk)?

  var vault: Vault { opened! }

  /// What the check at the end may find, because it was done to the vault.
  var wounds: Set<Finding.Kind> = []

  /// Makes a vault, calls `body`, checks the vault and removes it.
  static func run<R>(_ body: (Home) throws -> R) throws -> R {
    let home = try Home()
    defer { home.remove() }
    let result = try body(home)
    if home.opened != nil { try expectSound(home.vault, besides: home.wounds) }
    return result
  }

  private init(at place: String = temporaryPlace) throws {
    directory = try temporaryDirectory(in: place)
    path = directory + "/vault"
    try Vault.create(at: path, name: "test")
    try open()
  }

  /// A home in `place`, which the caller takes away itself.
  static func make(in place: String) throws -> Home { try Home(at: place) }

  func open(readOnly: Bool = false) throws {
    precondition(opened == nil)
    // Save threads of the vault before this one let go of it a moment after its end.
    var attempts = 0
    while opened == nil {
      do {
        opened = try Vault.open(at: path, purpose: "tested", readOnly: readOnly,
                                disk: { path throws(VaultError) in if let disk { disk } else { try RealDisk(path: path) } }, log: messages.add)
        // Tests look at everything, and compare what they saw.
        opened?.accessTimes = .never
      } catch {
        attempts += 1
        guard case .owned = error, attempts < 300 else { throw error }
        usleep(10_000)
      }
    }
  }

  func close() throws {
    defer { opened = nil }
    try opened?.shutDown()
  }

  func reopen(readOnly: Bool = false) throws {
    try close()
    try open(readOnly: readOnly)
  }

  /// A copy of the vault's directory as kill -9 would leave it now: whatever was written is there, nothing was said goodbye.
  func copy() throws -> String {
    let target = "\(directory)/copy-\(UInt32.random(in: 0...UInt32.max))"
    if let opened {
      // The lock holds off what changes files that exist; packs and segments only grow.
      try opened.lock.withLock { () throws in try FileManager.default.copyItem(atPath: path, toPath: target) }
    } else {
      try FileManager.default.copyItem(atPath: path, toPath: target)
    }
    return target
  }

  /// Goes on with a copy made before.
  func move(to copy: String) throws {
    try close()
    path = copy
    try open()
  }

  /// Ends as kill -9 would end it, now or where `copy` was made, and goes on. Nothing is left of what there was.
  /// - Parameter isPowerCut: the computer was started anew, and the database's log is not believed.
  func kill(at copy: String? = nil, isPowerCut: Bool) throws {
    let copy = try copy ?? self.copy(), old = path
    if isPowerCut { try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8) }
    try move(to: copy)
    try FileManager.default.removeItem(atPath: old)
  }

  func restartKeeper() {
    vault.keeper = Keeper(vault)
    vault.keeper?.start()
  }

  /// Lets the optimiser do its work now, in the keeper's place.
  func optimise(mayGoOn: @escaping () -> Bool = { true }) throws {
    vault.keeper?.stop()
    defer { restartKeeper() }
    try vault.syncAll()
    try Optimiser(vault, mayGoOn: mayGoOn).run()
  }

  /// What its packs take.
  func packBytes() throws -> Int { try containers(path, .pack).reduce(0) { try $0 + stored($1).count } }

  /// Collects garbage now, in the keeper's place.
  @discardableResult
  func collect(isDry: Bool = false) throws -> Collection {
    vault.keeper?.stop()
    defer {
      vault.keeper = Keeper(vault)
      vault.keeper?.start()
    }
    try vault.syncAll()
    return try Collector(vault, mayGoOn: { true }, isQuiet: { true }).run(isDry: isDry)
  }

  /// Nothing is kept of the past.
  func forgetEverything() throws {
    var policy = HistoryPolicy()
    policy.isOn = false
    try vault.setHistoryPolicy(policy)
    try vault.expire()
  }

  func remove() {
    try? close()
    try? FileManager.default.removeItem(atPath: directory)
  }
}

/// What a vault said in its log.
final class Messages: Sendable {
  private let lines = Mutex<[String]>([])
  @Sendable func add(_ line: String) { lines.withLock { $0.append(line) } }
  var all: [String] { lines.withLock { $0 } }
  func contain(_ text: String) -> Bool { all.contains { $0.contains(text) } }
}

/// Where this run keeps its files.
var temporaryPlace: String { getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp" }

func temporaryDirectory(in place: String = temporaryPlace) throws -> String {
  var template = Array("\(place)/vaultfs-test-XXXXXX".utf8CString)
  try #require(mkdtemp(&template) != nil, "\(place) must be writable")
  return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Opens the vault at `path`, calls `body`, shuts it down.
func opening<R>(_ path: String, log: Messages = Messages(), _ body: (Vault) throws -> R) throws -> R {
  let vault = try Vault.open(at: path, purpose: "tested", log: log.add)
  vault.accessTimes = .never
  defer { try? vault.shutDown() }
  return try body(vault)
}

/// Expects `body` to be refused with `expected` (compared by what it says).
func refused(_ expected: VaultError, _ comment: String = "", at location: SourceLocation = #_sourceLocation, _ body: () throws -> Void) {
  do {
    try body()
    Issue.record("was not refused: \(comment)", sourceLocation: location)
  } catch let error as VaultError {
    #expect("\(error)" == "\(expected)", "\(comment)", sourceLocation: location)
  } catch { Issue.record("\(error)", sourceLocation: location) }
}

// MARK: Files, by name

extension [UInt8] {
  init(_ text: String) { self = Array(text.utf8) }
}

extension Vault {
  /// Where a file's chunks are.
  func frames(of inode: InodeNumber) throws -> [(Extent, FramePlace)] {
    try lock.withLock { () throws in
      try metadata.extents(of: try metadata.node(inode), in: 0..<UInt64.max).compactMap { extent -> (Extent, FramePlace)? in
        guard case .chunk(let number, _) = extent.source else { return nil }
        return (extent, try metadata.place(of: number).place.frame)
      }
    }
  }
  /// Where a file begins.
  func frame(of inode: InodeNumber) throws -> FramePlace {
    guard let first = try frames(of: inode).first else { throw VaultError.notFound }
    return first.1
  }

  @discardableResult
  func make(_ name: [UInt8], in parent: InodeNumber = .root, _ mode: UInt32 = S_IFREG | 0o644, target: [UInt8] = [],
            by requester: Requester = root) throws -> NodeInfo {
    try create(name, in: parent, mode: mode, target: target, by: requester)
  }
  @discardableResult
  func make(_ name: String, in parent: InodeNumber = .root, _ mode: UInt32 = S_IFREG | 0o644, target: String = "",
            by requester: Requester = root) throws -> NodeInfo {
    try make([UInt8](name), in: parent, mode, target: [UInt8](target), by: requester)
  }
  @discardableResult
  func makeDirectory(_ name: String, in parent: InodeNumber = .root, mode: UInt32 = 0o755, by requester: Requester = root) throws -> InodeNumber {
    try make(name, in: parent, S_IFDIR | mode, by: requester).inode
  }
  /// A new file with content.
  @discardableResult
  func makeFile(_ name: String, in parent: InodeNumber = .root, _ content: [UInt8]) throws -> InodeNumber {
    let inode = try make(name, in: parent).inode
    try put(content, in: inode)
    return inode
  }

  func find(_ name: String, in parent: InodeNumber = .root) throws -> NodeInfo? { try lookup([UInt8](name), in: parent) }

  func withOpen<R>(_ inode: InodeNumber, _ body: (OpenFile) throws -> R) throws -> R {
    let file = try open(inode)
    defer { close(file) }
    return try body(file)
  }

  func put(_ bytes: [UInt8], at offset: UInt64 = 0, in inode: InodeNumber) throws {
    try withOpen(inode) { try write(bytes, to: $0, at: offset) }
  }
  func write(_ bytes: [UInt8], to file: OpenFile, at offset: UInt64 = 0) throws {
    // In pieces as the kernel sends them.
    var done = 0
    while done < bytes.count {
      let count = min(1 << 20, bytes.count - done)
      try bytes[done..<done + count].withUnsafeBytes { raw throws in
        try write(raw, to: file, at: offset + UInt64(done), clearsPrivileges: false)
      }
      done += count
    }
  }

  func read(_ file: OpenFile, at offset: UInt64 = 0, count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: count)
    let got = try bytes.withUnsafeMutableBytes { raw throws in try read(file, at: offset, into: raw) }
    return Array(bytes[..<got])
  }
  func contents(of inode: InodeNumber) throws -> [UInt8] {
    try withOpen(inode) { file in
      var all: [UInt8] = []
      while true {
        let part = try read(file, at: UInt64(all.count), count: 1 << 20)
        all += part
        if part.count < 1 << 20 { return all }
      }
    }
  }

  /// Every entry of a directory.
  func entries(of directory: InodeNumber) throws -> [DirectoryEntry] {
    var all: [DirectoryEntry] = []
    while true {
      let part = try list(directory, after: all.last?.cookie ?? 0, count: 500, withInfo: true)
      if part.isEmpty { return all }
      all += part
    }
  }
  func names(in directory: InodeNumber = .root) throws -> Set<[UInt8]> { Set(try entries(of: directory).map(\.name)) }
}
