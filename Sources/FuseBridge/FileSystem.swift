// What a file system is, to this bridge: plain calls whose return value is the reply.
//
// What must stay true:
// 1. Every method may be called from several threads at once, also for the same node or handle.
// 2. Buffers live only for the call; what is kept is copied.
// 3. A method that throws has changed nothing the kernel would need to know.
// 4. No method touches a path below the mount, or waits for anything that does.
//
// What a method that is left out answers is in `FileSystem+Defaults.swift`.

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
  public init(handle: HandleNumber, directIO: Bool = false, keepCache: Bool = false, cacheDirectory: Bool = false) {
    (self.handle, self.directIO, self.keepCache, self.cacheDirectory) = (handle, directIO, keepCache, cacheDirectory)
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

public protocol FileSystem: Sendable {
  /// Called once, after the kernel and the bridge agreed on `capabilities`.
  func mounted(_ capabilities: Capabilities)
  /// Called once, when the session has ended.
  func unmounted()

  func lookup(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> LookupResult
  /// The kernel drops `count` of the references that lookups and creations gave it.
  func forget(_ node: NodeNumber, count: UInt64)
  func attributes(of node: NodeNumber, handle: HandleNumber?) throws(Errno) -> (Attributes, timeout: Double)
  /// Changes all that is not nil, or nothing. See `AttributeChanges.clearsPrivileges`.
  /// - Returns: the new attributes, and how long the kernel may believe them, in seconds.
  func setAttributes(of node: NodeNumber, handle: HandleNumber?, to changes: AttributeChanges, by caller: Caller)
    throws(Errno) -> (Attributes, timeout: Double)
  func readLink(_ node: NodeNumber) throws(Errno) -> [UInt8]

  /// Makes a regular file, fifo, socket or device node; `mode` holds the type.
  func makeNode(_ name: FileName, in parent: NodeNumber, mode: UInt32, device: UInt64, by caller: Caller) throws(Errno) -> Entry
  func makeDirectory(_ name: FileName, in parent: NodeNumber, mode: UInt32, by caller: Caller) throws(Errno) -> Entry
  func makeSymlink(_ name: FileName, in parent: NodeNumber, target: [UInt8], by caller: Caller) throws(Errno) -> Entry
  func link(_ node: NodeNumber, as name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> Entry
  func unlink(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno)
  func removeDirectory(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno)
  func rename(_ name: FileName, in parent: NodeNumber, to newName: FileName, in newParent: NodeNumber,
              flags: RenameFlags, by caller: Caller) throws(Errno)

  /// - Parameter flags: as of open(2), with O_TRUNC where the kernel leaves truncation to us.
  func open(_ node: NodeNumber, flags: Int32, by caller: Caller) throws(Errno) -> Opened
  func create(_ name: FileName, in parent: NodeNumber, mode: UInt32, flags: Int32, by caller: Caller)
    throws(Errno) -> (Entry, Opened)
  /// Fills `buffer` from `offset` on; short only at the end of the file.
  /// - Returns: bytes filled. What is beyond them in `buffer` is never sent.
  func read(_ node: NodeNumber, _ handle: HandleNumber, at offset: UInt64, flags: Int32,
            into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int
  /// - Parameter clearsPrivileges: the kernel asks that set-uid, set-gid and file capabilities be dropped.
  /// - Returns: how many of `bytes` were accepted.
  func write(_ bytes: UnsafeRawBufferPointer, to node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
             flags: Int32, clearsPrivileges: Bool, by caller: Caller) throws(Errno) -> Int
  /// One descriptor of the handle was closed; errors reach close(2).
  func flush(_ node: NodeNumber, _ handle: HandleNumber, lockOwner: UInt64) throws(Errno)
  func sync(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno)
  /// The last descriptor is gone. Nobody sees an error from here.
  func release(_ node: NodeNumber, _ handle: HandleNumber)
  func allocate(_ node: NodeNumber, _ handle: HandleNumber, offset: UInt64, length: UInt64, mode: AllocationMode,
                by caller: Caller) throws(Errno)
  func seek(_ node: NodeNumber, _ handle: HandleNumber, from offset: UInt64, to target: SeekTarget) throws(Errno) -> UInt64
  /// - Returns: bytes copied.
  func copyRange(from node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
                 to newNode: NodeNumber, _ newHandle: HandleNumber, at newOffset: UInt64, length: UInt64,
                 by caller: Caller) throws(Errno) -> UInt64

  func openDirectory(_ node: NodeNumber, by caller: Caller) throws(Errno) -> Opened
  /// Appends entries that follow `cookie` (0 at the start) until `listing` is full or there are no more.
  func readDirectory(_ node: NodeNumber, _ handle: HandleNumber, after cookie: UInt64, into listing: inout DirectoryListing) throws(Errno)
  func releaseDirectory(_ node: NodeNumber, _ handle: HandleNumber)
  func syncDirectory(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno)

  func statistics(of node: NodeNumber) throws(Errno) -> FileSystemStatistics
  func setXattr(_ name: [UInt8], of node: NodeNumber, to value: [UInt8], mode: XattrSetMode, by caller: Caller) throws(Errno)
  /// - Throws: `.noAttribute` (ENODATA) where there is none.
  func xattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(Errno) -> [UInt8]
  /// Names, each followed by a NUL.
  func xattrNames(of node: NodeNumber, by caller: Caller) throws(Errno) -> [UInt8]
  func removeXattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(Errno)
}
