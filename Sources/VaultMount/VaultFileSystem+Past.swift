// The past, where the kernel asks for it: every reading call has its answer here, every changing call is refused.

import FuseBridge
import Glibc
import VaultFS

extension VaultFileSystem {
  /// What was cannot be changed.
  func checkPresent(_ node: NodeNumber) throws(FuseBridge.Errno) {
    if PastView.contains(node) { throw .readOnlyFileSystem }
  }

  /// Nor can the name that leads there.
  func checkPresent(_ name: FileName, in parent: NodeNumber) throws(FuseBridge.Errno) {
    if parent == .root, name.bytes == Vault.pastName { throw .readOnlyFileSystem }
    try checkPresent(parent)
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
    guard let found = try answer({ () throws(VaultError) in try past.find(name, in: place, for: caller) }) else { return .absent(timeout: past.timeout(in: place)) }
    return .found(try pastEntry(found, in: place))
  }

  /// An entry to be given to the kernel, for which it counts already.
  /// - Parameter parent: where it was found.
  private func pastEntry(_ place: PastView.Place, in parent: PastView.Place) throws(FuseBridge.Errno) -> Entry {
    guard let (node, generation) = past.refer(to: place) else { throw .tooManyOpenFilesInSystem }
    do throws(FuseBridge.Errno) {
      let attributes = try answer { () throws(VaultError) in try past.attributes(of: place, node) }
      return Entry(attributes: attributes, generation: generation, attributesTimeout: try answer { () throws(VaultError) in try past.timeout(ofAttributes: place) }, nameTimeout: past.timeout(in: parent))
    } catch {
      past.forget(node, count: 1)
      throw error
    }
  }

  func pastAttributes(of node: NodeNumber) throws(FuseBridge.Errno) -> (Attributes, timeout: Double) {
    let place = try place(of: node)
    return try answer { () throws(VaultError) in (try past.attributes(of: place, node), try past.timeout(ofAttributes: place)) }
  }

  func pastXattr(_ name: [UInt8], of node: NodeNumber) throws(FuseBridge.Errno) -> [UInt8] {
    let place = try place(of: node)
    if case .past(let inode, let moment) = place { return try answer { () throws(VaultError) in try vault.xattr(name, of: inode, at: moment) } }
    guard name == Self.lists[0], let list = try answer({ () throws(VaultError) in try past.accessList(of: place) }) else { throw .noAttribute }
    return list
  }

  func pastXattrNames(of node: NodeNumber) throws(FuseBridge.Errno) -> [[UInt8]] {
    guard case .past(let inode, let moment) = try place(of: node) else { return [] }
    return try answer { () throws(VaultError) in try vault.xattrNames(of: inode, at: moment) }
  }

  func openPast(_ node: NodeNumber, _ flags: Int32) throws(FuseBridge.Errno) -> Opened {
    guard flags & O_ACCMODE == O_RDONLY, flags & O_TRUNC == 0 else { throw .readOnlyFileSystem }
    let (inode, moment) = try pastNode(node)
    return try answer { () throws(VaultError) in opened(try vault.openPast(inode, at: moment), isForReading: true, isOfPast: true) }
  }

  /// Entries after `cookie`, which is at least that of `.`.
  func listPast(_ node: NodeNumber, _ open: OpenPast, after cookie: UInt64, into listing: inout DirectoryListing) throws(FuseBridge.Errno) {
    let place = try place(of: node), parentCookie: UInt64 = 2
    var at = cookie
    if at < parentCookie {
      guard listing.append([0x2E, 0x2E], node: node, mode: S_IFDIR, cookie: parentCookie) else { return }
      at = parentCookie
    }
    while true {
      let page = try answer { () throws(VaultError) in try past.list(place, after: at, for: open) }
      for (index, item) in page.items.enumerated() {
        let type = page.types.isEmpty ? nil : page.types[index]
        guard try append(item.name, item.place, item.cookie, type, of: place, to: &listing) else { return }
      }
      guard let end = page.end, end > at else { return }
      at = end
    }
  }

  /// - Parameter type: of what was there, though nothing else is kept of it.
  /// - Returns: false where the listing is full.
  private func append(_ name: [UInt8], _ found: PastView.Place, _ cookie: UInt64, _ type: UInt32?, of place: PastView.Place,
                      to listing: inout DirectoryListing) throws(FuseBridge.Errno) -> Bool {
    let entry: Entry
    do throws(FuseBridge.Errno) { entry = try pastEntry(found, in: place) } catch {
      if error == .tooManyOpenFilesInSystem { throw error }
      // Its name was kept, and what it was is not: whoever looks at it is told (`.notKept`), and it hides no neighbour.
      guard error == .noEntry, let type, case .past(let inode, _) = found else { return true }
      return listing.append(name, node: NodeNumber(inode), mode: type, cookie: cookie)
    }
    let fits = listing.append(name, entry: entry, cookie: cookie)
    if !fits || !listing.wantsEntries { past.forget(entry.attributes.node, count: 1) }
    return fits
  }
}
