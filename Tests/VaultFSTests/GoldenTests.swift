// Vaults made by earlier programs, kept as they were: what was stored once stays readable, and can be rebuilt.
//
// Golden/first.tar.gz: nanosecond times in the journal, archives of version 1, a file that was deleted and content
// whose only trace is the journal. Made with the commands of a shell, unmounted cleanly.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct GoldenTests {
  private func extracted<R>(_ name: String, _ body: (String) throws -> R) throws -> R {
    let directory = try temporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let tar = Process()
    tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    let archive = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden/\(name).tar.gz").path
    tar.arguments = ["tar", "xzf", archive, "--no-same-owner", "-C", directory]
    try tar.run()
    tar.waitUntilExit()
    try #require(tar.terminationStatus == 0)
    return try body(directory)
  }

  @Test func `the first vaults are read, and rebuilt to the same`() throws {
    try extracted("first") { path in
      let first = try opening(path) { vault throws in
        let found = try tree(of: vault)
        #expect(Set(found.keys.map { String(decoding: $0, as: UTF8.self) }) == ["", "/d", "/d/l", "/d/r", "/e", "/f1", "/f4", "/f5", "/f9", "/late", "/s"])
        let four = try #require(found[[UInt8]("/f4")]), five = try #require(found[[UInt8]("/f5")])
        #expect(four.times[1] == Timestamp(seconds: 981_173_106, nanoseconds: 123_456_789))
        #expect(four.xattrs == [XattrPair(name: [UInt8]("user.a"), value: [UInt8]("b"))])
        #expect(five.size == 1_000_000 && five.mode & 0o7777 == 0o600)
        #expect(found[[UInt8]("/late")]?.times[1] == Timestamp(seconds: 1_795_828_678, nanoseconds: 941_925_633))
        #expect(found[[UInt8]("/f1")]?.times[1] == Timestamp(seconds: 1_795_828_672, nanoseconds: 838_452_228))
        let lines = (1000...4000).map { "\($0)\n" }.joined()
        #expect(try vault.contents(of: try #require(try vault.find("f1")).inode) == [UInt8](lines))
        try expectSound(vault)
        return found
      }
      try Vault.rebuild(at: path) { _ in }
      try opening(path) { vault throws in
        #expect(try tree(of: vault) == first)
        try expectSound(vault)
      }
    }
  }
}
