// Reads and writes /dev/fuse for libfuse, and mends what libfuse 3.14 drops on the way.
//
// libfuse 3.14.0 (lib/fuse_lowlevel.c) never sends FUSE_PARALLEL_DIROPS, does not know
// FUSE_HANDLE_KILLPRIV_V2 and does not hand on the kernel's "kill privileges" marks. Its public
// `fuse_session_custom_io` lets us see each message as it comes and goes.
//
// What must stay true:
// 1. Only what the kernel offered is added to the INIT reply. Without an offer, or switched off,
//    every message passes as libfuse made it: that is the plain path, and it must be right.
// 2. The marks travel in a bit of `flags` that open(2) does not use (`OpenFlag.clearsPrivileges`);
//    libfuse copies that word unchanged to `fuse_file_info.flags`.
// 3. This works for requests that are read, not spliced, from one descriptor: no `write_buf`, no
//    splice hooks (libfuse then offers no splice), no `clone_fd` (`Workers` has its own loop).

import CFuse3
import Glibc
import Synchronization

/// What the kernel offered in INIT: protocol version and both words of flags.
struct KernelOffer: Sendable {
  var major: UInt32
  var minor: UInt32
  var flags: UInt64
}

final class DeviceTap: Sendable {
  let counters = RequestCounters()
  private let completesHandshake: Bool
  private let handshake: @Sendable (Capabilities) -> Void
  private let offer = Mutex<KernelOffer?>(nil)
  /// The INIT request that waits for its answer; 0 before and after.
  private let pendingInit = Atomic<UInt64>(0)
  private let ready = Atomic<Bool>(false)
  private let settled = Atomic<Bool>(false)

  /// The file system knows the capabilities: requests and notifications flow, from now or very soon.
  var isReady: Bool { ready.load(ordering: .acquiring) }
  /// The kernel has worked through our INIT reply.
  var isSettled: Bool { settled.load(ordering: .acquiring) }
  /// Rings when that comes true.
  let bell = Semaphore()

  /// FUSE_HANDLE_KILLPRIV_V2 will be in our INIT reply. Known once the kernel's offer came.
  var willClearPrivileges: Bool {
    completesHandshake && offer.withLock { $0?.flags ?? 0 } & UInt64(FUSE_HANDLE_KILLPRIV_V2) != 0
  }

  /// - Parameter handshake: runs once, before the kernel learns the answer and so before any request.
  init(completesHandshake: Bool, handshake: @escaping @Sendable (Capabilities) -> Void) {
    self.completesHandshake = completesHandshake
    self.handshake = handshake
  }

  static func hooks() -> fuse_custom_io {
    var hooks = fuse_custom_io()
    unsafe hooks.read = { descriptor, buffer, size, userData in
      let count = unsafe read(descriptor, buffer, size)
      if count >= MemoryLayout<fuse_in_header>.size { unsafe Bridge.of(userData: userData).tap.received(buffer!) }
      return count
    }
    unsafe hooks.writev = { descriptor, parts, count, userData in
      unsafe Bridge.of(userData: userData).tap.send(UnsafeBufferPointer(start: parts, count: Int(count)), to: descriptor)
    }
    return hooks
  }
}

// MARK: from the kernel

extension DeviceTap {
  private func received(_ message: UnsafeMutableRawPointer) {
    let header = unsafe message.assumingMemoryBound(to: fuse_in_header.self).pointee
    let body = unsafe message + MemoryLayout<fuse_in_header>.size
    counters.count(header.opcode)
    switch RequestKind(rawValue: header.opcode) {
    case .write:
      let arguments = unsafe body.assumingMemoryBound(to: fuse_write_in.self)
      unsafe mark(&arguments.pointee.flags, if: arguments.pointee.write_flags & UInt32(FUSE_WRITE_KILL_SUIDGID) != 0)
    case .open:
      let arguments = unsafe body.assumingMemoryBound(to: fuse_open_in.self)
      unsafe mark(&arguments.pointee.flags, if: arguments.pointee.open_flags & UInt32(FUSE_OPEN_KILL_SUIDGID) != 0)
    case .create:
      let arguments = unsafe body.assumingMemoryBound(to: fuse_create_in.self)
      unsafe mark(&arguments.pointee.flags, if: arguments.pointee.open_flags & UInt32(FUSE_OPEN_KILL_SUIDGID) != 0)
    case .initialize:
      unsafe noteOffer(body, request: header.unique)
    default:
      break
    }
  }

  private func mark(_ flags: inout UInt32, if clears: Bool) {
    let bit = UInt32(bitPattern: OpenFlag.clearsPrivileges)
    flags = clears ? flags | bit : flags & ~bit
  }

  private func noteOffer(_ body: UnsafeMutableRawPointer, request: UInt64) {
    let arguments = unsafe body.assumingMemoryBound(to: fuse_init_in.self)
    let major = unsafe arguments.pointee.major
    let minor = unsafe arguments.pointee.minor
    guard major == 7 else { return }  // libfuse answers with its version, and the kernel asks again
    var flags = unsafe UInt64(arguments.pointee.flags)
    // Older kernels send a shorter message: read `flags2` only where they say it is there.
    if unsafe arguments.pointee.flags & UInt32(FUSE_INIT_EXT) != 0 { unsafe flags |= UInt64(arguments.pointee.flags2) << 32 }
    offer.withLock { $0 = KernelOffer(major: major, minor: minor, flags: flags) }
    pendingInit.store(request, ordering: .releasing)
  }
}

// MARK: to the kernel

extension DeviceTap {
  private func send(_ parts: UnsafeBufferPointer<iovec>, to descriptor: Int32) -> Int {
    let header = unsafe parts[0].iov_base.assumingMemoryBound(to: fuse_out_header.self)
    let pending = pendingInit.load(ordering: .acquiring)
    if pending != 0, unsafe header.pointee.unique == pending { return unsafe answerInit(parts, header.pointee.error, to: descriptor) }
    let sent = unsafe writev(descriptor, parts.baseAddress, Int32(parts.count))
    // A connection that is gone takes no answers, and libfuse would complain about each on
    // standard error. ENOENT is its word for "nobody waits for this answer any more".
    if sent < 0, errno == ENODEV { errno = ENOENT }
    return sent
  }

  private func answerInit(_ parts: UnsafeBufferPointer<iovec>, _ error: Int32, to descriptor: Int32) -> Int {
    pendingInit.store(0, ordering: .relaxed)
    guard error == 0, parts.count > 1, unsafe parts[1].iov_len >= MemoryLayout<fuse_init_out>.size,
          let offer = offer.withLock({ $0 })
    else { return unsafe writev(descriptor, parts.baseAddress, Int32(parts.count)) }

    let reply = unsafe parts[1].iov_base.assumingMemoryBound(to: fuse_init_out.self)
    if completesHandshake {
      let missing = UInt64(FUSE_PARALLEL_DIROPS) | UInt64(FUSE_HANDLE_KILLPRIV_V2)
      unsafe reply.pointee.flags |= UInt32(truncatingIfNeeded: offer.flags & missing)
    }
    unsafe handshake(Capabilities(reply: reply.pointee, offered: offer))
    // Before the reply: other workers answer requests even before our writev returns.
    ready.store(true, ordering: .releasing)
    let sent = unsafe writev(descriptor, parts.baseAddress, Int32(parts.count))
    settled.store(sent >= 0, ordering: .releasing)
    bell.post()
    return sent
  }
}
