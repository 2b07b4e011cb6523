// A complete file system in memory: what FuseBridge asks of a file system, by example.
//
// The shape to copy: a value that holds the state (`Tree`, in Tree.swift) behind one lock, and a
// `FileSystem` whose methods are short sentences about it. A method's return value is the reply; a
// thrown `Errno` is the caller's errno. Methods run on several threads at once, hence the lock.

import FuseBridge
import Synchronization

struct Mode {
  static let type: UInt32 = 0o170000
  static let directory: UInt32 = 0o040000
  static let regular: UInt32 = 0o100000
  static let symlink: UInt32 = 0o120000
  static let setUser: UInt32 = 0o4000
  static let setGroup: UInt32 = 0o2000
}

final class MemoryFS: FileSystem {
  private let tree = Mutex(Tree())

  /// We are the only writer, and the kernel sees every change pass by: it may believe us for long.
  private static let timeout = 3600.0

  private func entry(_ node: NodeNumber, in tree: borrowing Tree) throws(Errno) -> Entry {
    Entry(attributes: try tree.attributes(of: node), attributesTimeout: Self.timeout, nameTimeout: Self.timeout)
  }

  // MARK: finding and forgetting
  //
  // Each entry the kernel gets is one reference. It may use the number until it has forgotten as
  // many, even after the last name is gone: so a node lives while it has names *or* references.

