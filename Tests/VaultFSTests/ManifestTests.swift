// Manifests of thousands of extents, in pages, against the same byte-for-byte model.

import Glibc
import Testing
@testable import VaultFS

struct ManifestTests {
  private func metadata() throws -> (Metadata, Node) {
    let database = try Database(path: ":memory:")
    try Schema.prepare(database)
    let metadata = try Metadata(database: database, nameKey: (1, 2))
    let root = Node(inode: .root, epoch: 1, mode: S_IFDIR | 0o755, links: 2, user: 0, group: 0, time: .now)
    let node = Node(inode: InodeNumber(7), epoch: 1, mode: S_IFREG | 0o644, links: 1, user: 0, group: 0, time: .now)
    node.parent = .root
    try metadata.begin()
    metadata.insert(root)
    metadata.insert(node)
    return (metadata, node)
  }

  /// Every extent of the node, one page at a time, as a reader walks a file.
  private func walk(_ metadata: Metadata, _ node: Node) throws -> [Extent] {
    var at: UInt64 = 0, all: [Extent] = []
    while true {
      let some = try metadata.someExtents(of: node, from: at)
      guard let last = some.last else { return all }
      all += some
      at = last.end
    }
  }

  @Test(arguments: seeds(24))
  func `replacing, cutting and shifting in pages do what they do to bytes`(seed: UInt64) throws {
    var random = Random(seed: seed)
    let (metadata, node) = try metadata()
    let limit = 60_000
    var model = [Origin](repeating: .hole, count: limit)
    func check(_ what: String) throws {
      let all = try metadata.extents(of: node, in: 0..<UInt64.max)
      #expect(isSound(all), "seed \(seed), \(what)")
      #expect(origins(all, count: limit) == model, "seed \(seed), \(what)")
      #expect(node.allocated == UInt64(model.count { $0 != .hole }), "seed \(seed), \(what)")
      #expect(metadata.state.counters.logicalBytes == Int64(node.allocated), "seed \(seed), \(what)")
      #expect(origins(try walk(metadata, node), count: limit) == model, "seed \(seed), \(what): walked")
    }
    func replace(_ range: Range<UInt64>, _ extents: [Extent]) throws {
      try metadata.replace(range, of: node, with: extents)
      model.replaceSubrange(Int(range.lowerBound)..<Int(range.upperBound), with: origins(extents, count: limit)[Int(range.lowerBound)..<Int(range.upperBound)])
    }
    // Thousands of small extents that do not continue each other, in random order.
    for start in stride(from: 0, to: 30_000, by: 10).shuffled(using: &random) {
      let extent = Extent(offset: UInt64(start), length: 7, source: .chunk(ChunkNumber(UInt64(start) + 1), offset: 0))
      try replace(UInt64(start)..<UInt64(start) + 7, [extent])
    }
    #expect(node.paged)
    try check("filled")
    for step in 0..<120 {
      switch random.below(8) {
      case 0:
        // A cut: everything from somewhere on is a hole.
        let size = UInt64(random.below(limit))
        try metadata.replace(size..<UInt64.max, of: node, with: [])
        for index in Int(size)..<limit { model[index] = .hole }
      case 1:
        let at = random.below(limit), by = random.below(300)
        try metadata.shift(node, from: UInt64(at), by: Int64(by))
        model.insert(contentsOf: [Origin](repeating: .hole, count: by), at: at)
        model.removeLast(by)
        try metadata.replace(UInt64(limit)..<UInt64.max, of: node, with: [])
      case 2:
        let at = random.below(limit - 300), by = random.below(300)
        try metadata.shift(node, from: UInt64(at), by: -Int64(by))
        model.removeSubrange(at..<at + by)
        model += [Origin](repeating: .hole, count: by)
      case 3: try metadata.commit(); try metadata.begin()
      default:
        let start = UInt64(random.below(limit - 1)), end = min(start + 1 + UInt64(random.below(random.chance(20) ? limit : 500)), UInt64(limit))
        try replace(start..<end, random.chance(30) ? [] : random.extents(in: start..<end, upTo: random.chance(20) ? 800 : 5))
      }
      let window = random.range(within: UInt64(limit))
      let seen = origins(try metadata.extents(of: node, in: window), count: limit)
      #expect(seen.enumerated().allSatisfy { $0.element == (window.contains(UInt64($0.offset)) ? model[$0.offset] : .hole) }, "seed \(seed), step \(step)")
      if step % 10 == 9 { try check("step \(step)") }
    }
    try check("at the end")
    try metadata.replace(0..<UInt64.max, of: node, with: [])
    #expect(node.allocated == 0 && metadata.state.counters.logicalBytes == 0)
    #expect(try metadata.database.integer("SELECT count(*) FROM page") == 0, "no page is left behind")
  }

