// Nothing is stored twice, and what is counted is what is there.

import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct DedupTests {
  @Test func `a second identical file adds no chunk`() throws {
    try Home.run { home in
      var random = Random(seed: 1)
      for (index, count) in [100, 5_000, 200_000, 3_000_000].enumerated() {
        let content = random.bytes(count)
        try home.vault.makeFile("a\(index)", content)
        let before = home.vault.status().counters
        try home.vault.makeFile("b\(index)", content)
        let after = home.vault.status().counters
        #expect(after.chunks == before.chunks, "\(count) bytes")
        #expect(after.uniqueBytes == before.uniqueBytes && after.frameBytes == before.frameBytes, "\(count) bytes")
        #expect(after.logicalBytes == before.logicalBytes + Int64(count), "\(count) bytes")
      }
    }
  }

  /// A large file is saved while it is written, in pieces whose size depends on who is faster. Where it is cut must not.
  @Test(arguments: [1 << 20, 128 << 10, 4096, 999_983])
  func `a large file is cut the same however fast it comes`(step: Int) throws {
    try Home.run { home in
      var random = Random(seed: 2)
      let content = random.bytes(48 << 20)
      try home.vault.makeFile("first", content)
      let before = home.vault.status().counters
      let second = try home.vault.make("second").inode
      try home.vault.withOpen(second) { file in
        var at = 0
        while at < content.count {
          try home.vault.write(Array(content[at..<min(at + step, content.count)]), to: file, at: UInt64(at))
          at += step
        }
      }
      // Where the machine is slow, the keeper saved some of it.
      try home.collect()
      let added = home.vault.status().counters.uniqueBytes - before.uniqueBytes
      #expect(added * 200 <= content.count, "a copy adds at most 0.5 %; this one \(added) bytes of \(content.count)")
    }
  }

  @Test func `a stream that comes so slowly that each second of it is saved is cut the same`() throws {
    try Home.run { home in
      var random = Random(seed: 12)
      let content = random.bytes(12 << 20), vault = home.vault
      try vault.makeFile("first", content)
      let before = vault.status().counters, second = try vault.make("second").inode
      try vault.withOpen(second) { file in
        var at = 0
        while at < content.count {
          let step = min(random.pick([5000, 60_000, 300_000]), content.count - at)
          try vault.write(Array(content[at..<at + step]), to: file, at: UInt64(at))
          at += step
          if random.chance(70) { try vault.save(file, isTimed: true) }
        }
      }
      #expect(try vault.contents(of: second) == content)
      try home.collect()
      #expect(vault.status().counters.uniqueBytes == before.uniqueBytes)
      #expect(try vault.lock.withLock { () throws in try vault.metadata.allocated(of: vault.metadata.node(second), in: 0..<Limits.fileBytesMax) } == UInt64(content.count))
    }
  }

  @Test func `a file with a little put in front shares nearly all`() throws {
    try Home.run { home in
      var random = Random(seed: 3)
      let content = random.bytes(16 << 20)
      try home.vault.makeFile("first", content)
      let before = home.vault.status().counters
      try home.vault.makeFile("second", random.bytes(1000) + content)
      let added = home.vault.status().counters.uniqueBytes - before.uniqueBytes
      #expect(added < 2 << 20, "\(added) bytes of \(content.count)")
    }
  }

  @Test func `an overwrite in the middle stores what is new and a little around it`() throws {
    try Home.run { home in
      var random = Random(seed: 4)
      let file = try home.vault.makeFile("f", random.bytes(8 << 20))
      let before = home.vault.status().counters
      for index in 0..<20 { try home.vault.put(random.bytes(100), at: UInt64(index * 400_000 + 77), in: file) }
      #expect(home.vault.status().counters.uniqueBytes - before.uniqueBytes == 2000)
    }
  }

  @Test func `text is stored smaller than it is`() throws {
    try Home.run { home in
      let text = (0..<40_000).map { "line \($0 % 977) of something that people write\n" }.joined()
      try home.vault.makeFile("text", [UInt8](text))
      let counters = home.vault.status().counters
      #expect(counters.frameBytes * 3 < counters.uniqueBytes)
    }
  }

  @Test func `writers at once lose nothing and count right`() throws {
    try Home.run { home in
      let vault = home.vault
      let inodes = try (0..<6).map { try vault.make("w\($0)").inode }
      let failures = Mutex<[String]>([])
      var threads: [pthread_t] = []
      for worker in 0..<6 {
        threads.append(startThread("test-writer") {
          var random = Random(seed: UInt64(worker))
          do {
            for round in 0..<40 {
              try vault.withOpen(inodes[worker]) { file in
                try vault.write(random.bytes(1 + random.below(200_000)), to: file, at: UInt64(random.below(3_000_000)))
                try vault.write([UInt8]("worker \(worker) round \(round)"), to: file)
                if round % 7 == 0 { try vault.sync(file) }
                #expect(try vault.read(file, count: 8) == [UInt8]("worker \(worker)"))
              }
              try vault.make("t\(worker)-\(round)")
              try vault.rename([UInt8]("t\(worker)-\(round)"), in: .root, to: [UInt8]("last-\(worker)"), in: .root, mode: .replace)
              _ = try vault.list(.root, after: 0, count: 100, withInfo: true)
            }
          } catch { failures.withLock { $0.append("\(worker): \(error)") } }
        })
      }
      for thread in threads { pthread_join(thread, nil) }
      #expect(failures.withLock { $0 } == [])
      for (worker, inode) in inodes.enumerated() {
        let content = try vault.contents(of: inode), expected = [UInt8]("worker \(worker) round 39")
        #expect(Array(content.prefix(expected.count)) == expected)
      }
      #expect(try vault.names().count == 12)
    }
  }
}
