// What arrives at the same time, and that stopping waits for what is under way.

import FuseBridge
import Foundation
import Glibc
import Synchronization
import Testing

/// Has no files, and takes its time to say so.
private final class SlowFS: FileSystem {
  let active = Mutex((now: 0, most: 0))
  let creating = Atomic<Bool>(false)
  let released = Atomic<Int>(0)
  let forgotten = Atomic<Int>(0)
  let milliseconds: Int
  init(milliseconds: Int) { self.milliseconds = milliseconds }

  func create(_ name: FileName, in parent: NodeNumber, mode: UInt32, flags: Int32, by caller: Caller) throws(Errno) -> (Entry, Opened) {
    creating.store(true, ordering: .relaxed)
    usleep(UInt32(milliseconds) * 1000)
    let entry = Entry(attributes: EmptyFS.attributes(NodeNumber(rawValue: 5), mode: S_IFREG | 0o600), attributesTimeout: 1, nameTimeout: 1)
    return (entry, Opened(handle: HandleNumber(rawValue: 7)))
  }
  func release(_ node: NodeNumber, _ handle: HandleNumber) {
    if node.rawValue == 5, handle.rawValue == 7 { released.add(1, ordering: .relaxed) }
  }
  func forget(_ node: NodeNumber, count: UInt64) {
    if node.rawValue == 5 { forgotten.add(Int(count), ordering: .relaxed) }
  }

  func lookup(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(Errno) -> LookupResult {
    active.withLock { $0.now += 1; $0.most = max($0.most, $0.now) }
    defer { active.withLock { $0.now -= 1 } }
    var left = timespec(tv_sec: 0, tv_nsec: milliseconds * 1_000_000)
    throw nanosleep(&left, nil) == 0 ? .noEntry : .interrupted
  }
  func attributes(of node: NodeNumber, handle: HandleNumber?) throws(Errno) -> (Attributes, timeout: Double) {
    (EmptyFS.attributes(node, mode: S_IFDIR | 0o755), 1000)
  }
  func read(_ node: NodeNumber, _ handle: HandleNumber, at offset: UInt64, flags: Int32, into buffer: inout MutableRawSpan)
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
      let path = mount.path
      let answered = DispatchSemaphore(value: 0)
      for number in 0..<4 {
        Thread.detachNewThread {
          _ = access("\(path)/\(number)", F_OK)
          answered.signal()
        }
      }
      for _ in 0..<4 { #expect(answered.wait(timeout: .now() + 5) == .success) }
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

  @Test func `a created file whose answer nobody takes is released and forgotten`() throws {
    try #require(getuid() == 0, "needs root, to abort a connection with umount -f")
    let files = SlowFS(milliseconds: 300)
    let ended = DispatchSemaphore(value: 0)
    var place = ""
    try InProcessMount.run(files) { mount in
      let path = mount.path
      place = path
      Thread.detachNewThread {
        let descriptor = open(path + "/file", O_CREAT | O_RDWR, 0o600)
        if descriptor >= 0 { close(descriptor) }
        ended.signal()
      }
      while !files.creating.load(ordering: .relaxed) { usleep(1000) }
      _ = try shell("umount -f \(path)")
      #expect(ended.wait(timeout: .now() + 5) == .success)
    }
    // `run` waits for the handler to finish, so this is settled here.
    #expect(files.released.load(ordering: .relaxed) == 1)
    #expect(files.forgotten.load(ordering: .relaxed) == 1)
    let left = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
    #expect(!left.contains(" \(place) "), "an aborted mount is unmounted all the same")
  }
}