  @Test(arguments: seeds(8))
  func `an overwrite touches only the pages it falls in`(seed: UInt64) throws {
    var random = Random(seed: seed)
    let (metadata, node) = try metadata()
    let all = (0..<10_000).map { Extent(offset: UInt64($0) * 100, length: 90, source: .chunk(ChunkNumber(UInt64($0) + 1), offset: 0)) }
    try metadata.replace(0..<1_000_000, of: node, with: all)
    let before = try metadata.database.integer("SELECT count(*) FROM page") ?? 0
    #expect(before >= 10_000 / Int64(Limits.pageExtentsMax))
    try metadata.database.execute("CREATE TABLE touched (start INTEGER); CREATE TRIGGER t AFTER INSERT ON page BEGIN INSERT INTO touched VALUES (new.start); END")
    let at = UInt64(random.below(999_000))
    try metadata.replace(at..<at + 10, of: node, with: [Extent(offset: at, length: 10, source: .chunk(ChunkNumber(99_999_999), offset: 0))])
    #expect(try metadata.database.integer("SELECT count(*) FROM touched") ?? 99 <= 3, "seed \(seed)")
  }

  @Test(arguments: seeds(8))
  func `reserving and copying long ranges do what they do to bytes`(seed: UInt64) throws {
    var random = Random(seed: seed)
    let (metadata, node) = try metadata()
    // More than the extents that are handled at once.
    let limit = 120_000
    var model = [Origin](repeating: .hole, count: limit)
    let all = random.extents(in: 0..<UInt64(limit / 2), upTo: 9000)
    try metadata.replace(0..<UInt64(limit / 2), of: node, with: all)
    model.replaceSubrange(0..<limit / 2, with: origins(all, count: limit)[0..<limit / 2])
    func check(_ what: String) throws {
      let found = try metadata.extents(of: node, in: 0..<UInt64.max)
      #expect(isSound(found) && origins(found, count: limit) == model, "seed \(seed), \(what)")
      #expect(node.allocated == found.allocated && metadata.state.counters.logicalBytes == Int64(node.allocated), "seed \(seed), \(what)")
      for _ in 0..<20 {
        let range = random.range(within: UInt64(limit))
        #expect(try metadata.allocated(of: node, in: range) == UInt64(model[Int(range.lowerBound)..<Int(range.upperBound)].count { $0 != .hole }), "seed \(seed), \(what)")
      }
      #expect(try metadata.lastExtent(of: node)?.end == model.lastIndex { $0 != .hole }.map { UInt64($0) + 1 }, "seed \(seed), \(what)")
    }
    try check("filled")
    let length = 1 + random.below(limit / 2 - 1), from = random.below(limit / 2 - length + 1)
    try metadata.copy(UInt64(from)..<UInt64(from + length), of: node, to: UInt64(limit / 2), of: node)
    model.replaceSubrange(limit / 2..<limit / 2 + length, with: model[from..<from + length])
    try check("copied")
    let range = random.range(within: UInt64(limit))
    try metadata.reserve(range, of: node)
    for index in range where model[Int(index)] == .hole { model[Int(index)] = .reserved }
    try check("reserved")
  }

