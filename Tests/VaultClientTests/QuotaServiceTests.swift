// Limits over both services: setting, showing, removing; who may; and what is no request.

import Foundation
import Glibc
import TestSupport
import Testing
@testable import VaultClient
@testable import VaultFS

/// (No closures that change one: several of them inside `#expect` get each other's place in the optimised program, by Swift 6.3.)
private func change(soft: QuotaChange.Bound? = nil, hard: QuotaChange.Bound? = nil, softNodes: QuotaChange.Bound? = nil, hardNodes: QuotaChange.Bound? = nil,
                    grace: UInt32? = nil) -> QuotaChange {
  var change = QuotaChange()
  (change.softBytes, change.hardBytes, change.softNodes, change.hardNodes, change.graceSeconds) = (soft, hard, softNodes, hardNodes, grace)
  return change
}
private func tree(_ path: String) -> QuotaHolder { .tree(.path(VaultPath(path.utf8)!)) }

private func list(_ service: any VaultService, onlyMine: Bool = false, around: String? = nil) throws -> [String] {
  var all: [String] = []
  _ = try service.ask(QuotasRequest(onlyMine: onlyMine, around: around.flatMap { VaultPath($0.utf8) }), Receiver(item: { report in
    all.append(report.path.map { "\($0)" } ?? "\(report.kind.rawValue) \(report.id ?? 0)")
  }))
  return all
}

extension ServiceTests {
  @Suite(.serialized) struct QuotaServiceTests {
    private static let ada: UInt32 = 4001, bob: UInt32 = 4002, team: UInt32 = 5001

    @Test func `a limit is set, changed in part, shown and removed, by both services`() throws {
      for isRemote in [false, true] {
        try ServedVault.run { served in
          let service: any VaultService = isRemote ? served.service : LocalService(served.vault)
          let directory = try served.make("d", mode: S_IFDIR | 0o755)
          try served.make("f", in: directory, [UInt8](repeating: 1, count: 5000))
          try served.vault.syncAll()
          let first = try service.ask(SetQuotaRequest(tree("d"), change(soft: .at(4000), hard: .at(100_000), grace: 60)))
          #expect(first.kind == .tree && first.id == directory.value && first.path == VaultPath("d".utf8) && first.bytes.used == 5000 && first.nodes.used == 1)
          #expect(first.bytes.hard == 100_000 && first.bytes.soft == 4000 && first.graceSeconds == 60 && first.nodes.hard == nil)
          // What is not named stays; `none` takes away.
          let second = try service.ask(SetQuotaRequest(tree("d"), change(soft: QuotaChange.Bound.none, hardNodes: .at(7))))
          #expect(second.bytes.soft == nil && second.bytes.hard == 100_000 && second.nodes.hard == 7 && second.graceSeconds == 60)
          for (holder, bytes) in [(QuotaHolder.vault, UInt64(1 << 30)), (.user(Self.ada), 1 << 20), (.group(Self.team), 1 << 21)] {
            #expect(try service.ask(SetQuotaRequest(holder, change(hard: .at(bytes)))).bytes.hard == bytes)
          }
          #expect(try list(service) == ["vault 0", "user \(Self.ada)", "group \(Self.team)", "/d"])
          #expect(try served.vault.quotas().count == 4, "the engine has them")
          let unlimited = try service.ask(QuotaRequest(.user(0)))
          #expect(!unlimited.isLimited && unlimited.bytes.used == 5000 && unlimited.nodes.used == 3)
          #expect(try service.ask(RemoveQuotaRequest(tree("d"), isDry: true)).nodes.hard == 7 && list(service).count == 4)
          #expect(try service.ask(RemoveQuotaRequest(tree("/d/./"), isDry: false)).nodes.hard == 7 && list(service).count == 3)
          let stats = try service.ask(StatsRequest(tree: VaultPath("d".utf8), user: 0, group: Self.team))
          #expect(stats.tree?.logicalBytes == 5000 && stats.tree?.nodes == 1 && stats.tree?.path == "/d" && stats.tree?.pathBytes == Data("/d".utf8) && stats.user?.nodes == 3 && stats.group?.nodes == 0)
        }
      }
    }

