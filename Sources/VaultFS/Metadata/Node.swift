// A node in memory: the journaled truth of its attributes, and beside it what is not saved yet.
//
// What must stay true: everything but `unsaved` is the effect of journaled operations; `unsaved` is overlaid when a
// program looks, and becomes an operation when the draft is saved. Guarded by the vault's metadata lock.

import Glibc

final class Node {
  let inode: InodeNumber
  /// The epoch that made it: with its number, its id.
  var epoch: UInt64
  var mode: UInt32
  var links: UInt32
  var user: UInt32
  var group: UInt32
  var device: UInt64 = 0
  /// A file's bytes.
  var size: UInt64 = 0
  /// Bytes of a file that are not holes.
  var allocated: UInt64 = 0
  var accessed: Timestamp
  var modified: Timestamp
  var changed: Timestamp
  var born: Timestamp
  /// The directory that holds it, and that it is charged to; the root's is itself. Of a node with several names that of
  /// one of them, its home; of one without a name, that of the last.
  var parent = InodeNumber.none
  /// A directory's entries.
  var entries: UInt64 = 0
  /// What everything below a directory takes (Metadata+Usage.swift).
  var below = Usage()
  /// The operation with which the version began that all this belongs to, and when that was, seconds since 1970.
  var since = LSN.zero
  var sinceSeconds: Int64 = 0
  /// Something changed it in this version after that: not by a name that was deleted, of it or in it.
  var isTouched = false
  var target: [UInt8] = []
  var hasXattrs = false
  /// The manifest, unless it is `paged`.
  var extents: [Extent] = []
  var paged = false

  // From here on: of this process, not of the vault.
  /// Of a past version: its last moment. nil: as it is now.
  var moment: LSN?
  /// Of a past version that is open and would have lost its pages: under which they are held (Metadata+Held.swift).
  var held: UInt64?
  var isDirty = false
  /// The node has ended; its number is no longer in the vault.
  var isDropped = false
  var openCount = 0
  /// What its attributes take, once somebody has asked.
  var xattrUse: XattrUse?
  /// Without a name, and nobody can ask for it any more but by open handles.
  var isForgotten = false
  var lastUse: UInt64 = 0
  var unsaved: Unsaved?
  /// There while the file is open or holds unsaved bytes.
  var draft: Draft?

  /// What writes changed that no operation tells yet.
  struct Unsaved {
    var size: UInt64
    var modified: Timestamp?
    var changed: Timestamp?
    /// As the draft counts them (`Draft.charge`).
    var bytes: UInt64
    /// Bytes that saving would allocate, where there are limits (Vault+Growth.swift).
    var growth: UInt64 = 0
  }

  init(inode: InodeNumber, epoch: UInt64, mode: UInt32, links: UInt32, user: UInt32, group: UInt32, time: Timestamp) {
    (self.inode, self.epoch, self.mode, self.links, self.user, self.group) = (inode, epoch, mode, links, user, group)
    (accessed, modified, changed, born) = (time, time, time, time)
  }

  var unsavedBytes: UInt64 { unsaved?.bytes ?? 0 }
  var isDirectory: Bool { mode & S_IFMT == S_IFDIR }
  var isRegular: Bool { mode & S_IFMT == S_IFREG }
  var isSymlink: Bool { mode & S_IFMT == S_IFLNK }
  var isInUse: Bool { openCount > 0 || isDirty || unsaved != nil || draft != nil }

  func set(_ attributes: AttributeSet) {
    if let mode = attributes.mode { self.mode = self.mode & S_IFMT | mode & ~S_IFMT }
    if let user = attributes.user { self.user = user }
    if let group = attributes.group { self.group = group }
    if let accessed = attributes.accessed { self.accessed = accessed }
    if let modified = attributes.modified { self.modified = modified }
    if let changed = attributes.changed { self.changed = changed }
  }
}

/// What a program may know of a node, at one moment.
public struct NodeInfo: Sendable {
  public var inode: InodeNumber
  public var mode: UInt32
  public var links: UInt32
  public var user: UInt32
  public var group: UInt32
  public var device: UInt64
  public var size: UInt64
  /// Bytes that are not holes.
  public var allocated: UInt64
  public var accessed: Timestamp
  public var modified: Timestamp
  public var changed: Timestamp
  public var born: Timestamp
  /// Unsaved bytes are counted in `allocated` as if none were zero: saving may show that they are.
  public var isUnsaved: Bool
}

extension Node {
  /// Directories have no content; this is the size most programs expect to see.
  private static let directorySize: UInt64 = 4096

  var info: NodeInfo {
    var info = NodeInfo(inode: inode, mode: mode, links: links, user: user, group: group, device: device, size: size,
                        allocated: allocated, accessed: accessed, modified: modified, changed: changed, born: born, isUnsaved: unsaved != nil)
    if isDirectory { info.size = Self.directorySize }
    if isSymlink { info.size = UInt64(target.count) }
    if let unsaved {
      info.size = unsaved.size
      info.modified = unsaved.modified ?? modified
      info.changed = unsaved.changed ?? changed
      info.allocated = min(allocated + unsaved.bytes, max(allocated, (unsaved.size + 4095) & ~4095))
    }
    return info
  }

