// Manifests: the extents of a file, in its row while they are few, in pages of at most 256 otherwise.
//
// What must stay true: pages do not overlap; none is empty; a page's key is at most its first extent's offset; an
// extent ends before the next page's key. An overwrite inside a big file touches the pages it falls in and no other,
// and nothing here holds more than a few pages in memory, however long the manifest is.

extension Metadata {
  /// The extents of a file inside `range`, clipped to it. For ranges that are known to be small: a read, a run.
  func extents(of node: Node, in range: Range<UInt64>) throws(VaultError) -> [Extent] {
    var found: [Extent] = []
    try eachPage(of: node, in: range) { page in
      found += page.extents.clipped(to: range)
      return true
    }
    return found
  }

  /// The first extents of a file inside `range`, clipped to it: all, or about as many as were asked for.
  /// - Returns: also up to where.
  func extents(of node: Node, in range: Range<UInt64>, atMost count: Int) throws(VaultError) -> (end: UInt64, [Extent]) {
    let found = try someExtents(of: node, in: range, atLeast: count + 1)
    guard found.count > count else { return (range.upperBound, found.clipped(to: range)) }
    let end = min(found[count].offset, range.upperBound)
    return (end, Array(found.prefix(count)).clipped(to: range.lowerBound..<end))
  }

  /// The next extents at or after `offset`, not all of them; none only where there are none. The first may begin before it.
  func someExtents(of node: Node, from offset: UInt64) throws(VaultError) -> [Extent] {
    try someExtents(of: node, in: offset..<max(offset, Limits.fileBytesMax), atLeast: 1)
  }

  /// All extents of a file, some at a time.
  /// - Parameter body: returns whether to go on.
  func eachExtents(of node: Node, _ body: ([Extent]) throws(VaultError) -> Bool) throws(VaultError) {
    try eachPage(of: node, in: 0..<Limits.fileBytesMax) { page throws(VaultError) in try body(page.extents) }
  }

  func lastExtent(of node: Node) throws(VaultError) -> Extent? { try page(of: node, at: Limits.fileBytesMax)?.extents.last }

  /// Bytes in `range` that are not holes.
  func allocated(of node: Node, in range: Range<UInt64>) throws(VaultError) -> UInt64 {
    var sum: UInt64 = 0
    try eachPage(of: node, in: range) { page in
      sum += page.extents.clipped(to: range).allocated
      return true
    }
    return sum
  }

  /// What stands in `range` gives way to `replacement`, which lies within it. Only the pages that the range's ends fall
  /// in are rewritten; those between go in one piece.
  func replace(_ range: Range<UInt64>, of node: Node, with replacement: [Extent]) throws(VaultError) {
    guard !range.isEmpty else { return }
    if node.paged { try hold(node.inode) }
    let first = try page(of: node, at: range.lowerBound), last = try page(of: node, at: range.upperBound - 1)
    var new = first?.extents.clipped(to: 0..<range.lowerBound) ?? []
    for extent in replacement { new.appendMerging(extent) }
    for extent in last?.extents.clipped(to: range.upperBound..<UInt64.max) ?? [] { new.appendMerging(extent) }
    let touched = (first?.start ?? range.lowerBound)..<range.upperBound
    marks?.insert(new)
    let before = if first?.start == last?.start { first?.extents.allocated ?? 0 } else { try wholeAllocated(of: node, in: touched) }
    if !node.paged, new.count <= Limits.inlineExtentsMax {
      node.extents = new
    } else {
      if node.paged, last != nil {
        try keepPages(of: node, in: touched)
        try deletePages(of: node, in: touched)
      }
      (node.extents, node.paged) = ([], true)
      try writePages(of: node, new)
    }
    if before > 0 { state.lapses &+= 1 }
    let allocated = node.allocated &+ new.allocated &- before
    guard allocated <= Limits.fileBytesMax else { throw damaged("node \(node.inode.value) counts its bytes wrong") }
    try setAllocated(node, allocated)
    touch(node)
  }

  func setAllocated(_ node: Node, _ allocated: UInt64) throws(VaultError) {
    try charge(Usage(bytes: allocated &- node.allocated), to: node)
    node.allocated = allocated
  }
}

// MARK: Long ranges, some pages at a time

