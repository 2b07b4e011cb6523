// What the kernel and the bridge agreed on, read from the INIT reply that really went out.

import CFuse3

/// What holds on this mount. A file system reads it once, in `mounted(_:)`; the empty value is
/// the plainest kernel, which every file system must be right with.
public struct Capabilities: Hashable, Sendable {
  /// Version of the kernel's FUSE protocol, such as 7 and 45.
  public var protocolMajor: UInt32 = 7
  public var protocolMinor: UInt32 = 0
  /// Bytes; the largest write the kernel sends.
  public var maxWrite: Int = 4096
  /// Bytes; how far the kernel reads ahead unless the mount's `read_ahead_kb` says otherwise.
  public var maxReadAhead: Int = 0

  /// Lookups and listings of one directory may arrive at the same time.
  public var parallelDirectoryOperations = false
  /// The *file system* drops set-uid, set-gid and file capabilities where a call says
  /// `clearsPrivileges`, and on every change of owner. Where false, the kernel sends the
  /// changed mode and the removal of `security.capability` itself. (FUSE_HANDLE_KILLPRIV_V2; it
  /// saves one request for `security.capability` before every write.)
  public var clearsPrivileges = false
  /// The kernel checks access by `system.posix_acl_*`; storing one must also update the mode,
  /// and creation must apply the parent's default ACL (and then not the umask).
  public var posixACL = false
  /// Listings may carry whole entries.
  public var readDirectoryPlus = false
  /// `open` may carry O_TRUNC. Otherwise the kernel truncates with `setAttributes` first. Only
  /// together with `clearsPrivileges`.
  public var atomicTruncate = false
  /// Modes arrive before the umask; the file system applies `caller.umask`.
  public var leavesUmask = false
  /// The kernel caches the targets of symlinks.
  public var cachesSymlinks = false
  /// The kernel drops cached data only when told, or by an `open` without `keepCache`.
  public var explicitInvalidation = false
  /// `Session.expire` is understood.
  public var expiresNames = false
  /// The kernel sends several reads of a file at a time.
  public var asynchronousReads = false
  /// The mount can be exported (NFS): nodes are looked up by number, also after a restart.
  public var exportable = false

  public init() {}
}

extension Capabilities {
  init(reply: fuse_init_out, offered: KernelOffer) {
    func has(_ flag: some BinaryInteger) -> Bool { reply.flags & UInt32(truncatingIfNeeded: flag) != 0 }
    protocolMajor = offered.major
    protocolMinor = min(offered.minor, reply.minor)
    maxWrite = Int(reply.max_write)
    maxReadAhead = Int(reply.max_readahead)
    parallelDirectoryOperations = has(FUSE_PARALLEL_DIROPS)
    clearsPrivileges = has(FUSE_HANDLE_KILLPRIV_V2)
    posixACL = has(FUSE_POSIX_ACL)
    readDirectoryPlus = has(FUSE_DO_READDIRPLUS)
    atomicTruncate = has(FUSE_ATOMIC_O_TRUNC)
    leavesUmask = has(FUSE_DONT_MASK)
    cachesSymlinks = has(FUSE_CACHE_SYMLINKS)
    explicitInvalidation = has(FUSE_EXPLICIT_INVAL_DATA)
    expiresNames = offered.minor >= 38
    asynchronousReads = has(FUSE_ASYNC_READ)
    exportable = has(FUSE_EXPORT_SUPPORT)
  }
}
