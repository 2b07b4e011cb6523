// Callbacks on files: open, read, write, keep, close.

import CFuse3
import Glibc

extension Operations {
  static func addFiles(to table: inout fuse_lowlevel_ops) {
    addOpening(to: &table)
    addContent(to: &table)
    addRanges(to: &table)
  }

  private static func addOpening(to table: inout fuse_lowlevel_ops) {
    unsafe table.open = { request, node, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let opened = try unsafe reply.files.open(NodeNumber(node), flags: info!.pointee.flags, by: reply.caller)
        unsafe reply.opened(opened, NodeNumber(node), info!)
      } catch { reply.fail(error) }
    }

    unsafe table.create = { request, parent, name, mode, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let (entry, opened) = try unsafe reply.files.create(FileName(checking: name), in: NodeNumber(parent), mode: mode,
                                                     flags: info!.pointee.flags, by: reply.caller)
        unsafe reply.created(entry, opened, info!)
      } catch { reply.fail(error) }
    }

    unsafe table.flush = { request, node, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        try unsafe reply.files.flush(NodeNumber(node), HandleNumber(info!), lockOwner: info!.pointee.lock_owner)
        reply.done()
      } catch { reply.fail(error) }
    }

    unsafe table.release = { request, node, info in
      let reply = unsafe Reply(to: request)
      unsafe reply.files.release(NodeNumber(node), HandleNumber(info!))
      reply.done()
    }

    unsafe table.fsync = { request, node, dataOnly, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        try unsafe reply.files.sync(NodeNumber(node), HandleNumber(info!), dataOnly: dataOnly != 0)
        reply.done()
      } catch { reply.fail(error) }
    }
  }

  private static func addContent(to table: inout fuse_lowlevel_ops) {
    unsafe table.read = { request, node, size, offset, info in
      let reply = unsafe Reply(to: request)
      let buffer = unsafe WorkerBuffer.bytes(size)
      do throws(Errno) {
        var span = unsafe buffer.mutableBytes
        let count = try unsafe reply.files.read(NodeNumber(node), HandleNumber(info!), at: UInt64(offset), flags: info!.pointee.flags,
                                                into: &span)
        precondition(count <= size, "read returned more than it was asked for")
        reply.counters.countRead(count)
        unsafe reply.bytes(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      } catch { reply.fail(error) }
    }

    // `write`, not `write_buf`: that one makes libfuse prefer splice, which costs more than it saves.
    unsafe table.write = { request, node, bytes, size, offset, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let flags = unsafe info!.pointee.flags, isFromPageCache = unsafe info!.pointee.writepage != 0
        let count = try unsafe reply.files.write(
          UnsafeRawBufferPointer(start: bytes, count: size).bytes, to: NodeNumber(node), HandleNumber(info!), at: UInt64(offset),
          flags: flags & ~OpenFlag.clearsPrivileges | (isFromPageCache ? OpenFlag.isFromPageCache : 0),
          clearsPrivileges: flags & OpenFlag.clearsPrivileges != 0, by: reply.caller)
        precondition(count <= size, "write accepted more than it was given")
        reply.counters.countWritten(count)
        reply.written(count)
      } catch { reply.fail(error) }
    }
  }

  private static func addRanges(to table: inout fuse_lowlevel_ops) {
    unsafe table.fallocate = { request, node, mode, offset, length, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        guard offset >= 0, length > 0 else { throw .invalidArgument }
        try unsafe reply.files.allocate(NodeNumber(node), HandleNumber(info!), offset: UInt64(offset), length: UInt64(length),
                                 mode: AllocationMode(rawValue: mode), by: reply.caller)
        reply.done()
      } catch { reply.fail(error) }
    }

    unsafe table.lseek = { request, node, offset, whence, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        guard offset >= 0 else { throw .noDevice }
        let target: SeekTarget
        switch whence {
        case 3: target = .data  // SEEK_DATA; Glibc hides the names without _GNU_SOURCE
        case 4: target = .hole  // SEEK_HOLE
        default: throw .invalidArgument
        }
        let found = try unsafe reply.files.seek(NodeNumber(node), HandleNumber(info!), from: UInt64(offset), to: target)
        reply.offset(found)
      } catch { reply.fail(error) }
    }

    unsafe table.copy_file_range = { request, node, offset, info, newNode, newOffset, newInfo, length, flags in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        guard flags == 0, offset >= 0, newOffset >= 0 else { throw .invalidArgument }
        // The answer is 32 bits wide, and a caller must see no more than the kernel's own MAX_RW_COUNT.
        let count = try unsafe reply.files.copyRange(
          from: NodeNumber(node), HandleNumber(info!), at: UInt64(offset),
          to: NodeNumber(newNode), HandleNumber(newInfo!), at: UInt64(newOffset),
          length: UInt64(min(length, 0x7fff_f000)), by: reply.caller)
        reply.written(Int(count))
      } catch { reply.fail(error) }
    }

    // ENOSYS would reach the caller as it is; programs expect "not a control of this file".
    unsafe table.ioctl = { request, _, _, _, _, _, _, _, _ in unsafe Reply(to: request).fail(.noSuchControl) }
  }
}

/// Bits beyond open(2)'s in the `flags` the bridge hands on.
public enum OpenFlag {
  /// In `open` (with O_TRUNC) and `create`: truncation must also drop set-uid, set-gid and file
  /// capabilities, because the caller may not keep them. Only where `Capabilities.clearsPrivileges`.
  /// open(2) has no such bit and ignores it.
  public static let clearsPrivileges: Int32 = 1 << 30
  /// In `write`: the kernel writes back a page of its cache, because of mmap(2). No program waits for the answer: of an
  /// error it keeps ENOSPC for the next fsync(2) or msync(2), and makes EIO of every other.
  public static let isFromPageCache: Int32 = 1 << 29
}
