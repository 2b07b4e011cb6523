// The optimiser: what it makes smaller is the same, whenever it is stopped or killed.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct OptimiserKillTests {
  @Test func `a kill at any moment of the optimiser loses nothing`() throws {
    try Home.run { home in
      var random = Random(seed: 9)
      // Text, and text like it, so that frames are compressed against each other.
      var text = [UInt8]((0..<60_000).map { "\($0 * 7919 % 100_003) is a number\n" }.joined())
      for version in 0..<4 {
        try home.vault.makeFile("version-\(version)", text)
        for _ in 0..<30 { text[random.below(text.count)] = 0x58 }
        for index in 0..<20 { try home.vault.makeFile("small-\(version)-\(index)", [UInt8]("\(version) \(index) ") + text[..<random.below(3000)]) }
      }
      let before = try tree(of: home.vault)
      var copies: [String] = [], calls = 0
      for _ in 0..<2 {
        try home.optimise {
          calls += 1
          if calls % 9 == 1, copies.count < 40 { copies += (try? [home.copy()]) ?? [] }
          return true
        }
      }
      copies.append(try home.copy())
      #expect(try tree(of: home.vault) == before)
      #expect(try !containers(home.path, .archive).isEmpty && copies.count > 5, "\(calls) calls")
      try home.reopen()
      #expect(try tree(of: home.vault) == before)
      for (index, copy) in copies.enumerated() {
        if index % 2 == 0 { try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8) }
        if index % 5 == 4 { try Vault.rebuild(at: copy) { _ in } }
        try opening(copy) { vault in
          #expect(try tree(of: vault) == before, "copy \(index)")
          try expectSound(vault, "copy \(index)")
        }
      }
    }
  }

  @Test func `the optimiser makes text smaller, and leaves alone what it was stopped in`() throws {
    try Home.run { home in
      let text = [UInt8]((0..<80_000).map { "line \($0 * 31 % 9973) of many\n" }.joined())
      try home.vault.makeFile("text", text)
      let before = home.vault.status().counters.frameBytes, packs = try containers(home.path, .pack)
      try home.optimise { false }
      #expect(home.vault.status().counters.frameBytes == before)
      #expect(try containers(home.path, .pack) == packs)
      try home.optimise()
      #expect(home.vault.status().counters.frameBytes < before * 3 / 4, "\(before) to \(home.vault.status().counters.frameBytes)")
      home.vault.frames.removeAll()
      #expect(try home.vault.contents(of: try #require(try home.vault.find("text")).inode) == text)
    }
  }
}
