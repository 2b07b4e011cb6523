// What a file system answers to calls it does not mention: that of a read-only one without xattrs.
//
// What must stay true:
// 1. A default never claims something was stored. Hence `flush`, `sync` and `syncDirectory` have
//    none: ENOSYS there makes the kernel report *success* for ever after, without asking again.
//    A file system without anything to store writes an empty body, and means it.
// 2. ENOSYS stands only where the kernel's own fallback is right (xattrs, seek, copies).

extension FileSystem {
  public func mounted(_ capabilities: Capabilities) {}
  public func unmounted() {}
  public func forget(_ node: NodeNumber, count: UInt64) {}
}

// MARK: changes: the file system is read-only

extension FileSystem {
  public func setAttributes(of node: NodeNumber, handle: HandleNumber?, to changes: AttributeChanges, by caller: Caller)
    throws(Errno) -> (Attributes, timeout: Double) { throw .readOnlyFileSystem }
  public func makeNode(_ name: FileName, in parent: NodeNumber, mode: UInt32, device: UInt64, by caller: Caller)
    throws(Errno) -> Entry { throw .readOnlyFileSystem }
  public func makeDirectory(_ name: FileName, in parent: NodeNumber, mode: UInt32, by caller: Caller)
    throws(Errno) -> Entry { throw .readOnlyFileSystem }
  public func makeSymlink(_ name: FileName, in parent: NodeNumber, target: [UInt8], by caller: Caller)
    throws(Errno) -> Entry { throw .readOnlyFileSystem }
  public func link(_ node: NodeNumber, as name: FileName, in parent: NodeNumber, by caller: Caller)
    throws(Errno) -> Entry { throw .readOnlyFileSystem }
  public func unlink(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) { throw .readOnlyFileSystem }
  public func removeDirectory(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) { throw .readOnlyFileSystem }
  public func rename(_ name: FileName, in parent: NodeNumber, to newName: FileName, in newParent: NodeNumber,
                     flags: RenameFlags, by caller: Caller) throws(Errno) { throw .readOnlyFileSystem }
  public func create(_ name: FileName, in parent: NodeNumber, mode: UInt32, flags: Int32, by caller: Caller)
    throws(Errno) -> (Entry, Opened) { throw .readOnlyFileSystem }
  public func write(_ bytes: borrowing RawSpan, to node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
                    flags: Int32, clearsPrivileges: Bool, by caller: Caller) throws(Errno) -> Int { throw .readOnlyFileSystem }
  public func allocate(_ node: NodeNumber, _ handle: HandleNumber, offset: UInt64, length: UInt64, mode: AllocationMode,
                       by caller: Caller) throws(Errno) { throw .notSupported }
  public func setXattr(_ name: [UInt8], of node: NodeNumber, to value: [UInt8], mode: XattrSetMode, by caller: Caller)
    throws(Errno) { throw .notSupported }
  public func removeXattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(Errno) { throw .notSupported }
}

// MARK: uses: handles carry no state, there are no symlinks and no xattrs

extension FileSystem {
  public func readLink(_ node: NodeNumber) throws(Errno) -> [UInt8] { throw .invalidArgument }
  public func open(_ node: NodeNumber, flags: Int32, by caller: Caller) throws(Errno) -> Opened {
    Opened(handle: HandleNumber(rawValue: 0))
  }
  public func release(_ node: NodeNumber, _ handle: HandleNumber) {}
  public func openDirectory(_ node: NodeNumber, by caller: Caller) throws(Errno) -> Opened {
    Opened(handle: HandleNumber(rawValue: 0))
  }
  public func releaseDirectory(_ node: NodeNumber, _ handle: HandleNumber) {}

  /// The kernel then treats the whole file as data.
  public func seek(_ node: NodeNumber, _ handle: HandleNumber, from offset: UInt64, to target: SeekTarget)
    throws(Errno) -> UInt64 { throw .notImplemented }
  /// The kernel, or the caller, then copies by reading and writing.
  public func copyRange(from node: NodeNumber, _ handle: HandleNumber, at offset: UInt64,
                        to newNode: NodeNumber, _ newHandle: HandleNumber, at newOffset: UInt64, length: UInt64,
                        by caller: Caller) throws(Errno) -> UInt64 { throw .notImplemented }
  /// The kernel then answers "not supported" itself.
  public func xattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(Errno) -> [UInt8] { throw .notImplemented }
  /// The kernel then answers "not supported" itself.
  public func xattrNames(of node: NodeNumber, by caller: Caller) throws(Errno) -> [UInt8] { throw .notImplemented }

  /// Nothing is known but the length of names; df(1) then shows zero blocks.
  public func statistics(of node: NodeNumber) throws(Errno) -> FileSystemStatistics {
    FileSystemStatistics(blockSize: 4096, blocks: 0, blocksFree: 0, blocksAvailable: 0, files: 0, filesFree: 0)
  }
}
