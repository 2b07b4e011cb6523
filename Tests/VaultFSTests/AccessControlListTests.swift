// POSIX ACLs: acl(5) and what Linux does in posix_acl_create and posix_acl_chmod.

import Testing
@testable import VaultFS

struct AccessControlListTests {
  enum Tag: UInt16 { case owner = 1, user = 2, group = 4, namedGroup = 8, mask = 16, other = 32 }
  private func bytes(_ entries: [(Tag, UInt16, UInt32)], version: UInt32 = 2) -> [UInt8] {
    var w = ByteWriter()
    w.u32(version)
    for (tag, permissions, id) in entries { w.u16(tag.rawValue); w.u16(permissions); w.u32(id) }
    return w.bytes
  }
  private let none = UInt32.max
  private var extended: [(Tag, UInt16, UInt32)] {
    [(.owner, 7, none), (.user, 6, 1000), (.group, 5, none), (.namedGroup, 7, 2000), (.mask, 6, none), (.other, 4, none)]
  }

  @Test func `a list comes back as it was, and tells the mode that goes with it`() throws {
    let raw = bytes(extended)
    let list = try #require(AccessControlList(raw))
    #expect(list.bytes == raw)
    #expect(!list.isMinimal && !list.isEmpty)
    #expect(list.permissions == 0o764, "the mask stands for the group")
    let minimal = try #require(AccessControlList(bytes([(.owner, 6, none), (.group, 4, none), (.other, 0, none)])))
    #expect(minimal.isMinimal && minimal.permissions == 0o640)
    #expect(try #require(AccessControlList(bytes([]))).isEmpty)
  }

  @Test func `what is no list is refused`() {
    let minimal: [(Tag, UInt16, UInt32)] = [(.owner, 6, none), (.group, 4, none), (.other, 0, none)]
    let wrong: [[UInt8]] = [
      [], [2, 0], bytes(minimal, version: 1), bytes(minimal).dropLast(), bytes(minimal) + [0],
      bytes(Array(minimal.dropLast())), bytes(Array(minimal.dropFirst())),
      bytes(minimal + [(.owner, 1, none)]),
      bytes(minimal + [(.user, 7, 5)]),  // a named entry needs a mask
      bytes(minimal + [(.mask, 7, none), (.mask, 7, none)]),
      [2, 0, 0, 0] + [3, 0, 7, 0, 0, 0, 0, 0] + bytes(minimal).dropFirst(4),  // a tag nobody knows
    ].map { Array($0) }
    for raw in wrong { #expect(AccessControlList(raw) == nil, "\(raw)") }
  }

  /// (mode asked for, mode of the child) with the default list `extended`.
  @Test(arguments: [(0o666, 0o664), (0o777, 0o764), (0o600, 0o600), (0o000, 0o000), (0o070, 0o060), (0o2755, 0o2744), (0o1777, 0o1764)] as [(UInt32, UInt32)])
  func `a child gets the parent's default list, masked by the mode it was made with`(asked: UInt32, given: UInt32) throws {
    let list = try #require(AccessControlList(bytes(extended)))
    let (child, mode) = list.inherited(mode: asked | 0o100000)
    #expect(mode == given | 0o100000)
    #expect(child.permissions == given & 0o777)
    // Named users and groups, and the owning group beneath the mask, keep what the parent says.
    let expected: [(Tag, UInt16, UInt32)] = [
      (.owner, UInt16(given >> 6 & 7), none), (.user, 6, 1000), (.group, 5, none), (.namedGroup, 7, 2000),
      (.mask, UInt16(given >> 3 & 7), none), (.other, UInt16(given & 7), none)]
    #expect(child.bytes == bytes(expected))
  }

  @Test(arguments: [0o000, 0o777, 0o640, 0o4755, 0o123] as [UInt32])
  func `chmod sets the owner, the mask and the others`(mode: UInt32) throws {
    let list = try #require(AccessControlList(bytes(extended))).changed(to: mode)
    let expected: [(Tag, UInt16, UInt32)] = [
      (.owner, UInt16(mode >> 6 & 7), none), (.user, 6, 1000), (.group, 5, none), (.namedGroup, 7, 2000),
      (.mask, UInt16(mode >> 3 & 7), none), (.other, UInt16(mode & 7), none)]
    #expect(list.bytes == bytes(expected))
    let minimal = try #require(AccessControlList(bytes([(.owner, 6, none), (.group, 4, none), (.other, 0, none)]))).changed(to: mode)
    #expect(minimal.permissions == mode & 0o777)
  }
}
