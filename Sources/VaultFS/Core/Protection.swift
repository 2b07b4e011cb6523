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

/// Who looks, and what they may do: the one place where that is decided for whoever does not come through the kernel.
public struct Viewer: Sendable {
  public let user: UInt32
  /// Whether a group is one of theirs: asked only where that decides something.
  public let isMember: @Sendable (UInt32) -> Bool

  public init(user: UInt32, isMember: @escaping @Sendable (UInt32) -> Bool) { (self.user, self.isMember) = (user, isMember) }

  /// Root, and the user whose vault it is: this process is theirs.
  public var isAdministrator: Bool { user == 0 || user == geteuid() }

  public func may(_ rights: Protection.Rights, _ protection: Protection) -> Bool {
    isAdministrator || protection.allows(rights, user: user, isMember: isMember)
  }
}

extension Metadata {
  /// Of a node of the present, or as it was.
  func protection(of node: Node) throws(VaultError) -> Protection {
    guard let protection = Protection(user: node.user, group: node.group, mode: node.mode,
                                      accessList: try xattr(AccessControlList.accessName, of: node)) else {
      throw damaged("the access list of node \(node.inode.value)")
    }
    return protection
  }
}

extension Vault {
  public func protection(of inode: InodeNumber) throws(VaultError) -> Protection {
    try lock.withLock { () throws(VaultError) in try metadata.protection(of: try metadata.node(inode)) }
  }

  /// As it was at a moment; nil where it was not there.
  public func protection(of inode: InodeNumber, at moment: LSN) throws(VaultError) -> Protection? {
    try lock.withLock { () throws(VaultError) in
      guard let node = try metadata.node(inode, at: moment) else { return nil }
      return try metadata.protection(of: node)
    }
  }

  /// The access list that a node has, or had last, where there is one.
  /// - Parameter readersMayEnter: as of a directory that shows something of the node: whoever may read it may search that.
  public func accessList(of inode: InodeNumber, readersMayEnter: Bool = false) throws(VaultError) -> [UInt8]? {
    try lock.withLock { () throws(VaultError) in
      guard let bytes = try metadata.xattr(AccessControlList.accessName, of: try metadata.last(inode)) else { return nil }
      return readersMayEnter ? AccessControlList(bytes)?.readersEnter.bytes : bytes
    }
  }
}
