// What a file system is, to this bridge: plain calls whose return value is the reply.
//
// What must stay true:
// 1. Every method may be called from several threads at once, also for the same node or handle.
// 2. Buffers are borrowed for the call, as spans: the compiler holds that; what is kept is copied.
// 3. A method that throws has changed nothing the kernel would need to know.
// 4. No method touches a path below the mount, or waits for anything that does.
//
// What a method that is left out answers is in `FileSystem+Defaults.swift`.

/// A file system. Calls come on the session's threads and may block; each return value is the reply.
///
/// **References.** Each `Entry` that `lookup`, `makeNode`, `makeDirectory`, `makeSymlink`, `link` and
/// `create` return, and each one a listing takes, is one reference. The kernel may use a node's number
/// until `forget` took as many back, also after its last name is gone.
///
/// **Permissions.** With `SessionOptions.defaultPermissions` the kernel has checked modes, owners and
/// sticky bits before it asks.
public protocol FileSystem: Sendable {
  /// Called once, before the first request, after the kernel and the bridge agreed on `capabilities`.
  func mounted(_ capabilities: Capabilities)
  /// Called once, when no request can come any more. Handles may still be open and references held;
  /// nobody will release them.
  func unmounted()

  /// Finds a name. `.` and `..` come only where `Capabilities.exportable`.
  func lookup(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> LookupResult
  /// The kernel drops `count` of the references that lookups and creations gave it.
  func forget(_ node: NodeNumber, count: UInt64)
  /// - Returns: the attributes, and how long the kernel may believe them, in seconds.
  func attributes(of node: NodeNumber, handle: HandleNumber?) throws(Errno) -> (Attributes, timeout: Double)
  /// Changes all that is not nil, or nothing. See `AttributeChanges.clearsPrivileges`.
  /// - Returns: the new attributes, and how long the kernel may believe them, in seconds.
  func setAttributes(of node: NodeNumber, handle: HandleNumber?, to changes: AttributeChanges, by caller: Caller)
    throws(Errno) -> (Attributes, timeout: Double)
  /// - Returns: where the symlink leads; at most 4095 bytes.
  func readLink(_ node: NodeNumber) throws(Errno) -> [UInt8]

  /// Makes a regular file, fifo, socket or device node; `mode` holds the type. Apply `caller.umask`
  /// (unless a default ACL takes its place), here as in `makeDirectory` and `create`.
  func makeNode(_ name: FileName, in parent: NodeNumber, mode: UInt32, device: UInt64, by caller: Caller) throws(Errno) -> Entry
  /// Makes an empty directory. `mode` holds permission bits; see `makeNode`.
  func makeDirectory(_ name: FileName, in parent: NodeNumber, mode: UInt32, by caller: Caller) throws(Errno) -> Entry
  /// Makes a symlink that leads to `target`, kept as it is.
  func makeSymlink(_ name: FileName, in parent: NodeNumber, target: [UInt8], by caller: Caller) throws(Errno) -> Entry
  /// Gives `node` one more name.
  func link(_ node: NodeNumber, as name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> Entry
  /// Removes a name that is not a directory's. The node lives on while it has names or references.
  func unlink(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno)
  /// Removes an empty directory; it lives on without names while it has references.
  /// - Throws: `.notEmpty`.
  func removeDirectory(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno)
  /// Moves a name; atomically replaces what `newName` was, unless `flags` say otherwise. The kernel has
  /// refused to move a directory below itself.
  /// - Throws: `.invalidArgument` for flags it does not know.
  func rename(_ name: FileName, in parent: NodeNumber, to newName: FileName, in newParent: NodeNumber,
              flags: RenameFlags, by caller: Caller) throws(Errno)

  /// - Parameter flags: as of open(2), with O_TRUNC where `Capabilities.atomicTruncate`, and then
  ///   `OpenFlag.clearsPrivileges` where truncation must also drop set-uid and the like.
  func open(_ node: NodeNumber, flags: Int32, by caller: Caller) throws(Errno) -> Opened
  /// Makes and opens a regular file. `mode` may hold the type. The kernel has found no such name; where
  /// there is one after all, it must be opened (or `.exists` thrown, with O_EXCL in `flags`).
  func create(_ name: FileName, in parent: NodeNumber, mode: UInt32, flags: Int32, by caller: Caller)
    throws(Errno) -> (Entry, Opened)
  /// Fills `buffer` from `offset` on; short only at the end of the file.
  /// - Returns: bytes filled. What is beyond them in `buffer` is never sent.
  func read(_ node: NodeNumber, _ handle: HandleNumber, at offset: UInt64, flags: Int32,
            into buffer: inout MutableRawSpan) throws(Errno) -> Int
  /// - Parameter offset: bytes; where to write, also with O_APPEND in `flags` (the kernel knows the end).
  /// - Parameter clearsPrivileges: the kernel asks that set-uid, set-gid and file capabilities be dropped.
  /// - Returns: how many of `bytes` were accepted.
  func write(_ bytes: borrowing RawSpan, to node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
             flags: Int32, clearsPrivileges: Bool, by caller: Caller) throws(Errno) -> Int
  /// One descriptor of the handle was closed; errors reach close(2). May come several times for a handle.
  ///
  /// No default: ENOSYS would make the kernel report success for ever, without asking.
  func flush(_ node: NodeNumber, _ handle: HandleNumber, lockOwner: UInt64) throws(Errno)
  /// What was written to `node` is on disk when this returns. No default: see `flush`.
  /// - Parameter dataOnly: fdatasync(2): attributes not needed to read the data may follow later.
  func sync(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno)
  /// The last descriptor is gone. Nobody sees an error from here, and close(2) does not wait for it.
  func release(_ node: NodeNumber, _ handle: HandleNumber)
  /// fallocate(2).
  /// - Throws: `.notSupported` for modes it does not do; `.notImplemented` if it does none.
  func allocate(_ node: NodeNumber, _ handle: HandleNumber, offset: UInt64, length: UInt64, mode: AllocationMode,
                by caller: Caller) throws(Errno)
  /// - Returns: the first offset from `offset` on that is data, or a hole; the end of the file is a hole.
  /// - Throws: `.noDevice` (ENXIO) where there is none, or `offset` is beyond the end.
  func seek(_ node: NodeNumber, _ handle: HandleNumber, from offset: UInt64, to target: SeekTarget) throws(Errno) -> UInt64
  /// Copies within the file system, as by reference. `length` is at most 2 GiB - 4 KiB; fewer bytes at
  /// the end of the source.
  /// - Returns: bytes copied.
  func copyRange(from node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
                 to newNode: NodeNumber, _ newHandle: HandleNumber, at newOffset: UInt64, length: UInt64,
                 by caller: Caller) throws(Errno) -> UInt64

  /// Each success is followed by one `releaseDirectory`.
  func openDirectory(_ node: NodeNumber, by caller: Caller) throws(Errno) -> Opened
  /// Appends entries that follow `cookie` (0 at the start) until `listing` is full or there are no more.
  ///
  /// `.` and `..` are the file system's to append. Where `listing.wantsEntries`, append whole entries:
  /// each one that fits is a reference.
  func readDirectory(_ node: NodeNumber, _ handle: HandleNumber, after cookie: UInt64, into listing: inout DirectoryListing) throws(Errno)
  /// The last descriptor of the directory is gone.
  func releaseDirectory(_ node: NodeNumber, _ handle: HandleNumber)
  /// The directory's names are on disk when this returns. No default: see `flush`.
  func syncDirectory(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno)

  /// What df(1) shows.
  func statistics(of node: NodeNumber) throws(Errno) -> FileSystemStatistics
  /// - Parameter name: with its namespace, such as `user.x` or `system.posix_acl_access`.
  /// - Throws: `.exists` or `.noAttribute` as `mode` demands; `.notSupported`; `.noSpace`.
  func setXattr(_ name: [UInt8], of node: NodeNumber, to value: [UInt8], mode: XattrSetMode, by caller: Caller) throws(Errno)
  /// - Throws: `.noAttribute` (ENODATA) where there is none.
  func xattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(Errno) -> [UInt8]
  /// Names, each followed by a NUL.
  func xattrNames(of node: NodeNumber, by caller: Caller) throws(Errno) -> [UInt8]
  /// - Throws: `.noAttribute` (ENODATA) where there is none.
  func removeXattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(Errno)
}
