// Changes of a file's shape: truncate, fallocate, holes, clones; and where data and holes are.

extension Vault {
  public func truncate(_ inode: InodeNumber, to size: UInt64, clearsPrivileges: Bool, isMember: (UInt32) -> Bool = { _ in true }) throws(VaultError) {
    if size > Limits.fileBytesMax { throw .fileTooLarge }
    let file = try open(inode)
    defer { release(inode) }
    try shape(file) { node throws(VaultError) in
      if size > node.size { try checkSpace() }
      let gone = size <= node.size ? size..<Limits.fileBytesMax : 0..<0
      try perform(.content(inode, range: gone, extents: [], size: size, attributes: modified(node, clearsPrivileges, isMember)))
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

  public func allocate(_ file: OpenFile, offset: UInt64, length: UInt64, _ mode: Allocation, clearsPrivileges: Bool,
                       isMember: (UInt32) -> Bool = { _ in true }) throws(VaultError) {
    guard length > 0 else { throw .invalidArgument }
    guard offset <= Limits.fileBytesMax, length <= Limits.fileBytesMax - offset else { throw .fileTooLarge }
    let range = offset..<offset + length
    if case .punchHole = mode {} else if case .collapse = mode {} else { try checkSpace() }
    try shape(file) { node throws(VaultError) in
      let set = modified(node, clearsPrivileges, isMember), inode = node.inode
      switch mode {
      case .punchHole:
        try perform(.content(inode, range: range, extents: [], size: node.size, attributes: set))
      case .zero(let keepSize):
        try checkReservable(length)
        let reserved = JournalExtent(offset: offset, length: length, source: .reserved)
        try perform(.content(inode, range: range, extents: [reserved], size: keepSize ? node.size : max(node.size, range.upperBound), attributes: set))
      case .reserve(let keepSize):
        try checkReservable(length - (try metadata.allocated(of: node, in: range)))
        try perform(.reserve(inode, range: range, size: keepSize ? node.size : max(node.size, range.upperBound), attributes: set))
      case .collapse:
        guard offset % Self.shiftUnit == 0, length % Self.shiftUnit == 0, range.upperBound < node.size else { throw .invalidArgument }
        try perform(.collapseRange(inode, offset: offset, length: length, attributes: set))
      case .insert:
        guard offset % Self.shiftUnit == 0, length % Self.shiftUnit == 0, offset < node.size else { throw .invalidArgument }
        // What was reserved beyond the end moves too.
        let end = max(node.size, try metadata.lastExtent(of: node)?.end ?? 0)
        guard end <= Limits.fileBytesMax - length else { throw .fileTooLarge }
        try perform(.insertRange(inode, offset: offset, length: length, attributes: set))
      }
    }
  }

  /// Space that is promised must be there now, as far as anyone can tell.
  private func checkReservable(_ wanted: UInt64) throws(VaultError) {
    if wanted > Limits.reserveBytes, wanted - Limits.reserveBytes > (try reserve.space().available) { throw .diskFull }
  }

  /// Makes `length` bytes of `target` the same as those of `source`, by reference.
  /// - Returns: how many; fewer where the source ends.
  public func clone(from source: OpenFile, at offset: UInt64, to target: OpenFile, at newOffset: UInt64, length: UInt64,
                    clearsPrivileges: Bool, isMember: (UInt32) -> Bool = { _ in true }) throws(VaultError) -> UInt64 {
    try checkSpace()
    var modeChanged = false
    defer { if modeChanged { unsafe whenModeChanges?(target.inode) } }
    let same = source.inode == target.inode
    func copy() throws(VaultError) -> UInt64 {
      try lock.withLock { () throws(VaultError) in
        let from = source.node, to = target.node
        guard offset < from.size else { return 0 }
        let count = min(length, from.size - offset)
        guard newOffset <= Limits.fileBytesMax - count else { throw .fileTooLarge }
        if same, max(offset, newOffset) < min(offset, newOffset) + count { throw .invalidArgument }
        let set = modified(to, clearsPrivileges, isMember)
        modeChanged = set.mode != nil
        try perform(.clone(to.inode, at: newOffset, from: from.inode, sourceRange: offset..<offset + count,
                           size: max(to.size, newOffset + count), attributes: set))
        return count
      }
    }
    if same { return try quiescent(source, copy) }
    // Two drafts are always quieted in the order of their nodes, so that two copies cannot wait for each other.
    let (first, second) = source.inode < target.inode ? (source, target) : (target, source)
    return try quiescent(first) { () throws(VaultError) in try quiescent(second, copy) }
  }

  public enum SeekTarget: Sendable { case data, hole }

  /// Data and holes are told in units of this, which is also `st_blksize`.
  private static let seekUnit: UInt64 = 4096

  /// The next data or hole at or after `offset` (lseek(2), SEEK_DATA and SEEK_HOLE). A hole is at the end of every file.
  public func seek(_ file: OpenFile, from offset: UInt64, to target: SeekTarget) throws(VaultError) -> UInt64 {
    try quiescent(file) { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        let size = file.node.size
        guard offset < size else { throw .noDataThere }
        let first = offset / Self.seekUnit * Self.seekUnit
        // `at`: everything from `first` up to it is data.
        var at = first, next = first
        while next < size {
          let extents = try metadata.someExtents(of: file.node, from: next)
          guard let last = extents.last else { break }
          for extent in extents where extent.source != .reserved {
            let start = extent.offset / Self.seekUnit * Self.seekUnit
            if target == .data { return max(start, offset) < size ? max(start, offset) : try missing() }
            if start > at { return max(at, offset) }
            at = max(at, (extent.end + Self.seekUnit - 1) / Self.seekUnit * Self.seekUnit)
          }
          next = last.end
        }
        if target == .data { throw .noDataThere }
        return min(max(at, offset), size)
      }
    }
  }
  private func missing() throws(VaultError) -> UInt64 { throw .noDataThere }

  /// Calls `body` with the file saved, nobody writing, and `lock` held.
  private func shape(_ file: OpenFile, _ body: (Node) throws(VaultError) -> Void) throws(VaultError) {
    let mode = lock.withLock { file.node.mode }
    defer { if lock.withLock({ file.node.mode }) != mode { unsafe whenModeChanges?(file.inode) } }
    try quiescent(file) { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        if file.node.isDropped { throw .staleNode }
        try body(file.node)
        try dropCapabilities(of: file.node)
      }
    }
  }

  private func modified(_ node: Node, _ clearsPrivileges: Bool, _ isMember: (UInt32) -> Bool) -> AttributeSet {
    let time = Self.now()
    return AttributeSet(mode: clearsPrivileges ? modeWithoutPrivileges(node, isMember) : nil, modified: time, changed: time)
  }
}
