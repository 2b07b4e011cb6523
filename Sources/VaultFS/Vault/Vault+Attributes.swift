// Attributes: what stat(2) tells, and what chmod, chown, utimensat and truncate change.

import Glibc

/// What a program wants changed; nil leaves alone.
public struct AttributeChange: Sendable {
  public var mode: UInt32?
  public var user: UInt32?
  public var group: UInt32?
  public var size: UInt64?
  public var accessed: Timestamp?
  public var modified: Timestamp?
  public var changed: Timestamp?
  /// A change of size drops set-uid and set-gid: the caller may not keep them.
  public var clearsPrivileges = false
  public var isMember: @Sendable (UInt32) -> Bool = { _ in true }
  public init() {}
}

extension Vault {
  public func info(_ inode: InodeNumber) throws(VaultError) -> NodeInfo {
    try lock.withLock { () throws(VaultError) in try metadata.node(inode).info }
  }

  public func readLink(_ inode: InodeNumber) throws(VaultError) -> [UInt8] {
    try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode)
      guard node.isSymlink else { throw .invalidArgument }
      return node.target
    }
  }

  public func change(_ inode: InodeNumber, _ change: AttributeChange) throws(VaultError) -> NodeInfo {
    if let size = change.size { try truncate(inode, to: size, clearsPrivileges: change.clearsPrivileges, isMember: change.isMember) }
    return try withinQuotas([inode]) { () throws(VaultError) in try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode)
      let time = change.changed ?? Self.now()
      var set = AttributeSet(mode: change.mode.map { $0 & 0o7777 }, user: change.user, group: change.group,
                             accessed: change.accessed, modified: change.modified, changed: time)
      let isChown = change.user != nil || change.group != nil
      if isChown, !node.isDirectory, change.mode == nil, node.mode & (S_ISUID | S_ISGID) != 0 {
        set.mode = node.mode & 0o7777 & ~privileges(of: node, change.isMember)
      }
      if change.size != nil, set.mode == nil, set.user == nil, set.group == nil, set.accessed == nil, set.modified == nil { return node.info }
      if isChown { try checkQuotas(for: node, user: set.user, group: set.group) }
      let takesCapabilities = isChown && !node.isDirectory
      if let mode = change.mode, let list = try accessList(of: node) {
        // (Without its capabilities a file does less: the safe one of the two alone.)
        if takesCapabilities { try dropCapabilities(of: node) }
        try perform(.setXattr(inode, name: AccessControlList.accessName, value: list.changed(to: mode).bytes, attributes: set))
      } else if takesCapabilities, try hasCapabilities(node) {
        try perform(.removeXattr(inode, name: Self.capabilityName, attributes: set))
      } else { try perform(.setAttributes(inode, set)) }
      if set.modified != nil { node.unsaved?.modified = nil }
      node.unsaved?.changed = nil
      return node.info
    } }
  }

  /// Set-uid, and set-gid where it means a privilege (with group execute) or the caller could not have set it.
  private func privileges(of node: Node, _ isMember: (UInt32) -> Bool) -> UInt32 {
    if node.mode & S_ISGID != 0, node.mode & S_IXGRP != 0 || !isMember(node.group) { return node.mode & (S_ISUID | S_ISGID) }
    return node.mode & S_ISUID
  }

  /// A write or a change of size by someone who may not keep privileges. `lock` is held.
  /// - Returns: the mode to set with it; nil if none changes.
  func modeWithoutPrivileges(_ node: Node, _ isMember: (UInt32) -> Bool) -> UInt32? {
    guard node.mode & (S_ISUID | S_ISGID) != 0, node.isRegular else { return nil }
    let bits = privileges(of: node, isMember)
    return bits == 0 ? nil : node.mode & 0o7777 & ~bits
  }

  private static let capabilityName = Array("security.capability".utf8)

  /// File capabilities do not outlive a change of content or owner. `lock` is held.
  func dropCapabilities(of node: Node) throws(VaultError) {
    if try hasCapabilities(node) { try perform(.removeXattr(node.inode, name: Self.capabilityName, attributes: AttributeSet())) }
  }

  private func hasCapabilities(_ node: Node) throws(VaultError) -> Bool {
    guard node.hasXattrs else { return false }
    return try metadata.xattr(Self.capabilityName, of: node) != nil
  }

  /// Its entries for the three classes change with the mode (chmod(2)). `lock` is held.
  private func accessList(of node: Node) throws(VaultError) -> AccessControlList? {
    guard node.hasXattrs else { return nil }
    return try metadata.xattr(AccessControlList.accessName, of: node).flatMap { AccessControlList($0) }
  }
}