  /// By what SQLite and the allocator are asked for: no timing, no resident set.
  @Test func `what is cut out of a long manifest is not read into memory`() throws {
    let (metadata, node) = try metadata()
    let pages = 2000, count = UInt64(pages * 192)
    for start in stride(from: 0 as UInt64, to: count, by: 9600) {
      let part = (start..<start + 9600).map { Extent(offset: $0 * 10, length: 7, source: .chunk(ChunkNumber($0 + 1), offset: 0)) }
      try metadata.replace(start * 10..<(start + 9600) * 10, of: node, with: part)
    }
    #expect(node.allocated == count * 7)
    try metadata.database.execute("CREATE TABLE touched (start INTEGER); CREATE TRIGGER t AFTER INSERT ON page BEGIN INSERT INTO touched VALUES (new.start); END")
    // A hole in the middle, zeros, and a cut: each rewrites the pages at the ends alone.
    try metadata.replace(100_003..<count * 3, of: node, with: [])
    try metadata.replace(count * 4 + 3..<count * 5, of: node, with: [Extent(offset: count * 4 + 3, length: count - 3, source: .reserved)])
    try metadata.replace(count * 6 + 5..<UInt64.max, of: node, with: [])
    #expect(try metadata.database.integer("SELECT count(*) FROM touched") ?? 99 <= 9)
    let all = try metadata.extents(of: node, in: 0..<UInt64.max)
    #expect(isSound(all) && all.allocated == node.allocated)
  }

  @Test func `a node's row comes back as it was, with the times no clock would show`() throws {
    for type in [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR] {
      let node = Node(inode: InodeNumber(9), epoch: 1 << 40, mode: type | 0o4751, links: 3, user: 70_000, group: UInt32.max, time: Timestamp(seconds: 5, nanoseconds: 6))
      node.accessed = Timestamp(seconds: Int64.min, nanoseconds: 999_999_999)
      node.modified = Timestamp(seconds: Int64.max, nanoseconds: 0)
      node.changed = Timestamp(seconds: -1, nanoseconds: 1)
      node.hasXattrs = true
      switch type {
      case S_IFREG: (node.size, node.allocated, node.extents) = (1 << 60, 10, [Extent(offset: 5, length: 10, source: .reserved)])
      case S_IFDIR: (node.parent, node.entries) = (InodeNumber(1 << 50), 77)
      case S_IFLNK: node.target = [0xFF, 0x2F, 0xFE]
      default: node.device = 0x1234_5678_9ABC
      }
      let bytes = node.encoded()
      let back = try bytes.withUnsafeBytes { raw throws in try Node(inode: node.inode, decoding: raw) }
      #expect((back.epoch, back.mode, back.links, back.user, back.group) == (node.epoch, node.mode, node.links, node.user, node.group))
      #expect((back.accessed, back.modified, back.changed, back.born) == (node.accessed, node.modified, node.changed, node.born))
      #expect((back.size, back.allocated, back.extents, back.target, back.device, back.hasXattrs) == (node.size, node.allocated, node.extents, node.target, node.device, true))
      #expect((back.parent, back.entries) == (node.parent, node.entries))
      for length in 0..<bytes.count {
        #expect(throws: Malformed.self) { try bytes[..<length].withUnsafeBytes { raw throws in _ = try Node(inode: node.inode, decoding: raw) } }
      }
    }
  }

  @Test func `neither a clone nor a read of very many extents holds everybody up`() throws {
    try Home.run { home in
      try home.vault.fragment("many", extents: 1 << 18)
      let file = try home.vault.open(try #require(try home.vault.find("many")).inode), size: UInt64 = 1 << 19
      defer { home.vault.close(file) }
      let copied = try home.vault.clone(from: file, at: 0, to: file, at: size, length: size, clearsPrivileges: false)
      #expect((1..<size) ~= copied, "a part of it, as copy_file_range(2) may")
      let all = try home.vault.read(file, count: Int(size))
      #expect(all.count == Int(size))
      #expect(all.indices.allSatisfy { all[$0] == UInt8($0 / 2 % 2 * (1 - $0 % 2)) })
      let (end, extents) = try home.vault.lock.withLock { () throws in try home.vault.metadata.extents(of: file.node, in: 0..<size, atMost: 1000) }
      #expect(extents.count <= 1000 && end < size)
    }
  }
}
