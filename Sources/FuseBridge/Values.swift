// The words the kernel and a file system speak: numbers, names, attributes, flags.
//
// What must stay true: plain values without ties to libfuse, so that a file system and its tests need
// no kernel. Names are bytes; `String` would take different files for one (Unicode forms, bad UTF-8).

/// Names a node to the kernel for as long as the kernel has references to it. 1 is the root; 0 names none.
public struct NodeNumber: RawRepresentable, Hashable, Sendable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }
  public static let root = NodeNumber(rawValue: 1)
}

/// What `open`, `create` or `openDirectory` returned; the kernel hands it back with each use.
public struct HandleNumber: RawRepresentable, Hashable, Sendable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Who asks. `process` is 0 for requests the kernel makes for nobody in particular.
public struct Caller: Sendable {
  public let user: UInt32
  public let group: UInt32
  public let process: Int32
  /// The caller's umask; meaningful in calls that create.
  public let umask: UInt32
  public init(user: UInt32, group: UInt32, process: Int32, umask: UInt32) {
    (self.user, self.group, self.process, self.umask) = (user, group, process, umask)
  }
}

/// One name in a directory: 1…255 bytes, no NUL and no `/`, in any encoding.
public struct FileName: Hashable, Sendable {
  public let bytes: [UInt8]
  public init(_ bytes: [UInt8]) { self.bytes = bytes }
}

/// Nanoseconds since 1970-01-01T00:00:00Z; negative before.
public struct Timestamp: Hashable, Sendable {
  public var seconds: Int64
  public var nanoseconds: UInt32
  public init(seconds: Int64, nanoseconds: UInt32) { (self.seconds, self.nanoseconds) = (seconds, nanoseconds) }
}

/// What stat(2) tells of a node.
public struct Attributes: Sendable {
  public var node: NodeNumber
  /// Type and permission bits, as `st_mode`.
  public var mode: UInt32
  public var links: UInt32
  public var user: UInt32
  public var group: UInt32
  public var device: UInt64
  /// Bytes.
  public var size: UInt64
  /// Allocated space in units of 512 bytes.
  public var blocks: UInt64
  public var accessed: Timestamp
  public var modified: Timestamp
  public var changed: Timestamp

  public init(node: NodeNumber, mode: UInt32, links: UInt32, user: UInt32, group: UInt32, device: UInt64 = 0,
              size: UInt64, blocks: UInt64, accessed: Timestamp, modified: Timestamp, changed: Timestamp) {
    (self.node, self.mode, self.links, self.user, self.group) = (node, mode, links, user, group)
    (self.device, self.size, self.blocks) = (device, size, blocks)
    (self.accessed, self.modified, self.changed) = (accessed, modified, changed)
  }
}

/// A node found by name, and how long the kernel may believe it.
public struct Entry: Sendable {
  public var attributes: Attributes
  /// Distinguishes reuse of a node number; never changes where numbers are never reused.
  public var generation: UInt64
  /// How long the kernel may keep the attributes, in seconds.
  public var attributesTimeout: Double
  /// How long the kernel may keep the name, in seconds.
  public var nameTimeout: Double
  public init(attributes: Attributes, generation: UInt64 = 0, attributesTimeout: Double, nameTimeout: Double) {
    (self.attributes, self.generation) = (attributes, generation)
    (self.attributesTimeout, self.nameTimeout) = (attributesTimeout, nameTimeout)
  }
}

/// The answer to a lookup: a node, or that there is none, believed for some seconds.
public enum LookupResult: Sendable {
  case found(Entry)
  case absent(timeout: Double)
}

/// An opened file or directory.
public struct Opened: Sendable {
  public var handle: HandleNumber
  /// The kernel bypasses its page cache for this handle.
  public var directIO: Bool
  /// The kernel keeps pages it cached before this open.
  public var keepCache: Bool
  /// The kernel may cache the entries of this directory.
  public var cacheDirectory: Bool
  /// The kernel spares the `flush` of each close: for handles through which nothing is written.
  public var skipsFlush: Bool
  public init(handle: HandleNumber, directIO: Bool = false, keepCache: Bool = false, cacheDirectory: Bool = false,
              skipsFlush: Bool = false) {
    (self.handle, self.directIO, self.keepCache, self.cacheDirectory) = (handle, directIO, keepCache, cacheDirectory)
    self.skipsFlush = skipsFlush
  }
}

/// What setattr(2)-like calls change; nil leaves alone.
public struct AttributeChanges: Sendable {
  public enum Time: Sendable { case now, at(Timestamp) }
  public var mode: UInt32?
  public var user: UInt32?
  public var group: UInt32?
  public var size: UInt64?
  public var accessed: Time?
  public var modified: Time?
  public var changed: Timestamp?
  /// Also drop set-uid, set-gid (where the group may execute) and file capabilities: the kernel asks
  /// so with a new size from a caller who may not keep them, and with every new owner. Only where
  /// `Capabilities.clearsPrivileges`; otherwise the kernel sends the changed `mode` itself.
  public var clearsPrivileges = false
  public init() {}
}

/// Flags of renameat2(2). Values are the kernel's.
public struct RenameFlags: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  public static let noReplace = RenameFlags(rawValue: 1)
  public static let exchange = RenameFlags(rawValue: 2)
  public static let whiteout = RenameFlags(rawValue: 4)
}

/// Modes of fallocate(2). Values are the kernel's.
public struct AllocationMode: OptionSet, Sendable {
  public let rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }
  public static let keepSize = AllocationMode(rawValue: 0x01)
  public static let punchHole = AllocationMode(rawValue: 0x02)
  public static let collapseRange = AllocationMode(rawValue: 0x08)
  public static let zeroRange = AllocationMode(rawValue: 0x10)
  public static let insertRange = AllocationMode(rawValue: 0x20)
  public static let unshareRange = AllocationMode(rawValue: 0x40)
}

/// How setxattr(2) treats what is there: `create` fails if it exists, `replace` if it does not.
public enum XattrSetMode: Sendable { case set, create, replace }

public enum SeekTarget: Sendable { case data, hole }

/// What statfs(2) tells. Block counts are in units of `blockSize`.
public struct FileSystemStatistics: Sendable {
  public var blockSize: UInt64
  public var blocks: UInt64
  public var blocksFree: UInt64
  public var blocksAvailable: UInt64
  public var files: UInt64
  public var filesFree: UInt64
  public var nameLengthMax: UInt64
  public init(blockSize: UInt64, blocks: UInt64, blocksFree: UInt64, blocksAvailable: UInt64,
              files: UInt64, filesFree: UInt64, nameLengthMax: UInt64 = 255) {
    (self.blockSize, self.blocks, self.blocksFree, self.blocksAvailable) = (blockSize, blocks, blocksFree, blocksAvailable)
    (self.files, self.filesFree, self.nameLengthMax) = (files, filesFree, nameLengthMax)
  }
}
