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
  /// A new file, with a name, as `from` was after the operation `moment`. What is set in `changed` is its birth. A copy is not instead of
  /// what it was made from.
  case revive(NewNode, parent: InodeNumber, name: [UInt8], from: InodeNumber, moment: LSN, attributes: AttributeSet, isCopy: Bool = false)
  /// As `revive`, of a directory in which a tree is put together (Metadata+Origins.swift): the one that it is in does not change by it.
  case stage(NewNode, parent: InodeNumber, name: [UInt8], from: InodeNumber, moment: LSN, attributes: AttributeSet, isCopy: Bool = false)
  case setHistory(HistoryPolicy)
  /// What a node was after `moment` stays whatever the policy says, or not any more.
  case pin(InodeNumber, moment: LSN, isPinned: Bool)
  /// What nobody needs of the past of these nodes, by the policy at `now` (seconds since 1970), is forgotten.
  case expire(nodes: Range<UInt64>, now: Int64)
  /// Limits for a subject, in place of those it has; and their end.
  case setQuota(QuotaSubject, QuotaLimits)
  case removeQuota(QuotaSubject)
  /// All entries of a directory go to another: each changes places with the one of its name there, or takes a free place.
  case moveEntries(from: InodeNumber, to: InodeNumber, time: Timestamp)
  /// All entries of a directory go to another, but those whose names a third one has, too.
  case setAside(from: InodeNumber, to: InodeNumber, but: InodeNumber, time: Timestamp)
  /// Operations that are one: none of them, or all. Of those kinds alone that put back what was (`Kind.parts`).
  case together([Operation])
  /// What nobody needs of the past of these nodes, and ended with the operation `through` or before, is forgotten, whatever
  /// the policy says; but for what snapshots and pins hold. Of no nodes: that of all is to follow.
  case forget(nodes: Range<UInt64>, through: LSN)
  /// What a node counts becomes what is there: links, entries, bytes; and its parent the directory that holds it (Check/Repair).
  case mend(InodeNumber)
  /// The entry goes, wherever it leads: it was found to be none (Check/Repair).
  case detach(parent: InodeNumber, cookie: UInt64)
}

extension Operation {
  /// Whether what is told of the trash may be another after it: not by what is done to what is there.
  var mayChangeTrash: Bool {
    switch self {
    case .create, .setAttributes, .setXattr, .removeXattr, .content, .clone, .insertRange, .collapseRange, .reserve, .epoch, .snapshot, .setQuota, .removeQuota: false
    default: true
    }
  }

  /// Whether it goes on where the disk is full: what makes room, and what takes none. Such an operation may use the reserve.
  var mayUseReserve: Bool {
    switch self {
    case .unlink, .drop, .removeXattr, .collapseRange, .dropSnapshot, .expire, .forget, .rename, .exchange, .setAttributes: true
    case .content(_, _, let extents, _, _): extents.isEmpty
    default: false
    }
  }
}
