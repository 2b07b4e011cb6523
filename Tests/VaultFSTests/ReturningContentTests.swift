// Content that comes back just when it is being collected: threads write from a small pool while others delete, forget
// and collect without a pause.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct ReturningContentTests {
  /// By the environment; else as long as finds most of what there is to find.
  private static let seconds = ProcessInfo.processInfo.environment["VAULTFS_RETURNING_SECONDS"].flatMap(Double.init) ?? 5

  @Test func `what comes back while it is being collected is whole`() throws {
    try Home.run { home in
      let bustle = Bustle(home.vault)
      try bustle.run(for: Self.seconds)
      #expect(bustle.failures == [])
      let (written, collected) = (bustle.written.load(ordering: .relaxed), bustle.collected.load(ordering: .relaxed))
      #expect(written > 20 && collected > 0, "\(written) files were written, \(collected) chunks collected")
      try home.reopen()
      try bustle.expectAll(home.vault, "after a mount")
      try home.close()
      try Vault.rebuild(at: home.path, log: home.messages.add) { _ in }
      #expect(!home.messages.contain("not stored any more"))
      try home.open()
      try bustle.expectAll(home.vault, "after a rebuild")
    }
  }
}

/// Threads that write, read, delete, forget and collect.
private final class Bustle: Sendable {
  private let vault: Vault
  /// The files that nobody is at, with what they hold: indices of the pool. Who takes one out may do with it what he likes.
  private let files = Mutex<[String: Int]>([:])
  private let isOver = Atomic<Bool>(false)
  private let found = Mutex<[String]>([])
  let written = Atomic<Int>(0), collected = Atomic<Int>(0)

  var failures: [String] { found.withLock { $0 } }

  init(_ vault: Vault) { self.vault = vault }

  func run(for seconds: Double) throws {
    let threads = DispatchGroup(), end = Date.now + seconds
    func start(_ seed: UInt64, _ body: @escaping @Sendable (inout Random) throws -> Void) {
      threads.enter()
      Thread { [self] in
        var random = Random(seed: seed)
        do { while !isOver.load(ordering: .relaxed), failures.isEmpty { try body(&random) } } catch { found.withLock { $0.append("\(error)") } }
        threads.leave()
      }.start()
    }
    for seed in 0..<3 { start(UInt64(seed)) { [self] in try write(&$0) } }
    start(10) { [self] in try read(&$0) }
    for seed in 20..<22 { start(UInt64(seed)) { [self] in try delete(&$0) } }
    start(30) { [self] in try forget(&$0) }
    while Date.now < end, failures.isEmpty { usleep(20_000) }
    isOver.store(true, ordering: .relaxed)
    threads.wait()
  }

  private func write(_ random: inout Random) throws {
    let name = "file-\(random.below(200))-\(random.next())", index = random.below(BlockPool.blocks.count)
    let inode = try vault.makeFile(name, BlockPool.blocks[index])
    if random.chance(30) { try vault.sync() }
    try expect(inode, index, "just written")
    written.add(1, ordering: .relaxed)
    files.withLock { $0[name] = index }
  }

  /// Clones refer to what may be on its way out, too.
  private func read(_ random: inout Random) throws {
    guard let (name, index) = take(&random) else { return }
    let inode = try #require(try vault.find(name)).inode
    try expect(inode, index, "read")
    let copy = "clone-\(random.next())", clone = try vault.make(copy).inode
    try vault.withOpen(inode) { from in
      try vault.withOpen(clone) { to in _ = try vault.clone(from: from, at: 0, to: to, at: 0, length: 1 << 30, clearsPrivileges: false) }
    }
    try vault.unlink([UInt8](name), in: .root)
    try expect(clone, index, "cloned")
    files.withLock { $0[copy] = index }
  }

  private static let filesMax = 12

  private func delete(_ random: inout Random) throws {
    guard files.withLock({ $0.count }) > Self.filesMax, let (name, _) = take(&random) else {
      usleep(200)
      return
    }
    try vault.unlink([UInt8](name), in: .root)
  }

  private func forget(_ random: inout Random) throws {
    try vault.expire(now: Timestamp.now.seconds + 10 * 366 * 86_400)
    try vault.working.withLock { () throws in
      collected.add(try Collector(vault, mayGoOn: { true }, isQuiet: { true }).run().chunks, ordering: .relaxed)
      if random.chance(5) { try Optimiser(vault) { true }.run() }
    }
  }

  private func take(_ random: inout Random) -> (String, Int)? {
    files.withLock { files in
      guard let name = random.pickAny(files.keys.sorted()) else { return nil }
      return (name, files.removeValue(forKey: name)!)
    }
  }

  private func expect(_ inode: InodeNumber, _ index: Int, _ when: String) throws {
    if try vault.contents(of: inode) != BlockPool.blocks[index] { found.withLock { $0.append("block \(index) is wrong, \(when)") } }
  }

  /// All that is there now.
  func expectAll(_ vault: Vault, _ when: String) throws {
    for (name, index) in files.withLock({ $0 }) {
      let inode = try #require(try vault.find(name)).inode
      #expect(try vault.contents(of: inode) == BlockPool.blocks[index], "\(name) \(when)")
    }
  }
}
