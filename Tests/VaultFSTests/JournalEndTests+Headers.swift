// Segments whose headers are damaged, or gone.

import Foundation
import Glibc
import Testing
@testable import VaultFS

extension JournalEndTests {
  @Test(arguments: [1, 5, 20, 26, 33, 50, 54])
  func `a flipped bit in a segment's header costs nothing`(place: Int) throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["one", "two"])
      let before = try tree(of: home.vault)
      try flip(segment, at: place, bit: 3)
      for round in 0..<3 {
        let log = Messages()
        if round == 2 { try Vault.rebuild(at: copy, log: log.add) { _ in } }
        try opening(copy, log: log) { vault throws in
          #expect(try tree(of: vault) == before, "round \(round)")
          try expectSound(vault, besides: [.journalSegment])
        }
        #expect(log.contain("header of \(segment)") == (round != 1), "round \(round): \(log.all)")
      }
    }
  }

  @Test func `a header of another vault, or that is gone, is not guessed at`() throws {
    try Home.run { home in
      let (copy, segment) = try killed(home, makes: ["one"]), all = try stored(segment)
      var header = try all.withUnsafeBytes { try SegmentHeader(decoding: $0) }
      header.vault = .random()
      var halfGone = all
      for index in 8..<24 { halfGone[index] = 0 }
      for wounded in [header.encoded() + all[SegmentHeader.length...], halfGone] {
        try store(wounded, segment)
        #expect { try opening(copy) { _ in } } throws: { isJournal($0) && "\($0)".contains(segment) }
      }
    }
  }

  @Test func `a segment of which the view has everything may lose its header`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.vault.checkpoint()
      home.vault.keeper?.stop()
      try home.vault.lock.withLock { () throws in try home.vault.commit() }
      let before = try tree(of: home.vault), copy = try home.copy(), log = Messages()
      home.restartKeeper()
      let segment = try #require(try containers(copy, .segment).last), all = try stored(segment)
      try store([UInt8](repeating: 0, count: SegmentHeader.length) + all[SegmentHeader.length...], segment)
      try opening(copy, log: log) { vault throws in
        #expect(try tree(of: vault) == before)
        try vault.make("goes on")
      }
      #expect(log.contain("header of \(segment)"), "\(log.all)")
      try opening(copy) { vault throws in #expect(try vault.find("goes on") != nil) }
    }
  }
}
