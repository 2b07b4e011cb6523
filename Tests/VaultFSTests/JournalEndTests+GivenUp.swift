// What the end of a journal gave up: operations, which stay so, and content, which is like any other.

import Foundation
import Glibc
import Testing
@testable import VaultFS

extension JournalEndTests {
  @Test func `what was given up stays so, also in a copy of a segment that is put back`() throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["one", "two", "three"])
      let whole = try stored(segment), place = try #require(try records(segment).suffix(2).first).offset
      try flip(segment, at: place + RecordHeader.length + 3)
      try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
      try opening(copy) { vault throws in _ = try vault.make("four") }
      try store(whole, segment)
      func look() throws {
        try opening(copy) { vault throws in
          let found = try ["one", "two", "three", "four"].map { name in try vault.find(name) != nil }
          #expect(found == [true, false, false, true])
          let check = try vault.check(.deep)
          #expect(check.isClean, "\(check.text)")
        }
      }
      try look()
      // Nor is it in what is left of the segment.
      try opening(copy) { vault throws in
        vault.keeper?.stop()
        try Optimiser(vault) { true }.run()
      }
      #expect(try !containers(copy, .segment).contains(segment))
      try look()
      // Whatever became of the next one.
      try store(whole, segment)
      try look()
      try FileManager.default.removeItem(atPath: copy + "/metadata.db")
      try Vault.rebuild(at: copy) { _ in }
      try look()
    }
  }

  @Test(arguments: [0, 8], ["power cut", "rebuilt", "optimised"])
  func `content whose operation was given up, and that came again, is there whoever reads the journal`(torn: Int, then: String) throws {
    try Home.run { home in
      try plant(home.vault)
      home.vault.keeper?.stop()
      try home.vault.syncAll()
      try home.vault.lock.withLock { () throws in try home.vault.commit() }
      let content = Random.bytes(90_000, seed: 5)
      try home.vault.makeFile("a", content)
      let copy = try home.copy(), second = copy + "-second"
      defer { try? FileManager.default.removeItem(atPath: second) }
      home.restartKeeper()
      // Its frames are there, the operation is not, or only a part of it.
      let segment = try #require(try containers(copy, .segment).last), last = try #require(try records(segment).last)
      try #require(last.header.kind == .operation)
      try store(Array(try stored(segment).prefix(torn == 0 ? last.offset : last.offset + torn)), segment)
      let vault = try Vault.open(at: copy, purpose: "tested", log: { _ in })
      vault.keeper?.stop()
      let file = try vault.makeFile("b", content)
      try vault.syncAll()
      #expect(try vault.frame(of: file).container.value == UInt64(segment.split(separator: "/").last!.prefix { $0 != "." }, radix: 16))
      if then == "optimised" {
        try Optimiser(vault) { true }.run()
        #expect(try !containers(copy, .segment).contains(segment))
      }
      try FileManager.default.copyItem(atPath: copy, toPath: second)
      try? FileManager.default.removeItem(atPath: second + "/owner")
      try vault.shutDown()
      if then == "rebuilt" {
        try opening(copy) { vault throws in
          let check = try vault.check(.deep)
          #expect(check.isClean, "\(check.text)")
        }
        try FileManager.default.removeItem(atPath: copy + "/metadata.db")
        try Vault.rebuild(at: copy) { _ in }
      }
      try "another boot".write(toFile: second + "/boot", atomically: false, encoding: .utf8)
      for path in [copy, second] {
        try opening(path) { vault throws in
          #expect(try vault.contents(of: file) == content, "\(path)")
          let check = try vault.check(.deep), scrub = try vault.scrub(eager())
          #expect(check.isClean && scrub.isClean, "\(check.text), \(scrub.text)")
          // They are verified as any others are.
          let chunks = vault.lock.withLock { vault.metadata.state.counters.chunks }
          #expect(scrub.chunks >= UInt64(chunks), "\(scrub.chunks) of \(chunks)")
        }
      }
      guard then == "power cut" else { return }
      let place = try opening(second) { vault throws in try vault.frame(of: file) }
      try flip(second + "/" + ContainerStore.path(place.container, .segment), at: Int(place.offset) + 2000)
      try opening(second) { vault throws in
        let scrub = try vault.scrub(eager())
        #expect(scrub.marked == 1 && scrub.files.map(\.path) == ["/b"], "\(scrub.text)")
      }
    }
  }
}
