// A vault as the kernel sees it: each call of the bridge is one or two calls of the engine.
//
// What must stay true: errors become numbers only here (Translation.swift); nothing here holds state but open handles.
// The kernel may believe everything for very long: this process is the only one that changes the vault.

public import FuseBridge
import Glibc
public import VaultFS

public struct VaultFileSystem: FileSystem {
  /// Seconds the kernel may believe a name, its absence, or attributes. It learns of every change made through it.
  static let timeout: Double = 86_400

  let vault: Vault
  let past: PastView
  let clearsPrivileges = Flag()
  private let whenMounted: @Sendable () -> Void

  /// - Parameter whenMounted: called once the kernel has begun to talk: from then on the mount is usable.
  public init(_ vault: Vault, whenMounted: @escaping @Sendable () -> Void) {
    self.vault = vault
    past = PastView(vault)
    self.whenMounted = whenMounted
    unsafe vault.awaitsForget = true
  }

  public func mounted(_ capabilities: Capabilities) {
    clearsPrivileges.set(capabilities.clearsPrivileges)
    whenMounted()
  }

  // MARK: Names

  /// The kernel tells the count when it lets go of a node: all of it at once, but for lookups that crossed an unlink.
  public func forget(_ node: NodeNumber, count: UInt64) {
    if PastView.contains(node) { past.forget(node, count: count) } else { vault.forget(node.inode) }
  }

  public func lookup(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) -> LookupResult {
    if PastView.contains(parent) || name.bytes == Vault.pastName && parent == .root { return try lookUpPast(name.bytes, in: parent, by: caller) }
    return try answer { () throws(VaultError) in
      // What was opened by handle (open_by_handle_at(2), NFS) finds its node and its parent this way.
      if name.bytes == [0x2E] { return .found(entry(try vault.info(parent.inode))) }
      if name.bytes == [0x2E, 0x2E] { return .found(entry(try vault.info(try vault.parent(of: parent.inode)))) }
      guard let info = try vault.lookup(name.bytes, in: parent.inode) else { return .absent(timeout: Self.timeout) }
      return .found(entry(info))
    }
  }

  public func makeNode(_ name: FileName, in parent: NodeNumber, mode: UInt32, device: UInt64, by caller: Caller) throws(FuseBridge.Errno) -> Entry {
    try make(name, parent, mode, device: device, caller)
  }
  public func makeDirectory(_ name: FileName, in parent: NodeNumber, mode: UInt32, by caller: Caller) throws(FuseBridge.Errno) -> Entry {
    try make(name, parent, mode & ~S_IFMT | S_IFDIR, caller)
  }
  public func makeSymlink(_ name: FileName, in parent: NodeNumber, target: [UInt8], by caller: Caller) throws(FuseBridge.Errno) -> Entry {
    try make(name, parent, S_IFLNK | 0o777, target: target, caller)
  }

  private func make(_ name: FileName, _ parent: NodeNumber, _ mode: UInt32, device: UInt64 = 0, target: [UInt8] = [],
                    _ caller: Caller) throws(FuseBridge.Errno) -> Entry {
    try checkPresent(parent)
    return try answer { () throws(VaultError) in
      let mode = mode & S_IFMT == 0 ? mode | S_IFREG : mode
      return entry(try vault.create(name.bytes, in: parent.inode, mode: mode, device: device, target: target, by: caller.requester))
    }
  }

  public func link(_ node: NodeNumber, as name: FileName, in parent: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) -> Entry {
    for given in [node, parent] { try checkPresent(given) }
    return try answer { () throws(VaultError) in entry(try vault.link(node.inode, as: name.bytes, in: parent.inode)) }
  }
  public func unlink(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) {
    try checkPresent(name, in: parent)
    try answer { () throws(VaultError) in try vault.unlink(name.bytes, in: parent.inode) }
  }
  public func removeDirectory(_ name: FileName, in parent: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) {
    try checkPresent(name, in: parent)
    try answer { () throws(VaultError) in try vault.removeDirectory(name.bytes, in: parent.inode) }
  }

  public func rename(_ name: FileName, in parent: NodeNumber, to newName: FileName, in newParent: NodeNumber,
                     flags: RenameFlags, by caller: Caller) throws(FuseBridge.Errno) {
    let mode: Vault.RenameMode = switch flags {
    case []: .replace
    case .noReplace: .noReplace
    case .exchange: .exchange
    default: throw .invalidArgument
    }
    try checkPresent(name, in: parent)
    try checkPresent(newParent)
    try answer { () throws(VaultError) in
      try vault.rename(name.bytes, in: parent.inode, to: newName.bytes, in: newParent.inode, mode: mode)
    }
  }

  // MARK: Attributes

  public func attributes(of node: NodeNumber, handle: HandleNumber?) throws(FuseBridge.Errno) -> (Attributes, timeout: Double) {
    if PastView.contains(node) { return try pastAttributes(of: node) }
    return try answer { () throws(VaultError) in timed(try vault.info(node.inode)) }
  }

  public func setAttributes(of node: NodeNumber, handle: HandleNumber?, to changes: AttributeChanges, by caller: Caller)
    throws(FuseBridge.Errno) -> (Attributes, timeout: Double) {
    try checkPresent(node)
    var change = AttributeChange()
    change.mode = changes.mode
    change.user = changes.user
    change.group = changes.group
    change.size = changes.size
    change.accessed = changes.accessed.map(timestamp)
    change.modified = changes.modified.map(timestamp)
    change.changed = changes.changed.map { VaultFS.Timestamp($0) }
    change.clearsPrivileges = changes.clearsPrivileges
    // (Root could have set what others of no group could not.)
    if caller.user != 0 { change.isMember = caller.isMember }
    return try answer { () throws(VaultError) in timed(try vault.change(node.inode, change)) }
  }

