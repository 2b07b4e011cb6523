// The optimiser makes smaller what it can read to its end, and removes nothing that anything still needs.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

private func size(_ path: String) throws -> Int { try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) }

/// Where each frame of a pack begins.
private func frames(_ pack: String) throws -> [(FrameHeader, Int)] {
  let file = MemoryFile(Array(try Data(contentsOf: URL(fileURLWithPath: pack))))
  var all: [(FrameHeader, Int)] = []
  _ = try PackScanner.frames(of: file, from: 0, verifyPayload: false) { header, at, _ in all.append((header, Int(at))) }
  return all
}

/// Each container's count is what the rows say, and every base that a frame names is there and kept.
private func expectExactUses(_ vault: Vault, at location: SourceLocation = #_sourceLocation) throws {
  try vault.lock.withLock { () throws in
    try vault.metadata.begin()
    try vault.commit()
    let wrong = try vault.metadata.database.integer(
      """
      SELECT count(*) FROM (SELECT container AS number, count(*) AS chunks FROM chunk GROUP BY container) AS rows
      FULL JOIN container USING (number) WHERE coalesce(rows.chunks, 0) <> coalesce(container.chunks, 0)
      """)
    #expect(wrong == 0, "containers are counted wrong", sourceLocation: location)
    for pack in vault.containers.numbers(.pack) {
      for (header, _) in try frames("\(vault.path)/\(ContainerStore.path(pack, .pack))") {
        guard let base = header.base?.container else { continue }
        #expect(vault.containers.kind(base) == .pack, "the base \(base.value) of frames in \(pack.value) is gone", sourceLocation: location)
        #expect(vault.metadata.state.containers.isKept(base), sourceLocation: location)
      }
    }
  }
}

struct OptimiserTests {
  private let text = [UInt8]((0..<20_000).map { "line \($0 * 31 % 9973) of many\n" }.joined())

  /// Runs one optimiser several times in the keeper's place.
  private func runs(_ count: Int, _ home: Home) throws {
    home.vault.keeper?.stop()
    defer {
      home.vault.keeper = Keeper(home.vault)
      home.vault.keeper?.start()
    }
    try home.vault.syncAll()
    let optimiser = Optimiser(home.vault) { true }
    for _ in 0..<count { try optimiser.run() }
  }
  private func stopKeeper(_ home: Home) { home.vault.keeper?.stop() }

