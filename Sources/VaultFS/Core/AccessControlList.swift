// POSIX access control lists as Linux keeps them in extended attributes (acl(5), IEEE 1003.1e draft 17;
// include/uapi/linux/posix_acl_xattr.h): version 2, then { tag u16 · permissions u16 · id u32 } each.
// The kernel checks access by them; we inherit them, and keep them and the mode bits in step.

struct AccessControlList {
  static let accessName = Array("system.posix_acl_access".utf8)
  static let defaultName = Array("system.posix_acl_default".utf8)

  private enum Tag { static let userObject: UInt16 = 1, user: UInt16 = 2, groupObject: UInt16 = 4, group: UInt16 = 8, mask: UInt16 = 16, other: UInt16 = 32 }
  private struct Entry {
    var tag: UInt16
    var permissions: UInt32
    var id: UInt32
  }
  private var entries: [Entry] = []

  /// - Returns: nil where `bytes` is not such a list.
  init?(_ bytes: [UInt8]) {
    var entries: [Entry] = []
    let sound = unsafe bytes.withUnsafeBytes { raw in
      var r = unsafe ByteReader(raw)
      do throws(Malformed) {
        guard try r.u32() == 2 else { return false }
        while !r.isAtEnd {
          entries.append(Entry(tag: try r.u16(), permissions: UInt32(try r.u16()) & 7, id: try r.u32()))
        }
        return true
      } catch { return false }
    }
    guard sound else { return nil }
    let tags = entries.map(\.tag)
    let named = tags.contains(Tag.user) || tags.contains(Tag.group)
    for single in [Tag.userObject, Tag.groupObject, Tag.other] where tags.filter({ $0 == single }).count != 1 && !tags.isEmpty { return nil }
    guard tags.filter({ $0 == Tag.mask }).count <= 1, !named || tags.contains(Tag.mask),
      tags.allSatisfy({ [1, 2, 4, 8, 16, 32].contains($0) }) else { return nil }
    self.entries = entries
  }

  var isEmpty: Bool { entries.isEmpty }

  /// Whether it grants all of `wanted` (`posix_acl_permission`).
  func grants(_ wanted: UInt32, to user: UInt32, _ isMember: (UInt32) -> Bool, owner: UInt32, group: UInt32) -> Bool {
    let mask = entries.first { $0.tag == Tag.mask }?.permissions ?? 7
    func has(_ permissions: UInt32) -> Bool { permissions & wanted == wanted }
    if user == owner { return has(entries.first { $0.tag == Tag.userObject }?.permissions ?? 0) }
    if let named = entries.first(where: { $0.tag == Tag.user && $0.id == user }) { return has(named.permissions & mask) }
    let ofGroups = entries.filter { $0.tag == Tag.groupObject && isMember(group) || $0.tag == Tag.group && isMember($0.id) }
    if !ofGroups.isEmpty { return ofGroups.contains { has($0.permissions & mask) } }
    return has(entries.first { $0.tag == Tag.other }?.permissions ?? 0)
  }

  var bytes: [UInt8] {
    var w = ByteWriter(capacity: 4 + 8 * entries.count)
    w.u32(2)
    for entry in entries { w.u16(entry.tag); w.u16(UInt16(entry.permissions)); w.u32(entry.id) }
    return w.bytes
  }

  /// Whether the mode bits alone say as much.
  var isMinimal: Bool { entries.allSatisfy { [Tag.userObject, Tag.groupObject, Tag.other].contains($0.tag) } }

  /// The nine permission bits that go with this list.
  var permissions: UInt32 {
    entries.reduce(0) { bits, entry in
      switch entry.tag {
      case Tag.userObject: bits | entry.permissions << 6
      case Tag.mask: bits & ~0o070 | entry.permissions << 3
      case Tag.groupObject: entries.contains { $0.tag == Tag.mask } ? bits : bits | entry.permissions << 3
      case Tag.other: bits | entry.permissions
      default: bits
      }
    }
  }

  /// A new node of a directory with this default list, made with `mode`: its own list and mode (`posix_acl_create`).
  func inherited(mode: UInt32) -> (list: AccessControlList, mode: UInt32) {
    var list = self
    list.masked { class_ in (mode >> class_) & 7 }
    return (list, mode & ~0o777 | mode & list.permissions)
  }

  /// The list after chmod(2) to `mode` (`posix_acl_chmod`).
  func changed(to mode: UInt32) -> AccessControlList {
    var list = self
    list.setClasses { class_ in (mode >> class_) & 7 }
    return list
  }

  /// Those who may read may read and enter; nobody may do more.
  var readersEnter: AccessControlList {
    var list = self
    for index in list.entries.indices { list.entries[index].permissions = list.entries[index].permissions & 4 != 0 ? 5 : 0 }
    return list
  }

  private mutating func masked(_ allowed: (UInt32) -> UInt32) { eachClass { $0 & allowed($1) } }
  private mutating func setClasses(_ value: (UInt32) -> UInt32) { eachClass { _, class_ in value(class_) } }

  /// The entries that stand for the three classes of mode bits: owner (6), group or mask (3), others (0).
  private mutating func eachClass(_ change: (UInt32, UInt32) -> UInt32) {
    let hasMask = entries.contains { $0.tag == Tag.mask }
    for index in entries.indices {
      let class_: UInt32? = switch entries[index].tag {
      case Tag.userObject: 6
      case Tag.mask: 3
      case Tag.groupObject: hasMask ? nil : 3
      case Tag.other: 0
      default: nil
      }
      if let class_ { entries[index].permissions = change(entries[index].permissions, class_) }
    }
  }
}
