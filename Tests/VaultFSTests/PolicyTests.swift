// Letting go of what was: the policy, the limit of history, an emptied trash.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct PolicyTests {
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
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 6), policy = HistoryPolicy()
      (policy.window, policy.limit) = (0, 3_000_000)
      try vault.setHistoryPolicy(policy)
      vault.keeper?.stop()
      let theirs = try vault.makeFile("theirs", random.bytes(400_000))
      for size in 1...4 { try vault.rewrite("theirs", random.bytes(400_000 + size)) }
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
      home.restartKeeper()
    }
  }

  @Test(arguments: [0, 2, 5]) func `what is pinned while the limit of history is weighed costs nobody else's history`(hold: Int) throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 7), policy = HistoryPolicy()
      (policy.window, policy.limit) = (0, 3_000_000)
      try vault.setHistoryPolicy(policy)
      vault.keeper?.stop()
      let theirs = try vault.makeFile("theirs", random.bytes(400_000)), large = try vault.makeFile("large", random.bytes(9_000_000))
      for size in 1...4 { try vault.rewrite("theirs", random.bytes(400_000 + size)) }
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
      home.restartKeeper()
    }
  }

  @Test func `a user holds with pins no more than a limit allows`() throws {
    try Home.run { home in
      try home.vault.keepEverything()
      let file = try home.vault.make("f", by: Requester(user: 7, group: 7, umask: 0)).inode
      try home.vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: 250_000)), for: .user(7))
      func write(_ seed: UInt64) throws { try home.vault.rewrite("f", Random.bytes(100_000, seed: seed)) }
      func version() throws -> LSN { LSN(try #require(try home.vault.versions(of: file).first).id) }
      func pin(isLimited: Bool = true) throws { try home.vault.pin(file, at: version(), true, isLimited: isLimited) }
      try write(0)
      try pin()
      try write(1)
      let second = try version()
      try pin()
      try pin()
      try write(2)
      refused(.quotaExceeded(.user(7))) { try pin() }
      try home.reopen()
      refused(.quotaExceeded(.user(7)), "as it was counted") { try pin() }
      try home.vault.pin(file, at: second, false)
      try pin()
      try write(3)
      try pin(isLimited: false)
    }
  }

  @Test func `a directory that had very many names forgets them some at a time`() throws {
    try Home.run { home in
      let vault = home.vault, directory = try vault.makeDirectory("spool")
      try vault.keepEverything()
      vault.keeper?.stop()
      for index in 0..<12_000 {
        try vault.make("\(index)", in: directory)
        try vault.unlink([UInt8]("\(index)"), in: directory)
      }
      let before = vault.present.value
      try home.forgetEverything()
      #expect(vault.present.value > before + 3, "in one operation")
      let left = try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT count(*) FROM past_entry") }
      #expect(left == 0)
      #expect(try vault.check(.deep).isClean)
      home.restartKeeper()
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

  @Test func `the policy lets go of what no kept moment sees, and of nothing else`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let inode = try vault.makeFile("f", [0])
      var random = Random(seed: 3)
      let large = try vault.makeFile("large", random.bytes(2_000_000))
      for value in 1..<10 {
        try vault.rewrite("f", [UInt8](repeating: UInt8(value), count: value + 1))
        try vault.put(random.bytes(100), at: UInt64(value) * 100_000, in: large)
        if value == 5 { try vault.makeSnapshot([UInt8]("five")) }
        if value == 7 { try vault.pin(inode, at: vault.present, true) }
      }
      try vault.unlink([UInt8]("large"), in: .root)
      let snapshot = LSN(try #require(try vault.snapshots().first).moment), seen = try tree(of: vault, at: snapshot)
      try vault.expire()
      #expect(try vault.versions(of: inode).count > 10, "all of a day is kept")
      try vault.expire(now: Timestamp.now.seconds + 2 * 366 * 86_400)
      #expect(try vault.versions(of: inode).map(\.size) == [10, 8, 6])
      #expect(try tree(of: vault, at: snapshot) == seen)
      #expect(try vault.trash().isEmpty, "the snapshot sees the file, but not as it was deleted")
      try vault.deleteSnapshot([UInt8]("five"))
      try vault.expire(now: Timestamp.now.seconds + 2 * 366 * 86_400)
      #expect(try vault.versions(of: inode).map(\.size) == [10, 8])
      #expect(try vault.trash().isEmpty)
      try vault.checkpoint()
      let left = try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT (SELECT count(*) FROM past_page) + (SELECT count(*) FROM page) + (SELECT count(*) FROM past_xattr)") }
      #expect(left == 0, "nothing of the large file is left")
    }
  }

  @Test func `what a pin holds is found by its path, though the directories on the way are long gone`() throws {
    try Home.run { home in
      let vault = home.vault, viewer = Viewer(user: 0) { _ in false }
      try vault.keepEverything()
      let a = try vault.makeDirectory("a"), b = try vault.makeDirectory("b", in: a)
      let held = try vault.makeFile("held", in: b, [1]), loose = try vault.makeFile("loose", in: b, [2])
      // Long before it goes, so that no moment near its end keeps the way.
      try vault.pin(held, at: LSN(try #require(try vault.versions(of: held).first).id), true)
      for name in ["held", "loose"] { try vault.unlink([UInt8](name), in: b) }
      try vault.make("other", in: b)
      try vault.removeTree([UInt8]("a"), in: .root)
      let later = Timestamp.now.seconds + 2 * 366 * 86_400
      func expectFound() throws {
        let a = try #require(try vault.goneDirectory(named: [UInt8]("a"), in: .root, for: viewer)).inode
        let b = try #require(try vault.goneDirectory(named: [UInt8]("b"), in: a, for: viewer)).inode
        #expect(try vault.versions(named: [UInt8]("held"), in: b, for: viewer).map(\.inode) == [held.value])
        #expect(try vault.versions(named: [UInt8]("loose"), in: b, for: viewer).isEmpty)
      }
      try vault.expire(now: later)
      try expectFound()
      try home.reopen()
      try home.vault.expire(now: later)
      #expect(try home.vault.versions(of: loose).isEmpty && home.vault.check(.deep).isClean)
      try home.vault.pin(held, at: LSN(try #require(try home.vault.versions(of: held).first).id), false)
      try home.vault.expire(now: later)
      #expect(try home.vault.goneDirectory(named: [UInt8]("a"), in: .root, for: viewer) == nil)
    }
  }

  @Test func `a node that goes takes with it what only a forgotten version saw, though an older one is held`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 9), policy = HistoryPolicy()
      policy.isOn = false
      try vault.setHistoryPolicy(policy)
      vault.keeper?.stop()
      let inode = try vault.make("paged").inode
      func write(_ count: Int) throws {
        try vault.withOpen(inode) { file in for index in 0..<count { try vault.write(random.bytes(4096), to: file, at: UInt64(index) * 40_960) } }
        try vault.setXattr([UInt8]("user.\(count)"), of: inode, to: [1], mode: .set, by: root)
      }
      try write(400)
      try vault.makeSnapshot([UInt8]("kept"))
      let then = vault.present, content = try vault.contents(of: inode)
      try write(399)
      try vault.makeSnapshot([UInt8]("goes"))
      try write(3)
      try vault.deleteSnapshot([UInt8]("goes"))
      _ = try vault.collectGarbage()
      try vault.unlink([UInt8]("paged"), in: .root)
      #expect(try vault.collectGarbage().history == 400 * 4096)
      let found = try vault.check(.deep)
      #expect(try found.isClean && vault.contents(of: inode, at: then) == content, "\(found.text)")
      home.restartKeeper()
    }
  }

  @Test func `of two pins on one way each lets go of its own`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let directory = try vault.makeDirectory("d"), files = try ["a", "b"].map { try vault.makeFile($0, in: directory, [1]) }
      let moment = vault.present
      func pin(_ index: Int, _ isPinned: Bool) throws { try home.vault.pin(files[index], at: moment, isPinned) }
      func kept() throws -> Int64? {
        let vault = home.vault
        try vault.expire(now: Timestamp.now.seconds + 2 * 366 * 86_400)
        return try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT count(*) FROM past_entry") }
      }
      for index in 0..<2 { try pin(index, true) }
      try vault.removeTree([UInt8]("d"), in: .root)
      #expect(try kept() == 3, "both names, and their directory's")
      // Twice is once.
      try pin(0, true)
      try pin(0, false)
      try pin(0, false)
      #expect(try kept() == 2)
      try home.reopen()
      #expect(try kept() == 2)
      try pin(1, false)
      #expect(try kept() == 0 && home.vault.check(.deep).isClean)
    }
  }

  @Test func `what was taken back twice is whole, though nothing is kept of what it was in between`() throws {
    try Home.run { home in
      let vault = home.vault, viewer = Viewer(user: 0) { _ in false }
      try vault.keepEverything()
      let first = try vault.makeFile("f", [1])
      try vault.pin(first, at: LSN(try #require(try vault.versions(of: first).first).id), true)
      func back(as name: String) throws -> InodeNumber {
        try vault.unlink([UInt8](try #require(try vault.names().first.map { String(decoding: $0, as: UTF8.self) })), in: .root)
        let item = try #require(try vault.trash().first)
        try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8](name), in: .root)
        return try #require(try vault.find(name)).inode
      }
      let second = try back(as: "g")
      try vault.rewrite("g", [2, 2])
      let third = try back(as: "h")
      #expect(try vault.versions(named: [UInt8]("h"), in: .root, for: viewer).map(\.inode).contains(first.value))
      try vault.expire(now: Timestamp.now.seconds + 2 * 366 * 86_400)
      #expect(try vault.versions(of: second).isEmpty && !vault.versions(of: first).isEmpty)
      #expect(try vault.versions(named: [UInt8]("h"), in: .root, for: viewer).map(\.inode) == [third.value, first.value])
      #expect(try vault.check(.deep).isClean)
    }
  }

  @Test func `what only forgotten versions saw is not kept when it is replaced`() throws {
    try Home.run { home in
      let vault = home.vault, name = [UInt8]("user.x")
      try vault.keepEverything()
      var random = Random(seed: 8)
      let inode = try vault.makeFile("f", [])
      for index in 0..<20 as Range<UInt64> { try vault.put(random.bytes(1000), at: index * 50_000, in: inode) }
      try vault.setXattr(name, of: inode, to: [1], mode: .set, by: root)
      var change = AttributeChange()
      change.mode = 0o600
      _ = try vault.change(inode, change)
      // What is changed from here on belongs to the version that the chmod began.
      try vault.setHistoryPolicy(HistoryPolicy())
      try vault.expire(now: Timestamp.now.seconds + 2 * 366 * 86_400)
      #expect(try vault.versions(of: inode).count == 1)
      try vault.put(random.bytes(1000), at: 0, in: inode)
      try vault.removeXattr(name, of: inode)
      let left = try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT (SELECT count(*) FROM past_page) + (SELECT count(*) FROM past_xattr)") }
      #expect(left == 0)
    }
  }

  /// Versions of a file that a policy which keeps everything for a second lets go of, once it is applied.
  private func withOldVersions(_ body: (Vault, InodeNumber, HistoryPolicy) throws -> Void) throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let inode = try vault.makeFile("f", [0])
      for value in 1..<5 { try vault.rewrite("f", [UInt8](repeating: UInt8(value), count: value + 1)) }
      #expect(try vault.versions(of: inode).count >= 5)
      sleep(2)
      var policy = HistoryPolicy()
      (policy.window, policy.all, policy.hourly, policy.daily, policy.weekly) = (0, 1, 0, 0, 0)
      try body(vault, inode, policy)
    }
  }

  private func expectForgotten(_ vault: Vault, _ inode: InodeNumber, at location: SourceLocation = #_sourceLocation) throws {
    for _ in 0..<200 where try vault.versions(of: inode).count > 1 {
      usleep(50_000)
      vault.keeper?.wake()
    }
    #expect(try vault.versions(of: inode).count == 1, sourceLocation: location)
  }

  @Test func `an emptied trash is empty, also of what was taken back and deleted again`() throws {
    try Home.run { home in
      let vault = home.vault
      _ = try vault.makeFile("f", in: try vault.makeDirectory("d"), [1])
      for _ in 0..<2 {
        let d = try #require(try vault.find("d")).inode
        try vault.unlink([UInt8]("f"), in: d)
        try vault.removeDirectory([UInt8]("d"), in: .root)
        let item = try #require(try vault.trash().first)
        try vault.revive(InodeNumber(item.inode), at: try vault.momentBefore(item), as: [UInt8]("d"), in: .root)
      }
      let d = try #require(try vault.find("d")).inode
      try vault.unlink([UInt8]("f"), in: d)
      try vault.removeDirectory([UInt8]("d"), in: .root)
      let dry = try vault.emptyTrash(isDry: true), done = try vault.emptyTrash(), after = try vault.emptyTrash(isDry: true)
      #expect(done == dry && done.held == 0 && after == (0, 0))
      #expect(try vault.trash().isEmpty)
    }
  }

  @Test func `a policy that is changed is applied at once`() throws {
    try withOldVersions { vault, inode, policy in
      try vault.setHistoryPolicy(policy)
      try expectForgotten(vault, inode)
    }
  }

  @Test func `the policy is applied by itself, once an hour or by how soon it lets go, and not before`() throws {
    try withOldVersions { vault, inode, policy in
      try vault.expire()
      let now = Timestamp.now.seconds
      #expect(!vault.isExpiryDue(now: now + 3500) && vault.isExpiryDue(now: now + 3700) && vault.isExpiryDue(now: now - 100), "a clock that was set back ends no expiry")
      // What changes the policy applies it; what is applied then is too young.
      try vault.setHistoryPolicy(policy)
      try expectForgotten(vault, inode)
      for value in 1..<5 { try vault.rewrite("f", [UInt8](repeating: UInt8(value), count: value + 1)) }
      try vault.expire(now: now - 20)
      #expect(try vault.versions(of: inode).count >= 4 && !vault.isExpiryDue(now: now) && vault.isExpiryDue(now: now + 31))
      // As if a minute had passed.
      sleep(2)
      try vault.expire(now: now - 60)
      vault.keeper?.expiryDue.store(0, ordering: .relaxed)
      try expectForgotten(vault, inode)
    }
  }
}
