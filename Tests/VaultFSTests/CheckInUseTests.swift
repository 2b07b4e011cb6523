// A check of a vault in use finds nothing that is not so, and takes bounded memory and short holds of the lock.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

/// What threads of a test tell each other.
private final class Watch: Sendable {
  let isOver = Atomic<Bool>(false)
}

struct CheckInUseTests {
  private func work(_ vault: Vault, _ directory: InodeNumber, seed: UInt64, until isOver: () -> Bool) throws {
    var random = Random(seed: seed), made: [String] = [], count = 0
    while !isOver() {
      switch random.below(6) {
      case 0, 1:
        count += 1
        let name = "file-\(count)"
        try vault.makeFile(name, in: directory, random.bytes(random.chance(5) ? 200_000 : 1 + random.below(9000)))
        made.append(name)
      case 2: if !made.isEmpty { try vault.unlink([UInt8](made.remove(at: random.below(made.count))), in: directory) }
      case 3:
        if made.isEmpty { continue }
        let index = random.below(made.count)
        count += 1
        let name = "moved-\(count)"
        try vault.rename([UInt8](made[index]), in: directory, to: [UInt8](name), in: directory, mode: .replace)
        made[index] = name
      case 4:
        if let name = made.last, let inode = try vault.find(name, in: directory)?.inode { try vault.put(random.bytes(5000), at: UInt64(random.below(100_000)), in: inode) }
      default:
        count += 1
        let inside = try vault.makeDirectory("directory-\(count)", in: directory)
        try vault.makeFile("inside", in: inside, random.bytes(100))
        if random.chance(50) {
          try vault.unlink([UInt8]("inside"), in: inside)
          try vault.removeDirectory([UInt8]("directory-\(count)"), in: directory)
        }
      }
    }
  }

  @Test func `a check while four programs work finds nothing wrong`() throws {
    try Home.run { home in
      let watch = Watch(), vault = home.vault
      try plant(vault)
      let directories = try (0..<4).map { try vault.makeDirectory("program-\($0)") }
      let group = DispatchGroup(), failures = Messages()
      for (index, directory) in directories.enumerated() {
        DispatchQueue.global().async(group: group) {
          do { try self.work(vault, directory, seed: UInt64(index)) { watch.isOver.load(ordering: .relaxed) } } catch { failures.add("\(error)") }
        }
      }
      for round in 0..<6 {
        let report = try vault.check(round == 5 ? .deep : CheckOptions())
        #expect(report.isClean, "round \(round): \(report.text)")
        if round == 2 { vault.lock.withLock { vault.metadata.state.lapses += 1 } }
        let scrub = round % 3 == 0 ? try vault.scrub() : nil
        #expect(scrub?.isClean ?? true, "\(scrub?.findings.map(\.detail) ?? [])")
      }
      watch.isOver.store(true, ordering: .relaxed)
      group.wait()
      #expect(failures.all.isEmpty, "\(failures.all)")
    }
  }

  @Test func `a check that is cancelled ends, and says that it is not complete`() throws {
    try Home.run { home in
      try plant(home.vault)
      var options = CheckOptions()
      let cancellation = options.cancellation
      options.progress = { if $0.done > 0.2 { cancellation.cancel() } }
      let report = try home.vault.check(options)
      #expect(!report.isComplete && !report.isClean)
      let left = try FileManager.default.contentsOfDirectory(atPath: home.path).filter { $0.hasPrefix("check.db") }
      #expect(left.isEmpty, "\(left)")
    }
  }
}
