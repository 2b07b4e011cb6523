// What the view does not point to does not go while it may be wanted, and is found again: by a scrub, a collection, the optimiser.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct RescueTests {
  @Test(arguments: ["flipped", "gone", "journal"]) func `what was noted as damaged is whole again when its file is put back and scrubbed`(how: String) throws {
    try Home.run { home in
      let content = Random.bytes(how == "journal" ? 40_000 : 3_000_000, seed: 39), file = try home.vault.makeFile("lost", content)
      try home.vault.syncAll()
      try home.close()
      let path: String, place: Int
      if how == "journal" {
        (path, place) = try #require(try containers(home.path, .segment).compactMap { segment in
          Data(try stored(segment)).range(of: Data(content[1000..<1064])).map { (segment, $0.lowerBound) }
        }.first)
      } else { (path, place) = (try #require(try containers(home.path, .pack).first), 5000) }
      let whole = try stored(path)
      if how == "gone" { try FileManager.default.removeItem(atPath: path) } else { try flip(path, at: place) }
      try home.open()
      home.vault.keeper?.stop()
      if how == "gone" { #expect(try home.vault.repair().after.damagedChunks > 10) } else { #expect(try home.vault.scrub(eager()).marked > 0) }
      #expect(throws: VaultError.self) { try home.vault.contents(of: file) }
      #expect(try home.vault.scrub(eager()).healed == 0)
      try home.close()
      try store(whole, path)
      try home.open()
      home.vault.keeper?.stop()
      var checksums = eager()
      checksums.decodes = false
      #expect(try home.vault.scrub(checksums).healed == 0)
      let scrub = try home.vault.scrub(eager())
      #expect(scrub.isClean && scrub.healed > 0 && scrub.files.isEmpty, "\(scrub.text)")
      #expect(try home.vault.contents(of: file) == content)
      // The optimiser takes a segment on again.
      if how == "journal" { #expect(!home.vault.lock.withLock { home.vault.containers.numbers(.segment).contains { home.vault.metadata.state.containers.isKept($0) } }) }
      let check = try home.vault.check(.deep)
      #expect(check.isClean && check.damagedChunks == 0 && check.findings.isEmpty, "\(check.text)")
    }
  }

  /// A vault with six packs of a file each; gives the content of the first file, the file and its pack.
  private func sixPacks(_ home: Home) throws -> (content: [UInt8], file: InodeNumber, pack: String) {
    var files: [InodeNumber] = []
    for seed in 1...6 as ClosedRange<UInt64> {
      files.append(try home.vault.makeFile("file \(seed)", Random.bytes(3_000_000, seed: seed)))
      try home.vault.syncAll()
      try home.vault.packs.seal()
    }
    home.vault.keeper?.stop()
    return (Random.bytes(3_000_000, seed: 1), files[0], "\(home.path)/\(ContainerStore.path(try home.vault.frame(of: files[0]).container, .pack))")
  }

  /// Ends a scrub in the middle.
  private func interrupt(_ vault: Vault) throws -> ScrubReport {
    var options = eager()
    let cancellation = options.cancellation
    (options.bytesPerSecond, options.threads) = (20_000_000, 1)
    options.progress = { if $0.bytesDone > 8_000_000 { cancellation.cancel() } }
    let report = try vault.scrub(options)
    #expect(!report.isComplete && vault.lastScrub == nil)
    return report
  }

  @Test func `what was written since a scrub was ended, or put back, is read again by the one that goes on`() throws {
    try Home.run { home in
      let (content, file, pack) = try sixPacks(home)
      #expect(try interrupt(home.vault).findings.isEmpty)
      let position = try #require(ScrubPosition.read(home.vault.containers.disk, vault: home.vault.configuration.id))
      try #require(position.next > home.vault.frame(of: file).container.value && position.again.isEmpty)
      try flipInPlace(pack, at: 5000)
      // So is the segment that was being written.
      let small = try home.vault.makeFile("small", Random.bytes(20_000, seed: 9)), place = try home.vault.frame(of: small)
      #expect(place.container.value < position.next)
      try flipInPlace("\(home.path)/\(ContainerStore.path(place.container, .segment))", at: Int(place.offset) + 1000)
      let second = try home.vault.scrub(eager())
      #expect(second.isResumed && second.kinds.contains(.frameDamaged) && Set(second.files.map(\.path)) == ["/file 1", "/small"], "\(second.text)")
      // A note of damage is no reason to begin anew; what is put back is found.
      #expect(try interrupt(home.vault).marked == 0)
      try flipInPlace(pack, at: 5000)
      try flipInPlace("\(home.path)/\(ContainerStore.path(place.container, .segment))", at: Int(place.offset) + 1000)
      let third = try home.vault.scrub(eager())
      #expect(third.isResumed && third.isClean && third.healed > 1 && third.files.isEmpty, "\(third.text)")
      home.vault.frames.removeAll()
      #expect(try home.vault.contents(of: file) == content)
      home.restartKeeper()
    }
  }

  @Test func `what a scrub found before it was ended is found by the one that goes on`() throws {
    try Home.run { home in
      let (content, file, pack) = try sixPacks(home)
      try flipInPlace(pack, at: 5000)
      #expect(try interrupt(home.vault).findings.count == 1)
      let position = try #require(ScrubPosition.read(home.vault.containers.disk, vault: home.vault.configuration.id)), number = try home.vault.frame(of: file).container.value
      try #require(position.next > number && position.again == [number])
      let second = try home.vault.scrub(eager())
      #expect(second.kinds == [.frameDamaged] && second.marked > 0 && second.files == [DamagedFile(inode: file.value, path: "/file 1", pathBytes: [UInt8]("/file 1"))], "\(second.text)")
      #expect(home.vault.lastScrub != nil)
      try home.vault.makeFile("again", content)
      #expect(try home.vault.contents(of: file) == content)
    }
  }

  @Test func `what the view does not know and no collection forgot is kept`() throws {
    try Home.run { home in
      home.vault.keeper?.stop()
      let content = Random.bytes(20_000, seed: 1), file = try home.vault.makeFile("file", content)
      for seed in 2...5 as ClosedRange<UInt64> { try home.vault.makeFile("file \(seed)", Random.bytes(20_000, seed: seed)) }
      // As damage of the view would have it; something else in the segment is dead.
      try home.vault.changeView { metadata throws(VaultError) in
        guard case .chunk(let number, _)? = try metadata.extents(of: try metadata.node(file), in: 0..<1).first?.source else { throw VaultError.notFound }
        try metadata.database.execute("DELETE FROM chunk WHERE number = \(number.value)")
        metadata.state.containers.add(-1, to: home.vault.journal.segment)
        metadata.state.containers.addDead(10_000, to: home.vault.journal.segment)
        metadata.state.counters.chunks -= 1
        metadata.state.counters.uniqueBytes -= 20_000
      }
      try home.optimise()
      #expect(try home.vault.contents(of: file) == content)
      #expect(Collector.isDue(home.vault), "whether something refers to it is looked into")
    }
  }

  @Test func `a pack in which the view knows nothing is looked at before it goes`() throws {
    try Home.run { home in
      let content = Random.bytes(1_000_000, seed: 1), file = try home.vault.makeFile("file", content)
      try home.optimise()
      home.vault.keeper?.stop()
      // As damage of the view would have it.
      try home.vault.changeView { metadata throws(VaultError) in
        let pack = home.vault.containers.numbers(.pack)[0]
        try metadata.database.execute("DELETE FROM chunk WHERE container = \(pack.value)")
        metadata.state.counters.chunks = 0
        metadata.state.counters.uniqueBytes = 0
        metadata.state.containers.add(-metadata.state.containers.chunks(in: pack), to: pack)
      }
      try home.collect()
      #expect(try home.vault.contents(of: file) == content)
    }
  }

  /// What is noted as damaged though it is whole: its file was put back from a copy.
  private func noteDamaged(_ file: InodeNumber, _ home: Home) throws {
    try home.vault.changeView { metadata throws(VaultError) in
      for extent in try metadata.extents(of: try metadata.node(file), in: 0..<UInt64(1 << 30)) {
        guard case .chunk(let number, _) = extent.source, let chunk = try metadata.storedChunk(number.value), !chunk.isNowhere else { continue }
        try metadata.markDamaged(chunk)
        metadata.state.containers.release(chunk.place.frame.container)
      }
    }
    home.vault.frames.removeAll()
    #expect(throws: VaultError.self) { try home.vault.contents(of: file) }
  }

  @Test func `what is noted as damaged and is whole does not go with what is dead beside it, in a segment`() throws {
    try Home.run { home in
      try home.forgetEverything()
      home.vault.keeper?.stop()
      let content = Random.bytes(40_000, seed: 1), other = Random.bytes(60_000, seed: 2)
      let file = try home.vault.makeFile("a", content)
      try home.vault.makeFile("b", other)
      try home.vault.lock.withLock { () throws in try home.vault.rotate() }
      try noteDamaged(file, home)
      try home.vault.unlink([UInt8]("b"), in: .root)
      try home.collect()
      try home.vault.makeFile("b again", other)
      try home.optimise()
      #expect(try home.vault.contents(of: file) == content)
      #expect(try home.vault.contents(of: try #require(try home.vault.find("b again")).inode) == other)
    }
  }

  @Test(arguments: [false, true]) func `what is noted as damaged and is whole does not go with what is dead beside it, in a pack`(isAlone: Bool) throws {
    try Home.run { home in
      try home.forgetEverything()
      let content = Random.bytes(1_000_000, seed: 1), file = try home.vault.makeFile("a", content)
      if !isAlone { try home.vault.makeFile("b", Random.bytes(2_000_000, seed: 2)) }
      try home.optimise()
      home.vault.keeper?.stop()
      try noteDamaged(file, home)
      if !isAlone { try home.vault.unlink([UInt8]("b"), in: .root) }
      try home.collect()
      #expect(try home.vault.contents(of: file) == content)
      let bytes = try home.packBytes()
      #expect(bytes < 1_200_000)
    }
  }

  /// What happens at the `turn`th time that somebody asks whether to go on.
  private final class Turn {
    private var left: Int
    private let body: () -> Void
    init(_ turn: Int, _ body: @escaping () -> Void) { (left, self.body) = (turn, body) }
    func next() -> Bool {
      left -= 1
      if left == 0 { body() }
      return true
    }
  }

  /// A file of which there are two copies, in two containers; the view knows the second. That is damaged, and noted as such, at some moment while
  /// `work` is done: whatever was left of the first one then is not lost.
  private func damage(_ home: Home, at turn: Int, inPacks: Bool, _ work: (@escaping () -> Bool) throws -> Void) throws -> Bool {
    try home.forgetEverything()
    home.vault.keeper?.stop()
    let vault = home.vault, content = Random.bytes(inPacks ? 600_000 : 40_000, seed: 1)
    func end() throws {
      try vault.syncAll()
      try vault.packs.seal()
      try vault.lock.withLock { () throws in try vault.rotate() }
    }
    let file = try vault.makeFile("a", content), first = try vault.frame(of: file)
    try vault.makeFile("beside", Random.bytes(40_000, seed: 2))
    try end()
    try noteDamaged(file, home)
    try vault.makeFile("again", content)
    try end()
    let second = try vault.frame(of: file), kind = try #require(vault.containers.kind(second.container)), place = ContainerStore.path(first.container, kind)
    try #require(second.container != first.container && kind == (inPacks ? .pack : .segment))
    var isReached = false
    try work(Turn(turn) {
      isReached = vault.containers.disk.exists(place)
      try! flipInPlace("\(home.path)/\(ContainerStore.path(second.container, kind))", at: Int(second.offset) + 2000)
      vault.frames.removeAll()
      try! vault.changeView { metadata throws(VaultError) in
        for extent in try metadata.extents(of: try metadata.node(file), in: 0..<1) {
          guard case .chunk(let number, _) = extent.source, let chunk = try metadata.storedChunk(number.value), chunk.place.frame == second else { continue }
          try metadata.markDamaged(chunk)
        }
      }
    }.next)
    home.wounds = [.frameDamaged, .frameSuperfluous, .journalSegment]
    guard isReached else {
      // Then it is lost, where the moment came at all.
      try vault.makeFile("healed", content)
      return false
    }
    let scrub = try vault.scrub(eager()), back = try? vault.contents(of: file)
    #expect(back == content, "at turn \(turn): \(scrub.text)")
    return true
  }

  @Test(arguments: [false, true]) func `a container that is being emptied is not gone with what is noted as damaged meanwhile`(inPacks: Bool) throws {
    var turn = 1
    while try Home.run({ home in
      try damage(home, at: turn, inPacks: inPacks) { ask in
        if inPacks { _ = try Collector(home.vault, mayGoOn: ask, isQuiet: { !ask() || true }).run() } else { try Optimiser(home.vault, mayGoOn: ask).run() }
      }
    }) { turn += 1 }
    #expect(turn > 4, "only \(turn)")
  }

  /// A pack as if what was in it had been read from elsewhere until a collection took that.
  private func leftPack(_ home: Home) throws -> ContainerNumber {
    try home.forgetEverything()
    try home.vault.makeFile("a", Random.bytes(1_000_000, seed: 1))
    try home.optimise()
    home.vault.keeper?.stop()
    let pack = try #require(home.vault.containers.numbers(.pack).first)
    try home.vault.unlink([UInt8]("a"), in: .root)
    try home.vault.changeView { metadata throws(VaultError) in
      metadata.state.counters.uniqueBytes = 0
      metadata.state.counters.chunks = 0
      metadata.state.containers.add(-metadata.state.containers.chunks(in: pack), to: pack)
      metadata.state.containers.setFrames(0, in: pack)
      metadata.state.containers.keep(pack)
      try metadata.database.execute("DELETE FROM chunk WHERE container = \(pack.value)")
      metadata.state.collected = metadata.state.lapses
    }
    return pack
  }

  @Test func `a pack that a kill left of a move goes with the next collection`() throws {
    try Home.run { home in
      _ = try leftPack(home)
      try home.collect()
      #expect(home.vault.containers.numbers(.pack).isEmpty)
    }
  }

  @Test func `a pack that cannot be looked at stays, and keeps nothing else from going`() throws {
    try Home.run { home in
      let pack = try leftPack(home), path = "\(home.path)/\(ContainerStore.path(pack, .pack))", away = path + ".away"
      try home.vault.makeFile("b", Random.bytes(2_000_000, seed: 2))
      try home.reopen()
      home.vault.keeper?.stop()
      try home.vault.unlink([UInt8]("b"), in: .root)
      try FileManager.default.moveItem(atPath: path, toPath: away)
      try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: away)
      try home.collect()
      #expect(home.vault.containers.numbers(.pack) == [pack])
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.moveItem(atPath: away, toPath: path)
      try home.collect()
      #expect(home.vault.containers.numbers(.pack).isEmpty)
    }
  }
}