  public func readLink(_ node: NodeNumber) throws(FuseBridge.Errno) -> [UInt8] {
    if PastView.contains(node) {
      let (inode, moment) = try pastNode(node)
      return try answer { () throws(VaultError) in try vault.readLink(inode, at: moment) }
    }
    return try answer { () throws(VaultError) in try vault.readLink(node.inode) }
  }

  // MARK: Extended attributes

  public func setXattr(_ name: [UInt8], of node: NodeNumber, to value: [UInt8], mode: XattrSetMode, by caller: Caller) throws(FuseBridge.Errno) {
    try checkXattr(name)
    try checkPresent(node)
    let mode: Vault.XattrMode = switch mode {
    case .set: .set
    case .create: .create
    case .replace: .replace
    }
    try answer { () throws(VaultError) in try vault.setXattr(name, of: node.inode, to: value, mode: mode, by: caller.requester) }
  }
  public func xattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) -> [UInt8] {
    try checkXattr(name)
    if PastView.contains(node) { return try pastXattr(name, of: node) }
    return try answer { () throws(VaultError) in try vault.xattr(name, of: node.inode) }
  }
  public func xattrNames(of node: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) -> [UInt8] {
    let names = try PastView.contains(node) ? pastXattrNames(of: node) : nil
    return try answer { () throws(VaultError) in
      // The kernel filters no listing for us: trusted attributes exist for root alone (xattr(7)).
      let names = if let names { names } else { try vault.xattrNames(of: node.inode) }
      return names
        .filter { caller.user == 0 || !$0.starts(with: Self.trusted) }
        .flatMap { $0 + [0] }
    }
  }
  public func removeXattr(_ name: [UInt8], of node: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) {
    try checkXattr(name)
    try checkPresent(node)
    try answer { () throws(VaultError) in try vault.removeXattr(name, of: node.inode) }
  }

  private static let trusted = Array("trusted.".utf8)
  static let lists = ["system.posix_acl_access", "system.posix_acl_default"].map { Array($0.utf8) }
  private static let spaces = ["user.", "trusted.", "security."].map { Array($0.utf8) }
  private func checkXattr(_ name: [UInt8]) throws(FuseBridge.Errno) {
    // The kernel asks nobody's leave for names in `system.`: only those whose meaning it knows (and guards) may pass.
    let isKnown = Self.lists.contains(name) || Self.spaces.contains { name.starts(with: $0) && name.count > $0.count }
    guard isKnown else { throw Self.spaces.contains(name) ? .invalidArgument : .notSupported }
  }

  // MARK: Directories

  public func openDirectory(_ node: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) -> Opened {
    // Of the past the handle says for whom it is listed.
    if PastView.contains(node) { return Opened(handle: HandleNumber(OpenPast(for: caller))) }
    return try answer { () throws(VaultError) in
      try vault.retain(node.inode)
      return Opened(handle: HandleNumber(rawValue: 0))
    }
  }
  public func releaseDirectory(_ node: NodeNumber, _ handle: HandleNumber) {
    if PastView.contains(node) { handle.releasePast() } else { vault.release(node.inode) }
  }

  private static let selfCookie: UInt64 = 1, parentCookie: UInt64 = 2

  public func readDirectory(_ node: NodeNumber, _ handle: HandleNumber, after cookie: UInt64, into listing: inout DirectoryListing) throws(FuseBridge.Errno) {
    var at = cookie
    if at == 0 {
      guard listing.append([0x2E], node: node, mode: S_IFDIR, cookie: Self.selfCookie) else { return }
      at = Self.selfCookie
    }
    if PastView.contains(node) { return try listPast(node, handle.openPast, after: at, into: &listing) }
    if at == Self.selfCookie {
      let parent = try answer { () throws(VaultError) in try vault.parent(of: node.inode) }
      guard listing.append([0x2E, 0x2E], node: NodeNumber(parent), mode: S_IFDIR, cookie: Self.parentCookie) else { return }
      at = Self.parentCookie
    }
    // A reply of the kernel's usual 4 KiB holds some 25 whole entries, or three times as many names.
    let step = listing.wantsEntries ? 32 : 96
    while true {
      let entries = try answer { () throws(VaultError) in try vault.list(node.inode, after: at, count: step, withInfo: listing.wantsEntries) }
      for item in entries {
        let fits = if let info = item.info { listing.append(item.name, entry: entry(info), cookie: item.cookie) } else {
          listing.append(item.name, node: NodeNumber(item.inode), mode: item.type, cookie: item.cookie)
        }
        guard fits else { return }
        at = item.cookie
      }
      if entries.count < step { return }
    }
  }

  public func syncDirectory(_ node: NodeNumber, _ handle: HandleNumber, dataOnly: Bool) throws(FuseBridge.Errno) {
    try answer { () throws(VaultError) in try vault.sync() }
  }

  public func statistics(of node: NodeNumber) throws(FuseBridge.Errno) -> FileSystemStatistics {
    try answer { () throws(VaultError) in
      let space = try vault.space(at: PastView.contains(node) ? .root : node.inode)
      return FileSystemStatistics(blockSize: 4096, blocks: space.total / 4096, blocksFree: space.free / 4096,
                                  blocksAvailable: space.available / 4096, files: space.nodes + space.nodesFree, filesFree: space.nodesFree)
    }
  }

  func entry(_ info: NodeInfo) -> Entry {
    let (attributes, timeout) = timed(info)
    return Entry(attributes: attributes, attributesTimeout: timeout, nameTimeout: Self.timeout)
  }
  private func timed(_ info: NodeInfo) -> (Attributes, timeout: Double) {
    (Attributes(info), info.isUnsaved ? 0 : Self.timeout)
  }
}
