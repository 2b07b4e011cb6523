// The hidden directory `.vaultfs` at the root of a mount: what was, for ordinary tools, read-only.
//
//   .vaultfs/snapshots/NAME/…          a snapshot
//   .vaultfs/at/2026-11-21T10:00:00/…  the tree at any moment (any form that `When` reads)
//   .vaultfs/trash/NAME/…              what was deleted, as it was before
//   .vaultfs/versions/PATH/…           each version of the file at PATH
//
// What must stay true:
// 1. No listing of the root shows it: walks (du, find, rsync) do not enter what nobody named.
// 2. A node's number follows from what it is, so that nothing need be remembered but the moments that were asked for.
// 3. Who may see what is decided by the modes of then, which the kernel checks. Where the way down is not that of then
//    (the trash), each look-up is answered for its caller, and the kernel may not remember it.

import FuseBridge
import Glibc
import Synchronization
import VaultFS

struct PastView: Sendable {
  static let name = Array(".vaultfs".utf8)

  /// What a number above all nodes' stands for.
  enum Place: Hashable {
    case top, snapshots, moments, trash
    /// A live directory, to get to the versions of its files.
    case directory(InodeNumber)
    /// A file's versions.
    case versions(InodeNumber)
    case past(InodeNumber, LSN)
  }

  private let vault: Vault
  private let moments = MomentTable()
  init(_ vault: Vault) { self.vault = vault }

  // MARK: Numbers

  private static let mark: UInt64 = 1 << 62, kindShift: UInt64 = 58, momentShift: UInt64 = 40
  private static let inodeMax: UInt64 = 1 << momentShift - 1
  fileprivate static let momentsMax = 1 << 18

  static func contains(_ node: NodeNumber) -> Bool { node.rawValue & mark != 0 }

  func place(of node: NodeNumber) -> Place? {
    let raw = node.rawValue & ~Self.mark, inode = InodeNumber(raw & Self.inodeMax)
    switch raw >> Self.kindShift {
    case 0: return .top
    case 1: return .snapshots
    case 2: return .moments
    case 3: return .trash
    case 4: return .directory(inode)
    case 5: return .versions(inode)
    case 6: return moments.moment(Int(raw >> Self.momentShift) & (Self.momentsMax - 1)).map { .past(inode, $0) }
    default: return nil
    }
  }

  /// nil where there are more moments, or nodes, than a number can tell apart.
  func number(of place: Place) -> NodeNumber? {
    func number(_ kind: UInt64, _ inode: InodeNumber = .none, _ moment: Int = 0) -> NodeNumber? {
      guard inode.value <= Self.inodeMax else { return nil }
      return NodeNumber(rawValue: Self.mark | kind << Self.kindShift | UInt64(moment) << Self.momentShift | inode.value)
    }
    switch place {
    case .top: return number(0)
    case .snapshots: return number(1)
    case .moments: return number(2)
    case .trash: return number(3)
    case .directory(let inode): return number(4, inode)
    case .versions(let inode): return number(5, inode)
    case .past(let inode, let moment): return moments.index(of: moment).flatMap { number(6, inode, $0) }
    }
  }

  // MARK: Nodes

  func attributes(of place: Place) throws(VaultError) -> Attributes {
    guard let number = number(of: place) else { throw .notFound }
    var attributes: Attributes
    switch place {
    case .top, .snapshots, .moments, .trash:
      attributes = Attributes(try vault.info(.root))
      (attributes.mode, attributes.links, attributes.size, attributes.blocks) = (S_IFDIR | 0o555, 2, 4096, 0)
    case .directory(let inode):
      attributes = Attributes(try vault.info(inode))
      attributes.mode &= ~0o222
    case .versions(let inode):
      attributes = Attributes(try vault.info(inode))
      // Whoever may read the file may list its versions and enter.
      let readable = attributes.mode & 0o444
      (attributes.mode, attributes.links, attributes.size, attributes.blocks) = (S_IFDIR | readable | readable >> 2, 2, 4096, 0)
    case .past(let inode, let moment): attributes = Attributes(try vault.info(inode, at: moment))
    }
    attributes.node = number
    return attributes
  }

  /// Seconds the kernel may believe what is in a place: what was does not change, but the policy may forget it.
  func timeout(in place: Place) -> Double {
    switch place {
    case .past: 60
    case .top: 3600
    default: 0
    }
  }

