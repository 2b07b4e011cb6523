// The hidden directory `.vaultfs` at the root of a mount: what was, for ordinary tools, read-only.
//
//   .vaultfs/snapshots/NAME/…          a snapshot
//   .vaultfs/at/2026-11-21T10:00:00/…  the tree at any moment (any form that `When` reads), or at the last before it of which everything is kept
//   .vaultfs/trash/NAME/…              what was deleted, as it was before
//   .vaultfs/versions/PATH/…           each version of the file that is, or was, at PATH
//
// What must stay true:
// 1. No listing of the root shows it: walks (du, find, rsync) do not enter what nobody named.
// 2. A node's number follows from what it is, and from the slot of its moment or file (SlotTable). Each number that is
//    given out counts there, until the kernel forgets it.
// 3. Who may see what is decided by the modes of then, which the kernel checks. Where the way down is not that of then
//    (the trash, snapshots, versions), each look-up is answered for its caller, and the kernel may not remember it.

import FuseBridge
import Glibc
import Synchronization
import VaultFS

struct PastView: Sendable {
  /// What a number above all nodes' stands for.
  enum Place: Hashable, Sendable {
    case top, snapshots, moments, trash
    /// A directory that is there, or that was, to get to the versions of its files.
    case directory(InodeNumber)
    /// The versions of what is, or was, under a name.
    case versions(FilePlace)
    case past(InodeNumber, LSN)
  }
  struct FilePlace: Hashable, Sendable {
    let parent: InodeNumber
    let name: [UInt8]
  }

  private let vault: Vault
  private let moments = SlotTable<LSN>(kept: 1 << 16, countMax: 1 << 21)
  private let files = SlotTable<FilePlace>(kept: 1 << 12, countMax: 1 << 21)
  private let latest = Latest()
  init(_ vault: Vault) { self.vault = vault }

  // MARK: Numbers

  /// Two bits say that it is of the past, and whether of a moment: then a slot (21 bits) and a node (40 bits). Else a kind
  /// (3 bits), and a node or a slot.
  private static let mark: UInt64 = 1 << 62, ofMoment: UInt64 = 1 << 61, kindShift: UInt64 = 58, slotShift: UInt64 = 40
  private static let inodeMax: UInt64 = 1 << slotShift - 1

  static func contains(_ node: NodeNumber) -> Bool { node.rawValue & mark != 0 }

  private static func slotOfMoment(_ raw: UInt64) -> Int { Int((raw & ~mark & ~ofMoment) >> slotShift) }

  func place(of node: NodeNumber) -> Place? {
    let raw = node.rawValue, inode = InodeNumber(raw & Self.inodeMax)
    if raw & Self.ofMoment != 0 { return moments[Self.slotOfMoment(raw)].map { .past(inode, $0) } }
    switch raw >> Self.kindShift & 7 {
    case 0: return .top
    case 1: return .snapshots
    case 2: return .moments
    case 3: return .trash
    case 4: return .directory(inode)
    case 5: return files[Int(inode.value)].map { .versions($0) }
    default: return nil
    }
  }

  /// A place's number, which counts as given to the kernel; `forget` takes that back.
  /// - Returns: nil where the kernel holds all numbers that there are, or the node's is beyond them.
  func refer(to place: Place) -> (node: NodeNumber, generation: UInt64)? {
    func number(_ kind: UInt64, _ rest: UInt64 = 0, _ generation: UInt32 = 0) -> (NodeNumber, UInt64)? {
      guard rest <= Self.inodeMax else { return nil }
      return (NodeNumber(rawValue: Self.mark | kind << Self.kindShift | rest), UInt64(generation))
    }
    switch place {
    case .top: return number(0)
    case .snapshots: return number(1)
    case .moments: return number(2)
    case .trash: return number(3)
    case .directory(let inode): return number(4, inode.value)
    case .versions(let file): return files.take(file).flatMap { number(5, UInt64($0.slot), $0.generation) }
    case .past(let inode, let moment):
      guard inode.value <= Self.inodeMax, let taken = moments.take(moment) else { return nil }
      return (NodeNumber(rawValue: Self.mark | Self.ofMoment | UInt64(taken.slot) << Self.slotShift | inode.value), UInt64(taken.generation))
    }
  }

  func forget(_ node: NodeNumber, count: UInt64) {
    let raw = node.rawValue
    if raw & Self.ofMoment != 0 { moments.release(Self.slotOfMoment(raw), count) } else if raw >> Self.kindShift & 7 == 5 {
      files.release(Int(raw & Self.inodeMax), count)
    }
  }

  // MARK: Nodes

