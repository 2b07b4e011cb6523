// Nodes in memory: bounded, and each node one object for as long as somebody holds it.

import Glibc
import Testing
@testable import VaultFS

struct NodeCacheTests {
  private let limit = Limits.nodeCacheCount + Limits.nodeCacheCount / 4 + 1

  /// A view of as many files as `count`, with a directory none is in.
  private func metadata(_ count: Int) throws -> Metadata {
    let database = try Database(path: ":memory:")
    try Schema.prepare(database)
    let metadata = try Metadata(database: database, nameKey: (1, 2))
    for number in 2..<UInt64(count + 2) {
      if number % 1000 == 2 { try metadata.commit(); try metadata.begin() }
      metadata.insert(Node(inode: InodeNumber(number), epoch: 1, mode: S_IFREG | 0o644, links: 1, user: 0, group: 0, time: .now))
    }
    try metadata.commit()
    return metadata
  }

  @Test func `reading a vault of many nodes keeps few of them in memory`() throws {
    let count = Limits.nodeCacheCount * 3, metadata = try metadata(count)
    for _ in 0..<2 {
      for number in 2..<UInt64(count + 2) {
        _ = try metadata.node(InodeNumber(number))
        if number % 512 == 0 { #expect(metadata.nodesInMemory <= limit) }
      }
    }
  }

  @Test func `a node that is held, open or changed is never made twice`() throws {
    let count = Limits.nodeCacheCount * 2, metadata = try metadata(count)
    let held = try metadata.node(InodeNumber(2))
    try metadata.node(InodeNumber(3)).openCount = 1
    try metadata.begin()
    let changed = try metadata.node(InodeNumber(4))
    changed.size = 77
    metadata.touch(changed)
    for number in 5..<UInt64(count + 2) { _ = try metadata.node(InodeNumber(number)) }
    #expect(try metadata.node(InodeNumber(2)) === held)
    #expect(try metadata.node(InodeNumber(3)).openCount == 1)
    #expect(try metadata.node(InodeNumber(4)).size == 77)
  }
}
