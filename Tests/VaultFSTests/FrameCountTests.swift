// What the frames of a container take is counted once, though a collection forgets chunks of it, and whoever comes after finds
// them again.

import Foundation
import Testing
@testable import VaultFS

struct FrameCountTests {
  /// So small that they travel in the journal.
  private func makeSmallFiles(_ names: Range<Int>, _ vault: Vault, _ random: inout Random) throws {
    for index in names { try vault.makeFile("\(index)", random.bytes(3000)) }
    try vault.syncAll()
  }

  @Test func `what a collection forgot of a segment, the optimiser finds again and counts no second time`() throws {
    try Home.run { home in
      var random = Random(seed: 71), copies: [String] = []
      try makeSmallFiles(0..<60, home.vault, &random)
      home.vault.keeper?.stop()
      for index in 0..<30 { try home.vault.unlink([UInt8]("\(index)"), in: .root) }
      try home.forgetEverything()
      #expect(try home.collect().chunks == 30)
      try home.optimise {
        if copies.count < 20 { copies += (try? [home.copy()]) ?? [] }
        return copies.count < 20
      }
      #expect(copies.count == 20, "in the middle")
      try expectSound(home.vault)
      for copy in copies.suffix(5) { try opening(copy) { vault in try expectSound(vault) } }
      try home.optimise()
    }
  }

  @Test func `what a collection forgot of a pack behind the one that is written, the next mount finds again and counts no second time`() throws {
    try Home.run { home in
      var random = Random(seed: 72)
      let vault = home.vault
      vault.keeper?.stop()
      for index in 0..<60 { try vault.makeFile("\(index)", random.bytes(200_000)) }
      try vault.syncAll()
      try vault.packs.seal()
      // The pack that is written from now on begins before the one that the collection makes.
      try vault.makeFile("open", random.bytes(200_000))
      try vault.syncAll()
      func collect(without files: Range<Int>) throws -> Collection {
        for index in files { try vault.unlink([UInt8]("\(index)"), in: .root) }
        try home.forgetEverything()
        return try home.collect()
      }
      #expect(try collect(without: 0..<30).containers == 1)
      #expect(vault.packs.begun.map { vault.packs.isUnsettled($0) } == true)
      let few = try collect(without: 30..<31)
      #expect(few.chunks > 0 && few.containers == 0, "too little to make the pack anew")
      try vault.checkpoint()
      let frames = vault.status().counters.frameBytes
      try opening(try home.copy()) { vault in
        try expectSound(vault)
        #expect(vault.status().counters.frameBytes == frames)
      }
    }
  }
}
