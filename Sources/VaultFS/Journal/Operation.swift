// One change to the vault: the unit of the journal, of crash safety, of history and of sync.
//
// What must stay true: an operation holds everything its effect needs (resolved modes, times, numbers), so that
// applying it to the same state gives the same state, today and in any replay; nothing in `apply` asks a clock,
// a random source or a setting. What is decoded is inside the bounds that `apply` computes with, whoever wrote it:
// numbers of nodes, offsets and ends below 2^63, extents in order and inside their range. The byte table is in
// docs/format.md.

/// What is new in a node that an operation makes.
struct NewNode: Hashable {
  var inode: InodeNumber
  var mode: UInt32
  var user: UInt32
  var group: UInt32
  var device: UInt64
  /// A symlink's target; empty otherwise.
  var target: [UInt8]
  /// Attributes it is born with (inherited ACLs).
  var xattrs: [XattrPair]
}

struct XattrPair: Hashable {
  var name: [UInt8]
  var value: [UInt8]
}

/// An extent as the journal names it: by chunk id, which outlives every place the chunk may move to.
struct JournalExtent: Hashable {
  enum Source: Hashable {
    case chunk(ChunkID, offset: UInt32)
    case reserved
  }
  var offset: UInt64
  var length: UInt64
  var source: Source
}

/// Attributes an operation sets; nil leaves alone.
struct AttributeSet: Hashable {
  var mode: UInt32?
  var user: UInt32?
  var group: UInt32?
  var accessed: Timestamp?
  var modified: Timestamp?
  var changed: Timestamp?
  /// The writer of the present version is still at it: no new one begins.
  var continues = false

  /// A read, as far as history goes.
  var isAccessOnly: Bool { accessed != nil && mode == nil && user == nil && group == nil && modified == nil && changed == nil }
}

enum Operation: Hashable {
  /// An opening of the vault that is about to make nodes. Their ids are this random key and their numbers: the same on
  /// every device, different in every copy of a vault that goes its own way, and not a byte more to store for each.
  case epoch(key: UInt64)
  /// A new node and its first entry. `time` becomes its times and the parent's mtime and ctime.
  /// The vault's first operation makes the root, which has neither parent nor name.
  case create(NewNode, parent: InodeNumber, name: [UInt8], time: Timestamp)
  case link(InodeNumber, parent: InodeNumber, name: [UInt8], time: Timestamp)
  /// Removes an entry (of a directory: an empty one). `drops`: nobody holds the node open, so it ends with its last link.
  case unlink(parent: InodeNumber, name: [UInt8], drops: Bool, time: Timestamp)
  /// Moves an entry, over what stands there (which ends if `drops` and that was its last link).
  case rename(parent: InodeNumber, name: [UInt8], newParent: InodeNumber, newName: [UInt8], drops: Bool, time: Timestamp)
  case exchange(parent: InodeNumber, name: [UInt8], newParent: InodeNumber, newName: [UInt8], time: Timestamp)
  case setAttributes(InodeNumber, AttributeSet)
  case setXattr(InodeNumber, name: [UInt8], value: [UInt8], attributes: AttributeSet)
  case removeXattr(InodeNumber, name: [UInt8], attributes: AttributeSet)
  /// What stands in `range` gives way to `extents`; then the file has `size` bytes, and nothing beyond.
  case content(InodeNumber, range: Range<UInt64>, extents: [JournalExtent], size: UInt64, attributes: AttributeSet)
  /// Bytes of another file (or this one) by reference.
  case clone(InodeNumber, at: UInt64, from: InodeNumber, sourceRange: Range<UInt64>, size: UInt64, attributes: AttributeSet)
  /// Opens a gap of `length` bytes at `offset`, or takes one out.
  case insertRange(InodeNumber, offset: UInt64, length: UInt64, attributes: AttributeSet)
  case collapseRange(InodeNumber, offset: UInt64, length: UInt64, attributes: AttributeSet)
  /// A node without links that nobody holds open any more.
  case drop(InodeNumber)
  /// Holes in `range` become reserved; then the file has `size` bytes at least.
  case reserve(InodeNumber, range: Range<UInt64>, size: UInt64, attributes: AttributeSet)
  /// A name for this moment, seen from a directory.
  case snapshot(name: [UInt8], of: InodeNumber)
  case dropSnapshot(name: [UInt8])
  /// Content and extended attributes become those that `from` had after the operation `moment`.
  case restore(InodeNumber, from: InodeNumber, moment: LSN, attributes: AttributeSet)
  /// A new file, with a name, as `from` was after the operation `moment`. What is set in `changed` is its birth.
  case revive(NewNode, parent: InodeNumber, name: [UInt8], from: InodeNumber, moment: LSN, attributes: AttributeSet)
  case setHistory(HistoryPolicy)
  /// What a node was after `moment` stays whatever the policy says, or not any more.
  case pin(InodeNumber, moment: LSN, isPinned: Bool)
  /// What nobody needs of the past of these nodes, by the policy at `now` (seconds since 1970), is forgotten.
  case expire(nodes: Range<UInt64>, now: Int64)
  /// Limits for a subject, in place of those it has; and their end.
  case setQuota(QuotaSubject, QuotaLimits)
  case removeQuota(QuotaSubject)
  /// What a node counts becomes what is there: links, entries, bytes; and its parent the directory that holds it (Check/Repair).
  case mend(InodeNumber)
  /// The entry goes, wherever it leads: it was found to be none (Check/Repair).
  case detach(parent: InodeNumber, cookie: UInt64)
}

