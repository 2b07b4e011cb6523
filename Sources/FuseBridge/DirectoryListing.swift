// The reply to one readdir(plus) request, filled entry by entry in the kernel's format.
//
// What must stay true:
// 1. Each entry appended with an `Entry` is one reference (lookup) that the kernel will forget;
//    one appended by name alone is none. `.` and `..` are always appended by name alone.
// 2. Nothing is written beyond `storage`; a full listing refuses and keeps what it has.

import CFuse3
import Glibc

/// Takes the entries of a directory until it is full.
///
/// Lives for one call of `FileSystem.readDirectory`, in one thread.
@safe public struct DirectoryListing: ~Copyable {
  private let storage: UnsafeMutableRawBufferPointer
  private var used = 0
  private var damaged = false

  /// The kernel would like whole entries (readdirplus): it saves a lookup for each. Where false,
  /// an entry's attributes are not sent and no reference is taken.
  public let wantsEntries: Bool

  /// A listing over memory that outlives it. The bridge makes these; tests of a file system may too.
  public init(into storage: UnsafeMutableRawBufferPointer, wantsEntries: Bool) {
    unsafe self.storage = unsafe storage
    self.wantsEntries = wantsEntries
  }

  /// What was filled so far.
  var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(rebasing: storage[..<used]) }

  /// A name that no directory can hold was appended; the caller sees EIO.
  var isDamaged: Bool { damaged }

  /// Appends a name without taking a reference; always right, and the only way for `.` and `..`.
  /// - Parameter mode: as `st_mode`; only the type is sent.
  /// - Parameter cookie: what `readDirectory` gets to continue *after* this entry; not 0.
  /// - Returns: false where it did not fit. A name that is empty, longer than 255 bytes or holds a
  ///   NUL or `/` fails the whole listing with EIO.
  public mutating func append(_ name: [UInt8], node: NodeNumber, mode: UInt32, cookie: UInt64) -> Bool {
    var status = stat()
    status.st_ino = UInt(node.rawValue)
    status.st_mode = mode
    if wantsEntries {
      var parameters = fuse_entry_param()
      parameters.attr = status  // `ino` stays 0: the kernel then makes no node of it
      return unsafe add(name) { unsafe fuse_add_direntry_plus(nil, $0, $1, $2, &parameters, off_t(truncatingIfNeeded: cookie)) }
    }
    return unsafe add(name) { unsafe fuse_add_direntry(nil, $0, $1, $2, &status, off_t(truncatingIfNeeded: cookie)) }
  }

  /// Appends a name with its node. Where this returns true and `wantsEntries` holds, the kernel
  /// has one more reference to the node, as after a lookup.
  /// - Returns: false where it did not fit: no reference was taken. See the other `append`.
  public mutating func append(_ name: [UInt8], entry: Entry, cookie: UInt64) -> Bool {
    guard wantsEntries, name != [UInt8(ascii: ".")], name != [UInt8(ascii: "."), UInt8(ascii: ".")] else {
      return append(name, node: entry.attributes.node, mode: entry.attributes.mode, cookie: cookie)
    }
    var parameters = entry.parameters
    return unsafe add(name) { unsafe fuse_add_direntry_plus(nil, $0, $1, $2, &parameters, off_t(truncatingIfNeeded: cookie)) }
  }

  /// Calls `write(place, room, name)`, which returns the size it needs and writes only if that fits.
  private mutating func add(_ name: [UInt8], _ write: (UnsafeMutablePointer<CChar>?, Int, UnsafePointer<CChar>) -> Int) -> Bool {
    guard (1...FileName.lengthMax).contains(name.count), !name.contains(0), !name.contains(UInt8(ascii: "/")) else {
      damaged = true
      return false
    }
    let room = unsafe storage.count - used
    let place = unsafe storage.baseAddress.map { unsafe ($0 + used).assumingMemoryBound(to: CChar.self) }
    let needed = unsafe withUnsafeTemporaryAllocation(byteCount: name.count + 1, alignment: 1) { terminated in
      unsafe terminated.copyBytes(from: name)
      unsafe terminated[name.count] = 0
      return unsafe write(place, room, UnsafePointer(terminated.baseAddress!.assumingMemoryBound(to: CChar.self)))
    }
    guard needed <= room else { return false }
    used += needed
    return true
  }
}

// MARK: reading it back

extension DirectoryListing {
  /// One entry as the kernel will read it.
  public struct Item: Hashable, Sendable {
    public let name: [UInt8]
    public let node: NodeNumber
    public let cookie: UInt64
    /// The kernel has a reference to `node` from this entry.
    public let isReference: Bool
  }

  /// What was appended, read back from the reply: for tests, and for undoing a reply that failed.
  public var items: [Item] {
    var items: [Item] = []
    var position = 0
    let header = MemoryLayout<fuse_dirent>.size  // the name follows without padding
    while position < used {
      var reference: UInt64 = 0
      if wantsEntries {
        reference = unsafe storage.loadUnaligned(fromByteOffset: position, as: fuse_entry_out.self).nodeid
        position += MemoryLayout<fuse_entry_out>.size
      }
      let entry = unsafe storage.loadUnaligned(fromByteOffset: position, as: fuse_dirent.self)
      let name = unsafe storage[(position + header)..<(position + header + Int(entry.namelen))]
      unsafe items.append(Item(name: [UInt8](name), node: NodeNumber(rawValue: entry.ino), cookie: entry.off, isReference: reference != 0))
      position += (header + Int(entry.namelen) + 7) & ~7
    }
    return items
  }
}
