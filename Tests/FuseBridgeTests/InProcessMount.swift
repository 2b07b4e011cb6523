// A file system mounted by the test itself, so that the test can reach its session.

import FuseBridge
import Foundation
import Glibc
import Testing

/// A root directory without entries: the shortest file system.
struct EmptyFS: FileSystem {
  static func attributes(_ node: NodeNumber, mode: UInt32, size: UInt64 = 0) -> Attributes {
    let time = Timestamp(seconds: 1, nanoseconds: 0)
    return Attributes(node: node, mode: mode, links: 1, user: 0, group: 0, size: size, blocks: 0, accessed: time, modified: time, changed: time)
  }
  func lookup(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> LookupResult { .absent(timeout: 0) }
  func attributes(of node: NodeNumber, handle: HandleNumber?) throws(Errno) -> (Attributes, timeout: Double) {
    (Self.attributes(node, mode: S_IFDIR | 0o755), 1)
  }
  func read(_ node: NodeNumber, _ handle: HandleNumber, at offset: UInt64, flags: Int32, into buffer: inout MutableRawSpan)
    throws(Errno) -> Int { throw .isDirectory }
  func readDirectory(_ node: NodeNumber, _ handle: HandleNumber, after cookie: UInt64, into listing: inout DirectoryListing) throws(Errno) {}
  func flush(_ node: NodeNumber, _ handle: HandleNumber, lockOwner: UInt64) throws(Errno) {}
  func sync(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno) {}
  func syncDirectory(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno) {}
}

struct InProcessMount {
  let path: String
  let session: Session

  static func run(_ files: some FileSystem, name: String = "test", configure: (inout SessionOptions) -> Void = { _ in },
                  _ body: (InProcessMount) throws -> Void) throws {
    try #require(access("/dev/fuse", R_OK | W_OK) == 0, "these tests mount for real: /dev/fuse must be there, and be ours to use")
    var template = Array("\(temporaryFolder)/fuse-bridge-test-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { rmdir(path) }
    var options = SessionOptions(name: name, subtype: "test")
    configure(&options)
    let session = try Session(fileSystem: files, options: options)
    try session.mount(at: path)
    defer { session.unmount() }
    let ended = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      do { try session.run() } catch { Issue.record(error) }
      ended.signal()
    }
    defer {
      session.stop()
      #expect(ended.wait(timeout: .now() + 5) == .success, "run() did not return within 5 s of stop()")
    }
    try body(InProcessMount(path: path, session: session))
  }
}
