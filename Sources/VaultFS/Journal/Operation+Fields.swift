// The parts that operations are made of, as bytes.

extension ByteWriter {
  mutating func node(_ node: NewNode) {
    varint(node.inode.value); varint(UInt64(node.mode)); varint(UInt64(node.user)); varint(UInt64(node.group))
    varint(node.device); counted(node.target); varint(UInt64(node.xattrs.count))
    for pair in node.xattrs { counted(pair.name); counted(pair.value) }
  }
  mutating func range(_ range: Range<UInt64>) { varint(range.lowerBound); varint(range.length) }
  mutating func extent(_ extent: JournalExtent) {
    varint(extent.offset); varint(extent.length)
    switch extent.source {
    case .reserved: u8(0)
    case .chunk(let chunk, let offset): u8(1); id(chunk); varint(UInt64(offset))
    }
  }
  /// 2 and the difference where that is small, 0 and the whole time otherwise. (The first vaults have 1 and nanoseconds.)
  mutating func time(_ time: Timestamp, near stamp: UInt64) {
    let (whole, overflow) = time.seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (nanoseconds, overflow2) = whole.addingReportingOverflow(Int64(time.nanoseconds))
    let (difference, overflow3) = nanoseconds.subtractingReportingOverflow(Int64(truncatingIfNeeded: stamp))
    if !overflow, !overflow2, !overflow3, difference.magnitude < 1 << 40 {
      u8(2)
      interval(difference)
    } else {
      u8(0)
      self.time(time)
    }
  }
  mutating func attributes(_ set: AttributeSet, near stamp: UInt64) {
    u8((set.mode != nil ? 1 : 0) | (set.user != nil ? 2 : 0) | (set.group != nil ? 4 : 0)
      | (set.accessed != nil ? 8 : 0) | (set.modified != nil ? 16 : 0) | (set.changed != nil ? 32 : 0) | (set.continues ? 64 : 0))
    for number in [set.mode, set.user, set.group] { if let number { varint(UInt64(number)) } }
    for moment in [set.accessed, set.modified, set.changed] { if let moment { time(moment, near: stamp) } }
  }
}

extension ByteReader {
  /// What SQLite can hold, with room for one more.
  mutating func inode() throws(Malformed) -> InodeNumber {
    let number = try varint()
    guard number < UInt64(Int64.max) else { throw Malformed() }
    return InodeNumber(number)
  }
  mutating func moment() throws(Malformed) -> LSN {
    let number = try varint()
    guard number < UInt64(Int64.max) else { throw Malformed() }
    return LSN(number)
  }
  mutating func name() throws(Malformed) -> [UInt8] {
    let name = try counted(max: Limits.nameBytesMax)
    guard !name.isEmpty else { throw Malformed() }
    return name
  }
  mutating func xattrName() throws(Malformed) -> [UInt8] { try counted(max: Limits.xattrNameBytesMax) }
  mutating func node() throws(Malformed) -> NewNode {
    var node = NewNode(inode: try inode(), mode: try varint32(), user: try varint32(), group: try varint32(),
                       device: try varint(), target: try counted(max: Limits.targetBytesMax), xattrs: [])
    let count = try varint()
    guard count <= UInt64(remaining) else { throw Malformed() }
    for _ in 0..<count {
      node.xattrs.append(XattrPair(name: try counted(max: Limits.xattrNameBytesMax), value: try counted(max: Limits.xattrValueBytesMax)))
    }
    return node
  }
  /// An offset that a file can have, or its size.
  mutating func position() throws(Malformed) -> UInt64 {
    let position = try varint()
    guard position <= Limits.fileBytesMax else { throw Malformed() }
    return position
  }
  mutating func range() throws(Malformed) -> Range<UInt64> {
    let start = try position(), length = try varint()
    guard length <= Limits.fileBytesMax - start else { throw Malformed() }
    return start..<start + length
  }
  /// In order, not empty, inside `range`.
  mutating func extents(in range: Range<UInt64>) throws(Malformed) -> [JournalExtent] {
    let count = try varint()
    guard count <= UInt64(remaining) else { throw Malformed() }
    var extents: [JournalExtent] = [], at = range.lowerBound
    for _ in 0..<count {
      let extent = try extent()
      guard extent.offset >= at, extent.offset < range.upperBound, extent.length > 0,
        extent.length <= range.upperBound - extent.offset else { throw Malformed() }
      extents.append(extent)
      at = extent.offset + extent.length
    }
    return extents
  }
  mutating func extent() throws(Malformed) -> JournalExtent {
    let offset = try varint(), length = try varint()
    switch try u8() {
    case 0: return JournalExtent(offset: offset, length: length, source: .reserved)
    case 1:
      let id = try chunkID(), within = try varint32()
      guard length <= UInt64(UInt32.max - within) else { throw Malformed() }
      return JournalExtent(offset: offset, length: length, source: .chunk(id, offset: within))
    default: throw Malformed()
    }
  }
  mutating func time(near stamp: UInt64) throws(Malformed) -> Timestamp {
    let kind = try u8()
    switch kind {
    case 0: return try time()
    case 1, 2:
      let (sum, overflow) = Int64(truncatingIfNeeded: stamp).addingReportingOverflow(kind == 1 ? try signed() : try interval())
      guard !overflow else { throw Malformed() }
      let (seconds, rest) = sum.quotientAndRemainder(dividingBy: 1_000_000_000)
      return rest < 0 ? Timestamp(seconds: seconds - 1, nanoseconds: UInt32(rest + 1_000_000_000)) : Timestamp(seconds: seconds, nanoseconds: UInt32(rest))
    default: throw Malformed()
    }
  }
  mutating func attributes(near stamp: UInt64) throws(Malformed) -> AttributeSet {
    let bits = try u8()
    guard bits < 128 else { throw Malformed() }
    var set = AttributeSet()
    set.continues = bits & 64 != 0
    if bits & 1 != 0 { set.mode = try varint32() }
    if bits & 2 != 0 { set.user = try varint32() }
    if bits & 4 != 0 { set.group = try varint32() }
    if bits & 8 != 0 { set.accessed = try time(near: stamp) }
    if bits & 16 != 0 { set.modified = try time(near: stamp) }
    if bits & 32 != 0 { set.changed = try time(near: stamp) }
    return set
  }
}
