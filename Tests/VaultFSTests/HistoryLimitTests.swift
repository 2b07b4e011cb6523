// The limit of history: the oldest goes before its age, no more of it than must, whoever holds what.

import Foundation
import Testing
@testable import VaultFS

struct HistoryLimitTests {
  /// A vault whose history is limited to 3 MB, without a keeper, and a file of others with five versions of 400 kB.
  private func withLimit(_ body: (Home, _ theirs: InodeNumber) throws -> Void) throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 4), policy = HistoryPolicy()
      (policy.window, policy.limit) = (0, 3_000_000)
      try vault.setHistoryPolicy(policy)
      vault.keeper?.stop()
      let theirs = try vault.makeFile("theirs", random.bytes(400_000))
      for size in 1...4 { try vault.rewrite("theirs", random.bytes(400_000 + size)) }
      try body(home, theirs)
      home.restartKeeper()
    }
  }

  @Test func `the limit of history lets the oldest go first, not what is pinned, and no more than it must`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 5), policy = HistoryPolicy()
      (policy.window, policy.limit) = (0, 6_500_000)
      try vault.setHistoryPolicy(policy)
      let inode = try vault.makeFile("f", random.bytes(1_000_000))
      for size in 1...10 {
        try vault.rewrite("f", random.bytes(1_000_000 + size))
        if size == 2 { try vault.pin(inode, at: vault.present, true) }
      }
      #expect(try home.collect().history > 9_900_000, "what was collected alone is only counted")
      #expect(vault.status().historyBytes > 9_900_000)
      vault.keeper?.stop()
      _ = try vault.collectGarbage()
      home.restartKeeper()
      let sizes = try vault.versions(of: inode).map(\.size).filter { $0 > 0 }
      #expect(sizes.contains(1_000_002), "pinned")
      #expect(sizes.prefix(5) == [1_000_010, 1_000_009, 1_000_008, 1_000_007, 1_000_006], "\(sizes)")
      #expect(!sizes.contains(1_000_000) && !sizes.contains(1_000_001), "\(sizes)")
      // What is pinned comes on top.
      #expect((5_000_000...7_500_000).contains(vault.status().historyBytes), "\(vault.status().historyBytes)")
      // A rebuild keeps the same, and the limit.
      try home.close()
      try Vault.rebuild(at: home.path, log: home.messages.add) { _ in }
      try home.open()
      #expect(try home.vault.versions(of: inode).map(\.size).filter { $0 > 0 } == sizes && home.vault.historyPolicy == policy)
      policy.limit = 1000
      #expect(throws: VaultError.self) { try home.vault.setHistoryPolicy(policy) }
      policy.limit = HistoryPolicy.limitMin
      try home.vault.setHistoryPolicy(policy)
      home.vault.keeper?.stop()
      _ = try home.vault.collectGarbage()
      home.restartKeeper()
      // A sixteenth below the limit there is room for none of them.
      #expect(try home.vault.versions(of: inode).map(\.size).filter { $0 > 0 } == [1_000_010, 1_000_002])
    }
  }

  @Test func `what pins and snapshots hold beyond the limit of history costs nobody else's history`() throws {
    try withLimit { home, theirs in
      let vault = home.vault
      var random = Random(seed: 6)
      try vault.makeFile("gone", random.bytes(400_000))
      try vault.unlink([UInt8]("gone"), in: .root)
      let before = try vault.versions(of: theirs)
      // Pages of versions, the row of one, and what is gone: all of it held.
      let greedy = try vault.makeFile("greedy", random.bytes(400_000))
      for _ in 0..<9 {
        try vault.pin(greedy, at: vault.present, true)
        try vault.rewrite("greedy", random.bytes(400_000))
      }
      try vault.makeFile("large", random.bytes(9_000_000))
      try vault.makeSnapshot([UInt8]("s"))
      try vault.unlink([UInt8]("large"), in: .root)
      #expect(try vault.collectGarbage().history > 14_000_000)
      #expect(try vault.versions(of: theirs) == before && vault.trash().count == 2)
      try vault.deleteSnapshot([UInt8]("s"))
      // What the pins hold is 3.6 MB of it.
      let left = try vault.collectGarbage().history
      #expect(try (3_600_000...6_700_000).contains(left) && vault.trash().count < 2, "\(left)")
    }
  }

  @Test(arguments: [0, 2, 5]) func `what is pinned while the limit of history is weighed costs nobody else's history`(hold: Int) throws {
    try withLimit { home, theirs in
      let vault = home.vault, large = try vault.makeFile("large", Random.bytes(9_000_000, seed: 7))
      // More operations than a walk tells apart.
      for index in 0..<600 { try vault.make("\(index)") }
      let moment = vault.present
      try vault.rewrite("large", [1])
      let before = try vault.versions(of: theirs)
      var holds = 0
      _ = try vault.collectGarbage(tell: { what, _, _ in
        guard what == "looking for what is too much" else { return }
        if holds == hold { #expect(throws: Never.self) { try vault.pin(large, at: moment, true) } }
        holds += 1
      })
      #expect(holds > hold)
      #expect(try vault.versions(of: theirs) == before && vault.versions(of: large).contains { $0.isPinned })
    }
  }

  @Test func `the limit of history lets no more go for old things that share their content with what stays`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("tree")
      var random = Random(seed: 71), policy = vault.historyPolicy
      policy.window = 0
      try vault.setHistoryPolicy(policy)
      for index in 0..<20 { try vault.makeFile("\(index)", in: tree, random.bytes(400_000)) }
      let then = vault.present
      for _ in 0..<2 {
        var restored = Restored()
        try vault.revive(tree, at: then, as: [UInt8]("whole"), in: .root, &restored, RestoreOptions())
        try vault.removeTree([UInt8]("whole"), in: .root)
      }
      let contents = (0..<3).map { _ in random.bytes(2_000_000) }, file = try vault.makeFile("file", contents[0])
      let tiny = try vault.makeFile("tiny", [1])
      try vault.rewrite("file", contents[1])
      let kept = vault.present
      try vault.rewrite("tiny", [2])
      try vault.rewrite("file", contents[2])
      try home.collect()
      #expect(try vault.versions(of: file).filter { $0.size > 0 }.count == 3 && vault.trash().count == 2)
      policy.limit = 3_000_000
      try vault.setHistoryPolicy(policy)
      vault.keeper?.stop()
      _ = try vault.collectGarbage()
      home.restartKeeper()
      #expect(try vault.versions(of: file).filter { $0.size > 0 }.count == 2 && vault.contents(of: file, at: kept) == contents[1])
      #expect(try vault.versions(of: tiny).count >= 2 && home.messages.contain("history needed"))
    }
  }

  @Test func `of many small files no more goes than the limit of history asks for`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("tree"), count = 12_000
      try vault.keepEverything()
      vault.keeper?.stop()
      for index in 0..<count {
        let content = (0..<100).map { _ in UInt8.random(in: 0...255) }
        try vault.makeFile("\(index)", in: tree, content)
        try vault.unlink([UInt8]("\(index)"), in: tree)
      }
      var policy = vault.historyPolicy
      policy.limit = HistoryPolicy.limitMin
      try vault.setHistoryPolicy(policy)
      // Fifteen sixteenths of the limit are left, but for one of them and what a filter takes for another.
      let left = try vault.collectGarbage().history, target = policy.limit / 16 * 15
      #expect(left <= target && left > target - target / 50, "\(left) of \(target)")
      home.restartKeeper()
    }
  }

  @Test func `the limit of history counts what was deleted, large or small`() throws {
    try Home.run { home in
      let vault = home.vault
      var policy = HistoryPolicy()
      policy.limit = 10_000_000
      try vault.setHistoryPolicy(policy)
      vault.keeper?.stop()
      // The manifests of large ones are in pages, which stay where they are when the file goes.
      for index in 0..<4 { try vault.makeFile("large-\(index)", Random.bytes(8_000_000, seed: UInt64(index))) }
      try vault.makeFile("there", Random.bytes(8_000_000, seed: 9))
      for index in 0..<4 {
        try vault.unlink([UInt8]("large-\(index)"), in: .root)
        #expect(try home.collect().history == 8_000_000 * UInt64(index + 1))
        vault.keeper?.stop()
      }
      _ = try vault.collectGarbage()
      #expect((4_000_000...10_000_000).contains(vault.status().historyBytes), "\(vault.status().historyBytes)")
      #expect(try vault.contents(of: try #require(try vault.find("there")).inode) == Random.bytes(8_000_000, seed: 9))
      home.restartKeeper()
    }
  }

  @Test func `what two versions share is let go of with the one that ended later, whichever is found first`() throws {
    try withLimit { home, _ in
      let vault = home.vault, content = Random.bytes(9_000_000, seed: 12)
      // In the order in which they are walked: the later end first.
      for name in ["late", "early"] { try vault.makeFile(name, content) }
      try vault.rewrite("early", [1])
      for index in 0..<600 { try vault.make("\(index)") }
      try vault.rewrite("late", [2])
      try vault.makeFile("after", Random.bytes(100_000, seed: 13))
      try vault.rewrite("after", [3])
      let left = try vault.collectGarbage().history
      #expect(left == 100_000)
    }
  }

  @Test func `of a chunk the highest age is known, of many chunks nearly all of them`() {
    var ages = ChunkAges(count: 60_000)
    for number in 1...60_000 as ClosedRange<UInt64> {
      let age = UInt8(number % 200) + 1
      ages.insert(ChunkNumber(number), age)
      ages.insert(ChunkNumber(number), age / 2)
    }
    let wrong = (1...60_000 as ClosedRange<UInt64>).filter { ages[ChunkNumber($0)] != UInt8($0 % 200) + 1 }
    #expect(wrong.allSatisfy { ages[ChunkNumber($0)] > UInt8($0 % 200) + 1 } && wrong.count < 600, "\(wrong.count) of 60,000 seem to be needed longer than they are")
    #expect((60_001...120_000 as ClosedRange<UInt64>).count { ages[ChunkNumber($0)] > 0 } < 6000)
  }
}