  /// What programs see as the size now.
  var currentSize: UInt64 { unsaved?.size ?? size }
}

extension Node {
  private enum Flag { static let xattrs: UInt8 = 1, paged: UInt8 = 2, full: UInt8 = 4, touched: UInt8 = 8, all: UInt8 = 15 }
  /// `isTouched` of a node's row.
  static func isTouched(_ record: UnsafeRawBufferPointer) -> Bool { unsafe record.first.map { $0 & Flag.touched != 0 } ?? false }

  /// Its row. What is mostly so costs nothing: files without holes, times in whole microseconds and near each other.
  func encoded() -> [UInt8] {
    var w = ByteWriter(capacity: 128 + target.count)
    let isFull = isRegular && allocated == size
    w.u8((hasXattrs ? Flag.xattrs : 0) | (paged ? Flag.paged : 0) | (isFull ? Flag.full : 0) | (isTouched ? Flag.touched : 0))
    w.varint(epoch)
    w.varint(UInt64(mode)); w.varint(UInt64(links)); w.varint(UInt64(user)); w.varint(UInt64(group))
    w.varint(parent.value)
    w.signed(born.seconds); w.nanoseconds(born)
    w.varint(since.value); w.signed(sinceSeconds &- born.seconds)
    for time in [modified, changed] { w.signed(time.seconds &- born.seconds); w.nanoseconds(time) }
    w.signed(accessed.seconds &- modified.seconds); w.nanoseconds(accessed)
    switch mode & S_IFMT {
    case S_IFREG:
      w.varint(size)
      if !isFull { w.varint(allocated) }
      if !paged { extents.encode(into: &w) }
    case S_IFDIR: w.varint(entries); w.varint(below.bytes); w.varint(below.nodes)
    case S_IFLNK: w.counted(target)
    default: w.varint(device)
    }
    return w.bytes
  }

  private static let types: Set<UInt32> = [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK]

  /// A checksum does not say who wrote a row: what is computed with is inside its bounds from here on.
  convenience init(inode: InodeNumber, decoding bytes: UnsafeRawBufferPointer) throws(Malformed) {
    var r = unsafe ByteReader(bytes)
    let flags = try r.u8()
    guard flags & ~Flag.all == 0 else { throw Malformed() }
    let epoch = try r.varint()
    let mode = try r.varint32(), links = try r.varint32(), user = try r.varint32(), group = try r.varint32()
    guard Self.types.contains(mode & S_IFMT), mode & ~S_IFMT <= 0o7777, links <= Limits.linksMax else { throw Malformed() }
    let parent = InodeNumber(try r.varint())
    let born = Timestamp(seconds: try r.signed(), nanoseconds: try r.nanoseconds())
    self.init(inode: inode, epoch: epoch, mode: mode, links: links, user: user, group: group, time: born)
    self.parent = parent
    hasXattrs = flags & Flag.xattrs != 0
    paged = flags & Flag.paged != 0
    isTouched = flags & Flag.touched != 0
    since = LSN(try r.varint())
    sinceSeconds = born.seconds &+ (try r.signed())
    modified = Timestamp(seconds: born.seconds &+ (try r.signed()), nanoseconds: try r.nanoseconds())
    changed = Timestamp(seconds: born.seconds &+ (try r.signed()), nanoseconds: try r.nanoseconds())
    accessed = Timestamp(seconds: modified.seconds &+ (try r.signed()), nanoseconds: try r.nanoseconds())
    switch mode & S_IFMT {
    case S_IFREG:
      size = try r.varint()
      allocated = flags & Flag.full != 0 ? size : try r.varint()
      guard size <= Limits.fileBytesMax, allocated <= Limits.fileBytesMax else { throw Malformed() }
      if !paged { extents = try [Extent](decoding: &r, max: Limits.inlineExtentsMax) }
    case S_IFDIR: (entries, below) = (try r.varint(), Usage(bytes: try r.varint(), nodes: try r.varint()))
    case S_IFLNK: target = try r.counted(max: Limits.targetBytesMax)
    default: device = try r.varint()
    }
    guard r.isAtEnd else { throw Malformed() }
  }
}

extension ByteWriter {
  /// Of whole microseconds twice their number; else twice the nanoseconds and 1.
  fileprivate mutating func nanoseconds(_ time: Timestamp) {
    let value = UInt64(time.nanoseconds)
    varint(value % 1000 == 0 ? value / 1000 * 2 : value * 2 + 1)
  }
}

extension ByteReader {
  fileprivate mutating func nanoseconds() throws(Malformed) -> UInt32 {
    let raw = try varint()
    guard let value = UInt32(exactly: raw / 2), value < 1_000_000_000 else { throw Malformed() }
    if raw & 1 == 1 { return value }
    guard value < 1_000_000 else { throw Malformed() }
    return value * 1000
  }
}