  private func expectContents(_ home: Home, _ expected: [String: [UInt8]], at location: SourceLocation = #_sourceLocation) throws {
    home.vault.frames.removeAll()
    for (name, content) in expected {
      let found = try? home.vault.contents(of: try #require(try home.vault.find(name)).inode)
      #expect(found == content, "\(name)", sourceLocation: location)
    }
  }

  /// What looks improvable for ever: noise that begins with some text, as pictures do.
  private func picture(_ random: inout Random) -> [UInt8] { Array(text[..<4096]) + random.bytes(250 << 10) }

  @Test func `packs with the bases of other packs' frames stay, whoever looks at them later`() throws {
    try Home.run { home in
      var random = Random(seed: 1), expected: [String: [UInt8]] = [:]
      for round in 0..<2 {
        for index in 0..<6 {
          var content = expected["0-\(index)"] ?? picture(&random)
          if round > 0 { for place in stride(from: 5000, to: content.count, by: 9000) { content[place] ^= 0xFF } }
          expected["\(round)-\(index)"] = content
          try home.vault.makeFile("\(round)-\(index)", content)
        }
        try home.reopen()
      }
      try home.optimise()
      let packs = try containers(home.path, .pack)
      let bases = try packs.flatMap { try frames($0) }.compactMap(\.0.base)
      #expect(!bases.isEmpty, "nothing was compressed against anything: the test tests nothing")
      try expectExactUses(home.vault)
      for _ in 0..<2 {
        try home.reopen()
        try home.vault.makeFile("more-\(random.next())", random.bytes(70_000))
        try home.optimise()
        try expectContents(home, expected)
        try expectExactUses(home.vault)
      }
      #expect(try Set(containers(home.path, .pack)).isSuperset(of: packs))
      // So too where the view was made anew, and knows only what the packs say.
      try home.close()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      try home.optimise()
      try expectContents(home, expected)
      try expectExactUses(home.vault)
    }
  }

  @Test func `what was found not worth the work is not looked at again, not even after a mount`() throws {
    try Home.run { home in
      var random = Random(seed: 2)
      try home.vault.makeFile("noise", random.bytes(1_000_000))
      try home.reopen()
      try home.optimise()
      let pack = try #require(home.vault.containers.numbers(.pack).first)
      #expect(home.vault.lock.withLock { home.vault.metadata.state.containers.isKept(pack) })
      try home.reopen()
      #expect(home.vault.lock.withLock { home.vault.metadata.state.containers.isKept(pack) })
    }
  }

  @Test(arguments: ["a frame's header", "the pack's header", "the footer", "a cut"])
  func `a pack that cannot be read to its end stays, with all that can be read of it`(what: String) throws {
    try Home.run { home in
      home.wounds = [.chunkFrame]
      var expected: [String: [UInt8]] = [:]
      for index in 0..<20 { expected["f\(index)"] = [UInt8]("\(index)") + text[(index * 100)...] }
      for name in expected.keys.sorted() { try home.vault.makeFile(name, expected[name]!) }
      try home.reopen()
      stopKeeper(home)
      let pack = try #require(try containers(home.path, .pack).first), all = try frames(pack)
      #expect(all.count > 20)
      var lost: Set<String> = []
      switch what {
      case "a frame's header":
        let damaged = all[all.count / 3]
        try flipInPlace(pack, at: damaged.1 + 45)
        for name in expected.keys {
          let inode = try #require(try home.vault.find(name)).inode
          if try home.vault.contents(of: inode, reads: damaged.0.chunks[0].id) { lost.insert(name) }
        }
        #expect(!lost.isEmpty && lost.count < 20)
      case "the pack's header": try flipInPlace(pack, at: 9)
      case "the footer": try flipInPlace(pack, at: try size(pack) - 12)
      default: truncate(pack, try size(pack) - 1)
      }
      try runs(2, home)
      #expect(try containers(home.path, .pack).contains(pack))
      #expect(home.messages.all.count { $0.contains("cannot be read to its end") } == 1, "\(home.messages.all)")
      try expectContents(home, expected.filter { !lost.contains($0.key) })
      try home.reopen()
      stopKeeper(home)
      try runs(1, home)
      #expect(home.messages.all.count { $0.contains("cannot be read to its end") } == 1, "it is remembered")
      try expectContents(home, expected.filter { !lost.contains($0.key) })
      for name in lost { try home.vault.unlink([UInt8](name), in: .root) }
    }
  }

  @Test func `a segment that cannot be read to its end keeps its frames and all its operations`() throws {
    try Home.run { home in
      var random = Random(seed: 3), expected: [String: [UInt8]] = [:]
      for index in 0..<60 {
        expected["f\(index)"] = random.bytes(9000)
        try home.vault.makeFile("f\(index)", expected["f\(index)"]!)
      }
      let segment = "\(home.path)/\(ContainerStore.path(home.vault.journal.segment, .segment))"
      try home.reopen()
      stopKeeper(home)
      let before = try Data(contentsOf: URL(fileURLWithPath: segment))
      try flipInPlace(segment, at: before.count / 2)
      let damaged = try Data(contentsOf: URL(fileURLWithPath: segment))
      try runs(2, home)
      #expect(try Data(contentsOf: URL(fileURLWithPath: segment)) == damaged)
      #expect(!home.vault.containers.disk.exists(segment.replacing(".log", with: ".ops")))
      #expect(home.messages.all.count { $0.contains("cannot be read to its end") } == 1, "\(home.messages.all)")
      #expect(home.vault.damageMet?.contains(segment) == true)
      // Once it is mended nothing is lost.
      try flipInPlace(segment, at: before.count / 2)
      try expectContents(home, expected)
    }
  }

  @Test func `a container stays while anything is read from it, whatever was found in it`() throws {
    try Home.run { home in
      home.wounds = [.containerChunks]
      try home.vault.makeFile("text", text)
      try home.reopen()
      stopKeeper(home)
      let pack = try #require(home.vault.containers.numbers(.pack).first)
      // As if a row named a place in it that no frame begins at.
      home.vault.lock.withLock { home.vault.metadata.state.containers.add(1, to: pack) }
      try runs(1, home)
      #expect(home.vault.containers.kind(pack) == .pack)
      #expect(home.messages.contain("something is read from it"))
      home.vault.lock.withLock { home.vault.metadata.state.containers.add(-1, to: pack) }
    }
  }

  @Test func `a damaged chunk keeps its container, and no other, from being made smaller; nothing is left behind`() throws {
    try Home.run { home in
      var random = Random(seed: 4)
      try home.vault.makeFile("damaged", text)
      try home.reopen()
      var other = text
      for place in stride(from: 0, to: other.count, by: 10) { other[place] = UInt8(random.below(256)) }
      try home.vault.makeFile("sound", other)
      try home.reopen()
      stopKeeper(home)
      let packs = try containers(home.path, .pack), all = try frames(packs[0])
      #expect(packs.count == 2)
      // The last frame: much of the new pack is written by then.
      let last = try #require(all.last)
      #expect(all.count > 4)
      try flipInPlace(packs[0], at: last.1 + last.0.headerLength + 20)
      try runs(3, home)
      let after = try containers(home.path, .pack)
      // The sound pack gave way to a new one; segments without frames leave nothing.
      #expect(after.count == 2 && after.contains(packs[0]) && !after.contains(packs[1]), "\(packs) became \(after)")
      #expect(home.messages.all.count { $0.contains("stays as it is") } == 1, "\(home.messages.all)")
      try expectContents(home, ["sound": other])
      try home.vault.unlink([UInt8]("damaged"), in: .root)
      try expectExactUses(home.vault)
    }
  }

  @Test(arguments: seeds(4))
  func `containers are counted exactly through writes, kills, the optimiser and a rebuild`(seed: UInt64) throws {
    try Home.run { home in
      var random = Random(seed: seed)
      for round in 0..<4 {
        for index in 0..<12 {
          let content = random.chance(50) ? Array(text[random.below(1000)...].prefix(1 + random.below(300_000))) : random.content(1 + random.below(300_000))
          try home.vault.makeFile("\(round)-\(index)", content)
        }
        if random.chance(50) { try home.move(to: try home.copy()) }
        var left = random.chance(70) ? Int.max : random.below(20)
        try home.optimise {
          left -= 1
          return left > 0
        }
        try expectExactUses(home.vault)
      }
      let before = try tree(of: home.vault)
      try home.close()
      try Vault.rebuild(at: home.path) { _ in }
      try home.open()
      try expectExactUses(home.vault)
      #expect(try tree(of: home.vault) == before)
    }
  }

  @Test func `the keeper sets the optimiser going by itself, and ends it with the vault`() throws {
    try Home.run { home in
      try home.vault.makeFile("text", text)
      let before = try containers(home.path, .pack)
      for _ in 0..<100 where try containers(home.path, .pack) == before { usleep(100_000) }
      #expect(try containers(home.path, .pack) != before, "after 10 s the pack is as it was")
      try home.close()
      try home.open()
      try expectContents(home, ["text": text])
    }
  }

  @Test func `a vault that is mounted read-only is left alone`() throws {
    try Home.run { home in
      try home.vault.makeFile("text", text)
      try home.close()
      try home.open(readOnly: true)
      func state() throws -> [String: Int] {
        var all: [String: Int] = [:]
        for kind in ContainerStore.Kind.allCases { for file in try containers(home.path, kind) { all[file] = try size(file) } }
        return all
      }
      let before = try state()
      sleep(3)
      try Optimiser(home.vault) { true }.run()
      #expect(try state() == before)
      try home.reopen()
    }
  }

  @Test func `the reserve is not for the optimiser`() throws {
    try SmallDisk.run(mebibytes: 100) { disk in
      let home = disk.home
      var content: [UInt8] = [], random = Random(seed: 5)
      while content.count < 8 << 20 { content += [UInt8]("\(random.next() % 1_000_000) is one number of many\n") }
      try home.vault.makeFile("text", content)
      try home.vault.syncAll()
      stopKeeper(home)
      try disk.fill(leaving: 2 << 20)
      let before = try containers(home.path, .pack)
      try Optimiser(home.vault) { true }.run()
      #expect(try containers(home.path, .pack) == before)
      disk.free()
      try Optimiser(home.vault) { true }.run()
      #expect(try containers(home.path, .pack) != before)
      try expectContents(home, ["text": content])
    }
  }
}

extension Vault {
  /// Whether a file's manifest names a chunk.
  fileprivate func contents(of inode: InodeNumber, reads id: ChunkID) throws -> Bool {
    try lock.withLock { () throws in
      try metadata.extents(of: try metadata.node(inode), in: 0..<UInt64.max).contains { extent in
        guard case .chunk(let number, _) = extent.source else { return false }
        return try metadata.place(of: number).id == id
      }
    }
  }
}
