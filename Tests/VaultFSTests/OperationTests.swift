// The journal's language: operations and records.

import Testing
@testable import VaultFS

extension Random {
  fileprivate mutating func word() -> UInt64 { next() >> UInt64(below(64)) }
  fileprivate mutating func inode() -> InodeNumber { InodeNumber(word()) }
  fileprivate mutating func name() -> [UInt8] { bytes(1 + below(255)) }
  fileprivate mutating func time() -> Timestamp {
    // Near the record's stamp, as most are, or any that a program may set.
    let seconds = chance(50) ? 1_763_000_000 + Int64(below(4000)) - 2000 : Int64(bitPattern: word())
    return Timestamp(seconds: seconds, nanoseconds: UInt32(below(1_000_000_000)))
  }
  fileprivate mutating func number() -> UInt32 { UInt32(truncatingIfNeeded: word()) }
  fileprivate mutating func range() -> Range<UInt64> {
    let start = word() / 2
    return start..<start + word() / 2
  }
  fileprivate mutating func attributes() -> AttributeSet {
    AttributeSet(mode: chance(50) ? number() : nil, user: chance(50) ? number() : nil, group: chance(50) ? number() : nil,
                 accessed: chance(50) ? time() : nil, modified: chance(50) ? time() : nil, changed: chance(50) ? time() : nil)
  }
  fileprivate mutating func extents() -> [JournalExtent] {
    (0..<below(40)).map { _ in
      let source: JournalExtent.Source = chance(20) ? .reserved : .chunk(ChunkID(next(), next(), next(), next()), offset: number())
      return JournalExtent(offset: word(), length: word(), source: source)
    }
  }
  /// One of each kind of operation.
  fileprivate mutating func operations() -> [VaultFS.Operation] {
    let node = NewNode(inode: inode(), mode: number(), user: number(), group: number(), device: word(),
                       target: bytes(below(4096)), xattrs: (0..<below(4)).map { _ in XattrPair(name: name(), value: bytes(below(2000))) })
    return [
      .create(node, parent: inode(), name: name(), time: time()),
      .link(inode(), parent: inode(), name: name(), time: time()),
      .unlink(parent: inode(), name: name(), drops: chance(50), time: time()),
      .rename(parent: inode(), name: name(), newParent: inode(), newName: name(), drops: chance(50), time: time()),
      .exchange(parent: inode(), name: name(), newParent: inode(), newName: name(), time: time()),
      .setAttributes(inode(), attributes()),
      .setXattr(inode(), name: name(), value: bytes(below(65537)), attributes: attributes()),
      .removeXattr(inode(), name: name(), attributes: attributes()),
      .content(inode(), range: range(), extents: extents(), size: word(), attributes: attributes()),
      .clone(inode(), at: word(), from: inode(), sourceRange: range(), size: word(), attributes: attributes()),
      .insertRange(inode(), offset: word(), length: word(), attributes: attributes()),
      .collapseRange(inode(), offset: word(), length: word(), attributes: attributes()),
      .drop(inode()),
      .epoch(key: next()),
    ]
  }
}

struct OperationTests {
  private static let stamp: UInt64 = 1_763_000_000_123_456_789

