// Garbage collection: what nothing refers to goes, and nothing else does, whatever happens meanwhile.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct CollectorTests {
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
      let before = try home.packBytes()
      for index in stride(from: 0, to: 40, by: 2) {
        try home.vault.unlink([UInt8]("file-\(index)"), in: .root)
        all["file-\(index)"] = nil
      }
      #expect(try home.collect().chunks == 0, "the past refers to it")
      // (On a slow computer it collects by itself, else.)
      home.vault.keeper?.stop()
      try home.forgetEverything()
      let dry = try home.collect(isDry: true)
      #expect(dry.chunks > 20 && dry.containers == 0)
      #expect(try home.packBytes() == before)
      let done = try home.collect()
      #expect(done.chunks >= dry.chunks * 99 / 100)
      let after = try home.packBytes()
      // Whoever is killed now has not counted twice, or what is gone.
      let frames = home.vault.status().counters.frameBytes
      try opening(try home.copy()) { vault in #expect(vault.status().counters.frameBytes == frames) }
      #expect(frames <= home.vault.status().storedBytes)
      // Without the dead nothing is smaller than a vault that never had them.
      let never = try Home.run { other in
        for (name, content) in all.sorted(by: { $0.key < $1.key }) { try other.vault.makeFile(name, content) }
        if optimised { try other.optimise() }
        try other.vault.syncAll()
        return try other.packBytes()
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

  @Test func `without history, what is deleted is missed at once`() throws {
    try Home.run { home in
      try home.forgetEverything()
      try home.collect()
      #expect(!Collector.isDue(home.vault))
      try home.vault.makeFile("small", [1, 2, 3])
      try home.vault.unlink([UInt8]("small"), in: .root)
      #expect(Collector.isDue(home.vault))
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
      #expect(try home.packBytes() < 1000)
    }
  }

  @Test func `a power cut brings back no note of a pack that is gone`() throws {
    try Home.run { home in
      _ = try fill(home, count: 12, seed: 6)
      // The second time it is a pack that goes which a collection has made.
      for half in [0..<6, 6..<12] {
        for index in half { try home.vault.unlink([UInt8]("file-\(index)"), in: .root) }
        try home.forgetEverything()
        #expect(try home.collect().containers > 0)
      }
      try home.kill(isPowerCut: true)
    }
  }

  @Test func `many readers of one past version have one copy of what goes`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      var random = Random(seed: 15)
      let inode = try vault.makeFile("f", [])
      for index in 0..<3000 as Range<UInt64> { try vault.put([UInt8(index % 251)], at: index * 50_000, in: inode) }
      let content = try vault.contents(of: inode), moment = vault.present
      let files = try (0..<20).map { _ in try vault.openPast(inode, at: moment) }
      func held() throws -> Int64? { try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT count(*) FROM held_page") } }
      try vault.rewrite("f", random.bytes(100))
      try vault.forget(pastOf: inode)
      let once = try #require(try held())
      #expect(once > 1)
      for (index, file) in files.enumerated() {
        #expect(try vault.read(file, at: 50_000 * 2000, count: 60_000) == Array(content[(50_000 * 2000)..<(50_000 * 2000 + 60_000)]))
        #expect(try held() == once, "after \(index)")
        vault.close(file)
      }
      #expect(try held() == 0)
    }
  }

  @Test func `a long list of extents stays, too, while a file of the past is open`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      var random = Random(seed: 5)
      let inode = try vault.makeFile("f", [])
      for index in 0..<40 as Range<UInt64> { try vault.put(random.bytes(1000), at: index * 50_000, in: inode) }
      let content = try vault.contents(of: inode), file = try vault.openPast(inode, at: vault.present)
      try vault.unlink([UInt8]("f"), in: .root)
      try vault.forget(pastOf: inode)
      try home.forgetEverything()
      try home.collect()
      #expect(try vault.read(file, count: 3 << 20) == content)
      vault.close(file)
      try vault.expire()
      #expect(try home.collect().chunks > 30)
    }
  }

  @Test(arguments: ["collected, then optimised", "little, collected, then optimised", "while others work", "optimised, then collected"])
  func `what dies while it is in the journal gives its space back`(how: String) throws {
    try Home.run { home in
      try home.forgetEverything()
      home.vault.keeper?.stop()
      var kept: [String: [UInt8]] = [:]
      // (Of little, the segment is not ended by the collection, and attested by nobody but the optimiser.)
      let size = how.hasPrefix("little") ? 2000 : 20_000
      for index in 0..<400 {
        let content = Random.bytes(size, seed: UInt64(index))
        try home.vault.makeFile("file-\(index)", content)
        if index % 10 == 0 { kept["file-\(index)"] = content }
      }
      func journalBytes() throws -> Int { try (containers(home.path, .segment) + containers(home.path, .archive)).reduce(0) { try $0 + stored($1).count } }
      #expect(try journalBytes() > 400 * size)
      for index in 0..<400 where index % 10 != 0 { try home.vault.unlink([UInt8]("file-\(index)"), in: .root) }
      switch how {
      case "while others work":
        let done = try Collector(home.vault, mayGoOn: { true }, isQuiet: { false }).run()
        // (One file in many is two chunks.)
        #expect(done.chunks >= 360 && done.reclaimed > 6_000_000 && done.containers == 1, "\(done)")
      case "optimised, then collected":
        try home.optimise()
        try home.collect()
      default:
        try home.collect()
        try home.optimise()
      }
      home.vault.keeper?.stop()
      let bytes = (journal: try journalBytes(), packs: try home.packBytes())
      #expect(bytes.journal < 200_000 && bytes.packs < 1_000_000, "\(bytes)")
      #expect((40...45).contains(home.vault.status().counters.chunks) && !Collector.isDue(home.vault))
      try expectContents(home.vault, kept, "before")
      let check = try home.vault.check(.deep)
      #expect(check.isClean, "\(check.text)")
      // After a power cut, the database lost: what is gone was attested.
      let copy = try home.copy()
      for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: copy + "/metadata.db" + suffix) }
      try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
      try Vault.rebuild(at: copy) { _ in }
      try opening(copy) { vault throws in
        #expect(try vault.names().count == 40)
        try expectContents(vault, kept, "after")
      }
      home.restartKeeper()
    }
  }

  @Test func `a collection that is to end does so within a frame, and leaves everything as it was`() throws {
    var asked = 1, isWhole = false
    while !isWhole {
      try Home.run { home in
        try home.forgetEverything()
        home.vault.keeper?.stop()
        let content = Random.bytes(2_000_000, seed: 1), file = try home.vault.makeFile("stays", content)
        try home.vault.makeFile("goes", Random.bytes(2_000_000, seed: 2))
        try home.vault.syncAll()
        try home.vault.unlink([UInt8]("goes"), in: .root)
        var calls = 0
        _ = try Collector(home.vault, mayGoOn: {
          calls += 1
          return calls < asked
        }, isQuiet: { true }).run()
        #expect(calls < asked + 6, "asked \(calls - asked) times more")
        isWhole = calls < asked
        #expect(try home.vault.contents(of: file) == content)
        let bytes = try home.packBytes(), numbers = home.vault.containers.numbers(.pack).count
        #expect(isWhole ? bytes < 2_500_000 : numbers < 4, "\(bytes) bytes in \(numbers) packs")
      }
      asked += 3
    }
    #expect(asked > 20)
  }

  @Test func `what only the past needs is no part of what deduplication spares`() throws {
    try Home.run { home in
      try home.vault.keepEverything()
      let file = try home.vault.makeFile("file", Random.bytes(600_000, seed: 1))
      try home.vault.syncAll()
      try home.vault.put(Random.bytes(600_000, seed: 2), in: file)
      try home.collect()
      let status = home.vault.status()
      #expect(status.counters.uniqueBytes == 1_200_000 && status.presentBytes == 600_000 && abs(status.dedupRatio - 1) < 0.01, "\(status)")
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
      while try home.packBytes() > 2_000_000, rounds < 600 {
        if try home.vault.find("other") != nil { try home.vault.unlink([UInt8]("other"), in: .root) }
        try home.vault.makeFile("other", random.bytes(2000))
        usleep(100_000)
        rounds += 1
      }
      #expect(rounds < 600, "after a minute the space is not back")
    }
  }
}