extension Metadata {
  /// Extents that are in memory at once.
  private static let batch = 16 * Limits.pageExtentsMax

  /// Holes in `range` become reserved.
  func reserve(_ range: Range<UInt64>, of node: Node) throws(VaultError) {
    try eachBatch(of: node, in: range) { part, extents throws(VaultError) in
      var filled: [Extent] = [], at = part.lowerBound
      for extent in extents {
        if extent.offset > at { filled.append(Extent(offset: at, length: extent.offset - at, source: .reserved)) }
        filled.append(extent)
        at = extent.end
      }
      if at < part.upperBound { filled.append(Extent(offset: at, length: part.upperBound - at, source: .reserved)) }
      if filled.count > extents.count { try replace(part, of: node, with: filled) }
    }
  }

  /// What stands in `range` of `source` stands, from `offset` on, in `node` too.
  func copy(_ range: Range<UInt64>, of source: Node, to offset: UInt64, of node: Node) throws(VaultError) {
    try eachBatch(of: source, in: range) { part, extents throws(VaultError) in
      let start = part.lowerBound - range.lowerBound + offset
      try replace(start..<start + part.length, of: node, with: try moved(extents, by: Int64(start) - Int64(part.lowerBound)))
    }
  }

  /// Moves everything from `offset` on by `shift` bytes; what would come before `offset` is gone.
  func shift(_ node: Node, from offset: UInt64, by shift: Int64) throws(VaultError) {
    guard offset <= Limits.fileBytesMax, shift.magnitude <= Limits.fileBytesMax - offset else { throw damaged("a range beyond the largest file") }
    if shift < 0 { try shiftBack(node, offset..<offset + shift.magnitude) } else { try shiftOn(node, from: offset, by: shift) }
  }

  /// Forwards, so that what moves comes to stand where everything has moved already.
  private func shiftBack(_ node: Node, _ gone: Range<UInt64>) throws(VaultError) {
    try replace(gone, of: node, with: [])
    try eachBatch(of: node, in: gone.upperBound..<Limits.fileBytesMax) { _, extents throws(VaultError) in
      guard let first = extents.first, let last = extents.last else { return }
      try replace(first.offset - gone.length..<last.end, of: node, with: try moved(extents, by: -Int64(gone.length)))
    }
  }

  /// Backwards, for the same reason.
  private func shiftOn(_ node: Node, from offset: UInt64, by shift: Int64) throws(VaultError) {
    var end = Limits.fileBytesMax
    while end > offset, let page = try page(of: node, at: end - 1) {
      let extents = try moved(page.extents.clipped(to: offset..<end), by: shift)
      if let first = extents.first, let last = extents.last {
        try replace(first.offset - shift.magnitude..<last.end, of: node, with: extents)
      }
      end = page.start
    }
  }

  /// Calls `body` with one part of `range` after the other, and the extents in it. `body` may change what stands
  /// before the end of its part, or after the range.
  private func eachBatch(of node: Node, in range: Range<UInt64>,
                         _ body: (Range<UInt64>, [Extent]) throws(VaultError) -> Void) throws(VaultError) {
    var at = range.lowerBound
    while at < range.upperBound {
      let found = try someExtents(of: node, in: at..<range.upperBound, atLeast: Self.batch)
      let part = at..<min(found.last?.end ?? range.upperBound, range.upperBound)
      try body(part, found.clipped(to: part))
      at = part.upperBound
    }
  }

  /// The first extents in `range`, at least `count` if there are. The first and the last may reach out of it.
  private func someExtents(of node: Node, in range: Range<UInt64>, atLeast count: Int) throws(VaultError) -> [Extent] {
    var found: [Extent] = []
    try eachPage(of: node, in: range) { page in
      found += page.extents[page.extents.firstIndex(endingAfter: range.lowerBound)...]
      return found.count < count
    }
    return found
  }

  private func moved(_ extents: [Extent], by shift: Int64) throws(VaultError) -> [Extent] {
    guard let last = extents.last else { return [] }
    if shift > 0, last.end > Limits.fileBytesMax - UInt64(shift) { throw damaged("an extent beyond the largest file") }
    return extents.map { extent in
      var extent = extent
      // Neither wraps: it cannot pass the largest file, and what moves back comes from behind what gave way.
      extent.offset = extent.offset &+ UInt64(bitPattern: shift)
      return extent
    }
  }
}

