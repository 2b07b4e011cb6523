// Which bytes of a file change when it becomes another version of itself.

import Testing
@testable import VaultFS

@Suite struct DifferencesTests {
  /// Bytes outside of what is found are the same in both versions, whatever was done between them.
  @Test(arguments: 1...12) func `what is not found is the same`(_ seed: UInt64) throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      var random = Random(seed: seed), content: [[UInt8]] = [], moments: [LSN] = []
      let inode = try vault.makeFile("f", random.bytes(500_000))
      for _ in 0..<6 {
        try vault.withOpen(inode) { file in
          for _ in 0..<3 {
            let at = UInt64(random.below(600_000)), length = UInt64(1 + random.below(200_000))
            switch random.below(4) {
            case 0: try vault.truncate(inode, to: at, clearsPrivileges: false)
            case 1: try vault.allocate(file, offset: at, length: length, .punchHole, clearsPrivileges: false)
            default: try vault.write(random.bytes(Int(length)), to: file, at: at)
            }
          }
          try vault.endVersion(file)
        }
        content.append(try vault.contents(of: inode))
        moments.append(vault.present)
      }
      for (old, moment) in zip(content, moments) {
        let found = try vault.lock.withLock { try vault.metadata.differences(between: vault.metadata.node(inode), and: #require(try vault.metadata.node(inode, at: moment))) }
        let now = content[content.count - 1], count = max(now.count, old.count)
        func byte(_ index: Int, of bytes: [UInt8]) -> UInt8 { index < bytes.count ? bytes[index] : 0 }
        let missed = (0..<count).first { index in byte(index, of: now) != byte(index, of: old) && !found.contains { $0.contains(UInt64(index)) } }
        #expect(missed == nil)
        #expect(old != now || found.isEmpty)
      }
    }
  }

  @Test func `a few changed bytes of a large file are a small part of it`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      var random = Random(seed: 1)
      let inode = try vault.makeFile("f", random.bytes(20 << 20)), before = vault.present
      try vault.put([1, 2, 3], at: 10 << 20, in: inode)
      let found = try vault.lock.withLock { try vault.metadata.differences(between: vault.metadata.node(inode), and: #require(try vault.metadata.node(inode, at: before))) }
      #expect(found.contains { $0.contains(10 << 20) } && found.reduce(0) { $0 + $1.count } < 1 << 20, "\(found)")
    }
  }
}