  /// What a name leads to, for a caller; nil if nowhere.
  func find(_ name: [UInt8], in place: Place, for user: UInt32) throws(VaultError) -> Place? {
    switch place {
    case .top: return Self.top.first { $0.0 == name }?.1
    case .snapshots:
      return try vault.snapshots().first { $0.name == name }.map { .past(InodeNumber($0.directory), LSN($0.moment)) }
    case .moments:
      guard let second = When.second(of: String(decoding: name, as: UTF8.self), now: VaultFS.Timestamp.now.seconds) else { return nil }
      return .past(.root, try vault.moment(atEndOf: second))
    case .trash:
      guard let item = try trash(for: user).first(where: { $0.name == name })?.item else { return nil }
      return .past(InodeNumber(item.inode), try vault.momentBefore(item))
    case .directory(let inode): return try vault.lookup(name, in: inode).flatMap(Self.versions)
    case .versions(let inode): return try versions(of: inode).first { $0.name == name }.map { .past(InodeNumber($0.version.inode), LSN($0.version.id)) }
    case .past(let inode, let moment): return try vault.lookup(name, in: inode, at: moment).map { .past($0.inode, moment) }
    }
  }

  private static let top: [([UInt8], Place)] = [("snapshots", Place.snapshots), ("at", .moments), ("trash", .trash), ("versions", .directory(.root))].map { (Array($0.0.utf8), $0.1) }

  private static func versions(_ info: NodeInfo) -> Place? {
    switch info.mode & S_IFMT {
    case S_IFDIR: .directory(info.inode)
    case S_IFREG: .versions(info.inode)
    default: nil
    }
  }

  /// The names after `cookie`, their cookies and what they lead to.
  func list(_ place: Place, after cookie: UInt64, count: Int, for user: UInt32) throws(VaultError) -> [(name: [UInt8], place: Place, cookie: UInt64)] {
    func numbered(_ names: [([UInt8], Place)]) -> [(name: [UInt8], place: Place, cookie: UInt64)] {
      names.enumerated().map { ($1.0, $1.1, Self.firstCookie + UInt64($0)) }.filter { $0.cookie > cookie }
    }
    switch place {
    case .top: return numbered(Self.top)
    case .snapshots: return numbered(try vault.snapshots().map { ($0.name, .past(InodeNumber($0.directory), LSN($0.moment))) })
    // Any moment is a name here: there is no list of them.
    case .moments: return []
    case .trash:
      var found: [([UInt8], Place)] = []
      for (name, item) in try trash(for: user) { found.append((name, .past(InodeNumber(item.inode), try vault.momentBefore(item)))) }
      return numbered(found)
    case .versions(let inode): return numbered(try versions(of: inode).map { ($0.name, .past(InodeNumber($0.version.inode), LSN($0.version.id))) })
    case .directory(let inode):
      return try vault.list(inode, after: cookie, count: count, withInfo: true).compactMap { entry in
        entry.info.flatMap(Self.versions).map { (entry.name, $0, entry.cookie) }
      }
    case .past(let inode, let moment):
      return try vault.list(inode, after: cookie, count: count, at: moment).map { ($0.name, .past($0.inode, moment), $0.cookie) }
    }
  }
  private static let firstCookie: UInt64 = 64

  /// What a user deleted (root: everybody), each under its name, or with its number where several had it.
  private func trash(for user: UInt32) throws(VaultError) -> [(name: [UInt8], item: TrashItem)] {
    var names: Set<[UInt8]> = []
    return try vault.trash().filter { user == 0 || $0.user == user }.map { item in
      names.insert(item.name).inserted ? (item.name, item) : (Self.tagged(item.name, "\(item.id)"), item)
    }
  }

  /// `2026-11-21T10:00:00~1234.pdf`: when it began, its number, and the name's ending, by which programs know what it is.
  private func versions(of inode: InodeNumber) throws(VaultError) -> [(name: [UInt8], version: FileVersion)] {
    try vault.versions(of: inode).map { (Array("\(When.text(of: $0.second))~\($0.id)".utf8), $0) }
  }

  private static func tagged(_ name: [UInt8], _ tag: String) -> [UInt8] {
    Array(name.prefix(Limits.nameBytesMax - tag.utf8.count - 1)) + [UInt8(ascii: "~")] + Array(tag.utf8)
  }
}

/// The moments that somebody asked for, each with a number for as long as the mount lives. Bounded.
private final class MomentTable: Sendable {
  private let known = Mutex<(list: [LSN], index: [LSN: Int])>(([], [:]))

  func moment(_ index: Int) -> LSN? { known.withLock { $0.list.indices.contains(index) ? $0.list[index] : nil } }

  func index(of moment: LSN) -> Int? {
    known.withLock { known in
      if let index = known.index[moment] { return index }
      guard known.list.count < PastView.momentsMax else { return nil }
      known.list.append(moment)
      known.index[moment] = known.list.count - 1
      return known.list.count - 1
    }
  }
}
