// Frames, and what happens to bytes that are none.

import Foundation
import Glibc
import Testing
@testable import VaultClient
@testable import VaultFS

extension ServiceTests {
  @Suite struct FrameTests {
    @Test(arguments: FrameKind.allCases) func `a header says what it was made of`(kind: FrameKind) throws {
      for count in [0, 1, 255, 256, kind.lengthMax] {
        let header = try #require(FrameHeader(kind, count: count))
        #expect(header.bytes.count == FrameHeader.length && FrameHeader(header.bytes) == header)
      }
      #expect(FrameHeader(kind, count: kind.lengthMax + 1) == nil && FrameHeader(kind, count: -1) == nil)
    }

    @Test func `no header is taken for one with a field changed, cut short or too long`() throws {
      let good = try #require(FrameHeader(.bytes, count: 1000)).bytes
      for index in [0, 1, 2, 3, 4, 6, 7] {
        var bad = good
        bad[index] ^= 1
        #expect(FrameHeader(bad) == nil, "byte \(index)")
      }
      for kind in [0, 7, 255] as [UInt8] {
        var bad = good
        bad[5] = kind
        #expect(FrameHeader(bad) == nil, "kind \(kind)")
      }
      for count in 0..<good.count { #expect(FrameHeader(good.prefix(count)) == nil) }
      #expect(FrameHeader(good + [0]) == nil)
      for kind in FrameKind.allCases { #expect(FrameHeader(Array(good[0..<5]) + [kind.rawValue, 0, 0, 255, 255, 255, 255]) == nil, "4 GiB of \(kind)") }
    }

    @Test func `random bytes on the way in are an error or a bounded frame, and nothing else`() throws {
      var random = SystemRandomNumberGenerator()
      for round in 0..<2000 {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let channel = Channel(ends[0])
        var bytes = (0..<Int.random(in: 0...64)).map { _ in UInt8.random(in: 0...255, using: &random) }
        // Half of them begin as a frame does.
        if round % 2 == 0 { bytes = Array(try #require(FrameHeader(FrameKind.allCases.randomElement()!, count: Int.random(in: 0...100))).bytes.prefix(Int.random(in: 0...12))) + bytes }
        if round % 8 == 0, bytes.count > 12 { bytes[Int.random(in: 0..<12)] ^= 1 << UInt8.random(in: 0...7) }
        write(ends[1], bytes, bytes.count)
        close(ends[1])
        do {
          while let header = try channel.header(within: .seconds(1)) {
            #expect(header.count <= header.kind.lengthMax)
            #expect(try channel.payload(header).count == header.count)
          }
          Issue.record("a closed channel has an end")
        } catch {}
      }
    }

    @Test func `small frames go together, large ones from where they are, and come as they went`() throws {
      var ends: [Int32] = [0, 0]
      try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
      let sender = Channel(ends[0]), receiver = Channel(ends[1])
      let frames = (0..<300).map { index in (index % 7 == 0 ? FrameKind.bytes : .item, [UInt8](repeating: UInt8(index % 251), count: index % 7 == 0 ? 200_000 - index : index * 3)) }
      let thread = Thread { for (kind, bytes) in frames { try? sender.send(kind, bytes, isUrgent: false) }; try? sender.send(.end, [1]) }
      thread.start()
      for (kind, bytes) in frames {
        let header = try #require(try receiver.header(within: .seconds(5)))
        #expect(header.kind == kind)
        if kind == .bytes { try receiver.withPayload(header) { span in #expect(span.withUnsafeBytes { Array($0) } == bytes) } } else { #expect(try receiver.payload(header) == bytes) }
      }
      #expect(try receiver.header(within: .seconds(5))?.kind == .end)
    }

    @Test func `no question that is not one gets an answer but an error`() throws {
      func decode(_ text: String) -> Result<Question, any Error> { Result { try JSONDecoder().decode(Question.self, from: Data(text.utf8)) } }
      let good = String(decoding: try JSONEncoder().encode(Question(ReadRequest(.path(VaultPath("a/b".utf8)!), offset: 7, length: 9))), as: UTF8.self)
      #expect((try decode(good).get().request as? ReadRequest)?.offset == 7)
      for bad in ["", "{", "null", "[]", "{}", #"{"request":"read"}"#, #"{"request":"nonsense","arguments":{}}"#, #"{"request":7,"arguments":{}}"#,
                  String(repeating: "[", count: 100_000), String(repeating: #"{"arguments":"#, count: 20_000),
                  #"{"request":"read","arguments":{"node":{"path":{"_0":"Li4="}},"offset":0}}"#, #"{"request":"read","arguments":{"node":{"path":{"_0":"not base64"}},"offset":0}}"#,
                  #"{"request":"read","arguments":{"node":{"node":{"_0":1}},"offset":-1}}"#, #"{"request":"read","arguments":{"node":{"node":{"_0":1e99}},"offset":0}}"#] {
        if case .success = decode(bad) { Issue.record("\(bad.prefix(80))") }
      }
      var bytes = Array(good.utf8)
      for _ in 0..<5000 {
        let index = bytes.indices.randomElement()!, old = bytes[index]
        bytes[index] = UInt8.random(in: 0...255)
        _ = try? JSONDecoder().decode(Question.self, from: Data(bytes.prefix(Int.random(in: 0...bytes.count))))
        bytes[index] = old
      }
    }

    @Test func `a path is bytes, whatever they are, and never leads up`() throws {
      for bytes in [[0xFF, 0x2F, 0x80], Array("e\u{301}/é".utf8), Array("//a/./b//".utf8), []] as [[UInt8]] {
        let path = try #require(VaultPath(bytes))
        #expect(try JSONDecoder().decode(VaultPath.self, from: JSONEncoder().encode(path)) == path)
      }
      #expect(VaultPath("//a/./b//".utf8)?.names == [Array("a".utf8), Array("b".utf8)])
      #expect(VaultPath("e\u{301}".utf8) != VaultPath("\u{E9}".utf8))
      for bad in ["..", "a/../b", "../a", "a\0b", String(repeating: "x", count: 256), String(repeating: "x/", count: WireLimits.pathBytesMax)] { #expect(VaultPath(bad.utf8) == nil, "\(bad.prefix(20))") }
    }

    @Test func `percentiles lie in the bucket that holds them`() throws {
      #expect(LatencyHistogram().percentile(0.5) == nil)
      let histogram = LatencyHistogram(buckets: [0, 0, 0, 90, 0, 0, 0, 0, 0, 0, 10], nanoseconds: 900)
      for share in [0.5, 0.9] { #expect((4...8).contains(try #require(histogram.percentile(share)))) }
      #expect((512...1024).contains(try #require(histogram.percentile(0.91))))
      #expect(histogram.percentile(1) == 1024)
      #expect(histogram.count == 100 && histogram.mean == 9)
      #expect(histogram.since(histogram).count == 0 && histogram.since(LatencyHistogram(buckets: [0, 0, 0, 80], nanoseconds: 1)).buckets[3] == 10)
    }
  }
}
