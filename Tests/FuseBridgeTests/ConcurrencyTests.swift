// What arrives at the same time, and that stopping waits for what is under way.

import FuseBridge
import Foundation
import Glibc
import Synchronization
import Testing

/// Has no files, and takes its time to say so.
private final class SlowFS: FileSystem {
  let active = Mutex((now: 0, most: 0))
  let milliseconds: Int
  init(milliseconds: Int) { self.milliseconds = milliseconds }

  func lookup(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> LookupResult {
    active.withLock { $0.now += 1; $0.most = max($0.most, $0.now) }
    var left = timespec(tv_sec: 0, tv_nsec: milliseconds * 1_000_000)
    let interrupted = nanosleep(&left, nil) != 0
    active.withLock { $0.now -= 1 }
    throw interrupted ? .interrupted : .noEntry
  }
  func attributes(of node: NodeNumber, handle: HandleNumber?) throws(Errno) -> (Attributes, timeout: Double) {
    (EmptyFS.attributes(node, mode: S_IFDIR | 0o755), 1000)
  }
  func read(_ node: NodeNumber, _ handle: HandleNumber, at offset: UInt64, flags: Int32, into buffer: UnsafeMutableRawBufferPointer)
    throws(Errno) -> Int { throw .isDirectory }
  func readDirectory(_ node: NodeNumber, _ handle: HandleNumber, after cookie: UInt64, into listing: inout DirectoryListing) throws(Errno) {}
  func flush(_ node: NodeNumber, _ handle: HandleNumber, lockOwner: UInt64) throws(Errno) {}
  func sync(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno) {}
  func syncDirectory(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(Errno) {}
}

@Suite(.serialized) struct ConcurrencyTests {
  @Test(arguments: [true, false])
  func `lookups in one directory run side by side where that was agreed`(complete: Bool) throws {
    let files = SlowFS(milliseconds: 50)
    try InProcessMount.run(files, configure: { $0.completesHandshake = complete }) { mount in
      // A process each: waiting threads of a pool would not all start.
      let names = (0..<4).map { "\(mount.path)/\($0)" }.joined(separator: " ")
      _ = try shell("for f in \(names); do stat $f & done; wait")
      let most = files.active.withLock { $0.most }
      #expect(complete ? most > 1 : most == 1)
    }
  }

  @Test func `stop waits for a request under way, and does not disturb it`() throws {
    let files = SlowFS(milliseconds: 400)
    let answer = Mutex<Int32?>(nil)
    let answered = DispatchSemaphore(value: 0)
    try InProcessMount.run(files) { mount in
      let path = mount.path + "/anything"
      Thread.detachNewThread {
        let result = access(path, F_OK) == 0 ? 0 : errno
        answer.withLock { $0 = result }
        answered.signal()
      }
      while files.active.withLock({ $0.now }) == 0 { usleep(1000) }
    }
    #expect(answered.wait(timeout: .now() + 5) == .success)
    #expect(answer.withLock { $0 } == ENOENT)
  }
}
