// Content that is stored but cannot be read: it is not believed, and the same content, written again, heals what held it.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct HealingTests {
  @Test func `a damaged chunk costs a rebuild that chunk alone, and the same content heals it`() throws {
    try Home.run { home in
      var random = Random(seed: 21)
      let first = random.bytes(400_000), second = random.bytes(2_000_000)
      let a = try home.vault.makeFile("a", first), b = try home.vault.makeFile("b", second)
      try home.close()
      let pack = try #require(try containers(home.path, .pack).first)
      try flip(pack, at: PackHeader.length + 2000)
      let log = Messages()
      try Vault.rebuild(at: home.path, log: log.add) { _ in }
      #expect(log.contain("not stored any more"), "\(log.all)")
      try home.open()
      #expect(throws: VaultError.self) { try home.vault.contents(of: a) }
      #expect(home.messages.contain("cannot read bytes 0 to"), "\(home.messages.all)")
      #expect(try home.vault.contents(of: b) == second)
      for _ in 0..<2 { try home.optimise() }
      home.vault.frames.removeAll()
      #expect(try home.vault.contents(of: b) == second, "the optimiser removes nothing that it cannot account for")
      try home.vault.makeFile("again", first)
      #expect(try home.vault.contents(of: a) == first)
      try home.reopen()
      #expect(try home.vault.contents(of: a) == first)
    }
  }

  @Test func `content that could not be read is stored anew when it is written again, and heals what held it`() throws {
    try Home.run { home in
      var random = Random(seed: 22)
      let first = random.bytes(400_000)
      let a = try home.vault.makeFile("a", first), b = try home.vault.makeFile("b", first)
      try home.close()
      let pack = try #require(try containers(home.path, .pack).first)
      try flip(pack, at: PackHeader.length + 2000)
      try home.open()
      // Nobody has met the damage: what is written is found to be stored.
      let stored = home.vault.status().counters.frameBytes
      try home.vault.makeFile("trusting", first)
      #expect(home.vault.status().counters.frameBytes == stored)
      #expect(throws: VaultError.self) { try home.vault.contents(of: a) }
      try home.vault.rewrite("a", first)
      #expect(home.vault.status().counters.frameBytes > stored)
      for inode in [a, b] { #expect(try home.vault.contents(of: inode) == first) }
      try home.reopen()
      for inode in [a, b] { #expect(try home.vault.contents(of: inode) == first) }
      try expectSound(home.vault)
      try home.close()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      for inode in [a, b] { #expect(try home.vault.contents(of: inode) == first) }
    }
  }

  @Test func `after a mount, too, the same content heals what could not be read, and what else is damaged beside it`() throws {
    try Home.run { home in
      var random = Random(seed: 23)
      let first = random.bytes(400_000), second = random.bytes(400_000)
      let a = try home.vault.makeFile("a", first), b = try home.vault.makeFile("b", second)
      try home.close()
      let pack = try #require(try containers(home.path, .pack).first), size = try stored(pack).count
      for at in [PackHeader.length + 2000, size - 2000] { try flip(pack, at: at) }
      try home.open()
      #expect(throws: VaultError.self) { try home.vault.contents(of: a) }
      try home.kill(isPowerCut: false)
      // The second was never read: what is in the same pack is not believed.
      let c = try home.vault.makeFile("c", second)
      try home.vault.rewrite("a", first)
      for (inode, content) in [(a, first), (b, second), (c, second)] { #expect(try home.vault.contents(of: inode) == content) }
      home.wounds = [.frameSuperfluous]
    }
  }

  @Test func `what others were compressed against is not believed either when they cannot be read for it`() throws {
    try Home.run { home in
      let (delta, base, contents) = try makeDelta(in: home)
      try home.close()
      try flip("\(home.path)/\(ContainerStore.path(base.container, .pack))", at: Int(base.offset) + Int(base.length) - 100)
      try home.open()
      let frame = delta.place.frame
      #expect(throws: VaultError.self) { _ = try home.vault.frame(at: frame, in: try home.vault.containers.file(frame.container)) }
      #expect(home.vault.lock.withLock { home.vault.metadata.state.containers.isDoubted(base.container) })
      // Nobody has read what is in that: what is written is not acknowledged for its sake.
      for (name, content) in contents {
        let inode = try home.vault.makeFile(name + "2", content)
        #expect(try home.vault.contents(of: inode) == content, "\(name)")
      }
      home.wounds = [.frameSuperfluous]
    }
  }

  @Test func `content of a pack that is missing is stored anew when it is written again`() throws {
    try Home.run { home in
      let content = Random.bytes(400_000, seed: 24), a = try home.vault.makeFile("a", content)
      try home.close()
      try FileManager.default.removeItem(atPath: try #require(try containers(home.path, .pack).first))
      try home.open()
      let b = try home.vault.makeFile("b", content)
      for inode in [a, b] { #expect(try home.vault.contents(of: inode) == content) }
      try home.kill(isPowerCut: false)
      for inode in [a, b] { #expect(try home.vault.contents(of: inode) == content) }
    }
  }

  @Test(arguments: [(400_000, false), (400_000, true), (60_000, false), (60_000, true)])
  func `what was healed is healed after a kill and a power cut`(count: Int, isPowerCut: Bool) throws {
    try Home.run { home in
      let content = Random.bytes(count, seed: 25), a = try home.vault.makeFile("a", content)
      try home.vault.syncAll()
      // So that it is not read from the journal's file that is written still.
      try home.reopen()
      home.vault.keeper?.stop()
      let file = try #require(try containers(home.path, count > Limits.inlineBytesMax ? .pack : .segment).first { try stored($0).count > count / 2 })
      try flip(file, at: try stored(file).count / 2)
      #expect(throws: VaultError.self) { try home.vault.contents(of: a) }
      try home.vault.lock.withLock { () throws in try home.vault.commit() }
      let b = try home.vault.makeFile("b", content)
      try home.vault.syncAll()
      #expect(try home.vault.contents(of: b) == content)
      try home.kill(isPowerCut: isPowerCut)
      for inode in [a, b] { #expect(try home.vault.contents(of: inode) == content) }
      home.wounds = [.journalSegment]
    }
  }
}
