// What others are shown of the past: what they might have come to then.

import Glibc
import Testing
@testable import VaultFS

struct PastAccessTests {
  private let other = Viewer(user: 9) { _ in false }

  private func chmod(_ vault: Vault, _ inode: InodeNumber, _ mode: mode_t) throws {
    var change = AttributeChange()
    change.mode = mode
    _ = try vault.change(inode, change)
  }

  @Test func `what a directory hid is shown to nobody when it is forgotten that it did`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let above = try vault.makeDirectory("above"), directory = try vault.makeDirectory("d", in: above)
      try chmod(vault, directory, 0o700)
      let file = try vault.makeFile("f", in: directory, [1])
      try vault.put([2, 2], in: file)
      try chmod(vault, directory, 0o755)
      try vault.put([3, 3, 3], in: file)
      try vault.makeFile("g", in: directory, [])
      func sizes(_ viewer: Viewer) throws -> [UInt64] { try home.vault.versions(named: [UInt8]("f"), in: directory, for: viewer).map(\.size) }
      // (The second was there when it was opened.)
      let mine = try sizes(Viewer(user: 0) { _ in true })
      #expect(mine.contains(1) && mine.contains(2) && mine.first == 3)
      #expect(try sizes(other) == [3, 2])
      try vault.forget(pastOf: directory)
      #expect(try sizes(other) == [3], "nobody knows who might go there")
      #expect(try sizes(Viewer(user: 0) { _ in true }) == mine)
      try home.reopen()
      #expect(try sizes(other) == [3])
    }
  }

  @Test func `a version of which it is not kept who might go to it at its end is asked at the last moment of it of which it is`() throws {
    for wasOpen in [true, false] {
      try Home.run { home in
        let vault = home.vault
        try vault.keepEverything()
        let directory = try vault.makeDirectory("d")
        try chmod(vault, directory, wasOpen ? 0o755 : 0o700)
        let file = try vault.makeFile("f", in: directory, [1])
        let moment = vault.present
        try vault.pin(directory, at: moment, true)
        // The other way about, until the version ends.
        try chmod(vault, directory, wasOpen ? 0o700 : 0o755)
        try vault.makeFile("g", in: directory, [])
        try vault.put([2, 2], in: file)
        try chmod(vault, directory, 0o755)
        func sizes() throws -> [UInt64] { try vault.versions(named: [UInt8]("f"), in: directory, for: other).map(\.size) }
        #expect(try sizes().contains(1) != wasOpen)
        try vault.forget(pastOf: directory)
        #expect(try sizes().contains(1) == wasOpen, "\(wasOpen)")
        // Before the version began is of no matter.
        try vault.pin(directory, at: moment, false)
        try vault.forget(pastOf: directory)
        #expect(try !sizes().contains(1))
      }
    }
  }

  @Test func `a way that changed as often as a file is asked for each of its versions`() throws {
    try Home.run { home in
      let vault = home.vault
      try vault.keepEverything()
      let above = try vault.makeDirectory("a"), directory = try vault.makeDirectory("d", in: above), file = try vault.makeFile("f", in: directory, [])
      var shown: Set<UInt64> = []
      for index in 1...200 {
        let isOpen = index % 3 != 0
        try chmod(vault, above, isOpen ? 0o755 : 0o700)
        try vault.put([UInt8](repeating: 1, count: index), in: file)
        // (It ends in the midst of the next.)
        if (index + 1) % 3 != 0 { shown.insert(UInt64(index)) }
      }
      try chmod(vault, above, 0o755)
      let found = try vault.versions(named: [UInt8]("f"), in: directory, for: other).filter { $0.died != nil && $0.size > 0 }
      #expect(Set(found.map(\.size)) == shown && found.count > 100)
      let times = try vault.versions(of: file)
      #expect(times.allSatisfy { $0.ended.map { $0 >= 0 } ?? true } && times.allSatisfy { $0.ended ?? .max >= $0.second })
    }
  }
}
