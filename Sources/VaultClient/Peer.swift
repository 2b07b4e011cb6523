// Who asks, by the kernel's word, and what they may see: the one place where that is decided.
//
// What must stay true:
// 1. Root and the vault's owner administer, and may do everything. Nobody else ever may.
// 2. Anybody else may come to a node, and use it, only as the kernel would let them through the mount: each directory on
//    the way searched, the node's own owner, group, mode bits and access list asked.

import Glibc
public import VaultFS

public struct Peer: Sendable {
  public let user: UInt32
  public let process: Int32
  /// Of what they make.
  public let group: UInt32
  private let groups: Set<UInt32>

  /// This process itself.
  public static let local = Peer(user: geteuid(), group: getegid(), groups: Set([getegid()] + ownGroups()), process: getpid())

  public init(user: UInt32, group: UInt32, groups: Set<UInt32>, process: Int32 = 0) {
    (self.user, self.group, self.groups, self.process) = (user, group, groups, process)
  }

  public var isAdministrator: Bool { viewer.isAdministrator }
  var viewer: Viewer { Viewer(user: user) { [groups] in groups.contains($0) } }

  public func mayRead(_ protection: Protection) -> Bool { may(.read, protection) }
  public func mayWrite(_ protection: Protection) -> Bool { may(.write, protection) }
  /// Of a directory: whether its entries may be looked up.
  public func maySearch(_ protection: Protection) -> Bool { may(.search, protection) }

  public func isMember(of group: UInt32) -> Bool { groups.contains(group) }

  /// What was forgotten, and by whom, is in the vault's log. (Of a vault that is not mounted, who asks is who would read that.)
  func note(_ words: String, in vault: Vault) { if process != getpid() { vault.note("\(words), by user \(user)") } }

  private func may(_ rights: Protection.Rights, _ protection: Protection) -> Bool { viewer.may(rights, protection) }
}

extension Peer {
  /// `struct ucred` of unix(7), which Glibc's module does not show.
  private struct Credentials {
    var process: Int32 = 0
    var user: UInt32 = .max
    var group: UInt32 = .max
  }
  private static let peerGroups: Int32 = 59
  /// NGROUPS_MAX of Linux.
  private static let groupsMax = 65_536

  /// Who connected `socket`, as they were when they did.
  /// - Returns: nil where the kernel does not say.
  init?(of socket: Int32) {
    var peer = Credentials(), length = socklen_t(MemoryLayout<Credentials>.size)
    guard unsafe getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0, length == MemoryLayout<Credentials>.size else { return nil }
    var groups = Set([peer.group])
    // Whoever administers may do everything without: theirs only say which limits bind them.
    if let more = Self.groups(of: socket) { groups.formUnion(more) } else if peer.user != 0, peer.user != geteuid() { return nil }
    self.init(user: peer.user, group: peer.group, groups: groups, process: peer.process)
  }

  private static func ownGroups() -> [UInt32] {
    var groups = [gid_t](repeating: 0, count: groupsMax)
    let count = unsafe getgroups(Int32(groups.count), &groups)
    return Array(groups.prefix(max(Int(count), 0)))
  }

  private static func groups(of socket: Int32) -> [UInt32]? {
    var groups = [UInt32](repeating: 0, count: 64)
    while true {
      var length = socklen_t(groups.count * MemoryLayout<UInt32>.size)
      if unsafe getsockopt(socket, SOL_SOCKET, peerGroups, &groups, &length) == 0 { return Array(groups.prefix(Int(length) / MemoryLayout<UInt32>.size)) }
      // It says how much room it wants.
      let wanted = Int(length) / MemoryLayout<UInt32>.size
      guard errno == ERANGE, wanted > groups.count, wanted <= groupsMax else { return nil }
      groups = [UInt32](repeating: 0, count: wanted)
    }
  }
}