    @Test func `what makes no sense is refused in words, and changes nothing`() throws {
      try ServedVault.run { served in
        try served.make("d", mode: S_IFDIR | 0o755)
        try served.make("f", Array("x".utf8))
        for service in [LocalService(served.vault), served.service] as [any VaultService] {
          func refused(_ holder: QuotaHolder, _ change: QuotaChange) -> ServiceError.Code? { code { _ = try service.ask(SetQuotaRequest(holder, change)) } }
          #expect(refused(.vault, change()) == .invalidArgument, "no limit at all")
          #expect(refused(.vault, change(soft: .at(2), hard: .at(1))) == .invalidArgument)
          #expect(refused(.user(7), change(softNodes: .at(.max), hardNodes: .at(1))) == .invalidArgument)
          #expect(refused(tree("f"), change(hard: .at(1))) == .notADirectory && refused(tree("nowhere"), change(hard: .at(1))) == .notFound)
          #expect(refused(.tree(.node(1 << 50)), change(hard: .at(1))) != nil)
          #expect(code { _ = try service.ask(RemoveQuotaRequest(.vault, isDry: false)) } == .notFound && code { _ = try service.ask(RemoveQuotaRequest(tree("d"), isDry: true)) } == .notFound)
          #expect(try served.vault.quotas().isEmpty)
          _ = try service.ask(SetQuotaRequest(.user(7), change(hard: .at(.max))))
          #expect(refused(.user(8), change(hard: QuotaChange.Bound.none)) == .invalidArgument, "there is none")
          do { _ = try service.ask(RemoveQuotaRequest(.user(8), isDry: false)) } catch { #expect("\(error)".contains("user 8") && "\(error)".contains("fsctl quota list")) }
          let ended = try service.ask(SetQuotaRequest(.user(7), change(hard: QuotaChange.Bound.none)))
          #expect(try !ended.isLimited && served.vault.quotas().isEmpty, "`none` of the last one")
        }
      }
    }

    @Test func `ordinary users see what binds them and directories that they may read, and set nothing`() throws {
      try ServedVault.run { served in
        let open = try served.make("open", mode: S_IFDIR | 0o755), shut = try served.make("shut", mode: S_IFDIR | 0o700)
        let inner = try served.make("inner", in: shut, mode: S_IFDIR | 0o755), mine = try served.make("mine", mode: S_IFDIR | 0o700, user: Self.bob)
        let limits = QuotaLimits(bytes: QuotaLimit(hard: 1 << 20))
        for subject in [QuotaSubject.vault, .user(Self.ada), .user(Self.bob), .group(Self.team), .group(9), .tree(open), .tree(shut), .tree(inner), .tree(mine)] {
          try served.vault.setQuota(limits, for: subject)
        }
        try Self.look(LocalService(served.vault, as: Peer(user: Self.bob, group: Self.bob, groups: [Self.bob, Self.team])), open)
        try asUser(Self.bob, groups: [Self.bob, Self.team]) { [everyones = served.everyones] () throws in try Self.look(everyones, open) }
        #expect(try served.vault.quotas().count == 9)
        #expect(try list(served.service).count == 9 && list(served.service, onlyMine: true, around: "shut/inner").count == 3, "root is bound by the vault and by directories")
      }
    }

    /// As bob, who is one of the team.
    @Sendable private static func look(_ service: any VaultService, _ open: InodeNumber) throws {
      let visible = ["vault 0", "user \(bob)", "group \(team)", "/open", "/mine"]
      #expect(Set(try list(service)) == Set(visible))
      #expect(Set(try list(service, onlyMine: true, around: "open/x")) == Set(visible.dropLast()), "of directories those that the path is in")
      #expect(try service.ask(QuotaRequest(.user(bob))).isLimited && service.ask(QuotaRequest(tree("mine"))).isLimited && service.ask(QuotaRequest(.vault)).isLimited)
      for holder in [QuotaHolder.user(ada), .user(0), .group(9), tree("shut"), tree("shut/inner"), .tree(.node(open.value))] {
        #expect(code { _ = try service.ask(QuotaRequest(holder)) } == .notPermitted, "\(holder)")
      }
      #expect(code { _ = try service.ask(SetQuotaRequest(.user(bob), change(hard: .at(1 << 40)))) } == .notPermitted)
      #expect(code { _ = try service.ask(RemoveQuotaRequest(.user(bob), isDry: true)) } == .notPermitted)
      #expect(code { _ = try service.ask(CheckRequest()) } == .notPermitted && code { _ = try service.ask(CheckRequest(repairs: true)) } == .notPermitted)
      #expect(code { _ = try service.ask(ScrubRequest()) } == .notPermitted)
      let stats = try service.ask(StatsRequest(tree: VaultPath("shut".utf8), user: bob))
      #expect(stats.tree == nil && stats.user?.nodes == 1 && stats.lastScrub == nil)
      #expect(code { _ = try service.ask(StatsRequest(user: ada)) } == .notPermitted)
    }

    @Test(arguments: [
      #"{"request":"set-quota","arguments":{}}"#, #"{"request":"set-quota","arguments":{"holder":{"user":{"_0":-1}},"change":{}}}"#,
      #"{"request":"set-quota","arguments":{"holder":{"user":{"_0":4294967296}},"change":{}}}"#,
      #"{"request":"set-quota","arguments":{"holder":{"nobody":{}},"change":{}}}"#, #"{"request":"set-quota","arguments":{"holder":{"vault":{}},"change":{"hardBytes":{"at":{"_0":1e30}}}}}"#,
      #"{"request":"quota","arguments":{"holder":{"tree":{"_0":{"path":{"_0":"Li4vLi4="}}}}}}"#, #"{"request":"quotas","arguments":{"onlyMine":1}}"#,
      #"{"request":"check","arguments":{"repairs":"no","comparesWithJournal":false}}"#, #"{"request":"scrub","arguments":{"threads":1}}"#,
      #"{"request":"scrub","arguments":{"threads":1000000,"isGentle":true,"startsAnew":true}}"#, #"{"request":"scrub","arguments":{"threads":-1,"isGentle":true,"startsAnew":true}}"#,
      #"{"request":"scrub","arguments":{"threads":1,"isGentle":true,"startsAnew":true,"bytesPerSecond":0}}"#,
    ])
    func `arguments that are none are refused, and the connection goes on`(question: String) throws {
      try ServedVault.run { served in
        let channel = Channel(try served.rawSocket())
        for question in [question, #"{"request":"ping","arguments":{}}"#] {
          try channel.send(.request, Array(question.utf8))
          let header = try #require(try channel.header(within: .seconds(5))), payload = try channel.payload(header)
          guard !question.contains("ping") else { return #expect(header.kind == .end) }
          #expect(header.kind == .error && (try? JSONDecoder().decode(ServiceError.self, from: Data(payload)).code) == .invalidArgument, "\(String(decoding: payload, as: UTF8.self))")
        }
      }
    }
  }
}