  /// - Parameter node: its number.
  func attributes(of place: Place, _ node: NodeNumber) throws(VaultError) -> Attributes {
    var attributes: Attributes
    switch place {
    case .top, .snapshots, .moments, .trash: attributes = try madeUp()
    case .directory(let inode):
      attributes = Attributes(try vault.lastInfo(of: inode))
      attributes.mode &= ~0o222
    case .versions(let file):
      // Of a file that is gone the listing itself shows each user no more than is theirs.
      if let live = try liveFile(file) {
        attributes = Attributes(live)
        // Whoever may read the file may list its versions and enter.
        let readable = attributes.mode & 0o444
        (attributes.mode, attributes.links, attributes.size, attributes.blocks) = (S_IFDIR | readable | readable >> 2, 2, 4096, 0)
      } else { attributes = try madeUp() }
    case .past(let inode, let moment): attributes = Attributes(try vault.info(inode, at: moment))
    }
    attributes.node = node
    return attributes
  }

  private func madeUp() throws(VaultError) -> Attributes {
    var attributes = Attributes(try vault.info(.root))
    (attributes.mode, attributes.user, attributes.group) = (S_IFDIR | 0o555, 0, 0)
    (attributes.links, attributes.size, attributes.blocks) = (2, 4096, 0)
    return attributes
  }

  private func liveFile(_ file: FilePlace) throws(VaultError) -> NodeInfo? {
    guard try isThere(file.parent), let info = try vault.lookup(file.name, in: file.parent), info.mode & S_IFMT == S_IFREG else { return nil }
    return info
  }

  private func isThere(_ directory: InodeNumber) throws(VaultError) -> Bool { try vault.living(directory) == directory }

  /// What the node says beyond its mode about who may enter.
  func accessList(of place: Place) throws(VaultError) -> [UInt8]? {
    switch place {
    case .directory(let inode): return try vault.accessList(of: inode)
    case .versions(let file): return try liveFile(file).flatMap { info throws(VaultError) in try vault.accessList(of: info.inode, readersMayEnter: true) }
    default: return nil
    }
  }

  /// Seconds the kernel may believe what is in a place: what was does not change, but the policy may forget it.
  func timeout(in place: Place) -> Double {
    switch place {
    case .past: 60
    case .top: 3600
    default: 0
    }
  }

  /// Seconds the kernel may believe what a place is like: what changes now may belong to the version that was there then.
  func timeout(ofAttributes place: Place) throws(VaultError) -> Double {
    if case .past(let inode, let moment) = place, try !vault.hasEnded(inode, at: moment) { return 0 }
    return timeout(in: place)
  }

  /// What a name leads to, for a caller; nil if nowhere.
  func find(_ name: [UInt8], in place: Place, for caller: Caller) throws(VaultError) -> Place? {
    switch place {
    case .top: return Self.top.first { $0.0 == name }?.1
    case .moments:
      let now = VaultFS.Timestamp.now.seconds
      guard let second = When.second(of: String(decoding: name, as: UTF8.self), now: now), second <= now else { return nil }
      return try vault.keptMoment(upTo: try vault.moment(atEndOf: second)).map { .past(.root, $0.lsn) }
    case .directory(let inode):
      if try isThere(inode), let live = try vault.lookup(name, in: inode), let place = Self.versions(live, name, inode) { return place }
      if try !vault.versions(named: name, in: inode, for: caller.viewer).isEmpty { return .versions(FilePlace(parent: inode, name: name)) }
      return try vault.goneDirectory(named: name, in: inode, for: caller.viewer).map { .directory($0.inode) }
    case .past(let inode, let moment):
      // A name of which nothing is kept is none that was not there: whoever copies or compares must learn of it.
      do throws(VaultError) { return try vault.lookup(name, in: inode, at: moment).map { .past($0.inode, moment) } } catch {
        if case .notFound = error { throw .notKept }
        throw error
      }
    case .snapshots, .trash, .versions:
      return try listing(of: place, for: caller)[name].map { item throws(VaultError) in try resolve(item.target) }
    }
  }

  private static let top: [([UInt8], Place)] = [("snapshots", Place.snapshots), ("at", .moments), ("trash", .trash), ("versions", .directory(.root))].map { (Array($0.0.utf8), $0.1) }

  private static func versions(_ info: NodeInfo, _ name: [UInt8], _ parent: InodeNumber) -> Place? {
    switch info.mode & S_IFMT {
    case S_IFDIR: .directory(info.inode)
    case S_IFREG: .versions(FilePlace(parent: parent, name: name))
    default: nil
    }
  }

  // MARK: Listing

  struct Page {
    var items: [(name: [UInt8], place: Place, cookie: UInt64)]
    /// Of those that are of the past, their types.
    var types: [UInt32] = []
    /// Where to go on; nil: it was the last.
    var end: UInt64?
  }
  private static let firstCookie: UInt64 = 64, itemsPerPage = 64