// MARK: Pages

extension Metadata {
  private struct Page {
    var start: UInt64
    var extents: [Extent]
    var end: UInt64 { extents.last?.end ?? start }
  }

  /// The page that an extent at `offset` would be in: the last that begins at or before it. A manifest in its node's
  /// row is one page that begins at 0.
  private func page(of node: Node, at offset: UInt64) throws(VaultError) -> Page? {
    guard node.paged else { return Page(start: 0, extents: node.extents) }
    let select = node.held != nil ? statements.selectHeldPage : node.moment == nil ? statements.selectPage : statements.selectPastPage
    select.bind(1, node.held ?? node.inode.value)
    select.bind(2, min(offset, Limits.fileBytesMax))
    if node.held == nil, let moment = node.moment { select.bind(3, moment.value) }
    defer { select.reset() }
    return try select.step() ? try page(select, node) : nil
  }

  /// Calls `body` with each page that may have extents in `range`, in order, until it returns false. It changes no manifest.
  private func eachPage(of node: Node, in range: Range<UInt64>, _ body: (Page) throws(VaultError) -> Bool) throws(VaultError) {
    let first = try page(of: node, at: range.lowerBound)
    if let first, try !body(first) { return }
    guard node.paged else { return }
    var end = first?.end ?? 0
    let list = node.held != nil ? statements.listHeldPages : node.moment == nil ? statements.listPages : statements.listPastPages
    list.bind(1, node.held ?? node.inode.value)
    list.bind(2, first.map { $0.start + 1 } ?? 0)
    list.bind(3, min(range.upperBound, Limits.fileBytesMax))
    if node.held == nil, let moment = node.moment { list.bind(4, moment.value) }
    defer { list.reset() }
    while try list.step() {
      let page = try page(list, node)
      guard page.start >= end else { throw damaged("manifest pages of node \(node.inode.value) overlap") }
      end = page.end
      guard try body(page) else { return }
    }
  }

  private func page(_ row: Statement, _ node: Node) throws(VaultError) -> Page {
    var reader = unsafe ByteReader(row.raw(1))
    let start = row.unsigned(0)
    guard let extents = try? [Extent](decoding: &reader, max: Limits.pageExtentsMax), let first = extents.first, first.offset >= start else {
      throw damaged("a manifest page of node \(node.inode.value)")
    }
    return Page(start: start, extents: extents)
  }

  private func wholeAllocated(of node: Node, in range: Range<UInt64>) throws(VaultError) -> UInt64 {
    var sum: UInt64 = 0
    try eachPage(of: node, in: range) { page in
      sum += page.extents.allocated
      return true
    }
    return sum
  }

  /// Where the last `count` pages of a manifest begin; nil where it has no more than that.
  func start(ofLastPages count: Int, of node: Node) throws(VaultError) -> UInt64? {
    guard node.paged else { return nil }
    let select = statements.nthLastPage
    select.bind(1, node.inode.value)
    select.bind(2, UInt64(count))
    defer { select.reset() }
    return try select.step() ? select.unsigned(0) : nil
  }

  /// Removes the pages that begin in `range`.
  func deletePages(of node: Node, in range: Range<UInt64>) throws(VaultError) {
    let delete = statements.deletePages
    delete.bind(1, node.inode.value)
    delete.bind(2, range.lowerBound)
    delete.bind(3, min(range.upperBound, Limits.fileBytesMax))
    try delete.run()
  }

  private func writePages(of node: Node, _ extents: [Extent]) throws(VaultError) {
    // Pages that are split are left three quarters full, so the next few overwrites do not split them again.
    let fill = extents.count <= Limits.pageExtentsMax ? Limits.pageExtentsMax : Limits.pageExtentsMax * 3 / 4
    var index = 0
    while index < extents.count {
      let part = Array(extents[index..<min(index + fill, extents.count)])
      statements.writePage.bind(1, node.inode.value)
      statements.writePage.bind(2, part[0].offset)
      statements.writePage.bind(3, copying: part.encoded())
      statements.writePage.bind(4, node.since.value)
      try statements.writePage.run()
      index += part.count
    }
  }
}
