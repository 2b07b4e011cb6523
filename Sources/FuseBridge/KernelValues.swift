// Between the bridge's values and those of libfuse: pure conversions, nothing else.

import CFuse3
import Glibc

extension NodeNumber {
  init(_ raw: fuse_ino_t) { self.init(rawValue: UInt64(raw)) }
}

extension HandleNumber {
  init(_ info: UnsafePointer<fuse_file_info>) { unsafe self.init(rawValue: info.pointee.fh) }
}

extension Timestamp {
  init(_ time: timespec) {
    self.init(seconds: Int64(time.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: time.tv_nsec))
  }
  var timespec: Glibc.timespec { Glibc.timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds)) }
}

extension Attributes {
  var status: stat {
    var status = stat()
    status.st_ino = UInt(node.rawValue)
    status.st_mode = mode
    status.st_nlink = UInt(links)
    status.st_uid = user
    status.st_gid = group
    status.st_rdev = UInt(device)
    status.st_size = Int(clamping: size)
    // Programs size their buffers by this, some (Python) for each small file they open: so not 1 MiB.
    status.st_blksize = 4096
    status.st_blocks = Int(clamping: blocks)
    status.st_atim = accessed.timespec
    status.st_mtim = modified.timespec
    status.st_ctim = changed.timespec
    return status
  }
}

extension Entry {
  var parameters: fuse_entry_param {
    var parameters = fuse_entry_param()
    parameters.ino = fuse_ino_t(attributes.node.rawValue)
    parameters.generation = generation
    parameters.attr = attributes.status
    parameters.attr_timeout = attributesTimeout
    parameters.entry_timeout = nameTimeout
    return parameters
  }
}

extension Opened {
  func describe(in info: inout fuse_file_info) {
    info.fh = handle.rawValue
    info.direct_io = directIO ? 1 : 0
    info.keep_cache = keepCache ? 1 : 0
    info.cache_readdir = cacheDirectory ? 1 : 0
    info.noflush = skipsFlush ? 1 : 0
  }
}

extension AttributeChanges {
  /// - Parameter mask: libfuse's `to_set`, which is the kernel's `valid` word.
  init(_ new: stat, mask: Int32) {
    self.init()
    func has(_ bit: Int32) -> Bool { mask & bit != 0 }
    if has(FUSE_SET_ATTR_MODE) { mode = new.st_mode }
    if has(FUSE_SET_ATTR_UID) { user = new.st_uid }
    if has(FUSE_SET_ATTR_GID) { group = new.st_gid }
    if has(FUSE_SET_ATTR_SIZE) { size = UInt64(clamping: new.st_size) }
    if has(FUSE_SET_ATTR_ATIME) { accessed = has(FUSE_SET_ATTR_ATIME_NOW) ? .now : .at(Timestamp(new.st_atim)) }
    if has(FUSE_SET_ATTR_MTIME) { modified = has(FUSE_SET_ATTR_MTIME_NOW) ? .now : .at(Timestamp(new.st_mtim)) }
    if has(FUSE_SET_ATTR_CTIME) { changed = Timestamp(new.st_ctim) }
    // libfuse's name for bit 11 is older than the kernel's FATTR_KILL_SUIDGID; it lets it through.
    clearsPrivileges = has(FATTR_KILL_SUIDGID)
  }
}

extension FileSystemStatistics {
  var status: statvfs {
    var status = statvfs()
    status.f_bsize = UInt(blockSize)
    status.f_frsize = UInt(blockSize)
    status.f_blocks = UInt(blocks)
    status.f_bfree = UInt(blocksFree)
    status.f_bavail = UInt(blocksAvailable)
    status.f_files = UInt(files)
    status.f_ffree = UInt(filesFree)
    status.f_favail = UInt(filesFree)
    status.f_namemax = UInt(nameLengthMax)
    return status
  }
}

extension FileName {
  /// Longest name in bytes; the kernel lets up to 4095 through.
  static let lengthMax = 255

  /// Copies a name the kernel sent.
  init(checking name: UnsafePointer<CChar>?) throws(Errno) {
    guard let name = unsafe name else { throw .invalidArgument }
    let length = unsafe strlen(name)
    guard length > 0 else { throw .noEntry }
    guard length <= Self.lengthMax else { throw .nameTooLong }
    guard unsafe memchr(name, Int32(UInt8(ascii: "/")), length) == nil else { throw .invalidArgument }
    unsafe self.init([UInt8](UnsafeRawBufferPointer(start: name, count: length)))
  }
}

/// The bytes of a C string, without its NUL.
func bytes(of string: UnsafePointer<CChar>?) -> [UInt8] {
  guard let string = unsafe string else { return [] }
  return unsafe [UInt8](UnsafeRawBufferPointer(start: string, count: strlen(string)))
}
