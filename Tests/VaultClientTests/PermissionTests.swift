// Who may ask what: the table, the way to a node, and users as the kernel names them.

import Foundation
import Glibc
import TestSupport
import Testing
@testable import VaultClient
@testable import VaultFS

extension ServiceTests {
  @Suite(.serialized) struct PermissionTests {
    private static let ada: UInt32 = 4001, bob: UInt32 = 4002, team: UInt32 = 5001, crew: UInt32 = 5002

    /// acl(5) as the kernel keeps it: tag, permissions, id.
    private static func list(_ entries: [(UInt16, UInt16, UInt32)]) -> [UInt8] {
      [2, 0, 0, 0] + entries.flatMap { entry in
        [UInt8(entry.0 & 255), UInt8(entry.0 >> 8), UInt8(entry.1), 0] + (0..<4).map { UInt8(truncatingIfNeeded: entry.2 >> ($0 * 8)) }
      }
    }

    struct Case: Sendable {
      var mode: UInt32
      var list: [UInt8]?
      var user: UInt32
      var groups: Set<UInt32> = []
      /// As `ls -l` shows them.
      var may: String
    }
    /// Of a node that is ada's and the team's.
    static let table: [Case] = [
      Case(mode: 0o740, user: ada, may: "rwx"), Case(mode: 0o077, user: ada, groups: [team], may: "---"),
      Case(mode: 0o740, user: bob, groups: [team], may: "r--"), Case(mode: 0o707, user: bob, groups: [team], may: "---"),
      Case(mode: 0o701, user: bob, groups: [crew], may: "--x"), Case(mode: 0o777, user: bob, may: "rwx"), Case(mode: 0o000, user: bob, may: "---"),
      Case(mode: 0o000, user: 0, may: "rwx"),
      // bob r-x, masked to r--.
      Case(mode: 0o640, list: list([(1, 6, .max), (2, 5, bob), (4, 4, .max), (16, 4, .max), (32, 0, .max)]), user: bob, may: "r--"),
      // The named user counts before their groups.
      Case(mode: 0o670, list: list([(1, 6, .max), (2, 0, bob), (4, 7, .max), (16, 7, .max), (32, 7, .max)]), user: bob, groups: [team], may: "---"),
      // Any of the groups may grant; none does: others are not asked.
      Case(mode: 0o677, list: list([(1, 6, .max), (4, 0, .max), (8, 6, crew), (16, 7, .max), (32, 7, .max)]), user: bob, groups: [team, crew], may: "rw-"),
      Case(mode: 0o677, list: list([(1, 6, .max), (4, 0, .max), (8, 1, crew), (16, 7, .max), (32, 7, .max)]), user: bob, groups: [team], may: "---"),
      Case(mode: 0o674, list: list([(1, 6, .max), (4, 0, .max), (8, 1, crew), (16, 7, .max), (32, 4, .max)]), user: bob, may: "r--"),
      // A mask of nothing: the kernel does not look at the list.
      Case(mode: 0o604, list: list([(1, 6, .max), (2, 7, bob), (4, 7, .max), (16, 0, .max), (32, 4, .max)]), user: bob, may: "r--"),
      Case(mode: 0o670, list: list([(1, 6, .max), (2, 7, bob), (4, 7, .max), (16, 7, .max), (32, 0, .max)]), user: ada, may: "rw-"),
    ]

    @Test(arguments: table) func `owner, group, others and access lists decide as the kernel does`(entry: Case) throws {
      let protection = try #require(Protection(user: Self.ada, group: Self.team, mode: S_IFDIR | entry.mode, accessList: entry.list))
      let peer = Peer(user: entry.user, group: entry.user, groups: entry.groups)
      let may = (peer.mayRead(protection) ? "r" : "-") + (peer.mayWrite(protection) ? "w" : "-") + (peer.maySearch(protection) ? "x" : "-")
      #expect(may == entry.may)
    }

