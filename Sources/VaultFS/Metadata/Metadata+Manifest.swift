// Manifests: the extents of a file, in its row while they are few, in pages of at most 256 otherwise.
//
// What must stay true: pages do not overlap; a page's key is at most its first extent's offset; an extent ends before
// the next page's key. An overwrite inside a big file touches the pages it falls in and no other.

extension Metadata {
  /// The extents of a file inside `range`, clipped to it.
  func extents(of node: Node, in range: Range<UInt64>) throws(VaultError) -> [Extent] {
    guard node.paged else { return node.extents.clipped(to: range) }
    return try pages(of: node, in: range).flatMap { $0.extents.clipped(to: range) }
  }

  /// The next extents at or after `offset`, not all of them; none only where there are none. The first may begin before it.
  func someExtents(of node: Node, from offset: UInt64) throws(VaultError) -> [Extent] {
    guard node.paged else { return Array(node.extents[node.extents.firstIndex(endingAfter: offset)...]) }
    var window: UInt64 = 1 << 26
    while true {
      let limit = offset > Limits.fileBytesMax - window ? Limits.fileBytesMax : offset + window
      let found = try pages(of: node, in: offset..<limit).flatMap(\.extents)
      let index = found.firstIndex(endingAfter: offset)
      if index < found.count { return Array(found[index...]) }
      if limit == Limits.fileBytesMax { return [] }
      window = window > Limits.fileBytesMax / 16 ? Limits.fileBytesMax : window * 16
    }
  }

  /// What stands in `range` gives way to `replacement`, which lies within it.
  func replace(_ range: Range<UInt64>, of node: Node, with replacement: [Extent]) throws(VaultError) {
    guard !range.isEmpty else { return }
    let before: UInt64, after: UInt64
    if node.paged {
      let pages = try pages(of: node, in: range)
      let old = pages.flatMap(\.extents)
      let new = old.replacing(range, with: replacement)
      for page in pages { try deletePage(of: node, page.start) }
      try writePages(of: node, new, firstStart: min(pages.first?.start ?? UInt64.max, new.first?.offset ?? 0))
      (before, after) = (old.allocated, new.allocated)
    } else {
      before = node.extents.allocated
      node.extents = node.extents.replacing(range, with: replacement)
      after = node.extents.allocated
      if node.extents.count > Limits.inlineExtentsMax {
        try writePages(of: node, node.extents, firstStart: 0)
        node.extents = []
        node.paged = true
      }
    }
    setAllocated(node, node.allocated &+ after &- before)
    touch(node)
  }

  /// Moves everything from `offset` on by `shift` bytes; what would come before `offset` is gone.
  func shift(_ node: Node, from offset: UInt64, by shift: Int64) throws(VaultError) {
    let all = try extents(of: node, in: 0..<UInt64.max)
    var result = all.clipped(to: 0..<offset)
    let moved = shift >= 0 ? all.clipped(to: offset..<UInt64.max) : all.clipped(to: offset + shift.magnitude..<UInt64.max)
    for var extent in moved {
      extent.offset = UInt64(Int64(extent.offset) + shift)
      result.appendMerging(extent)
    }
    try replace(0..<UInt64.max, of: node, with: result)
  }

  private struct Page {
    var start: UInt64
    var extents: [Extent]
  }

  private func pages(of node: Node, in range: Range<UInt64>) throws(VaultError) -> [Page] {
    let first = statements.selectPage
    first.bind(1, node.inode.value)
    first.bind(2, min(range.lowerBound, Limits.fileBytesMax))
    let start = try first.step() ? first.unsigned(0) : 0
    first.reset()
    let list = statements.listPages
    list.bind(1, node.inode.value)
    list.bind(2, start)
    list.bind(3, min(range.upperBound, Limits.fileBytesMax))
    defer { list.reset() }
    var pages: [Page] = []
    while try list.step() {
      var reader = ByteReader(list.raw(1))
      guard let extents = try? [Extent](decoding: &reader, max: Limits.pageExtentsMax) else {
        throw damaged("a manifest page of node \(node.inode.value)")
      }
      pages.append(Page(start: list.unsigned(0), extents: extents))
    }
    return pages
  }

  private func deletePage(of node: Node, _ start: UInt64) throws(VaultError) {
    statements.deletePage.bind(1, node.inode.value)
    statements.deletePage.bind(2, start)
    try statements.deletePage.run()
  }

  private func writePages(of node: Node, _ extents: [Extent], firstStart: UInt64) throws(VaultError) {
    // Pages that are split are left three quarters full, so the next few overwrites do not split them again.
    let fill = extents.count <= Limits.pageExtentsMax ? Limits.pageExtentsMax : Limits.pageExtentsMax * 3 / 4
    var index = 0
    while index < extents.count {
      let part = Array(extents[index..<min(index + fill, extents.count)])
      statements.writePage.bind(1, node.inode.value)
      statements.writePage.bind(2, index == 0 ? firstStart : part[0].offset)
      statements.writePage.bind(3, copying: part.encoded())
      try statements.writePage.run()
      index += part.count
    }
  }

  func setAllocated(_ node: Node, _ allocated: UInt64) {
    state.counters.logicalBytes += Int64(bitPattern: allocated &- node.allocated)
    node.allocated = allocated
  }
}
