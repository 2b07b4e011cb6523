// What the kernel believes, and that it stops when told.

import FuseBridge
import Glibc
import Synchronization
import Testing

/// One file, `file`, whose size and very existence the test changes behind the kernel's back.
private final class ChangingFS: FileSystem {
  let size = Atomic<Int>(1)
  let exists = Atomic<Bool>(true)
  let forgotten = Atomic<UInt64>(0)
  let capabilities = Mutex<Capabilities?>(nil)
  let ends = Atomic<Int>(0)
  private static let file = NodeNumber(rawValue: 2)

  func mounted(_ capabilities: Capabilities) { self.capabilities.withLock { $0 = capabilities } }
  func unmounted() { ends.add(1, ordering: .relaxed) }
  func forget(_ node: NodeNumber, count: UInt64) { forgotten.add(count, ordering: .relaxed) }
  private func describe(_ node: NodeNumber) -> Attributes {
    node == .root ? EmptyFS.attributes(node, mode: S_IFDIR | 0o755)
      : EmptyFS.attributes(node, mode: S_IFREG | 0o644, size: UInt64(size.load(ordering: .relaxed)))
  }
  func lookup(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> LookupResult {
    guard name.bytes == Array("file".utf8), exists.load(ordering: .relaxed) else { return .absent(timeout: 1000) }
    return .found(Entry(attributes: describe(Self.file), attributesTimeout: 1000, nameTimeout: 1000))
  }
  func attributes(of node: NodeNumber, handle: HandleNumber?) throws(Errno) -> (Attributes, timeout: Double) { (describe(node), 1000) }
  func open(_ node: NodeNumber, flags: Int32, by caller: Caller) throws(Errno) -> Opened {
    Opened(handle: HandleNumber(rawValue: 0), keepCache: true)
  }
  func read(_ node: NodeNumber, _ handle: HandleNumber, at offset: UInt64, flags: Int32, into buffer: inout MutableRawSpan)
    throws(Errno) -> Int {
    let size = self.size.load(ordering: .relaxed)
    let count = max(0, min(buffer.byteCount, size - Int(offset)))
    for index in 0..<count { buffer.storeBytes(of: UInt8(truncatingIfNeeded: size), toByteOffset: index, as: UInt8.self) }
    return count
  }
  func readDirectory(_ node: NodeNumber, _ handle: HandleNumber, after cookie: UInt64, into listing: inout DirectoryListing) throws(Errno) {}
  func flush(_ node: NodeNumber, _ handle: HandleNumber, lockOwner: UInt64) throws(Errno) {}
  func sync(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno) {}
  func syncDirectory(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno) {}
}

@Suite(.serialized) struct NotificationTests {
  private func sizeSeen(_ mount: InProcessMount) throws -> Int {
    var status = stat()
    try check(stat(mount.path + "/file", &status))
    return status.st_size
  }

  private func byteSeen(_ mount: InProcessMount) throws -> UInt8 {
    let descriptor = try check(open(mount.path + "/file", O_RDONLY))
    defer { close(descriptor) }
    var byte: UInt8 = 0
    try check(pread(descriptor, &byte, 1, 0))
    return byte
  }

  @Test func `invalidating a node shows its new size and data`() throws {
    let files = ChangingFS()
    try InProcessMount.run(files) { mount in
      #expect(try sizeSeen(mount) == 1)
      files.size.store(7, ordering: .relaxed)
      #expect(try sizeSeen(mount) == 1, "the kernel believes what it was told for 1000 s")
      try mount.session.invalidate(node: NodeNumber(rawValue: 2))
      #expect(try sizeSeen(mount) == 7)
      #expect(try byteSeen(mount) == 7)
      files.size.store(8, ordering: .relaxed)
      #expect(try byteSeen(mount) == 7, "pages outlive the open: keepCache")
      try mount.session.invalidate(node: NodeNumber(rawValue: 2), offset: -1)
      #expect(try sizeSeen(mount) == 8)
      #expect(try byteSeen(mount) == 7, "attributes only")
      try mount.session.invalidate(node: NodeNumber(rawValue: 2))
      #expect(try byteSeen(mount) == 8)
      try mount.session.invalidate(node: NodeNumber(rawValue: 999))  // never heard of: nothing to do
    }
  }

  @Test func `invalidating, expiring or deleting a name makes the kernel ask again`() throws {
    let files = ChangingFS()
    try InProcessMount.run(files) { mount in
      let name = FileName(Array("file".utf8))
      #expect(try sizeSeen(mount) == 1)
      files.exists.store(false, ordering: .relaxed)
      #expect(try sizeSeen(mount) == 1)
      try mount.session.invalidate(name: name, in: .root)
      #expect(throws: Failure(code: ENOENT)) { try sizeSeen(mount) }
      files.exists.store(true, ordering: .relaxed)
      #expect(throws: Failure(code: ENOENT), "absence is believed too") { try sizeSeen(mount) }
      try mount.session.invalidate(name: name, in: .root)
      #expect(try sizeSeen(mount) == 1)
      files.exists.store(false, ordering: .relaxed)
      try mount.session.expire(name: name, in: .root)
      #expect(throws: Failure(code: ENOENT)) { try sizeSeen(mount) }
      files.exists.store(true, ordering: .relaxed)
      try mount.session.invalidate(name: name, in: .root)
      #expect(try sizeSeen(mount) == 1)
      files.exists.store(false, ordering: .relaxed)
      try mount.session.deleted(name: name, in: .root, child: NodeNumber(rawValue: 2))
      #expect(throws: Failure(code: ENOENT)) { try sizeSeen(mount) }
    }
    #expect(files.ends.load(ordering: .relaxed) == 1)
  }

  @Test(arguments: [true, false])
  func `capabilities say what was agreed, and the switch is obeyed`(complete: Bool) throws {
    let files = ChangingFS()
    try InProcessMount.run(files, configure: { $0.completesHandshake = complete }) { mount in
      #expect(try sizeSeen(mount) == 1)
      let capabilities = try #require(files.capabilities.withLock { $0 })
      #expect(capabilities.parallelDirectoryOperations == complete)
      #expect(capabilities.clearsPrivileges == complete)
      #expect(capabilities.atomicTruncate == complete)
      #expect(capabilities.leavesUmask && capabilities.posixACL && capabilities.readDirectoryPlus)
      #expect(capabilities.explicitInvalidation && capabilities.cachesSymlinks && !capabilities.exportable)
      #expect(capabilities.maxWrite == 1 << 20)
      #expect(mount.session.requestCounts[.initialize] == 1)
      #expect(mount.session.requestCounts[.lookup] == 1)
    }
  }

  @Test func `notifications outside a mount are refused, not lost in somebody's descriptor`() throws {
    let session = try Session(fileSystem: EmptyFS(), options: SessionOptions(name: "test", subtype: "test"))
    #expect(throws: Errno.notConnected) { try session.invalidate(node: .root) }
    var kept: Session?
    try InProcessMount.run(EmptyFS()) { kept = $0.session }
    #expect(throws: Errno.notConnected) { try kept!.invalidate(node: .root) }
  }
}