  private func decode(_ bytes: [UInt8], stamp: UInt64 = stamp) throws(Malformed) -> (VaultFS.Operation, isWhole: Bool) {
    let result: Result<(VaultFS.Operation, Bool), Malformed> = bytes.withUnsafeBytes { raw in
      var r = ByteReader(raw)
      do throws(Malformed) { return .success((try VaultFS.Operation(decoding: &r, stamp: stamp), r.isAtEnd)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  @Test(arguments: seeds(32))
  func `every kind of operation comes back as it was`(seed: UInt64) throws {
    var random = Random(seed: seed)
    for operation in random.operations() {
      var w = ByteWriter()
      operation.encode(into: &w, stamp: Self.stamp)
      let (decoded, isWhole) = try decode(w.bytes)
      #expect(decoded == operation && isWhole, "seed \(seed)")
    }
  }

  @Test(arguments: [0, 1, 999_999_999, 1_000_000_000, 1_763_000_000_123_456_789, UInt64(Int64.max), UInt64.max] as [UInt64])
  func `a time is the same whatever stamp it is told against`(stamp: UInt64) throws {
    let seconds: [Int64] = [Int64.min, -1_763_000_000, -1, 0, 1, 1_763_000_000, 1_763_000_900, 9_223_372_036, 9_223_372_037, Int64.max]
    for time in seconds.flatMap({ second in [0, 1, 999_999_999].map { Timestamp(seconds: second, nanoseconds: $0) } }) {
      let operation = VaultFS.Operation.setAttributes(.root, AttributeSet(accessed: time))
      var w = ByteWriter()
      operation.encode(into: &w, stamp: stamp)
      #expect(try decode(w.bytes, stamp: stamp).0 == operation, "\(time)")
    }
  }

  @Test(arguments: seeds(4))
  func `an operation that is cut short anywhere is malformed`(seed: UInt64) {
    var random = Random(seed: seed)
    for operation in random.operations() {
      var w = ByteWriter()
      operation.encode(into: &w, stamp: Self.stamp)
      let step = max(1, w.count / 400)
      for length in Array(stride(from: 0, to: w.count, by: step)) + [w.count - 1] {
        #expect(throws: Malformed.self, "seed \(seed), \(length) of \(w.count) bytes") { _ = try decode(Array(w.bytes[..<length])) }
      }
    }
  }

  @Test(arguments: seeds(32))
  func `rubbish is an operation or malformed, and never more than its bytes`(seed: UInt64) {
    var random = Random(seed: seed)
    for _ in 0..<300 {
      var bytes = random.bytes(random.below(120))
      if !bytes.isEmpty { bytes[0] = UInt8(random.below(15)) }
      if let (operation, isWhole) = try? decode(bytes), isWhole {
        // What was believed must say the same again.
        var w = ByteWriter()
        operation.encode(into: &w, stamp: Self.stamp)
        #expect((try? decode(w.bytes).0) == operation, "seed \(seed)")
      }
    }
  }
}

struct RecordTests {
  private let seed: UInt32 = 0x1234_5678

  private func record(_ body: [UInt8], more: [UInt8] = []) -> [UInt8] {
    var w = ByteWriter()
    more.withUnsafeBytes { raw in
      RecordHeader(kind: .operation, bodyLength: body.count + more.count, lsn: LSN(77), stamp: 123_456_789, durable: LSN(70))
        .encode(into: &w, body: body, raw, seed: seed)
    }
    return w.bytes
  }
  private func decode(_ bytes: [UInt8], seed: UInt32) throws -> RecordHeader {
    try bytes.withUnsafeBytes { raw throws in try RecordHeader(decoding: raw, seed: seed) }
  }

  @Test func `a record says what was put into it, and ends on a multiple of eight`() throws {
    for count in [0, 1, 7, 8, 9, 1000] {
      let bytes = record([UInt8](repeating: 5, count: count), more: [1, 2, 3])
      let header = try decode(bytes, seed: seed)
      #expect((header.kind, header.bodyLength, header.lsn, header.stamp, header.durable) == (.operation, count + 3, LSN(77), 123_456_789, LSN(70)))
      #expect(bytes.count == header.paddedLength && bytes.count % 8 == 0)
    }
  }

  @Test func `every flipped bit of a record is noticed`() {
    let bytes = record(Array("an operation, let us say 48 bytes long: 123456789".utf8.prefix(48)))
    for bit in 0..<bytes.count * 8 {
      var wounded = bytes
      wounded[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: Malformed.self, "bit \(bit)") { try decode(wounded, seed: seed) }
    }
  }

  @Test func `a record of another segment, or one that is cut short, is not valid`() {
    let bytes = record([1, 2, 3, 4, 5, 6, 7, 8])
    #expect(throws: Malformed.self) { try decode(bytes, seed: seed ^ 1) }
    #expect(throws: Malformed.self) { try decode(bytes, seed: 0) }
    for length in 0..<bytes.count { #expect(throws: Malformed.self) { try decode(Array(bytes[..<length]), seed: seed) } }
  }

  @Test func `every flipped bit of a segment's header is noticed`() throws {
    let header = SegmentHeader(vault: NodeID(high: 1, low: 2), salt: 3, firstLSN: LSN(4), device: 5, incarnation: 6)
    let bytes = header.encoded()
    #expect(bytes.count == SegmentHeader.length)
    let back = try bytes.withUnsafeBytes { raw throws in try SegmentHeader(decoding: raw) }
    #expect((back.vault, back.salt, back.firstLSN, back.device, back.incarnation) == (header.vault, 3, LSN(4), 5, 6))
    #expect(back.seed == header.seed)
    for bit in 0..<bytes.count * 8 {
      var wounded = bytes
      wounded[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: Malformed.self, "bit \(bit)") { try wounded.withUnsafeBytes { raw throws in _ = try SegmentHeader(decoding: raw) } }
    }
  }
}
