// An operation as the journal holds it: its kind, then its fields in their order (docs/format.md).
//
// What must stay true: a number of a kind never comes to mean another; what a newer program adds to a kind says so in a
// field that older ones refuse. What is decoded is inside the bounds that `apply` computes with, whoever wrote it.

extension Operation {
  private enum Kind: UInt8 {
    case create = 1, link, unlink, rename, exchange, setAttributes, setXattr, removeXattr, content, clone,
      insertRange, collapseRange, drop, epoch, reserve, snapshot, dropSnapshot, restore, revive, setHistory, pin, expire
    case setQuota = 24, removeQuota, moveEntries, forget
    case mend = 40, detach, together, stage, setAside, reviveCopy, stageCopy

    /// What an operation may consist of.
    static let parts: [Kind] = [.unlink, .rename, .setAttributes, .restore, .revive, .setQuota, .moveEntries, .setAside]
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
    case .revive(let node, let parent, let name, let source, let moment, let set, let isCopy):
      kind(isCopy ? .reviveCopy : .revive); w.node(node); w.varint(parent.value); w.counted(name); w.varint(source.value); w.varint(moment.value); w.attributes(set, near: stamp)
    case .setHistory(let policy):
      kind(.setHistory)
      w.varint((policy.isOn ? 1 : 0) | (policy.limit > 0 ? 2 : 0))
      for number in policy.numbers.dropFirst() { w.varint(UInt64(number)) }
      if policy.limit > 0 { w.varint(policy.limit) }
    case .pin(let inode, let moment, let isPinned):
      kind(.pin); w.varint(inode.value); w.varint(moment.value); w.u8(isPinned ? 1 : 0)
    case .expire(let nodes, let now):
      kind(.expire); w.varint(nodes.lowerBound); w.varint(nodes.upperBound); w.signed(now)
    case .setQuota(let subject, let limits): kind(.setQuota); w.quotaSubject(subject); w.quotaLimits(limits)
    case .removeQuota(let subject): kind(.removeQuota); w.quotaSubject(subject)
    case .stage(let node, let parent, let name, let source, let moment, let set, let isCopy):
      kind(isCopy ? .stageCopy : .stage); w.node(node); w.varint(parent.value); w.counted(name); w.varint(source.value); w.varint(moment.value); w.attributes(set, near: stamp)
    case .setAside(let source, let target, let besides, let time):
      kind(.setAside); w.varint(source.value); w.varint(target.value); w.varint(besides.value); w.time(time, near: stamp)
    case .moveEntries(let source, let target, let time):
      kind(.moveEntries); w.varint(source.value); w.varint(target.value); w.time(time, near: stamp)
    case .forget(let nodes, let lsn):
      kind(.forget); w.varint(nodes.lowerBound); w.varint(nodes.upperBound); w.varint(lsn.value)
    case .together(let parts):
      kind(.together); w.varint(UInt64(parts.count))
      for part in parts { part.encode(into: &w, stamp: stamp) }
    case .mend(let inode):
      kind(.mend); w.varint(inode.value)
    case .detach(let parent, let cookie):
      kind(.detach); w.varint(parent.value); w.varint(cookie)
    }
  }

  init(decoding r: inout ByteReader, stamp: UInt64, isPart: Bool = false) throws(Malformed) {
    let number = try r.u8()
    guard let kind = Kind(rawValue: number), !isPart || Kind.parts.contains(kind) else { throw Malformed(kind: number) }
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
    case .revive, .reviveCopy:
      self = .revive(try r.node(), parent: try r.inode(), name: try r.name(), from: try r.inode(), moment: try r.moment(), attributes: try r.attributes(near: stamp), isCopy: kind == .reviveCopy)
    case .stage, .stageCopy:
      self = .stage(try r.node(), parent: try r.inode(), name: try r.name(), from: try r.inode(), moment: try r.moment(), attributes: try r.attributes(near: stamp), isCopy: kind == .stageCopy)
    case .setHistory:
      var policy = HistoryPolicy()
      let flags = try r.varint32()
      guard flags < 4 else { throw Malformed() }
      policy.numbers = [flags & 1, try r.varint32(), try r.varint32(), try r.varint32(), try r.varint32(), try r.varint32()]
      if flags & 2 != 0 { policy.limit = try r.position() }
      self = .setHistory(policy)
    case .pin: self = .pin(try r.inode(), moment: try r.moment(), isPinned: try r.u8() != 0)
    case .expire: self = try .expire(decoding: &r)
    case .setQuota: self = .setQuota(try r.quotaSubject(), try r.quotaLimits())
    case .removeQuota: self = .removeQuota(try r.quotaSubject())
    case .moveEntries: self = .moveEntries(from: try r.inode(), to: try r.inode(), time: try r.time(near: stamp))
    case .setAside: self = .setAside(from: try r.inode(), to: try r.inode(), but: try r.inode(), time: try r.time(near: stamp))
    case .forget:
      let first = try r.inode().value, end = try r.inode().value
      guard first <= end else { throw Malformed() }
      self = .forget(nodes: first..<end, through: try r.moment())
    case .together: self = try .together(decoding: &r, stamp)
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

  private static func together(decoding r: inout ByteReader, _ stamp: UInt64) throws(Malformed) -> Operation {
    var parts: [Operation] = []
    for _ in 0..<(try r.varint32()) {
      parts.append(try Operation(decoding: &r, stamp: stamp, isPart: true))
    }
    return .together(parts)
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
