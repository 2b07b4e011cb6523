// Letting go of what was: the policy, an emptied trash. (The limit of history: HistoryLimitTests.)

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct PolicyTests {
  @Test func `a tree is looked at as of a moment of which everything is kept`() throws {
    try Home.run { home in
      let vault = home.vault
      func pause() -> Int64 {
        let end = Timestamp.now.seconds + 1
        while Timestamp.now.seconds <= end { usleep(50_000) }
        return end
      }
      try vault.make("first")
      let snapshot = try vault.makeSnapshot([UInt8]("s")), first = pause()
      try vault.make("second")
      let second = pause()
      try vault.make("third")
      let third = pause(), moments = try [first, second, third].map { try vault.moment(atEndOf: $0) }
      func kept(_ moment: LSN, after days: Int64) throws -> KeptMoment? { try home.vault.keptMoment(upTo: moment, now: third + days * 86_400) }
      // Within the time of which all is kept; and of what has not changed since.
      for moment in moments { #expect(try kept(moment, after: 0) == KeptMoment(lsn: moment)) }
      #expect(try kept(moments[2], after: 1000) == KeptMoment(lsn: moments[2]))
      // Then what stood at the end of an hour, or the snapshot: the later one.
      let hour = second / 3600 * 3600 - 1, isHour = try vault.moment(atEndOf: hour).value > snapshot.moment
      #expect(try kept(moments[1], after: 2) == KeptMoment(lsn: isHour ? vault.moment(atEndOf: hour) : LSN(snapshot.moment), second: isHour ? hour : snapshot.second))
      #expect(try kept(moments[1], after: 1000) == KeptMoment(lsn: LSN(snapshot.moment), second: snapshot.second))
      #expect(try kept(moments[0], after: 1000) == KeptMoment(lsn: moments[0]), "the snapshot is that")
      try vault.deleteSnapshot([UInt8]("s"))
      #expect(try kept(moments[1], after: 1000) == nil)
      // What a shorter policy may have let go of, a longer one does not bring back; what came later is kept by that.
      var policy = vault.historyPolicy
      (policy.all, policy.hourly, policy.daily, policy.weekly) = (1, 0, 0, 0)
      try vault.setHistoryPolicy(policy)
      policy = HistoryPolicy()
      _ = pause()
      try vault.setHistoryPolicy(policy)
      let longer = vault.present
      _ = pause()
      try vault.make("fourth")
      #expect(try kept(moments[1], after: 0) == nil && kept(longer, after: 0) == KeptMoment(lsn: longer))
      // What the limit let go of; also where the database is made anew.
      let fifth = try vault.make("fifth").inode
      let last = vault.present
      try vault.unlink([UInt8]("fifth"), in: .root)
      try vault.forget(through: last)
      #expect(try kept(longer, after: 0) == nil && kept(last, after: 0) == KeptMoment(lsn: last) && fifth.value > 0)
      try home.close()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      #expect(try kept(longer, after: 0) == nil && kept(moments[1], after: 0) == nil && kept(last, after: 0) == KeptMoment(lsn: last))
      try aboutNothing(home.vault, last)
    }
  }

  /// What was not kept does not come back with the policy.
  private func aboutNothing(_ vault: Vault, _ moment: LSN) throws {
    var policy = vault.historyPolicy
    policy.isOn = false
    try vault.setHistoryPolicy(policy)
    #expect(try vault.keptMoment(upTo: moment) == nil && vault.keptMoment(upTo: vault.present)?.lsn == vault.present)
    policy.isOn = true
    try vault.setHistoryPolicy(policy)
    try vault.make("later")
    #expect(try vault.keptMoment(upTo: moment) == nil)
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