extension Operation {
  /// Whether it goes on where the disk is full: what makes room, and what takes none. Such an operation may use the reserve.
  var mayUseReserve: Bool {
    switch self {
    case .unlink, .drop, .removeXattr, .collapseRange, .dropSnapshot, .expire, .rename, .exchange, .setAttributes: true
    case .content(_, _, let extents, _, _): extents.isEmpty
    default: false
    }
  }

  private enum Kind: UInt8 {
    case create = 1, link, unlink, rename, exchange, setAttributes, setXattr, removeXattr, content, clone,
      insertRange, collapseRange, drop, epoch, reserve, snapshot, dropSnapshot, restore, revive, setHistory, pin, expire
    case setQuota = 24, removeQuota
    case mend = 40, detach
  }

  /// - Parameter stamp: of the record that holds it: times near it are kept as a small difference.
  func encode(into w: inout ByteWriter, stamp: UInt64) {
    func kind(_ kind: Kind) { w.u8(kind.rawValue) }
    switch self {
    case .create(let node, let parent, let name, let time):
      kind(.create); w.node(node); w.varint(parent.value); w.counted(name); w.time(time, near: stamp)
    case .link(let inode, let parent, let name, let time):
      kind(.link); w.varint(inode.value); w.varint(parent.value); w.counted(name); w.time(time, near: stamp)
    case .unlink(let parent, let name, let drops, let time):
      kind(.unlink); w.varint(parent.value); w.counted(name); w.u8(drops ? 1 : 0); w.time(time, near: stamp)
    case .rename(let parent, let name, let newParent, let newName, let drops, let time):
      kind(.rename); w.varint(parent.value); w.counted(name); w.varint(newParent.value); w.counted(newName)
      w.u8(drops ? 1 : 0); w.time(time, near: stamp)
    case .exchange(let parent, let name, let newParent, let newName, let time):
      kind(.exchange); w.varint(parent.value); w.counted(name); w.varint(newParent.value); w.counted(newName); w.time(time, near: stamp)
    case .setAttributes(let inode, let set):
      kind(.setAttributes); w.varint(inode.value); w.attributes(set, near: stamp)
    case .setXattr(let inode, let name, let value, let set):
      kind(.setXattr); w.varint(inode.value); w.counted(name); w.counted(value); w.attributes(set, near: stamp)
    case .removeXattr(let inode, let name, let set):
      kind(.removeXattr); w.varint(inode.value); w.counted(name); w.attributes(set, near: stamp)
    case .content(let inode, let range, let extents, let size, let set):
      kind(.content); w.varint(inode.value); w.range(range); w.varint(UInt64(extents.count))
      for extent in extents { w.extent(extent) }
      w.varint(size); w.attributes(set, near: stamp)
    case .clone(let inode, let at, let source, let range, let size, let set):
      kind(.clone); w.varint(inode.value); w.varint(at); w.varint(source.value); w.range(range); w.varint(size); w.attributes(set, near: stamp)
    case .insertRange(let inode, let offset, let length, let set):
      kind(.insertRange); w.varint(inode.value); w.varint(offset); w.varint(length); w.attributes(set, near: stamp)
    case .collapseRange(let inode, let offset, let length, let set):
      kind(.collapseRange); w.varint(inode.value); w.varint(offset); w.varint(length); w.attributes(set, near: stamp)
    case .drop(let inode):
      kind(.drop); w.varint(inode.value)
    case .epoch(let key):
      kind(.epoch); w.u64(key)
    case .reserve(let inode, let range, let size, let set):
      kind(.reserve); w.varint(inode.value); w.range(range); w.varint(size); w.attributes(set, near: stamp)
    case .snapshot(let name, let inode):
      kind(.snapshot); w.counted(name); w.varint(inode.value)
    case .dropSnapshot(let name):
      kind(.dropSnapshot); w.counted(name)
    case .restore(let inode, let source, let moment, let set):
      kind(.restore); w.varint(inode.value); w.varint(source.value); w.varint(moment.value); w.attributes(set, near: stamp)
    case .revive(let node, let parent, let name, let source, let moment, let set):
      kind(.revive); w.node(node); w.varint(parent.value); w.counted(name); w.varint(source.value); w.varint(moment.value); w.attributes(set, near: stamp)
    case .setHistory(let policy):
      kind(.setHistory)
      for number in policy.numbers { w.varint(UInt64(number)) }
    case .pin(let inode, let moment, let isPinned):
      kind(.pin); w.varint(inode.value); w.varint(moment.value); w.u8(isPinned ? 1 : 0)
    case .expire(let nodes, let now):
      kind(.expire); w.varint(nodes.lowerBound); w.varint(nodes.upperBound); w.signed(now)
    case .setQuota(let subject, let limits): kind(.setQuota); w.quotaSubject(subject); w.quotaLimits(limits)
    case .removeQuota(let subject): kind(.removeQuota); w.quotaSubject(subject)
    case .mend(let inode):
      kind(.mend); w.varint(inode.value)
    case .detach(let parent, let cookie):
      kind(.detach); w.varint(parent.value); w.varint(cookie)
    }
  }