  func lookup(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> LookupResult {
    try tree.withLock { tree throws(Errno) -> LookupResult in
      guard let node = try tree.directory(parent)[name] else { return .absent(timeout: Self.timeout) }
      tree.refer(to: node)
      return .found(try entry(node, in: tree))
    }
  }

  func forget(_ node: NodeNumber, count: UInt64) {
    tree.withLock { $0.forget(node, count: count) }
  }

  func attributes(of node: NodeNumber, handle: HandleNumber?) throws(Errno) -> (Attributes, timeout: Double) {
    try tree.withLock { tree throws(Errno) in (try tree.attributes(of: node), Self.timeout) }
  }

  func setAttributes(of node: NodeNumber, handle: HandleNumber?, to changes: AttributeChanges, by caller: Caller)
    throws(Errno) -> (Attributes, timeout: Double) {
    try tree.withLock { tree throws(Errno) in
      try tree.change(node) { (item: inout Node, now: Timestamp) throws(Errno) in
        // Who may change what was already checked by the kernel (default_permissions).
        if let mode = changes.mode { item.mode = item.mode & Mode.type | mode & ~Mode.type }
        if let user = changes.user { item.user = user }
        if let group = changes.group { item.group = group }
        if let size = changes.size { try item.resize(to: size, now) }
        if changes.clearsPrivileges { item.clearPrivileges() }
        if let time = changes.accessed { item.accessed = time.resolved(now) }
        if let time = changes.modified { item.modified = time.resolved(now) }
        item.changed = changes.changed ?? now
      }
      return (try tree.attributes(of: node), Self.timeout)
    }
  }

  // MARK: making and removing names

  func makeNode(_ name: FileName, in parent: NodeNumber, mode: UInt32, device: UInt64, by caller: Caller) throws(Errno) -> Entry {
    try add(Node(mode: mode & ~caller.umask, device: device, by: caller), name, in: parent)
  }

  func makeDirectory(_ name: FileName, in parent: NodeNumber, mode: UInt32, by caller: Caller) throws(Errno) -> Entry {
    try add(Node(mode: Mode.directory | mode & ~Mode.type & ~caller.umask, by: caller), name, in: parent)
  }

  func makeSymlink(_ name: FileName, in parent: NodeNumber, target: [UInt8], by caller: Caller) throws(Errno) -> Entry {
    var node = Node(mode: Mode.symlink | 0o777, by: caller)
    node.content = target
    return try add(node, name, in: parent)
  }

  func create(_ name: FileName, in parent: NodeNumber, mode: UInt32, flags: Int32, by caller: Caller)
    throws(Errno) -> (Entry, Opened) {
    let entry = try makeNode(name, in: parent, mode: Mode.regular | mode & ~Mode.type, device: 0, by: caller)
    return (entry, Self.opened)
  }

  private func add(_ new: Node, _ name: FileName, in parent: NodeNumber) throws(Errno) -> Entry {
    try tree.withLock { tree throws(Errno) in
      let node = try tree.add(new, name, in: parent)
      tree.refer(to: node)
      return try entry(node, in: tree)
    }
  }

  func link(_ node: NodeNumber, as name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> Entry {
    try tree.withLock { tree throws(Errno) in
      try tree.link(node, as: name, in: parent)
      tree.refer(to: node)
      return try entry(node, in: tree)
    }
  }

  func unlink(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) {
    try tree.withLock { tree throws(Errno) in try tree.remove(name, in: parent, directory: false) }
  }

  func removeDirectory(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) {
    try tree.withLock { tree throws(Errno) in try tree.remove(name, in: parent, directory: true) }
  }

  func rename(_ name: FileName, in parent: NodeNumber, to newName: FileName, in newParent: NodeNumber,
              flags: RenameFlags, by caller: Caller) throws(Errno) {
    guard flags.isSubset(of: [.noReplace, .exchange]) else { throw .invalidArgument }
    try tree.withLock { tree throws(Errno) in
      try tree.rename(name, in: parent, to: newName, in: newParent,
                      replace: !flags.contains(.noReplace), exchange: flags.contains(.exchange))
    }
  }

  func readLink(_ node: NodeNumber) throws(Errno) -> [UInt8] {
    try tree.withLock { tree throws(Errno) in try tree.node(node).content }
  }

  // MARK: file content
  //
  // Files need no state per open, so every handle is 0; `keepCache`, because nobody else writes.

  private static let opened = Opened(handle: HandleNumber(rawValue: 0), keepCache: true)

  func open(_ node: NodeNumber, flags: Int32, by caller: Caller) throws(Errno) -> Opened {
    let truncates = flags & 0o1000 != 0  // O_TRUNC
    if truncates {
      try tree.withLock { tree throws(Errno) in
        try tree.change(node) { (item: inout Node, now: Timestamp) throws(Errno) in
          try item.resize(to: 0, now)
          if flags & OpenFlag.clearsPrivileges != 0 { item.clearPrivileges() }
        }
      }
    }
    return Self.opened
  }

  func read(_ node: NodeNumber, _ handle: HandleNumber, at offset: UInt64, flags: Int32,
            into buffer: inout MutableRawSpan) throws(Errno) -> Int {
    try tree.withLock { tree throws(Errno) in
      let content = try tree.node(node).content
      let start = min(Int(clamping: offset), content.count)
      let part = content[start..<min(start + buffer.byteCount, content.count)]
      unsafe buffer.withUnsafeMutableBytes { into in unsafe part.withUnsafeBytes { unsafe into.copyMemory(from: $0) } }
      return part.count
    }
  }

  func write(_ bytes: borrowing RawSpan, to node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
             flags: Int32, clearsPrivileges: Bool, by caller: Caller) throws(Errno) -> Int {
    try tree.withLock { tree throws(Errno) in
      try tree.change(node) { (item: inout Node, now: Timestamp) throws(Errno) in
        let end = offset + UInt64(bytes.byteCount)
        if end > item.content.count { try item.resize(to: end, now) }
        unsafe item.content.withUnsafeMutableBytes { into in unsafe bytes.withUnsafeBytes { unsafe UnsafeMutableRawBufferPointer(rebasing: into[Int(offset)...]).copyMemory(from: $0) } }
        if clearsPrivileges { item.clearPrivileges() }
        item.modified = now
      }
      return bytes.byteCount
    }
  }

  // There is no disk: everything is as safe as it will ever be. These three have no default, because
  // leaving them out would silently promise what only their author can know.
  func flush(_ node: NodeNumber, _ handle: HandleNumber, lockOwner: UInt64) throws(Errno) {}
  func sync(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno) {}
  func syncDirectory(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno) {}

  // MARK: directories
  //
  // Opening takes a snapshot, so that a listing shows each name once however the directory changes
  // meanwhile. A cookie is the position after an entry.

  func openDirectory(_ node: NodeNumber, by caller: Caller) throws(Errno) -> Opened {
    try tree.withLock { tree throws(Errno) in
      Opened(handle: tree.keep(snapshot: try tree.names(in: node)), keepCache: true, cacheDirectory: true)
    }
  }

  func readDirectory(_ node: NodeNumber, _ handle: HandleNumber, after cookie: UInt64, into listing: inout DirectoryListing) throws(Errno) {
    // The lock's closure cannot borrow `listing`, so take the names out and the references one by one.
    let names = try tree.withLock { tree throws(Errno) in
      if cookie == 0 { tree.snapshots[handle] = try tree.names(in: node) }  // rewinddir(3) looks afresh
      guard let names = tree.snapshots[handle] else { throw .badHandle }
      return names
    }
    for position in min(Int(clamping: cookie), names.count)..<names.count {
      let (name, child) = names[position]
      let next = UInt64(position + 1)
      if position < 2 || !listing.wantsEntries {  // `.` and `..` are names only, always
        let mode = tree.withLock { (try? $0.node(child).mode) ?? 0 }
        guard listing.append(name.bytes, node: child, mode: mode, cookie: next) else { return }
      } else {
        let entry = tree.withLock { tree -> Entry? in
          guard let entry = try? self.entry(child, in: tree) else { return nil }  // gone since the snapshot
          tree.refer(to: child)
          return entry
        }
        guard let entry else { continue }
        guard listing.append(name.bytes, entry: entry, cookie: next) else { return forget(child, count: 1) }
      }
    }
  }

  func releaseDirectory(_ node: NodeNumber, _ handle: HandleNumber) {
    tree.withLock { _ = $0.snapshots.removeValue(forKey: handle) }
  }

  // MARK: extended attributes

  func setXattr(_ name: [UInt8], of node: NodeNumber, to value: [UInt8], mode: XattrSetMode, by caller: Caller) throws(Errno) {
    try tree.withLock { tree throws(Errno) in
      try tree.change(node) { (item: inout Node, now: Timestamp) throws(Errno) in
        if mode == .create, item.xattrs[name] != nil { throw .exists }
        if mode == .replace, item.xattrs[name] == nil { throw .noAttribute }
        item.xattrs[name] = value
        item.changed = now
      }
    }
  }

  func xattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(Errno) -> [UInt8] {
    let value = try tree.withLock { tree throws(Errno) in try tree.node(node).xattrs[name] }
    guard let value else { throw .noAttribute }
    return value
  }

  func xattrNames(of node: NodeNumber, by caller: Caller) throws(Errno) -> [UInt8] {
    try tree.withLock { tree throws(Errno) in try tree.node(node).xattrs.keys.flatMap { $0 + [0] } }
  }

  func removeXattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(Errno) {
    try tree.withLock { tree throws(Errno) in
      try tree.change(node) { (item: inout Node, now: Timestamp) throws(Errno) in
        guard item.xattrs.removeValue(forKey: name) != nil else { throw .noAttribute }
        item.changed = now
      }
    }
  }
}
