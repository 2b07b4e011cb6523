// Garbage collection: what nothing refers to goes, and nothing else does, whatever happens meanwhile.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct CollectorTests {
  private func packBytes(_ home: Home) throws -> Int { try containers(home.path, .pack).reduce(0) { try $0 + stored($1).count } }

  /// Files that resemble each other, so that the optimiser makes frames against frames.
  private func fill(_ home: Home, count: Int, seed: UInt64) throws -> [String: [UInt8]] {
    var random = Random(seed: seed), all: [String: [UInt8]] = [:]
    let words = (0..<400).map { _ in random.bytes(6).map { 97 + $0 % 26 } + [32] }
    func text(_ count: Int) -> [UInt8] { (0..<count).flatMap { _ in words[random.below(words.count)] } }
    let common = text(60_000)
    for index in 0..<count {
      var content = common
      for _ in 0..<20 { content[random.below(content.count)] = 65 }
      all["file-\(index)"] = content + text(2000 + random.below(2000)) + random.bytes(50_000)
    }
    for (name, content) in all.sorted(by: { $0.key < $1.key }) { try home.vault.makeFile(name, content) }
    try home.vault.syncAll()
    return all
  }

  private func expectContents(_ vault: Vault, _ expected: [String: [UInt8]], _ comment: String) throws {
    for (name, content) in expected {
      let inode = try #require(try vault.find(name)).inode
      #expect(try vault.contents(of: inode) == content, "\(name) \(comment)")
    }
  }

  @Test(arguments: [false, true])
  func `half of the files go, and nearly all of their bytes`(optimised: Bool) throws {
    try Home.run { home in
      var all = try fill(home, count: 40, seed: 1)
      if optimised { try home.optimise() }
      let before = try packBytes(home)
      for index in stride(from: 0, to: 40, by: 2) {
        try home.vault.unlink([UInt8]("file-\(index)"), in: .root)
        all["file-\(index)"] = nil
      }
      #expect(try home.collect().chunks == 0, "the past refers to it")
      try home.forgetEverything()
      let dry = try home.collect(isDry: true)
      #expect(dry.chunks > 20 && dry.packs == 0)
      #expect(try packBytes(home) == before)
      let done = try home.collect()
      #expect(done.chunks >= dry.chunks * 99 / 100)
      let after = try packBytes(home)
      // Without the dead nothing is smaller than a vault that never had them.
      let never = try Home.run { other in
        for (name, content) in all.sorted(by: { $0.key < $1.key }) { try other.vault.makeFile(name, content) }
        if optimised { try other.optimise() }
        try other.vault.syncAll()
        return try packBytes(other)
      }
      #expect(after <= never + (before - never) / 20, "\(before) bytes became \(after); without the dead there would be \(never)")
      try expectContents(home.vault, all, "after the collection")
      try home.reopen()
      try expectContents(home.vault, all, "after a mount")
      try home.close()
      try Vault.rebuild(at: home.path, log: home.messages.add) { _ in }
      #expect(!home.messages.contain("not stored any more"))
      try home.open()
      try expectContents(home.vault, all, "after a rebuild")
      #expect(try home.collect().chunks == 0)
    }
  }

  @Test func `what a snapshot, a version or an open file of the past shows stays`() throws {
    try Home.run { home in
      let all = try fill(home, count: 6, seed: 2)
      try home.vault.makeSnapshot([UInt8]("all"))
      let moment = home.vault.present, inode = try #require(try home.vault.find("file-5")).inode
      for name in all.keys { try home.vault.unlink([UInt8](name), in: .root) }
      try home.forgetEverything()
      try home.collect()
      for (name, content) in all {
        let inode = try #require(try home.vault.lookup([UInt8](name), in: .root, at: moment)).inode
        #expect(try home.vault.contents(of: inode, at: moment) == content)
      }
      let file = try home.vault.openPast(inode, at: moment)
      try home.vault.deleteSnapshot([UInt8]("all"))
      try home.vault.expire()
      try home.collect()
      #expect(try home.vault.read(file, count: 1 << 20) == all["file-5"], "as long as it is open")
      home.vault.close(file)
      #expect(try home.collect().chunks > 0)
      #expect(try packBytes(home) < 1000)
    }
  }

  @Test func `content that comes again while it is being collected is there`() throws {
    try Home.run { home in
      let all = try fill(home, count: 12, seed: 3)
      try home.forgetEverything()
      home.vault.keeper?.stop()
      let isDone = Atomic<Bool>(false), failures = Mutex<[String]>([])
      let vault = home.vault
      let collector = Thread {
        while !isDone.load(ordering: .relaxed) {
          do { _ = try Collector(vault, mayGoOn: { true }, isQuiet: { true }).run() } catch { failures.withLock { $0.append("\(error)") } }
        }
      }
      collector.start()
      let finished = DispatchGroup()
      for thread in 0..<3 {
        finished.enter()
        Thread {
          defer { finished.leave() }
          do {
            for round in 0..<40 {
              for (name, content) in all where name.hash % 3 == thread % 3 || round % 2 == 0 {
                let copy = [UInt8]("\(name)-\(thread)")
                if try vault.lookup(copy, in: .root) != nil { try vault.unlink(copy, in: .root) }
                let inode = try vault.makeFile(String(decoding: copy, as: UTF8.self), content)
                try vault.sync()
                if try vault.contents(of: inode) != content { failures.withLock { $0.append("\(name) in round \(round)") } }
              }
            }
          } catch { failures.withLock { $0.append("\(error)") } }
        }.start()
      }
      finished.wait()
      isDone.store(true, ordering: .relaxed)
      while !collector.isFinished { usleep(10_000) }
      #expect(failures.withLock { $0 } == [])
      try expectContents(vault, all, "at the end")
    }
  }

  @Test func `the vault collects by itself, also while others write`() throws {
    try Home.run { home in
      var random = Random(seed: 4)
      try home.forgetEverything()
      try home.vault.makeFile("large", random.bytes(20_000_000))
      try home.vault.syncAll()
      try home.vault.unlink([UInt8]("large"), in: .root)
      var rounds = 0
      while try packBytes(home) > 2_000_000, rounds < 600 {
        if try home.vault.find("other") != nil { try home.vault.unlink([UInt8]("other"), in: .root) }
        try home.vault.makeFile("other", random.bytes(2000))
        usleep(100_000)
        rounds += 1
      }
      #expect(rounds < 600, "after a minute the space is not back")
    }
  }
}