    @Test func `what is no access list protects nothing`() { #expect(Protection(user: 0, group: 0, mode: 0o777, accessList: [1, 2, 3]) == nil) }

    @Test func `every directory on the way must be one that may be searched, and no symlink leads around`() throws {
      try ServedVault.run { served in
        let open = try served.make("open", mode: S_IFDIR | 0o755), shut = try served.make("shut", mode: S_IFDIR | 0o700), listed = try served.make("listed", mode: S_IFDIR | 0o744)
        for directory in [open, shut, listed] { try served.make("f", in: directory, Array("x".utf8)) }
        try served.make("secret", in: open, mode: S_IFREG | 0o600, Array("x".utf8))
        try served.make("adas", in: open, mode: S_IFREG | 0o400, user: Self.ada, Array("x".utf8))
        for (name, target) in [("in", "../shut/f"), ("ok", "./f"), ("out", "../../etc/passwd"), ("root", "/etc/passwd"), ("loop", "loop")] {
          try served.make(name, in: open, mode: S_IFLNK | 0o777, target: target)
        }
        let bob = LocalService(served.vault, as: Peer(user: Self.bob, group: Self.bob, groups: [Self.bob])), ada = LocalService(served.vault, as: Peer(user: Self.ada, group: Self.ada, groups: []))
        for path in ["open/f", "open/ok"] { #expect(try served.read(bob, path) == Array("x".utf8), "\(path)") }
        for path in ["shut/f", "listed/f", "open/secret", "open/adas", "open/in", "open/out", "open/root", "shut/nowhere"] {
          #expect(code { _ = try served.read(bob, path) } == .notPermitted, "\(path)")
        }
        #expect(try served.read(ada, "open/adas") == Array("x".utf8))
        #expect(code { _ = try served.read(bob, "open/loop") } == .invalidArgument && code { _ = try served.read(bob, "open/nowhere") } == .notFound)
        #expect(code { _ = try bob.read(.node(open.value)) { _ in } } == .notPermitted, "no node by its number")
        for path in ["shut/f", "open/secret", "open/in"] { #expect(try served.read(LocalService(served.vault), path) == Array("x".utf8)) }
      }
    }

    @Test func `ordinary users never administer, and learn nothing of what others store`() throws {
      try ServedVault.run { served in
        try served.make("f", mode: S_IFREG | 0o644, Array("content".utf8))
        try asUser(Self.bob, groups: [Self.bob]) { [everyones = served.everyones] () throws in
          try everyones.ping()
          try everyones.sync()
          #expect(try served.read(everyones, "f") == Array("content".utf8))
          let stats = try everyones.stats()
          #expect(stats.logicalBytes == 7 && stats.uniqueBytes == nil && stats.compressedBytes == nil && stats.storedBytes == nil && stats.vault == nil && stats.chunks == nil)
          #expect(code { _ = try everyones.status() } == .notPermitted && code { _ = try everyones.activity() } == .notPermitted)
          // The socket in the vault's folder is not for them at all.
          #expect(code { try served.service.ping() } == .notPermitted)
        }
        #expect(try served.everyones.status().nodes == 2, "root administers through either")
      }
    }

    @Test func `groups are those of the kernel, however many`() throws {
      try ServedVault.run { served in
        try served.make("f", mode: S_IFREG | 0o040, group: Self.team, Array("x".utf8))
        let many = [Self.bob] + (100_000..<100_300).map { UInt32($0) }
        try asUser(Self.bob, groups: many) { [everyones = served.everyones] () throws in #expect(code { _ = try served.read(everyones, "f") } == .notPermitted) }
        try asUser(Self.bob, groups: many + [Self.team]) { [everyones = served.everyones] () throws in #expect(try served.read(everyones, "f") == Array("x".utf8)) }
      }
    }

    @Test func `a directory above the mount keeps out of the socket whom it keeps out of the mount`() throws {
      try ServedVault.run { served in
        let above = URL(fileURLWithPath: served.path).deletingLastPathComponent().path
        chmod(above, 0o700)
        try asUser(Self.bob, groups: [Self.bob]) { [everyones = served.everyones] () throws in #expect(code { try everyones.ping() } == .notPermitted) }
        chmod(above, 0o711)
        try asUser(Self.bob, groups: [Self.bob]) { [everyones = served.everyones] () throws in try everyones.ping() }
      }
    }

    @Test func `one user cannot take the place of all others`() throws {
      try ServedVault.run { served in
        let sockets = try asUser(Self.bob, groups: [Self.bob]) { [device = served.device] in
          try (0..<WireLimits.clientsPerUserMax + 4).map { _ in try UnixAddress(directory: Array(PublicDirectory.path.utf8), name: device).connect() }
        }
        defer { for descriptor in sockets { close(descriptor) } }
        for _ in 0..<200 where served.server.clientCount < WireLimits.clientsPerUserMax { usleep(10_000) }
        try asUser(Self.bob, groups: [Self.bob]) { [everyones = served.everyones] () throws in #expect(code { try everyones.ping() } == .busy) }
        try asUser(Self.ada, groups: [Self.ada]) { [everyones = served.everyones] () throws in try everyones.ping() }
        try served.everyones.ping()
      }
    }

    @Test func `a socket left behind is replaced, one that is another's by now stays`() throws {
      try ServedVault.run { first in
        let place = "\(PublicDirectory.path)/\(first.device)"
        let second = VaultServer(ServiceHost(first.vault))
        try second.listenForEveryone(device: first.device, mountPoint: Array("/mnt".utf8))
        first.server.close()
        #expect(access(place, F_OK) == 0, "the name is the second one's")
        try first.everyones.ping()
        second.close()
        #expect(access(place, F_OK) != 0)
        #expect(throws: ServiceError.self) { try second.listenForEveryone(device: "x", mountPoint: Array("/run".utf8)) }
        // What a killed owner left of a mount that is gone goes with the next one that comes; one that is answered stays.
        let stale = "\(PublicDirectory.path)/0:999999", third = VaultServer(ServiceHost(first.vault)), fourth = VaultServer(ServiceHost(first.vault))
        let listener = UnixAddress.makeSocket(), directory = try PublicDirectory.open()
        #expect(UnixAddress.with("0:999999", in: directory) { bind(listener, $0, $1) } == 0)
        close(listener)
        close(directory)
        try third.listenForEveryone(device: "0:999998", mountPoint: Array("/mnt".utf8))
        #expect(access(stale, F_OK) != 0)
        try fourth.listenForEveryone(device: "0:999997", mountPoint: Array("/mnt".utf8))
        #expect(access("\(PublicDirectory.path)/0:999998", F_OK) == 0)
        third.close()
        fourth.close()
      }
    }
  }
}
