// Extended attributes. Who may use which name is the kernel's to decide (user.* by mode bits, trusted.* and
// security.* by capability); what the two ACL names mean is ours.

import Glibc

extension Vault {
  public enum XattrMode: Sendable { case set, create, replace }

  public func setXattr(_ name: [UInt8], of inode: InodeNumber, to value: [UInt8], mode: XattrMode, by requester: Requester) throws(VaultError) {
    if name.isEmpty || name.count > Limits.xattrNameBytesMax { throw .attributeTooLarge }
    if value.count > Limits.xattrValueBytesMax { throw .attributeTooLarge }
    try checkSpace()
    try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode)
      if isAccessList(name) {
        return try setAccessList(name, of: node, to: value, requester)
      }
      let old = try metadata.xattr(name, of: node)
      if mode == .create && old != nil { throw .attributeExists }
      if mode == .replace && old == nil { throw .attributeMissing }
      try checkXattrRoom(of: node, name, old, value)
      try perform(.setXattr(inode, name: name, value: value, attributes: AttributeSet(changed: Self.now())))
      node.unsaved?.changed = nil
    }
  }

  /// `lock` is held.
  private func checkXattrRoom(of node: Node, _ name: [UInt8], _ old: [UInt8]?, _ value: [UInt8]) throws(VaultError) {
    let before = try metadata.xattrUse(of: node), use = before.replacing(name, old?.count, by: value.count)
    if use.names > Limits.xattrListBytesMax || use.bytes > Limits.xattrBytesMax, use.bytes > before.bytes { throw .diskFull }
  }

  private func isAccessList(_ name: [UInt8]) -> Bool { name == AccessControlList.accessName || name == AccessControlList.defaultName }

  private func setAccessList(_ name: [UInt8], of node: Node, to value: [UInt8], _ requester: Requester) throws(VaultError) {
    guard let list = AccessControlList(value) else { throw .invalidArgument }
    if node.isSymlink { throw .notSupported }
    var set = AttributeSet(changed: Self.now())
    let isAccess = name == AccessControlList.accessName
    if isAccess, !list.isEmpty {
      var mode = node.mode & 0o7777 & ~0o777 | list.permissions
      if requester.user != 0, mode & S_ISGID != 0, !requester.isMember(node.group) { mode &= ~S_ISGID }
      set.mode = mode
    } else if !isAccess && !node.isDirectory { throw .notPermitted }
    if list.isEmpty || isAccess && list.isMinimal {
      try perform(.removeXattr(node.inode, name: name, attributes: set))
    } else {
      try checkXattrRoom(of: node, name, try metadata.xattr(name, of: node), value)
      try perform(.setXattr(node.inode, name: name, value: value, attributes: set))
    }
    node.unsaved?.changed = nil
  }

  public func xattr(_ name: [UInt8], of inode: InodeNumber) throws(VaultError) -> [UInt8] {
    try lock.withLock { () throws(VaultError) in
      guard let value = try metadata.xattr(name, of: try metadata.node(inode)) else { throw .attributeMissing }
      return value
    }
  }

  public func xattrNames(of inode: InodeNumber) throws(VaultError) -> [[UInt8]] {
    try lock.withLock { () throws(VaultError) in try metadata.xattrNames(of: try metadata.node(inode)) }
  }

  public func removeXattr(_ name: [UInt8], of inode: InodeNumber) throws(VaultError) {
    try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode)
      guard try metadata.xattr(name, of: node) != nil else {
        // Of an access list that is not there, ext4 says that it is gone, and changes nothing.
        if isAccessList(name) { return }
        throw .attributeMissing
      }
      try perform(.removeXattr(inode, name: name, attributes: AttributeSet(changed: Self.now())))
      node.unsaved?.changed = nil
    }
  }
}