  init(decoding r: inout ByteReader, stamp: UInt64) throws(Malformed) {
    guard let kind = Kind(rawValue: try r.u8()) else { throw Malformed() }
    switch kind {
    case .create: self = try .create(decoding: &r, stamp)
    case .link: self = .link(try r.inode(), parent: try r.inode(), name: try r.name(), time: try r.time(near: stamp))
    case .unlink: self = .unlink(parent: try r.inode(), name: try r.name(), drops: try r.u8() != 0, time: try r.time(near: stamp))
    case .rename:
      self = .rename(parent: try r.inode(), name: try r.name(), newParent: try r.inode(), newName: try r.name(),
                     drops: try r.u8() != 0, time: try r.time(near: stamp))
    case .exchange:
      self = .exchange(parent: try r.inode(), name: try r.name(), newParent: try r.inode(), newName: try r.name(), time: try r.time(near: stamp))
    case .setAttributes: self = .setAttributes(try r.inode(), try r.attributes(near: stamp))
    case .setXattr:
      self = .setXattr(try r.inode(), name: try r.xattrName(), value: try r.counted(max: Limits.xattrValueBytesMax),
                       attributes: try r.attributes(near: stamp))
    case .removeXattr: self = .removeXattr(try r.inode(), name: try r.xattrName(), attributes: try r.attributes(near: stamp))
    case .content:
      let inode = try r.inode(), range = try r.range()
      self = .content(inode, range: range, extents: try r.extents(in: range), size: try r.position(), attributes: try r.attributes(near: stamp))
    case .clone: self = try .clone(decoding: &r, stamp)
    case .insertRange:
      let inode = try r.inode(), range = try r.range()
      self = .insertRange(inode, offset: range.lowerBound, length: range.length, attributes: try r.attributes(near: stamp))
    case .collapseRange:
      let inode = try r.inode(), range = try r.range()
      self = .collapseRange(inode, offset: range.lowerBound, length: range.length, attributes: try r.attributes(near: stamp))
    case .drop: self = .drop(try r.inode())
    case .epoch: self = .epoch(key: try r.u64())
    case .reserve: self = .reserve(try r.inode(), range: try r.range(), size: try r.position(), attributes: try r.attributes(near: stamp))
    case .snapshot: self = .snapshot(name: try r.name(), of: try r.inode())
    case .dropSnapshot: self = .dropSnapshot(name: try r.name())
    case .restore: self = .restore(try r.inode(), from: try r.inode(), moment: try r.moment(), attributes: try r.attributes(near: stamp))
    case .revive:
      self = .revive(try r.node(), parent: try r.inode(), name: try r.name(), from: try r.inode(), moment: try r.moment(), attributes: try r.attributes(near: stamp))
    case .setHistory:
      var policy = HistoryPolicy()
      policy.numbers = [try r.varint32(), try r.varint32(), try r.varint32(), try r.varint32(), try r.varint32(), try r.varint32()]
      self = .setHistory(policy)
    case .pin: self = .pin(try r.inode(), moment: try r.moment(), isPinned: try r.u8() != 0)
    case .expire: self = try .expire(decoding: &r)
    case .setQuota: self = .setQuota(try r.quotaSubject(), try r.quotaLimits())
    case .removeQuota: self = .removeQuota(try r.quotaSubject())
    case .mend: self = .mend(try r.inode())
    case .detach: self = .detach(parent: try r.inode(), cookie: try r.varint())
    }
  }

