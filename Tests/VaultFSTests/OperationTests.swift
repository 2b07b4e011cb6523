// The journal's language: operations and records.

import Glibc
import Testing
@testable import VaultFS

extension Random {
  fileprivate mutating func word() -> UInt64 { next() >> UInt64(below(64)) }
  fileprivate mutating func inode() -> InodeNumber { InodeNumber(1 + (word() >> 2)) }
  fileprivate mutating func moment() -> LSN { LSN(word() >> 2) }
  fileprivate mutating func position() -> UInt64 { word() >> 1 }
  fileprivate mutating func name() -> [UInt8] { bytes(1 + below(255)) }
  fileprivate mutating func time() -> Timestamp {
    // Near the record's stamp, as most are, or any that a program may set.
    let seconds = chance(50) ? 1_763_000_000 + Int64(below(4000)) - 2000 : Int64(bitPattern: word())
    return Timestamp(seconds: seconds, nanoseconds: UInt32(below(1_000_000_000)))
  }
  fileprivate mutating func number() -> UInt32 { UInt32(truncatingIfNeeded: word()) }
  fileprivate mutating func range() -> Range<UInt64> {
    let start = position() / 2
    return start..<start + position() / 2
  }
  fileprivate mutating func attributes() -> AttributeSet {
    AttributeSet(mode: chance(50) ? number() : nil, user: chance(50) ? number() : nil, group: chance(50) ? number() : nil,
                 accessed: chance(50) ? time() : nil, modified: chance(50) ? time() : nil, changed: chance(50) ? time() : nil)
  }
  /// In order, and inside `range`.
  fileprivate mutating func extents(in range: Range<UInt64>) -> [JournalExtent] {
    var extents: [JournalExtent] = [], at = range.lowerBound
    for _ in 0..<below(40) where at < range.upperBound {
      let source: JournalExtent.Source = chance(20) ? .reserved : .chunk(ChunkID(next(), next(), next(), next()), offset: number() >> 1)
      at += UInt64(below(Int(min(range.upperBound - at, 1 << 20))))
      let length = UInt64(1 + below(Int(min(range.upperBound - at, 1 << 20))))
      extents.append(JournalExtent(offset: at, length: length, source: source))
      at += length
    }
    return extents
  }
  private mutating func subject() -> QuotaSubject { pick([.vault, .user(number()), .group(number()), .tree(inode())]) }
  private mutating func limits() -> QuotaLimits {
    QuotaLimits(bytes: QuotaLimit(soft: chance(50) ? word() : nil, hard: chance(50) ? word() : nil),
                nodes: QuotaLimit(soft: chance(50) ? word() : nil, hard: chance(50) ? word() : nil), graceSeconds: number())
  }
  fileprivate mutating func policy() -> HistoryPolicy {
    var policy = HistoryPolicy()
    (policy.isOn, policy.window, policy.all, policy.limit) = (chance(50), number(), number(), chance(50) ? position() : 0)
    return policy
  }
  /// One of each kind of operation.
  fileprivate mutating func operations() -> [VaultFS.Operation] {
    let node = NewNode(inode: inode(), mode: number(), user: number(), group: number(), device: word(),
                       target: bytes(below(4096)), xattrs: (0..<below(4)).map { _ in XattrPair(name: name(), value: bytes(below(2000))) })
    let replaced = range(), copied = range(), moved = range(), reserved = range()
    return [
      .create(node, parent: inode(), name: name(), time: time()),
      .link(inode(), parent: inode(), name: name(), time: time()),
      .unlink(parent: inode(), name: name(), drops: chance(50), time: time()),
      .rename(parent: inode(), name: name(), newParent: inode(), newName: name(), drops: chance(50), time: time()),
      .exchange(parent: inode(), name: name(), newParent: inode(), newName: name(), time: time()),
      .setAttributes(inode(), attributes()),
      .setXattr(inode(), name: name(), value: bytes(below(65537)), attributes: attributes()),
      .removeXattr(inode(), name: name(), attributes: attributes()),
      .content(inode(), range: replaced, extents: extents(in: replaced), size: position(), attributes: attributes()),
      .clone(inode(), at: copied.lowerBound, from: inode(), sourceRange: copied, size: position(), attributes: attributes()),
      .insertRange(inode(), offset: moved.lowerBound, length: moved.length, attributes: attributes()),
      .collapseRange(inode(), offset: moved.lowerBound, length: moved.length, attributes: attributes()),
      .drop(inode()),
      .epoch(key: next()),
      .reserve(inode(), range: reserved, size: position(), attributes: attributes()),
      .snapshot(name: name(), of: inode()), .dropSnapshot(name: name()),
      .restore(inode(), from: inode(), moment: moment(), attributes: attributes()),
      .revive(node, parent: inode(), name: name(), from: inode(), moment: moment(), attributes: attributes()),
      .revive(node, parent: inode(), name: name(), from: inode(), moment: moment(), attributes: attributes(), isCopy: true),
      .stage(node, parent: inode(), name: name(), from: inode(), moment: moment(), attributes: attributes()),
      .stage(node, parent: inode(), name: name(), from: inode(), moment: moment(), attributes: attributes(), isCopy: true),
      .pin(inode(), moment: moment(), isPinned: chance(50)),
      .expire(nodes: 3..<UInt64(3 + below(1 << 20)), now: Int64(below(1 << 40))),
      .setQuota(subject(), limits()),
      .removeQuota(subject()),
      .moveEntries(from: inode(), to: inode(), time: time()), .setAside(from: inode(), to: inode(), but: inode(), time: time()),
      .together([.moveEntries(from: inode(), to: inode(), time: time()), .setQuota(.vault, QuotaLimits())]),
      .forget(nodes: 3..<UInt64(3 + below(1 << 20)), through: LSN(word() >> 2)),
      .setHistory(policy()),
      .mend(inode()),
      .detach(parent: inode(), cookie: word()),
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
    var kinds: Set<UInt8> = []
    for operation in random.operations() {
      var w = ByteWriter()
      operation.encode(into: &w, stamp: Self.stamp)
      let (decoded, isWhole) = try decode(w.bytes)
      #expect(decoded == operation && isWhole, "seed \(seed)")
      kinds.insert(w.bytes[0])
    }
    for kind in 0...UInt8.max {
      #expect { _ = try decode([kind]) } throws: { ($0 as? Malformed)?.kind == (kinds.contains(kind) ? nil : kind) }
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

  @Test func `a part of a kind that nobody knows is named, too`() {
    var w = ByteWriter()
    VaultFS.Operation.together([.setQuota(.vault, QuotaLimits())]).encode(into: &w, stamp: Self.stamp)
    var bytes = w.bytes
    bytes[2] = 99
    #expect { _ = try decode(bytes) } throws: { ($0 as? Malformed)?.kind == 99 }
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

  @Test func `numbers that nothing could compute with are malformed`() {
    let inode = InodeNumber(5), chunk = JournalExtent.Source.chunk(ChunkID(1, 2, 3, 4), offset: 0), set = AttributeSet()
    let last = Limits.fileBytesMax, time = Timestamp(seconds: 0, nanoseconds: 0)
    func content(_ range: Range<UInt64>, _ extents: [(UInt64, UInt64)], size: UInt64 = 0, _ source: JournalExtent.Source = chunk) -> VaultFS.Operation {
      .content(inode, range: range, extents: extents.map { JournalExtent(offset: $0.0, length: $0.1, source: source) }, size: size, attributes: set)
    }
    func node(_ number: UInt64) -> NewNode { NewNode(inode: InodeNumber(number), mode: 0, user: 0, group: 0, device: 0, target: [], xattrs: []) }
    let foreign: [VaultFS.Operation] = [
      .create(node(UInt64.max), parent: inode, name: [65], time: time),
      .create(node(UInt64(Int64.max)), parent: inode, name: [65], time: time),
      .create(node(7), parent: .none, name: [65], time: time),
      .create(node(7), parent: inode, name: [], time: time),
      .link(inode, parent: inode, name: [], time: time),
      .drop(InodeNumber(1 << 63)),
      content(0..<last + 1, []), content(0..<10, [], size: last + 1),
      content(10..<20, [(9, 2)]), content(10..<20, [(18, 3)]), content(10..<20, [(20, 1)]), content(10..<20, [(12, 0)]),
      content(10..<20, [(15, 2), (12, 2)]), content(10..<20, [(12, 4), (15, 2)]), content(10..<20, [(12, UInt64.max)]),
      content(0..<last, [(0, 1 << 32)]), content(0..<10, [(0, 10)], .chunk(ChunkID(1, 2, 3, 4), offset: UInt32.max - 5)),
      .setQuota(.tree(InodeNumber(1 << 63)), QuotaLimits()), .removeQuota(.tree(.none)),
      .clone(inode, at: last, from: inode, sourceRange: 0..<2, size: 0, attributes: set),
      .clone(inode, at: UInt64.max, from: inode, sourceRange: 0..<2, size: 0, attributes: set),
      .clone(inode, at: 0, from: inode, sourceRange: 0..<1 << 63, size: 0, attributes: set),
      .clone(inode, at: 0, from: inode, sourceRange: 0..<1, size: 1 << 63, attributes: set),
      .insertRange(inode, offset: last, length: 1, attributes: set), .insertRange(inode, offset: UInt64.max, length: UInt64.max, attributes: set),
      .collapseRange(inode, offset: 1, length: last, attributes: set), .collapseRange(inode, offset: 0, length: UInt64.max, attributes: set),
      .reserve(inode, range: 0..<last + 1, size: 0, attributes: set), .reserve(inode, range: 0..<1, size: last + 1, attributes: set),
    ]
    for operation in foreign {
      var w = ByteWriter()
      operation.encode(into: &w, stamp: Self.stamp)
      #expect(throws: Malformed.self, "\(operation)") { _ = try decode(w.bytes) }
    }
  }

  @Test(arguments: seeds(24))
  func `what was decoded can be applied or is damage, and never stops the process`(seed: UInt64) throws {
    var random = Random(seed: seed)
    let database = try Database(path: ":memory:")
    try Schema.prepare(database)
    let metadata = try Metadata(database: database, nameKey: (1, 2))
    var lsn = LSN.zero
    func apply(_ operation: VaultFS.Operation) {
      // A failed one leaves the view where no sound vault goes on; the next must not trap even so.
      metadata.state.applied = lsn
      lsn = lsn.next
      _ = try? metadata.apply(operation, lsn: lsn, stamp: 1)
    }
    let time = Timestamp(seconds: 1, nanoseconds: 1), user = UInt32(0)
    func new(_ number: UInt64, _ mode: UInt32) -> NewNode { NewNode(inode: InodeNumber(number), mode: mode, user: user, group: 0, device: 0, target: [], xattrs: []) }
    apply(.create(new(1, S_IFDIR | 0o755), parent: .none, name: [], time: time))
    let names = (0..<4).map { [UInt8](repeating: 65 + UInt8($0), count: 3) }
    for number in 2..<6 as Range<UInt64> { apply(.create(new(number, number < 4 ? S_IFREG : S_IFDIR), parent: .root, name: names[Int(number) - 2], time: time)) }
    let edges: [UInt64] = [0, 1, 4096, 1 << 32, Limits.fileBytesMax - 1, Limits.fileBytesMax]
    for _ in 0..<400 {
      func inode() -> InodeNumber { InodeNumber(UInt64(1 + random.below(6))) }
      func name() -> [UInt8] { names[random.below(4)] }
      func range() -> Range<UInt64> {
        let a = random.chance(50) ? edges[random.below(6)] : random.position(), b = random.chance(50) ? edges[random.below(6)] : random.position()
        return min(a, b)..<max(a, b)
      }
      let part = range(), size = range().upperBound, set = AttributeSet()
      let operation: VaultFS.Operation = switch random.below(13) {
      case 0: .content(inode(), range: part, extents: part.isEmpty ? [] : [JournalExtent(offset: part.lowerBound, length: part.length, source: .reserved)], size: size, attributes: set)
      case 1: .content(inode(), range: part, extents: [], size: size, attributes: set)
      case 2: .clone(inode(), at: 0, from: inode(), sourceRange: part, size: size, attributes: set)
      case 3: .insertRange(inode(), offset: part.lowerBound, length: part.length, attributes: set)
      case 4: .collapseRange(inode(), offset: part.lowerBound, length: part.length, attributes: set)
      case 5: .reserve(inode(), range: part, size: size, attributes: set)
      case 6: .unlink(parent: inode(), name: name(), drops: random.chance(50), time: time)
      case 7: .rename(parent: inode(), name: name(), newParent: inode(), newName: name(), drops: random.chance(50), time: time)
      case 8: .exchange(parent: inode(), name: name(), newParent: inode(), newName: name(), time: time)
      case 9: .link(inode(), parent: inode(), name: name(), time: time)
      case 10: .setQuota(random.pick([.vault, .user(0), .tree(inode())]), QuotaLimits(bytes: QuotaLimit(soft: part.lowerBound), graceSeconds: UInt32.max))
      case 11: .setAttributes(inode(), AttributeSet(user: UInt32(random.below(3)), group: UInt32(random.below(3))))
      default: .drop(inode())
      }
      var w = ByteWriter()
      operation.encode(into: &w, stamp: Self.stamp)
      guard let (decoded, _) = try? decode(w.bytes) else { continue }
      apply(decoded)
    }
  }

  @Test(arguments: seeds(32))
  func `rubbish is an operation or malformed, and never more than its bytes`(seed: UInt64) {
    var random = Random(seed: seed)
    for _ in 0..<300 {
      var bytes = random.bytes(random.below(120))
      if !bytes.isEmpty { bytes[0] = UInt8(random.below(28)) }
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
