// Callbacks on open directories.

import CFuse3
import Glibc

extension Operations {
  static func addDirectories(to table: inout fuse_lowlevel_ops) {
    unsafe table.opendir = { request, node, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let opened = try reply.files.openDirectory(NodeNumber(node), by: reply.caller)
        unsafe reply.openedDirectory(opened, NodeNumber(node), info!)
      } catch { reply.fail(error) }
    }

    unsafe table.readdir = { request, node, size, offset, info in
      unsafe Operations.list(request, node, size, offset, info, wantsEntries: false)
    }

    unsafe table.readdirplus = { request, node, size, offset, info in
      unsafe Operations.list(request, node, size, offset, info, wantsEntries: true)
    }

    unsafe table.releasedir = { request, node, info in
      let reply = unsafe Reply(to: request)
      unsafe reply.files.releaseDirectory(NodeNumber(node), HandleNumber(info!))
      reply.done()
    }

    unsafe table.fsyncdir = { request, node, dataOnly, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        try unsafe reply.files.syncDirectory(NodeNumber(node), HandleNumber(info!), dataOnly: dataOnly != 0)
        reply.done()
      } catch { reply.fail(error) }
    }
  }

  private static func list(_ request: fuse_req_t?, _ node: fuse_ino_t, _ size: Int, _ offset: off_t,
                           _ info: UnsafeMutablePointer<fuse_file_info>?, wantsEntries: Bool) {
    let reply = unsafe Reply(to: request)
    var listing = unsafe DirectoryListing(into: WorkerBuffer.bytes(size), wantsEntries: wantsEntries)
    var failure: Errno?
    do throws(Errno) {
      try unsafe reply.files.readDirectory(NodeNumber(node), HandleNumber(info!), after: UInt64(bitPattern: Int64(offset)), into: &listing)
    } catch { failure = error }
    reply.listing(listing, failure: failure)
  }
}
