// kill -9 of the owner, at any moment: what was acknowledged is there, and the next mount asks no questions.

import Foundation
import Glibc
import Synchronization
import Testing

extension MountTests {
  @Suite(.serialized) struct KillTests {
    /// What a writer has closed, and must therefore find again: by name, the content.
    private final class Ledger: Sendable {
      private let closed = Mutex<[String: [UInt8]]>([:])
      private let removed = Mutex<Set<String>>([])
      func close(_ name: String, _ content: [UInt8]) { closed.withLock { $0[name] = content } }
      func remove(_ name: String) {
        closed.withLock { $0[name] = nil }
        removed.withLock { _ = $0.insert(name) }
      }
      var all: [String: [UInt8]] { closed.withLock { $0 } }
      var gone: Set<String> { removed.withLock { $0 } }
    }

    @Test(arguments: 0..<4)
    func `everything that was closed before a kill is there with the right bytes`(round: Int) throws {
      try MountedVault.run { home in
        let ledger = Ledger(), stop = Atomic<Bool>(false)
        let point = home.point
        var threads: [Thread] = []
        let running = Atomic<Int>(0)
        for worker in 0..<6 {
          running.add(1, ordering: .relaxed)
          let thread = Thread {
            defer { running.subtract(1, ordering: .relaxed) }
            var random = SystemRandomNumberGenerator(), index = 0
            while !stop.load(ordering: .relaxed) {
              index += 1
              let name = "w\(worker)-\(index)"
              let content = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: Int.random(in: 1...200_000, using: &random)) + Array(name.utf8)
              let temporary = index % 3 == 0
              let descriptor = open("\(point)/\(name)\(temporary ? ".tmp" : "")", O_CREAT | O_WRONLY, 0o644)
              guard descriptor >= 0 else { return }
              let wrote = content.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
              guard Glibc.close(descriptor) == 0, wrote == content.count else { return }
              if temporary { guard rename("\(point)/\(name).tmp", "\(point)/\(name)") == 0 else { return } }
              ledger.close(name, content)
              if index % 5 == 0 {
                // Not known while the call is under way: neither there nor gone.
                let old = "w\(worker)-\(index - 2)"
                ledger.remove(old)
                guard unlink("\(point)/\(old)") == 0 else { return }
              }
            }
          }
          threads.append(thread)
          thread.start()
        }
        usleep(useconds_t(700_000 + 450_000 * round))
        try home.killOwner()
        stop.store(true, ordering: .relaxed)
        for _ in 0..<1000 where running.load(ordering: .relaxed) > 0 { usleep(10_000) }
        #expect(running.load(ordering: .relaxed) == 0, "writers hang")
        let began = DispatchTime.now()
        let said = try succeed("\(MountedVault.program) mount \(home.vault) \(home.point) --allow-other 2>&1")
        let seconds = Double(DispatchTime.now().uptimeNanoseconds - began.uptimeNanoseconds) / 1e9
        #expect(seconds < 10, "the next mount took \(seconds) s")
        #expect(said.contains("left behind") && !said.contains("error"), "\(said)")
        let all = ledger.all
        #expect(all.count > 30, "only \(all.count) files were closed: too few to prove anything")
        for (name, content) in all {
          let found = FileManager.default.contents(atPath: "\(home.point)/\(name)").map { Array($0) }
          #expect(found == content, "\(name): \(found?.count ?? -1) bytes, expected \(content.count)")
        }
        #expect(!home.log.contains("lost") && !home.log.contains("damaged"), "\(home.log)")
      }
    }

    @Test func `what fsync or a second made safe survives a kill while the file is still open`() throws {
      try MountedVault.run { home in
        let synced = try check(open(home.point + "/synced", O_CREAT | O_RDWR, 0o644)), old = try check(open(home.point + "/old", O_CREAT | O_RDWR, 0o644))
        try check(write(synced, "synced", 6))
        try check(fsync(synced))
        try check(write(old, "a second old", 12))
        usleep(2_200_000)
        try home.killOwner()
        close(synced)
        close(old)
        try home.mount()
        #expect(try String(contentsOfFile: home.point + "/synced", encoding: .utf8) == "synced")
        #expect(try String(contentsOfFile: home.point + "/old", encoding: .utf8) == "a second old")
      }
    }

    @Test func `kill after kill, with the optimiser at work in between`() throws {
      try MountedVault.run { home in
        var expected: [String: String] = [:]
        for round in 0..<4 {
          try succeed("mkdir \(home.point)/r\(round) && cd \(home.point)/r\(round) && for i in 1 2 3 4 5 6; do seq $((i * \(round + 1))) 9000 > f$i; done; cp -a /usr/include/linux . 2> /dev/null; true")
          expected["r\(round)"] = try succeed("cd \(home.point)/r\(round) && find . -type f -print0 | sort -z | xargs -0 sha256sum")
          if round > 0 { usleep(useconds_t(900_000 + round * 300_000)) }
          try home.killOwner()
          try home.mount()
          for (name, sums) in expected { #expect(try succeed("cd \(home.point)/\(name) && find . -type f -print0 | sort -z | xargs -0 sha256sum") == sums, "round \(round)") }
        }
        try home.unmount()
        try succeed("\(MountedVault.program) rebuild \(home.vault)")
        try home.mount()
        for (name, sums) in expected { #expect(try succeed("cd \(home.point)/\(name) && find . -type f -print0 | sort -z | xargs -0 sha256sum") == sums, "after the rebuild") }
      }
    }
  }
}
