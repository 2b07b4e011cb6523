// The past, where the kernel asks for it: every reading call has its answer here, every changing call is refused.

import FuseBridge
import Glibc
import VaultFS

extension VaultFileSystem {
  /// What was cannot be changed.
  func checkPresent(_ node: NodeNumber) throws(FuseBridge.Errno) {
    if PastView.contains(node) { throw .readOnlyFileSystem }
  }

  private func place(of node: NodeNumber) throws(FuseBridge.Errno) -> PastView.Place {
    guard let place = past.place(of: node) else { throw .stale }
    return place
  }

  /// A node of then, not one of the directories that lead there.
  func pastNode(_ node: NodeNumber) throws(FuseBridge.Errno) -> (InodeNumber, LSN) {
    guard case .past(let inode, let moment) = try place(of: node) else { throw .invalidArgument }
    return (inode, moment)
  }

  func lookUpPast(_ name: [UInt8], in parent: NodeNumber, by caller: Caller) throws(FuseBridge.Errno) -> LookupResult {
    if parent == .root { return .found(try pastEntry(.top, in: .top)) }
    let place = try place(of: parent)
    if name == [0x2E] { return .found(try pastEntry(place, in: place)) }
    guard let found = try answer({ () throws(VaultError) in try past.find(name, in: place, for: caller.user) }) else { return .absent(timeout: past.timeout(in: place)) }
    return .found(try pastEntry(found, in: place))
  }

  /// - Parameter parent: where it was found.
  private func pastEntry(_ place: PastView.Place, in parent: PastView.Place) throws(FuseBridge.Errno) -> Entry {
    let attributes = try answer { () throws(VaultError) in try past.attributes(of: place) }
    return Entry(attributes: attributes, attributesTimeout: past.timeout(in: place), nameTimeout: past.timeout(in: parent))
  }

  func pastAttributes(of node: NodeNumber) throws(FuseBridge.Errno) -> (Attributes, timeout: Double) {
    let place = try place(of: node)
    return (try answer { () throws(VaultError) in try past.attributes(of: place) }, past.timeout(in: place))
  }

  func pastXattr(_ name: [UInt8], of node: NodeNumber) throws(FuseBridge.Errno) -> [UInt8] {
    guard case .past(let inode, let moment) = try place(of: node) else { throw .noAttribute }
    return try answer { () throws(VaultError) in try vault.xattr(name, of: inode, at: moment) }
  }

  func pastXattrNames(of node: NodeNumber) throws(FuseBridge.Errno) -> [[UInt8]] {
    guard case .past(let inode, let moment) = try place(of: node) else { return [] }
    return try answer { () throws(VaultError) in try vault.xattrNames(of: inode, at: moment) }
  }

  func openPast(_ node: NodeNumber, _ flags: Int32) throws(FuseBridge.Errno) -> Opened {
    guard flags & O_ACCMODE == O_RDONLY, flags & O_TRUNC == 0 else { throw .readOnlyFileSystem }
    let (inode, moment) = try pastNode(node)
    return try answer { () throws(VaultError) in opened(try vault.openPast(inode, at: moment), isForReading: true) }
  }

  /// Entries after `cookie`, which is at least that of `.`.
  func listPast(_ node: NodeNumber, after cookie: UInt64, for user: UInt32, into listing: inout DirectoryListing) throws(FuseBridge.Errno) {
    let place = try place(of: node), parentCookie: UInt64 = 2
    var at = cookie
    if at < parentCookie {
      guard listing.append([0x2E, 0x2E], node: node, mode: S_IFDIR, cookie: parentCookie) else { return }
      at = parentCookie
    }
    while true {
      let found = try answer { () throws(VaultError) in try past.list(place, after: at, count: 64, for: user) }
      if found.isEmpty { return }
      for item in found {
        guard let entry = try? pastEntry(item.place, in: place) else { continue }
        guard listing.append(item.name, entry: entry, cookie: item.cookie) else { return }
        at = item.cookie
      }
    }
  }
}