  private static func expire(decoding r: inout ByteReader) throws(Malformed) -> Operation {
    let first = try r.inode().value, end = try r.inode().value, now = try r.signed()
    // Within what ages can be subtracted from.
    guard first <= end, now.magnitude < 1 << 40 else { throw Malformed() }
    return .expire(nodes: first..<end, now: now)
  }

  private static func create(decoding r: inout ByteReader, _ stamp: UInt64) throws(Malformed) -> Operation {
    let node = try r.node(), parent = try r.inode(), name = try r.counted(max: Limits.nameBytesMax)
    // The root alone has neither parent nor name.
    guard node.inode != .none, name.isEmpty == (parent == .none) else { throw Malformed() }
    return .create(node, parent: parent, name: name, time: try r.time(near: stamp))
  }

  private static func clone(decoding r: inout ByteReader, _ stamp: UInt64) throws(Malformed) -> Operation {
    let inode = try r.inode(), offset = try r.position(), source = try r.inode(), range = try r.range()
    guard range.length <= Limits.fileBytesMax - offset else { throw Malformed() }
    return .clone(inode, at: offset, from: source, sourceRange: range, size: try r.position(), attributes: try r.attributes(near: stamp))
  }
}

extension ByteWriter {
  fileprivate mutating func node(_ node: NewNode) {
    varint(node.inode.value); varint(UInt64(node.mode)); varint(UInt64(node.user)); varint(UInt64(node.group))
    varint(node.device); counted(node.target); varint(UInt64(node.xattrs.count))
    for pair in node.xattrs { counted(pair.name); counted(pair.value) }
  }
  fileprivate mutating func range(_ range: Range<UInt64>) { varint(range.lowerBound); varint(range.length) }
  fileprivate mutating func extent(_ extent: JournalExtent) {
    varint(extent.offset); varint(extent.length)
    switch extent.source {
    case .reserved: u8(0)
    case .chunk(let chunk, let offset): u8(1); id(chunk); varint(UInt64(offset))
    }
  }
  /// 2 and the difference where that is small, 0 and the whole time otherwise. (The first vaults have 1 and nanoseconds.)
  fileprivate mutating func time(_ time: Timestamp, near stamp: UInt64) {
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
  fileprivate mutating func attributes(_ set: AttributeSet, near stamp: UInt64) {
    u8((set.mode != nil ? 1 : 0) | (set.user != nil ? 2 : 0) | (set.group != nil ? 4 : 0)
      | (set.accessed != nil ? 8 : 0) | (set.modified != nil ? 16 : 0) | (set.changed != nil ? 32 : 0) | (set.continues ? 64 : 0))
    for number in [set.mode, set.user, set.group] { if let number { varint(UInt64(number)) } }
    for moment in [set.accessed, set.modified, set.changed] { if let moment { time(moment, near: stamp) } }
  }
}

extension ByteReader {
  /// What SQLite can hold, with room for one more.
  fileprivate mutating func inode() throws(Malformed) -> InodeNumber {
    let number = try varint()
    guard number < UInt64(Int64.max) else { throw Malformed() }
    return InodeNumber(number)
  }
  fileprivate mutating func moment() throws(Malformed) -> LSN {
    let number = try varint()
    guard number < UInt64(Int64.max) else { throw Malformed() }
    return LSN(number)
  }
  fileprivate mutating func name() throws(Malformed) -> [UInt8] {
    let name = try counted(max: Limits.nameBytesMax)
    guard !name.isEmpty else { throw Malformed() }
    return name
  }
  fileprivate mutating func xattrName() throws(Malformed) -> [UInt8] { try counted(max: Limits.xattrNameBytesMax) }
  fileprivate mutating func node() throws(Malformed) -> NewNode {
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
  fileprivate mutating func position() throws(Malformed) -> UInt64 {
    let position = try varint()
    guard position <= Limits.fileBytesMax else { throw Malformed() }
    return position
  }
  fileprivate mutating func range() throws(Malformed) -> Range<UInt64> {
    let start = try position(), length = try varint()
    guard length <= Limits.fileBytesMax - start else { throw Malformed() }
    return start..<start + length
  }
  /// In order, not empty, inside `range`.
  fileprivate mutating func extents(in range: Range<UInt64>) throws(Malformed) -> [JournalExtent] {
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
  fileprivate mutating func extent() throws(Malformed) -> JournalExtent {
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
  fileprivate mutating func time(near stamp: UInt64) throws(Malformed) -> Timestamp {
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
  fileprivate mutating func attributes(near stamp: UInt64) throws(Malformed) -> AttributeSet {
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
