// Tells the kernel that what it cached is no longer so.
//
// Written to the device directly rather than through libfuse: libfuse prints each ordinary refusal
// ("not cached") on standard error, and copies names as C strings.
//
// What must stay true: the descriptor is used only between `open` and `close`; `close` waits for
// those under way, so that a closed descriptor's number never gets a notification meant for it.

import CFuse3
import Glibc
import Synchronization

final class Notifier: Sendable {
  private struct State {
    var descriptor: Int32?
    var tap: DeviceTap?
    var underWay = 0
  }
  private let state = Mutex(State())

  func open(descriptor: Int32, tap: DeviceTap) {
    state.withLock { $0 = State(descriptor: descriptor, tap: tap) }
  }

  /// No notification starts after this, and none is under way when it returns.
  func close() {
    state.withLock { $0.descriptor = nil }
    while state.withLock({ $0.underWay > 0 }) { usleep(1000) }
  }

  /// - Parameter name: follows `body`, with a NUL; nil sends none.
  /// - Throws: `.notConnected` outside a running mount; else the kernel's refusal.
  func send<Body: BitwiseCopyable>(_ code: Int32, _ body: Body, name: [UInt8]? = nil) throws(Errno) {
    let descriptor = state.withLock { state -> Int32? in
      guard let descriptor = state.descriptor, state.tap?.isReady == true else { return nil }
      state.underWay += 1
      return descriptor
    }
    guard let descriptor else { throw .notConnected }
    defer { state.withLock { $0.underWay -= 1 } }

    var message: [UInt8] = []
    func append<Part: BitwiseCopyable>(_ part: Part) { unsafe withUnsafeBytes(of: part) { unsafe message += $0 } }
    let size = MemoryLayout<fuse_out_header>.size + MemoryLayout<Body>.size + (name.map { $0.count + 1 } ?? 0)
    append(fuse_out_header(len: UInt32(size), error: code, unique: 0))  // unique 0: not an answer
    append(body)
    if let name { message += name + [0] }
    let sent = unsafe message.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
    if sent < 0 { throw .current }
  }
}

/// These may wait until requests that use the same node or directory are answered. So: never from
/// within a handler of the file system, and never holding a lock that a handler needs.
/// What the kernel does not know, it need not forget: that is success here.
extension Session {
  /// Drops what the kernel cached of a node: attributes, ACLs, and data from `offset` on.
  /// - Parameters:
  ///   - offset: bytes; negative leaves the data cached and drops attributes only.
  ///   - length: bytes; 0 means to the end.
  /// - Throws: `.notConnected` where nothing is mounted and running.
  public func invalidate(node: NodeNumber, offset: Int64 = 0, length: Int64 = 0) throws(Errno) {
    try known { () throws(Errno) in
      try notifier.send(FUSE_NOTIFY_INVAL_INODE, fuse_notify_inval_inode_out(ino: node.rawValue, off: offset, len: length))
    }
  }

  /// Drops a name, whether the kernel thinks it is there or not, and the cached listing of `parent`.
  public func invalidate(name: FileName, in parent: NodeNumber) throws(Errno) {
    try sendName(name, in: parent, flags: 0)
  }

  /// Makes the kernel look a name up again at its next use, without disturbing those who use it now
  /// (`invalidate` would also detach what is mounted below). Older kernels get `invalidate`.
  public func expire(name: FileName, in parent: NodeNumber) throws(Errno) {
    try sendName(name, in: parent, flags: UInt32(FUSE_EXPIRE_ONLY))
  }

  /// Tells that `child` is no longer called `name`, as if unlinked through this mount: watchers
  /// (inotify) learn of it.
  /// - Throws: `.notEmpty` or `.busy` where the kernel knows entries, or a mount, below `child`.
  public func deleted(name: FileName, in parent: NodeNumber, child: NodeNumber) throws(Errno) {
    let body = fuse_notify_delete_out(parent: parent.rawValue, child: child.rawValue, namelen: UInt32(name.bytes.count), padding: 0)
    try known { () throws(Errno) in try notifier.send(FUSE_NOTIFY_DELETE, body, name: name.bytes) }
  }

  private func sendName(_ name: FileName, in parent: NodeNumber, flags: UInt32) throws(Errno) {
    var body = fuse_notify_inval_entry_out()
    body.parent = parent.rawValue
    body.namelen = UInt32(name.bytes.count)
    body.flags = flags
    try known { () throws(Errno) in try notifier.send(FUSE_NOTIFY_INVAL_ENTRY, body, name: name.bytes) }
  }

  private func known(_ send: () throws(Errno) -> Void) throws(Errno) {
    do { try send() } catch where error == .noEntry {}
  }
}

extension Notifier {
  fileprivate func send<Body: BitwiseCopyable>(_ code: fuse_notify_code, _ body: Body, name: [UInt8]? = nil) throws(Errno) {
    try send(Int32(code.rawValue), body, name: name)
  }
}
