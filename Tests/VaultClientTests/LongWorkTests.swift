// Check, repair and scrub over both services: progress comes, one at a time runs, and who goes away ends it.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultClient
@testable import VaultFS

extension ServiceTests {
  @Suite(.serialized) struct LongWorkTests {
    private struct Enough: Error {}

    /// Some packs, so that a scrub has a place to go on from.
    private func fill(_ served: ServedVault, files: Int = 4) throws {
      for index in 0..<files {
        try served.make("f\(index)", (0..<(1 << 18)).flatMap { _ in withUnsafeBytes(of: UInt64.random(in: 0 ... .max)) { Array($0) } })
        try served.vault.syncAll()
        try served.vault.packs.seal()
      }
    }

    @Test func `a sound vault is found to be, by both services and closed`() throws {
      try ServedVault.run { served in
        try fill(served)
        for service in [LocalService(served.vault), served.service] as [any VaultService] {
          let check = try service.ask(CheckRequest(comparesWithJournal: true))
          #expect(check.last.isClean && check.last.isComplete && check.last.nodes == 5 && check.afterwards == nil, "\(check.last.counts)")
          let repair = try service.ask(CheckRequest(repairs: true))
          #expect(repair.last.isClean && repair.afterwards != nil && repair.left == nil)
          let scrub = try service.ask(ScrubRequest(isGentle: false))
          #expect(scrub.isClean && scrub.isComplete && !scrub.isResumed && scrub.bytes > 4 << 21 && scrub.chunks > 40)
          #expect((try service.stats().lastScrub ?? 0) > 1_700_000_000)
        }
        served.server.close()
        try served.vault.shutDown()
        #expect(try CheckRequest().ask(closed: served.path, log: { _ in }, Receiver()).last.isClean)
        #expect(try CheckRequest(repairs: true).ask(closed: served.path, log: { _ in }, Receiver()).last.isClean)
        #expect(try ScrubRequest().ask(closed: served.path, log: { _ in }, Receiver()).isClean)
        #expect(code { _ = try CheckRequest().ask(closed: served.path + "x", log: { _ in }, Receiver()) } == .vaultMissing)
      }
    }

    @Test(arguments: [false, true]) func `what is given up ends, and the next scrub goes on from there`(isRemote: Bool) throws {
      try ServedVault.run { served in
        try fill(served)
        // A local one has its host, so that one at a time runs, as in an owner.
        let service: any VaultService = isRemote ? served.service : LocalService(served.vault)
        var told: [VaultClient.Progress] = []
        #expect(throws: Enough.self) {
          _ = try service.ask(ScrubRequest(bytesPerSecond: 3_000_000, threads: 1, isGentle: false), Receiver(progress: { progress in
            told.append(progress)
            if progress.done > 5_000_000 { throw Enough() }
          }))
        }
        #expect(told.count > 3 && told.map(\.done) == told.map(\.done).sorted() && told.allSatisfy { $0.total == nil || $0.done <= $0.total! } && told.last?.isBytes == true)
        let began = ContinuousClock.now, next = try service.ask(ScrubRequest(isGentle: false))
        #expect(next.isResumed && next.isComplete && next.isClean && ContinuousClock.now - began < .seconds(8))
        #expect(try service.ask(ScrubRequest()).isResumed == false)
      }
    }

    @Test func `a second scrub is refused while one runs; a check is not, and the end of the owner ends both`() throws {
      try ServedVault.run { served in
        try fill(served, files: 2)
        let ended = DispatchSemaphore(value: 0), result = Mutex<ServiceError.Code?>(nil), isRunning = Mutex(false), service = served.service
        Thread.detachNewThread {
          let said = code {
            _ = try service.ask(ScrubRequest(bytesPerSecond: 10_000, startsAnew: true), Receiver(progress: { _ in isRunning.withLock { $0 = true } }))
          }
          result.withLock { $0 = said }
          ended.signal()
        }
        for _ in 0..<500 where !isRunning.withLock({ $0 }) { usleep(10_000) }
        #expect(code { _ = try served.service.ask(ScrubRequest()) } == .busy)
        #expect(try served.service.ask(CheckRequest()).last.isClean)
        let began = ContinuousClock.now
        served.server.close()
        try #require(ended.wait(timeout: .now() + 10) == .success)
        #expect(result.withLock { $0 } == .interrupted && ContinuousClock.now - began < .seconds(4))
      }
    }

    @Test func `damage is told by its kind, with the file's name, and thousands of findings come through`() throws {
      try ServedVault.run { served in
        try fill(served, files: 1)
        let pack = try #require(try FileManager.default.contentsOfDirectory(atPath: served.path + "/packs").filter { $0.hasSuffix(".pack") }.first)
        try flip("\(served.path)/packs/\(pack)", at: 1_000_000)
        var kinds: Set<Finding.Kind> = [], files: [String?] = []
        let scrub = try served.service.ask(ScrubRequest(), Receiver(item: { item in
          switch item {
          case .found(let finding): kinds.insert(finding.kind)
          case .file(let file): files.append(file.path)
          }
        }))
        #expect(!scrub.isClean && scrub.isComplete && scrub.marked == 1 && files == ["/f0"] && kinds == [.frameDamaged], "\(kinds) \(files)")
        // Attributes of nodes that never were: each is a finding.
        try served.vault.lock.withLock { () throws in
          try served.vault.commit()
          try served.vault.metadata.database.execute("INSERT INTO xattr SELECT 1000000 + value, x'757365722e7a', x'01', 1 FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 12000) SELECT value FROM n)")
        }
        var found = 0
        let check = try served.service.ask(CheckRequest(), Receiver(item: { _ in found += 1 }))
        #expect(!check.last.isClean && found == 10_000 && check.last.counts["xattr-owner"] == 12_000, "\(check.last.counts)")
      }
    }

    private func flip(_ path: String, at place: Int) throws {
      let descriptor = Glibc.open(path, O_RDWR)
      try #require(descriptor >= 0)
      defer { close(descriptor) }
      var byte: UInt8 = 0
      try #require(pread(descriptor, &byte, 1, place) == 1)
      byte ^= 8
      try #require(pwrite(descriptor, &byte, 1, place) == 1)
    }
  }
}
