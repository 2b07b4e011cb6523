// Requests and their answers, in this process and over the socket alike; and clients who are many, slow or hostile.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultClient
@testable import VaultFS

extension ServiceTests {
  @Suite(.serialized) struct AnswerTests {
    @Test func `both services answer the same`() throws {
      try ServedVault.run { served in
        let content = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        let directory = try served.make("d", mode: S_IFDIR | 0o755)
        try served.make("f", in: directory, content)
        try served.make("up", in: directory, mode: S_IFLNK | 0o777, target: "../d/./f")
        try served.make("l", mode: S_IFLNK | 0o777, target: "d")
        for service in [LocalService(ServiceHost(served.vault, mount: { MountActivity(requests: [:], latencies: ["lookup": LatencyHistogram(buckets: [0, 1, 2], nanoseconds: 5)], bytesRead: 7, bytesWritten: 8) })), served.service] as [any VaultService] {
          try service.ping()
          try service.sync()
          #expect(try service.status().nodes == 5 && service.status().vault == served.path)
          let stats = try service.stats()
          #expect(stats.nodes == 5 && stats.logicalBytes == 700_000 && (stats.uniqueBytes ?? 0) > 0 && stats.vault == served.path)
          #expect(try service.activity().mount.latencies["lookup"]?.count == 3 && service.activity().mount.bytesWritten == 8)
          for path in ["d/f", "/d/f", "l/f", "d/up", "l/up"] { #expect(try served.read(service, path) == content, "\(path)") }
          #expect(try served.read(service, "d/f", offset: 5, length: 300_000) == Array(content[5..<300_005]))
          #expect(try served.read(service, "d/f", offset: 699_999) == [content[699_999]] && served.read(service, "d/f", offset: .max, length: .max) == [])
          #expect(try served.read(service, "d/f", offset: 1 << 62, length: 10) == [] && served.read(service, "d/f", length: 0) == [])
          #expect(code { _ = try served.read(service, "nowhere") } == .notFound && code { _ = try served.read(service, "d/f/x") } == .notADirectory)
          #expect(code { _ = try served.read(service, "d") } == .isADirectory && code { _ = try service.read(.node(1 << 40)) { _ in } } != nil)
          do {
            _ = try served.read(service, "d/nowhere")
            Issue.record("it is not there")
          } catch { #expect("\(error)".contains("/d/nowhere") && "\(error)".contains("no such file"), "\(error)") }
        }
      }
    }

    @Test func `what is written and not saved yet is read, and reading saves nothing`() throws {
      try ServedVault.run { served in
        let inode = try served.make("f"), file = try served.vault.open(inode)
        defer { served.vault.close(file) }
        try Array("unsaved".utf8).withUnsafeBytes { try served.vault.write($0, to: file, at: 0, clearsPrivileges: false, isMember: { _ in true }) }
        let before = try served.service.status().operations
        #expect(try served.read(served.service, "f") == Array("unsaved".utf8))
        #expect(try served.service.status().operations == before)
      }
    }

    @Test func `a connection carries many requests, errors between them, and what is given up closes it`() throws {
      try ServedVault.run { served in
        try served.make("f", [UInt8](repeating: 7, count: 3 << 20))
        let service = served.service
        for _ in 0..<50 {
          try service.ping()
          #expect(code { _ = try served.read(service, "nowhere") } == .notFound)
        }
        #expect(served.server.clientCount == 1)
        struct Enough: Error {}
        #expect(throws: Enough.self) { try service.read(.path(VaultPath("f".utf8)!)) { _ in throw Enough() } }
        for _ in 0..<200 where served.server.clientCount > 0 { usleep(10_000) }
        #expect(served.server.clientCount == 0, "cancelling is closing")
        #expect(try served.read(service, "f").count == 3 << 20)
      }
    }

    @Test func `many ask at once, each gets its own answer`() throws {
      try ServedVault.run { served in
        for index in 0..<16 { try served.make("f\(index)", [UInt8](repeating: UInt8(index), count: 500_000 + index)) }
        let shared = served.service, failures = Mutex<[String]>([])
        DispatchQueue.concurrentPerform(iterations: 40) { index in
          do {
            // Some share a service, some have their own.
            let service = index % 2 == 0 ? shared : served.service, file = index % 16
            for _ in 0..<5 where try served.read(service, "f\(file)") != [UInt8](repeating: UInt8(file), count: 500_000 + file) { failures.withLock { $0.append("f\(file)") } }
          } catch { failures.withLock { $0.append("\(error)") } }
        }
        #expect(failures.withLock { $0 } == [])
      }
    }

    @Test func `half a frame and silence costs the one who does that their connection, and nobody else anything`() throws {
      try ServedVault.run { served in
        try served.make("f", [UInt8](repeating: 1, count: 4 << 20))
        var stalled: [Int32] = []
        defer { for descriptor in stalled { close(descriptor) } }
        let header = try #require(FrameHeader(.request, count: 1000)).bytes
        for index in 0..<20 {
          let descriptor = try served.rawSocket()
          stalled.append(descriptor)
          // Nothing, half a header, a header alone, half a body.
          let bytes = [[], Array(header.prefix(6)), header, header + [UInt8](repeating: 32, count: 500)][index % 4]
          if !bytes.isEmpty { #expect(write(descriptor, bytes, bytes.count) == bytes.count) }
        }
        // One that asks for much and takes nothing.
        let greedy = try served.rawSocket()
        stalled.append(greedy)
        let question = Array(try JSONEncoder().encode(Question(ReadRequest(.path(VaultPath("f".utf8)!)))))
        let asked = try #require(FrameHeader(.request, count: question.count)).bytes + question
        #expect(write(greedy, asked, asked.count) == asked.count)
        let began = ContinuousClock.now
        for _ in 0..<20 { #expect(try served.read(served.service, "f").count == 4 << 20) }
        #expect(ContinuousClock.now - began < .seconds(5))
        // All but those who have said nothing yet are gone when their time is over.
        for _ in 0..<300 where served.server.clientCount > 5 { usleep(50_000) }
        #expect(served.server.clientCount <= 5)
      }
    }

    @Test func `a length beyond the limit, another kind or another protocol is refused with words`() throws {
      try ServedVault.run { served in
        let magic = Array(try #require(FrameHeader(.request, count: 0)).bytes.prefix(5))
        for bytes in [magic + [1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], magic + [1, 0, 0, 1, 0, 4, 0], magic + [5, 0, 0, 0, 0, 0, 0], Array("status\nGET / HTTP".utf8)] {
          let descriptor = try served.rawSocket(), channel = Channel(descriptor)
          #expect(write(descriptor, bytes, bytes.count) == bytes.count)
          let header = try #require(try channel.header(within: .seconds(5)))
          #expect(header.kind == .error)
          #expect(try JSONDecoder().decode(ServiceError.self, from: Data(channel.payload(header))).code == .malformed)
          #expect(throws: ChannelError.self) { _ = try channel.header(within: .seconds(5)) }
        }
        try served.service.ping()
      }
    }

    @Test func `there is room for so many and no more, and an end for all`() throws {
      try ServedVault.run { served in
        let sockets = try (0..<WireLimits.clientsMax).map { _ in try served.rawSocket() }
        defer { for descriptor in sockets { close(descriptor) } }
        for _ in 0..<200 where served.server.clientCount < WireLimits.clientsMax { usleep(10_000) }
        #expect(code { try served.service.ping() } == .busy && served.service.answers, "who says why not is there")
        close(sockets[0])
        let again = dup(sockets[1])
        dup2(again, sockets[0])
        close(again)
        for _ in 0..<200 where served.server.clientCount == WireLimits.clientsMax { usleep(10_000) }
        try served.service.ping()
        let began = ContinuousClock.now
        served.server.close()
        #expect(served.server.clientCount == 0 && ContinuousClock.now - began < .seconds(3))
        #expect(code { try served.service.ping() } == .unreachable && !served.service.answers)
      }
    }

    @Test func `who does not answer is not waited for`() throws {
      try ServedVault.run { served in
        let address = UnixAddress(directory: Array(served.path.utf8), name: "mute"), directory = address.openDirectory(), mute = UnixAddress.makeSocket()
        defer { close(directory); close(mute) }
        try #require(UnixAddress.with("mute", in: directory) { bind(mute, $0, $1) } == 0 && listen(mute, 4) == 0)
        let began = ContinuousClock.now, service = RemoteService(address)
        #expect(code { try service.sync() } == .silent)
        #expect(ContinuousClock.now - began < .seconds(20))
      }
    }

    @Test func `stats look at no more files in a large vault than in a small one, and tell the disk's truth`() throws {
      try ServedVault.run { served in
        for round in 0..<10 {
          let content = (0..<(1 << 17)).flatMap { _ in withUnsafeBytes(of: UInt64.random(in: 0 ... .max)) { Array($0) } }
          try served.make("f\(round)", content)
          try served.vault.packs.seal()
        }
        try served.vault.syncAll()
        // What the vault does by itself changes what is stored.
        served.vault.keeper?.stop()
        let first = try served.service.stats()
        let disk = try FileManager.default.subpathsOfDirectory(atPath: served.path).filter { $0.hasSuffix(".pack") || $0.hasSuffix(".log") || $0.hasPrefix("metadata.db") }.reduce(UInt64(0)) { sum, name in sum + allocatedBytes("\(served.path)/\(name)") }
        #expect(first.storedBytes == disk)
        #expect(served.vault.containers.expectedCount <= 3, "ended containers are known")
        #expect(try served.service.stats().storedBytes == first.storedBytes)
      }
    }
  }
}
