// Whether a peer could come to a mount at all: the directories above it may keep them out, and then the socket for
// everyone must not let them in.

import CGlibc
import Glibc
import VaultFS

struct Reach: Sendable {
  /// From the root down to the directory that holds the mount point. Never the mount itself: its owner would wait for itself.
  private let above: [[UInt8]]

  /// - Parameter mountPoint: absolute, without symlinks.
  init(mountPoint: [UInt8]) {
    let names = mountPoint.split(separator: UInt8(ascii: "/")).dropLast()
    above = (0...names.count).map { [UInt8(ascii: "/")] + names.prefix($0).joined(separator: [UInt8(ascii: "/")]) }
  }

  func isOpen(to peer: Peer) -> Bool { peer.isAdministrator || above.allSatisfy { Self.protection(of: $0).map(peer.maySearch) ?? false } }

  /// - Returns: nil where it cannot be told.
  private static func protection(of directory: [UInt8]) -> Protection? {
    unsafe (directory + [0]).withUnsafeBytes { raw -> Protection? in
      let path = unsafe raw.baseAddress!.assumingMemoryBound(to: CChar.self)
      var info = stat(), list = [UInt8](repeating: 0, count: Limits.xattrValueBytesMax)
      guard unsafe stat(path, &info) == 0 else { return nil }
      let count = unsafe getxattr(path, "system.posix_acl_access", &list, list.count)
      guard count >= 0 || [ENODATA, ENOTSUP].contains(errno) else { return nil }
      return Protection(user: info.st_uid, group: info.st_gid, mode: info.st_mode, accessList: count >= 0 ? Array(list.prefix(count)) : nil)
    }
  }
}
