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
      #expect((4_000_000...6_500_000).contains(vault.status().historyBytes), "\(vault.status().historyBytes)")
      // A rebuild keeps the same, and the limit.
      try home.close()
      try Vault.rebuild(at: home.path, log: home.messages.add) { _ in }
      try home.open()
      #expect(try home.vault.versions(of: inode).map(\.size).filter { $0 > 0 } == sizes && home.vault.historyPolicy == policy)
      // What only a pin holds cannot go: that is said.
      policy.limit = 1000
      try home.vault.setHistoryPolicy(policy)
      home.vault.keeper?.stop()
      _ = try home.vault.collectGarbage()
      home.restartKeeper()
      #expect(try home.vault.versions(of: inode).map(\.size).filter { $0 > 0 } == [1_000_010, 1_000_002])
      #expect(home.messages.contain("its limit is 1000"))
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
