// What libfuse's callbacks find behind their `userdata`: the file system and the device tap.

import CFuse3
import Synchronization

/// Owned by the `Session`, which outlives every callback; used from all threads.
final class Bridge: Sendable {
  let files: any FileSystem
  let options: SessionOptions
  let tap: DeviceTap

  init(files: any FileSystem, options: SessionOptions) {
    self.files = files
    self.options = options
    tap = DeviceTap(completesHandshake: options.completesHandshake) { capabilities in files.mounted(capabilities) }
  }

  /// What libfuse gets as `userdata`; keeps nothing alive.
  var userData: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }

  static func of(_ request: fuse_req_t) -> Bridge { unsafe of(userData: fuse_req_userdata(request)) }

  static func of(userData: UnsafeMutableRawPointer?) -> Bridge {
    unsafe Unmanaged<Bridge>.fromOpaque(userData!).takeUnretainedValue()
  }
}

extension Bridge {
  /// The answer to INIT as far as libfuse lets us have a say; `DeviceTap` adds the rest.
  func negotiate(_ connection: inout fuse_conn_info) {
    // Not ASYNC_DIO: after an asynchronous direct write the kernel does not drop pages that a reader brought in
    // meanwhile, and with kept caches nothing else would (xfstests generic/451).
    var wish = FUSE_CAP_ASYNC_READ | FUSE_CAP_DONT_MASK
    wish |= FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_PARALLEL_DIROPS
    // Without KILLPRIV_V2, the kernel drops set-uid by a SETATTR of the mode; with ATOMIC_O_TRUNC it
    // forgets to send that one for open(O_TRUNC) (fs/fuse/dir.c, `fuse_do_setattr`). So: both or neither.
    if tap.willClearPrivileges { wish |= FUSE_CAP_ATOMIC_O_TRUNC }
    // Left out on purpose: WRITEBACK_CACHE (the kernel would own sizes and times, and small files
    // get slower), SPLICE_* (no gain from memory buffers), HANDLE_KILLPRIV (the second version
    // replaces it; libfuse 3.14 never sends the first), locks (the kernel's own are right for us).
    if options.readDirectoryPlus { wish |= FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO }
    if options.posixACL { wish |= FUSE_CAP_POSIX_ACL }
    if options.exportable { wish |= FUSE_CAP_EXPORT_SUPPORT }
    wish |= options.explicitInvalidation ? FUSE_CAP_EXPLICIT_INVAL_DATA : FUSE_CAP_AUTO_INVAL_DATA
    connection.want = connection.capable & UInt32(bitPattern: wish)
    connection.max_write = min(connection.max_write, UInt32(options.maxWrite))
    if let bytes = options.maxReadAhead { connection.max_readahead = min(connection.max_readahead, UInt32(clamping: bytes)) }
    connection.max_background = UInt32(options.maxBackground)
    connection.congestion_threshold = UInt32(max(1, options.maxBackground * 3 / 4))
    connection.time_gran = 1
  }
}