  /// The names after `cookie`, their cookies and what they lead to.
  func list(_ place: Place, after cookie: UInt64, for open: OpenPast) throws(VaultError) -> Page {
    switch place {
    case .top: return try Self.page(Self.top, after: cookie) { place throws(VaultError) in place }
    // Any moment is a name here: there is no list of them.
    case .moments: return Page(items: [])
    case .directory(let inode):
      // What is gone is found by its name only.
      guard try isThere(inode) else { return Page(items: []) }
      let entries = try vault.list(inode, after: cookie, count: Self.itemsPerPage, withInfo: true)
      return Page(items: entries.compactMap { entry in
        entry.info.flatMap { Self.versions($0, entry.name, inode) }.map { (entry.name, $0, entry.cookie) }
      }, end: entries.last?.cookie)
    case .past(let inode, let moment):
      let entries = try vault.list(inode, after: cookie, count: Self.itemsPerPage, at: moment)
      return Page(items: entries.map { ($0.name, .past($0.inode, moment), $0.cookie) }, types: entries.map(\.type), end: entries.last?.cookie)
    case .snapshots, .trash, .versions:
      let all = try open.listing(isAtStart: cookie < Self.firstCookie) { () throws(VaultError) in try listing(of: place, for: open.caller) }
      return try Self.page(all.items.lazy.map { ($0.name, $0.target) }, after: cookie) { target throws(VaultError) in try resolve(target) }
    }
  }

  private static func page<Target>(_ all: some RandomAccessCollection<([UInt8], Target)>, after cookie: UInt64,
                                   _ place: (Target) throws(VaultError) -> Place) throws(VaultError) -> Page {
    let first = cookie < firstCookie ? 0 : Int(clamping: cookie - firstCookie) + 1
    var page = Page(items: [])
    for (offset, (name, target)) in all.dropFirst(first).prefix(itemsPerPage).enumerated() {
      page.end = firstCookie + UInt64(first + offset)
      // What cannot be read any more hides no neighbour.
      if let place = try? place(target) { page.items.append((name, place, page.end!)) }
    }
    return page
  }

  private func resolve(_ target: PastListing.Target) throws(VaultError) -> Place {
    switch target {
    case .place(let place): place
    case .trashed(let item): .past(InodeNumber(item.inode), try vault.momentBefore(item))
    }
  }

  /// Kept while nothing changes: looking at all of a listing one by one (`ls -l`) is then not all of it for each.
  private final class Latest: Sendable {
    static let itemsMax = 1 << 16
    private let listing = Mutex<PastListing?>(nil)
    func listing(_ key: PastListing.Key) -> PastListing? { listing.withLock { $0?.key == key ? $0 : nil } }
    func note(_ new: PastListing) { if new.items.count <= Self.itemsMax { listing.withLock { $0 = new } } }
  }

  private func listing(of place: Place, for caller: Caller) throws(VaultError) -> PastListing {
    let key = PastListing.Key(place, for: caller, at: place == .trash ? vault.trashChanged : vault.present)
    if let known = latest.listing(key) { return known }
    let made = PastListing(try items(of: place, for: caller.viewer), key)
    latest.note(made)
    return made
  }

  private func items(of place: Place, for viewer: Viewer) throws(VaultError) -> [PastListing.Item] {
    var items: [PastListing.Item] = [], names: Set<[UInt8]> = []
    /// - Parameter tag: what tells it from another of its name.
    func add(_ name: [UInt8], _ tag: UInt64, _ target: PastListing.Target) {
      items.append(PastListing.Item(name: names.insert(name).inserted ? name : Self.tagged(name, "\(tag)"), target: target))
    }
    switch place {
    case .snapshots:
      var access = PastAccess(viewer)
      for snapshot in try vault.snapshots() where try vault.mayReach(InodeNumber(snapshot.directory), at: LSN(snapshot.moment), &access) {
        add(snapshot.name, snapshot.moment, .place(.past(InodeNumber(snapshot.directory), LSN(snapshot.moment))))
      }
    // What a user deleted (administrators: everybody), each under its name, or with its number where several had it.
    case .trash: for item in try vault.trash(of: viewer.isAdministrator ? nil : viewer.user, tellsPaths: false) { add(item.name, item.id, .trashed(item)) }
    // `2026-11-21T10:00:00~1234`: when it began, and its number.
    case .versions(let file):
      for version in try vault.versions(named: file.name, in: file.parent, for: viewer) {
        add(Array("\(When.text(of: version.second))~\(version.id)".utf8), version.inode, .place(.past(InodeNumber(version.inode), LSN(version.id))))
      }
    default: break
    }
    return items
  }

  private static func tagged(_ name: [UInt8], _ tag: String) -> [UInt8] {
    Array(name.prefix(Limits.nameBytesMax - tag.utf8.count - 1)) + [UInt8(ascii: "~")] + Array(tag.utf8)
  }
}
