// How fast bytes come over the socket: printed for a reader, never asserted.

import Foundation
import Testing
@testable import VaultClient
@testable import VaultFS

extension ServiceTests {
  @Suite(.serialized) struct BulkTests {
    @Test func `bulk reads of warm data, for comparison`() throws {
      try ServedVault.run { served in
        let size = 256 << 20, block = (0..<(1 << 20)).map { _ in UInt8.random(in: 0...255) }
        for (name, isRandom) in [("random", true), ("text", false)] {
          let inode = try served.make(name), file = try served.vault.open(inode)
          for index in 0..<(size >> 20) {
            var bytes = block
            if isRandom { for at in stride(from: 0, to: bytes.count, by: 4096) { bytes[at] = UInt8(truncatingIfNeeded: index &* 31 &+ at / 4096) } } else {
              bytes = (0..<(1 << 14)).flatMap { line in Array("line \(10_000_000 + line + index << 14) of some text that repeats itself, as a text may do\n".utf8.prefix(64)) }
            }
            try bytes.withUnsafeBytes { try served.vault.write($0, to: file, at: UInt64(index << 20), clearsPrivileges: false, isMember: { _ in true }) }
          }
          served.vault.close(file)
          try served.vault.syncAll()
          for (words, service) in [("in this process", LocalService(served.vault) as any VaultService), ("over the socket", served.service)] {
            var best = 0.0
            for _ in 0..<3 {
              let began = ContinuousClock.now
              let count = try service.read(.node(inode.value)) { _ in }
              #expect(count == size)
              let passed = ContinuousClock.now - began
              best = max(best, Double(size) / (Double(passed.components.seconds) + Double(passed.components.attoseconds) / 1e18) / 1e9)
            }
            print("bench: \(name), \(words): \((best * 100).rounded() / 100) GB/s")
          }
        }
        let inode = try served.make("hole")
        let file = try served.vault.open(inode)
        try [UInt8](repeating: 1, count: 1).withUnsafeBytes { try served.vault.write($0, to: file, at: 1 << 30, clearsPrivileges: false, isMember: { _ in true }) }
        served.vault.close(file)
        let began = ContinuousClock.now
        #expect(try served.service.read(.node(inode.value)) { _ in } == 1 << 30 + 1)
        print("bench: a hole of 1 GiB, over the socket: \(ContinuousClock.now - began)")
      }
    }
  }
}

/// One after another: they time things, and count clients.
@Suite(.serialized) struct ServiceTests {}
