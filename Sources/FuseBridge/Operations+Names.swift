// Callbacks that find, make, move and remove names.

import CFuse3
import Glibc

extension Operations {
  static func addNames(to table: inout fuse_lowlevel_ops) {
    unsafe table.lookup = { request, parent, name in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let result = try unsafe reply.files.lookup(FileName(checking: name), in: NodeNumber(parent), by: reply.caller)
        switch result {
        case .found(let entry): reply.entry(entry)
        case .absent(let timeout): reply.absent(timeout: timeout)
        }
      } catch { reply.fail(error) }
    }

    unsafe table.mknod = { request, parent, name, mode, device in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let entry = try unsafe reply.files.makeNode(FileName(checking: name), in: NodeNumber(parent), mode: mode,
                                             device: UInt64(device), by: reply.caller)
        reply.entry(entry)
      } catch { reply.fail(error) }
    }

    unsafe table.mkdir = { request, parent, name, mode in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let entry = try unsafe reply.files.makeDirectory(FileName(checking: name), in: NodeNumber(parent), mode: mode, by: reply.caller)
        reply.entry(entry)
      } catch { reply.fail(error) }
    }

    unsafe table.symlink = { request, target, parent, name in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let entry = try unsafe reply.files.makeSymlink(FileName(checking: name), in: NodeNumber(parent), target: bytes(of: target),
                                                by: reply.caller)
        reply.entry(entry)
      } catch { reply.fail(error) }
    }

    unsafe table.link = { request, node, parent, name in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let entry = try unsafe reply.files.link(NodeNumber(node), as: FileName(checking: name), in: NodeNumber(parent), by: reply.caller)
        reply.entry(entry)
      } catch { reply.fail(error) }
    }

    unsafe table.unlink = { request, parent, name in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        try unsafe reply.files.unlink(FileName(checking: name), in: NodeNumber(parent), by: reply.caller)
        reply.done()
      } catch { reply.fail(error) }
    }

    unsafe table.rmdir = { request, parent, name in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        try unsafe reply.files.removeDirectory(FileName(checking: name), in: NodeNumber(parent), by: reply.caller)
        reply.done()
      } catch { reply.fail(error) }
    }

    unsafe table.rename = { request, parent, name, newParent, newName, flags in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        try unsafe reply.files.rename(FileName(checking: name), in: NodeNumber(parent), to: FileName(checking: newName),
                               in: NodeNumber(newParent), flags: RenameFlags(rawValue: flags), by: reply.caller)
        reply.done()
      } catch { reply.fail(error) }
    }
  }
}
