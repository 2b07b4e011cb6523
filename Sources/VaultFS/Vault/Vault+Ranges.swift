// Changes of a file's shape: truncate, fallocate, holes, clones; and where data and holes are.

extension Vault {
  public func truncate(_ inode: InodeNumber, to size: UInt64, clearsPrivileges: Bool) throws(VaultError) {
    if size > Limits.fileBytesMax { throw .fileTooLarge }
    try shape(try transient(inode)) { node throws(VaultError) in
      if size > node.size { try checkSpace() }
      try perform(.content(inode, range: 0..<0, extents: [], size: size, attributes: modified(node, clearsPrivileges)))
    }
  }

  public enum Allocation: Sendable {
    /// Space for later writes; reads as zeros until then.
    case reserve(keepSize: Bool)
    case punchHole
    case zero(keepSize: Bool)
    case collapse
    case insert
  }
  /// Ranges are taken out and put in at multiples of this.
  private static let shiftUnit: UInt64 = 4096

  public func allocate(_ file: OpenFile, offset: UInt64, length: UInt64, _ mode: Allocation, clearsPrivileges: Bool) throws(VaultError) {
    guard length > 0 else { throw .invalidArgument }
    guard offset <= Limits.fileBytesMax, length <= Limits.fileBytesMax - offset else { throw .fileTooLarge }
    let range = offset..<offset + length
    if case .punchHole = mode {} else if case .collapse = mode {} else { try checkSpace() }
    try shape(file) { node throws(VaultError) in
      let set = modified(node, clearsPrivileges), inode = node.inode
      switch mode {
      case .punchHole:
        try perform(.content(inode, range: range, extents: [], size: node.size, attributes: set))
      case .zero(let keepSize):
        let reserved = JournalExtent(offset: offset, length: length, source: .reserved)
        try perform(.content(inode, range: range, extents: [reserved], size: keepSize ? node.size : max(node.size, range.upperBound), attributes: set))
      case .reserve(let keepSize):
        let size = keepSize ? node.size : max(node.size, range.upperBound)
        for gap in try gaps(of: node, in: range) {
          let reserved = JournalExtent(offset: gap.lowerBound, length: UInt64(gap.count), source: .reserved)
          try perform(.content(inode, range: gap, extents: [reserved], size: node.size, attributes: AttributeSet()))
        }
        try perform(.content(inode, range: 0..<0, extents: [], size: size, attributes: set))
      case .collapse:
        guard offset % Self.shiftUnit == 0, length % Self.shiftUnit == 0, range.upperBound < node.size else { throw .invalidArgument }
        try perform(.collapseRange(inode, offset: offset, length: length, attributes: set))
      case .insert:
        guard offset % Self.shiftUnit == 0, length % Self.shiftUnit == 0, offset < node.size else { throw .invalidArgument }
        guard node.size <= Limits.fileBytesMax - length else { throw .fileTooLarge }
        try perform(.insertRange(inode, offset: offset, length: length, attributes: set))
      }
    }
  }

  private func gaps(of node: Node, in range: Range<UInt64>) throws(VaultError) -> [Range<UInt64>] {
    var at = range.lowerBound, gaps: [Range<UInt64>] = []
    for extent in try metadata.extents(of: node, in: range) {
      if extent.offset > at { gaps.append(at..<extent.offset) }
      at = extent.end
    }
    if at < range.upperBound { gaps.append(at..<range.upperBound) }
    return gaps
  }

  /// Makes `length` bytes of `target` the same as those of `source`, by reference.
  /// - Returns: how many; fewer where the source ends.
  public func clone(from source: OpenFile, at offset: UInt64, to target: OpenFile, at newOffset: UInt64, length: UInt64,
                    clearsPrivileges: Bool) throws(VaultError) -> UInt64 {
    try checkSpace()
    let same = source.inode == target.inode
    func copy() throws(VaultError) -> UInt64 {
      try lock.withLock { () throws(VaultError) in
        let from = source.node, to = target.node
        guard offset < from.size else { return 0 }
        let count = min(length, from.size - offset)
        guard newOffset <= Limits.fileBytesMax - count else { throw .fileTooLarge }
        if same, max(offset, newOffset) < min(offset, newOffset) + count { throw .invalidArgument }
        try perform(.clone(to.inode, at: newOffset, from: from.inode, sourceRange: offset..<offset + count,
                           size: max(to.size, newOffset + count), attributes: modified(to, clearsPrivileges)))
        return count
      }
    }
    if same { return try quiescent(source, copy) }
    // Two drafts are always quieted in the order of their nodes, so that two copies cannot wait for each other.
    let (first, second) = source.inode < target.inode ? (source, target) : (target, source)
    return try quiescent(first) { () throws(VaultError) in try quiescent(second, copy) }
  }

  public enum SeekTarget: Sendable { case data, hole }

  /// The next data or hole at or after `offset` (lseek(2), SEEK_DATA and SEEK_HOLE). A hole is at the end of every file.
  public func seek(_ file: OpenFile, from offset: UInt64, to target: SeekTarget) throws(VaultError) -> UInt64 {
    try quiescent(file) { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        let size = file.node.size
        guard offset < size else { throw .noDataThere }
        var at = offset
        while at < size {
          let extents = try metadata.someExtents(of: file.node, from: at)
          guard !extents.isEmpty else { break }
          for extent in extents {
            let isData = extent.source != .reserved
            if target == .hole, extent.offset > at || !isData { return at }
            if target == .data, isData { return min(max(extent.offset, at), size) < size ? max(extent.offset, at) : try missing() }
            at = extent.end
          }
        }
        if target == .data { throw .noDataThere }
        return min(at, size)
      }
    }
  }
  private func missing() throws(VaultError) -> UInt64 { throw .noDataThere }

  /// Calls `body` with the file saved, nobody writing, and `lock` held.
  private func shape(_ file: OpenFile, _ body: (Node) throws(VaultError) -> Void) throws(VaultError) {
    try quiescent(file) { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        if file.node.isDropped { throw .staleNode }
        try body(file.node)
        try dropCapabilities(of: file.node)
      }
    }
  }

  /// A file to change without holding it open.
  private func transient(_ inode: InodeNumber) throws(VaultError) -> OpenFile {
    try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode)
      if node.isDirectory { throw .isADirectory }
      guard node.isRegular else { throw .invalidArgument }
      return OpenFile(node, node.draft ?? Draft())
    }
  }

  private func modified(_ node: Node, _ clearsPrivileges: Bool) -> AttributeSet {
    let time = Self.now()
    return AttributeSet(mode: clearsPrivileges ? modeWithoutPrivileges(node) : nil, modified: time, changed: time)
  }
}
