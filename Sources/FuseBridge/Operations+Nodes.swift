// Callbacks about nodes as such: references, attributes, symlink targets, statistics.

import CFuse3
import Glibc

extension Operations {
  static func addNodes(to table: inout fuse_lowlevel_ops) {
    unsafe table.forget = { request, node, count in
      let reply = unsafe Reply(to: request)
      reply.files.forget(NodeNumber(node), count: count)
      reply.none()
    }

    unsafe table.forget_multi = { request, count, list in
      let reply = unsafe Reply(to: request)
      let files = reply.files
      for unsafe item in unsafe UnsafeBufferPointer(start: list, count: count) {
        files.forget(NodeNumber(rawValue: item.ino), count: item.nlookup)
      }
      reply.none()
    }

    unsafe table.getattr = { request, node, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let (attributes, timeout) = unsafe try reply.files.attributes(of: NodeNumber(node), handle: info.map { unsafe HandleNumber($0) })
        reply.attributes(attributes, timeout: timeout)
      } catch { reply.fail(error) }
    }

    unsafe table.setattr = { request, node, new, mask, info in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let (attributes, timeout) = unsafe try reply.files.setAttributes(
          of: NodeNumber(node), handle: info.map { unsafe HandleNumber($0) },
          to: unsafe AttributeChanges(new!.pointee, mask: mask), by: reply.caller)
        reply.attributes(attributes, timeout: timeout)
      } catch { reply.fail(error) }
    }

    unsafe table.readlink = { request, node in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let target = try reply.files.readLink(NodeNumber(node))
        reply.target(target)
      } catch { reply.fail(error) }
    }

    unsafe table.statfs = { request, node in
      let reply = unsafe Reply(to: request)
      do throws(Errno) {
        let statistics = try reply.files.statistics(of: NodeNumber(node))
        reply.statistics(statistics)
      } catch { reply.fail(error) }
    }
  }
}
