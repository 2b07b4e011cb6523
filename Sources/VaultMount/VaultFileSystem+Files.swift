// Open files: the handle the kernel gives back is the engine's open file itself.

public import FuseBridge
import Glibc
import VaultFS

extension VaultFileSystem {
  public func open(_ node: NodeNumber, flags: Int32, by caller: Caller) throws(FuseBridge.Errno) -> Opened {
    if PastView.contains(node) { return try openPast(node, flags) }
    return try answer { () throws(VaultError) in
      let file = try vault.open(node.inode)
      do throws(VaultError) {
        if flags & O_TRUNC != 0 { try vault.truncate(node.inode, to: 0, clearsPrivileges: flags & OpenFlag.clearsPrivileges != 0, isMember: caller.isMember) }
      } catch {
        vault.release(node.inode)
        throw error
      }
      return opened(file, isForReading: flags & O_ACCMODE == O_RDONLY)
    }
  }

  public func create(_ name: FileName, in parent: NodeNumber, mode: UInt32, flags: Int32, by caller: Caller)
    throws(FuseBridge.Errno) -> (Entry, Opened) {
    try checkPresent(parent)
    return try answer { () throws(VaultError) in
      let info = try vault.create(name.bytes, in: parent.inode, mode: mode & ~S_IFMT | S_IFREG, opening: true, by: caller.requester)
      return (entry(info), opened(try vault.open(info.inode, isRetained: true)))
    }
  }

  public func read(_ node: NodeNumber, _ handle: HandleNumber, at offset: UInt64, flags: Int32,
                   into buffer: inout MutableRawSpan) throws(FuseBridge.Errno) -> Int {
    try unsafe buffer.withUnsafeMutableBytes { bytes throws(FuseBridge.Errno) in
      try answer { () throws(VaultError) in try unsafe vault.read(handle.file, at: offset, into: bytes) }
    }
  }

  public func write(_ bytes: borrowing RawSpan, to node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
                    flags: Int32, clearsPrivileges: Bool, by caller: Caller) throws(FuseBridge.Errno) -> Int {
    let file = handle.file
    do throws(FuseBridge.Errno) {
      return try answer { () throws(VaultError) in
        try unsafe bytes.withUnsafeBytes { bytes throws(VaultError) in
          try unsafe vault.write(bytes, to: file, at: offset, clearsPrivileges: clearsPrivileges, isMember: caller.isMember)
          return bytes.count
        }
      }
    } catch {
      guard flags & OpenFlag.isFromPageCache != 0 else { throw error }
      vault.reportLostMapping(at: offset, of: file, isFull: error == .quota || error == .noSpace)
      // The kernel keeps that one for who asks next.
      throw error == .quota ? .noSpace : error
    }
  }

  public func flush(_ node: NodeNumber, _ handle: HandleNumber, lockOwner: UInt64) throws(FuseBridge.Errno) {
    try answer { () throws(VaultError) in try vault.endVersion(handle.file) }
  }
  public func sync(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(FuseBridge.Errno) {
    try answer { () throws(VaultError) in try vault.sync(handle.file) }
  }
  public func release(_ node: NodeNumber, _ handle: HandleNumber) {
    unsafe vault.close(Unmanaged<OpenFile>.fromOpaque(handle.pointer).takeRetainedValue())
  }

  public func allocate(_ node: NodeNumber, _ handle: HandleNumber, offset: UInt64, length: UInt64, mode: AllocationMode,
                       by caller: Caller) throws(FuseBridge.Errno) {
    let keepsSize = mode.contains(.keepSize)
    let change: Vault.Allocation = switch mode.subtracting(.keepSize) {
    case []: .reserve(keepSize: keepsSize)
    case .punchHole: .punchHole
    case .zeroRange: .zero(keepSize: keepsSize)
    case .collapseRange: .collapse
    case .insertRange: .insert
    // Nothing written through this handle is shared: an overwrite never touches another file's bytes.
    case .unshareRange: .reserve(keepSize: keepsSize)
    default: throw .notSupported
    }
    try answer { () throws(VaultError) in
      try vault.allocate(handle.file, offset: offset, length: length, change, clearsPrivileges: mayNotKeepPrivileges(caller), isMember: caller.isMember)
    }
  }

  public func seek(_ node: NodeNumber, _ handle: HandleNumber, from offset: UInt64, to target: SeekTarget) throws(FuseBridge.Errno) -> UInt64 {
    try answer { () throws(VaultError) in try vault.seek(handle.file, from: offset, to: target == .data ? .data : .hole) }
  }

  public func copyRange(from node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
                        to newNode: NodeNumber, _ newHandle: HandleNumber, at newOffset: UInt64, length: UInt64,
                        by caller: Caller) throws(FuseBridge.Errno) -> UInt64 {
    // The kernel then copies the bytes itself, and no more is stored for it.
    if PastView.contains(node) { throw .crossDevice }
    return try answer { () throws(VaultError) in
      try vault.clone(from: handle.file, at: offset, to: newHandle.file, at: newOffset, length: length,
                      clearsPrivileges: mayNotKeepPrivileges(caller), isMember: caller.isMember)
    }
  }

  func opened(_ file: OpenFile, isForReading: Bool = false, isOfPast: Bool = false) -> Opened {
    let handle = unsafe UInt64(UInt(bitPattern: Unmanaged.passRetained(file).toOpaque()))
    // What the page cache answers, the vault does not see: where each access counts, an opening begins without it.
    // And the last version of what is there may still change: what was read of it then is not what it is in the end.
    return unsafe Opened(handle: HandleNumber(rawValue: handle), keepCache: vault.accessTimes != .always && !isOfPast && !file.isStale, skipsFlush: isForReading)
  }

  /// Where a request does not say so: everybody but root loses set-uid and set-gid of what they change.
  private func mayNotKeepPrivileges(_ caller: Caller) -> Bool { clearsPrivileges.isSet && caller.user != 0 }
}

extension HandleNumber {
  fileprivate var pointer: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(bitPattern: UInt(rawValue))! }
  /// The engine's file; the kernel keeps a handle until it releases it.
  fileprivate var file: OpenFile { unsafe Unmanaged<OpenFile>.fromOpaque(pointer).takeUnretainedValue() }
}
