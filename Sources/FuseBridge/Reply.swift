// The duty to answer one request, exactly once.
//
// What must stay true:
// 1. Every path answers: each method consumes the reply, and one that is dropped answers EIO.
// 2. What the kernel did not take, it does not know: an entry or handle whose answer could not be
//    delivered is given back to the file system at once, or it would leak until unmount.

import CFuse3
import Glibc

@safe struct Reply: ~Copyable {
  private let request: fuse_req_t

  /// - Parameter request: as libfuse hands it to a callback; it belongs to this reply from now on.
  init(to request: fuse_req_t?) { unsafe self.request = unsafe request! }

  deinit { unsafe fuse_reply_err(request, EIO) }

  var files: any FileSystem { unsafe Bridge.of(request).files }
  var counters: RequestCounters { unsafe Bridge.of(request).tap.counters }

  var caller: Caller {
    let context = unsafe fuse_req_ctx(request)!.pointee
    return Caller(user: context.uid, group: context.gid, process: context.pid, umask: UInt32(context.umask))
  }
}

// MARK: answers without consequences

extension Reply {
  consuming func fail(_ error: Errno) {
    unsafe fuse_reply_err(request, error.rawValue)
    discard self
  }

  consuming func done() {
    unsafe fuse_reply_err(request, 0)
    discard self
  }

  /// For requests that have no answer (forget).
  consuming func none() {
    unsafe fuse_reply_none(request)
    discard self
  }

  consuming func absent(timeout: Double) {
    if timeout > 0 {
      var parameters = fuse_entry_param()  // node 0: a negative entry
      parameters.entry_timeout = timeout
      unsafe fuse_reply_entry(request, &parameters)
    } else {
      unsafe fuse_reply_err(request, ENOENT)
    }
    discard self
  }

  consuming func attributes(_ attributes: Attributes, timeout: Double) {
    var status = attributes.status
    unsafe fuse_reply_attr(request, &status, timeout)
    discard self
  }

  consuming func bytes(_ bytes: UnsafeRawBufferPointer) {
    unsafe fuse_reply_buf(request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    discard self
  }

  consuming func target(_ target: [UInt8]) {
    unsafe target.withUnsafeBytes { _ = unsafe fuse_reply_buf(request, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
    discard self
  }

  /// - Parameter count: bytes; at most what the request asked for.
  consuming func written(_ count: Int) {
    unsafe fuse_reply_write(request, count)
    discard self
  }

  consuming func offset(_ offset: UInt64) {
    unsafe fuse_reply_lseek(request, Int(clamping: offset))
    discard self
  }

  consuming func statistics(_ statistics: FileSystemStatistics) {
    var status = statistics.status
    unsafe fuse_reply_statfs(request, &status)
    discard self
  }

  /// Answers a getxattr or listxattr whose caller has room for `room` bytes; 0 asks for the size.
  consuming func xattr(_ value: [UInt8], room: Int) {
    if room == 0 {
      unsafe fuse_reply_xattr(request, value.count)
    } else if value.count > room {
      unsafe fuse_reply_err(request, ERANGE)
    } else {
      unsafe value.withUnsafeBytes { _ = unsafe fuse_reply_buf(request, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
    }
    discard self
  }
}

// MARK: answers that give the kernel something to hold

extension Reply {
  consuming func entry(_ entry: Entry) {
    let files = self.files
    var parameters = entry.parameters
    if unsafe fuse_reply_entry(request, &parameters) != 0 { files.forget(entry.attributes.node, count: 1) }
    discard self
  }

  consuming func opened(_ opened: Opened, _ node: NodeNumber, _ info: UnsafeMutablePointer<fuse_file_info>) {
    let files = self.files
    unsafe opened.describe(in: &info.pointee)
    if unsafe fuse_reply_open(request, info) != 0 { files.release(node, opened.handle) }
    discard self
  }

  consuming func openedDirectory(_ opened: Opened, _ node: NodeNumber, _ info: UnsafeMutablePointer<fuse_file_info>) {
    let files = self.files
    unsafe opened.describe(in: &info.pointee)
    if unsafe fuse_reply_open(request, info) != 0 { files.releaseDirectory(node, opened.handle) }
    discard self
  }

  consuming func created(_ entry: Entry, _ opened: Opened, _ info: UnsafeMutablePointer<fuse_file_info>) {
    let files = self.files
    var parameters = entry.parameters
    unsafe opened.describe(in: &info.pointee)
    if unsafe fuse_reply_create(request, &parameters, info) != 0 {
      files.release(entry.attributes.node, opened.handle)
      files.forget(entry.attributes.node, count: 1)
    }
    discard self
  }

  /// - Parameter failure: what `readDirectory` threw. Entries taken before it still count: the
  ///   kernel gets those, and asks again for the rest.
  consuming func listing(_ listing: borrowing DirectoryListing, failure: Errno?) {
    let files = self.files
    let bytes = unsafe listing.bytes
    let error = listing.isDamaged ? Errno.io : failure
    let delivered: Bool
    if let error, unsafe bytes.isEmpty || listing.isDamaged {
      unsafe fuse_reply_err(request, error.rawValue)
      delivered = false
    } else {
      delivered = unsafe fuse_reply_buf(request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count) == 0
    }
    if !delivered {
      for item in listing.items where item.isReference { files.forget(item.node, count: 1) }
    }
    discard self
  }
}
