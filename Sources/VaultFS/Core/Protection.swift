// What decides who may use a node: its owner, its group, its mode bits and, where there is one, its access list.
// The kernel asks nobody but these for what comes through the mount; whoever is asked in another way must decide alike.

import Glibc

public struct Protection: Sendable {
  /// Bits as in a mode's last digit.
  public struct Rights: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let read = Rights(rawValue: 4)
    public static let write = Rights(rawValue: 2)
    /// Of a directory: to search it; of a file: to execute it.
    public static let search = Rights(rawValue: 1)
  }

  private let user: UInt32
  private let group: UInt32
  private let mode: UInt32
  private let list: AccessControlList?

  /// - Parameter accessList: the value of `system.posix_acl_access`, where there is one.
  /// - Returns: nil where that is no access list.
  public init?(user: UInt32, group: UInt32, mode: UInt32, accessList: [UInt8]? = nil) {
    (self.user, self.group, self.mode) = (user, group, mode)
    guard let accessList else {
      list = nil
      return
    }
    guard let list = AccessControlList(accessList) else { return nil }
    self.list = list.isEmpty ? nil : list
  }

  /// As the kernel decides for whoever has no capabilities (fs/namei.c, `acl_permission_check`): the list counts only
  /// where the group's bits, which are its mask, grant something.
  public func allows(_ wanted: Rights, user: UInt32, isMember: (UInt32) -> Bool) -> Bool {
    func has(_ shift: UInt32) -> Bool { (mode >> shift) & wanted.rawValue == wanted.rawValue }
    if user == self.user { return has(6) }
    if let list, mode & 0o070 != 0 { return list.grants(wanted.rawValue, to: user, isMember, owner: self.user, group: group) }
    return isMember(group) ? has(3) : has(0)
  }
}

extension Vault {
  public func protection(of inode: InodeNumber) throws(VaultError) -> Protection {
    try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode)
      guard let protection = Protection(user: node.user, group: node.group, mode: node.mode,
                                        accessList: try metadata.xattr(AccessControlList.accessName, of: node)) else {
        throw metadata.damaged("the access list of node \(inode.value)")
      }
      return protection
    }
  }
}
