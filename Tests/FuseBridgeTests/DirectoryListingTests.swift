// The listing as the kernel will read it, without a kernel.

import FuseBridge
import Glibc
import Testing

struct DirectoryListingTests {
  private func listing(bytes: Int, plus: Bool, _ body: (inout DirectoryListing) throws -> Void) rethrows {
    let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 8)
    defer { storage.deallocate() }
    var listing = DirectoryListing(into: storage, wantsEntries: plus)
    try body(&listing)
  }

  private func entry(_ number: UInt64) -> Entry {
    Entry(attributes: EmptyFS.attributes(NodeNumber(rawValue: number), mode: S_IFREG | 0o644), attributesTimeout: 1, nameTimeout: 1)
  }

  @Test(arguments: [false, true])
  func `what is appended is read back, and only whole entries are references`(plus: Bool) {
    listing(bytes: 4096, plus: plus) { listing in
      let fitted = [
        listing.append([46], node: .root, mode: S_IFDIR, cookie: 1),
        listing.append([46, 46], entry: entry(1), cookie: 2),
        listing.append([0xff, 0x80, 3], entry: entry(7), cookie: 3),
      ]
      #expect(fitted == [true, true, true])
      let items = listing.items
      #expect(items.map(\.name) == [[46], [46, 46], [0xff, 0x80, 3]])
      #expect(items.map(\.node.rawValue) == [1, 1, 7])
      #expect(items.map(\.cookie) == [1, 2, 3])
      #expect(items.map(\.isReference) == [false, false, plus])
    }
  }

  @Test(arguments: [false, true])
  func `a full listing refuses, and keeps what it has`(plus: Bool) {
    listing(bytes: 1000, plus: plus) { listing in
      var count = 0
      while listing.append(Array("name-\(count)".utf8), entry: entry(9), cookie: UInt64(count + 1)) { count += 1 }
      #expect(count == (plus ? 6 : 31))
      let kept = listing.items.count
      #expect(kept == count)
    }
  }

  @Test(arguments: [[], [0x61, 0], [0x61, 0x2f], [UInt8](repeating: 0x61, count: 256)])
  func `no impossible name reaches the kernel`(name: [UInt8]) {
    listing(bytes: 4096, plus: false) { listing in
      let fitted = listing.append(name, node: .root, mode: S_IFREG, cookie: 1)
      let items = listing.items
      #expect(!fitted && items.isEmpty)
    }
  }
}
