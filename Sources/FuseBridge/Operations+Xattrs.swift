// Callbacks on extended attributes. POSIX ACLs come this way too, as `system.posix_acl_*`.

import CFuse3
import Glibc

extension Operations {
  static func addXattrs(to table: inout fuse_lowlevel_ops) {
    unsafe table.setxattr = { request, node, name, value, size, flags in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let mode: XattrSetMode
        switch flags {
        case 0: mode = .set
        case Int32(XATTR_CREATE): mode = .create
        case Int32(XATTR_REPLACE): mode = .replace
        default: throw .invalidArgument
        }
        try unsafe reply.files.setXattr(bytes(of: name), of: NodeNumber(node), to: [UInt8](UnsafeRawBufferPointer(start: value, count: size)),
                                 mode: mode, by: reply.caller)
        reply.done()
      } catch { reply.fail(error) }
    }

    unsafe table.getxattr = { request, node, name, size in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let value = try unsafe reply.files.xattr(bytes(of: name), of: NodeNumber(node), by: reply.caller)
        reply.xattr(value, room: size)
      } catch { reply.fail(error) }
    }

    unsafe table.listxattr = { request, node, size in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let names = try reply.files.xattrNames(of: NodeNumber(node), by: reply.caller)
        reply.xattr(names, room: size)
      } catch { reply.fail(error) }
    }

    unsafe table.removexattr = { request, node, name in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        try unsafe reply.files.removeXattr(bytes(of: name), of: NodeNumber(node), by: reply.caller)
        reply.done()
      } catch { reply.fail(error) }
    }
  }
}
