// Changes of a file's shape: truncate, fallocate, holes, clones; and where data and holes are.

extension Vault {
  public func truncate(_ inode: InodeNumber, to size: UInt64, clearsPrivileges: Bool, isMember: (UInt32) -> Bool = { _ in true }) throws(VaultError) {
    if size > Limits.fileBytesMax { throw .fileTooLarge }
    let file = try open(inode)
    defer { release(inode) }
    try shorten(file.node, to: size)
    try shape(file) { node throws(VaultError) in
      if size > node.size { try checkSpace() }
      let gone = size <= node.size ? size..<Limits.fileBytesMax : 0..<0
      try perform(.content(inode, range: gone, extents: [], size: size, attributes: modified(node, clearsPrivileges, isMember, isWritten: size > 0)))
    }
  }

  /// Pages of a manifest that one operation takes away.
  private static let pagesPerOperation = 64

  /// Pages of the database's log beyond which it is emptied between two steps.
  private static let logPagesMax = 1024

  /// Takes most of what a file has beyond `size` away, where that is very much. In steps: SQLite keeps all that an
  /// operation changes in memory, and in its log, and a full disk has room for little.
  func shorten(_ node: Node, to size: UInt64) throws(VaultError) {
    while try lock.withLock({ () throws(VaultError) in
      guard !node.isDropped, let start = try metadata.start(ofLastPages: Self.pagesPerOperation, of: node), start > size else { return false }
      try perform(.content(node.inode, range: start..<Limits.fileBytesMax, extents: [], size: min(node.size, start),
                           attributes: AttributeSet(continues: node.draft.map(continues) ?? false)))
      try commit()
      return true
    }) {
      if logPages > Self.logPagesMax { try checkpoint() }
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
    if case .reserve(let keepSize) = mode { return try reserve(range, of: file, keepSize: keepSize, clearsPrivileges, isMember) }
    try withinQuotas { () throws(VaultError) in try shape(file) { node throws(VaultError) in
      let inode = node.inode
      // Not before it is certain: what is refused begins no version that the next change would belong to.
      func set() -> AttributeSet { modified(node, clearsPrivileges, isMember) }
      switch mode {
      case .reserve: break
      case .punchHole:
        try perform(.content(inode, range: range, extents: [], size: node.size, attributes: set()))
      case .zero(let keepSize):
        try checkReservable(length)
        try checkQuotas(for: node, allocating: length, in: range)
        let reserved = JournalExtent(offset: offset, length: length, source: .reserved)
        try perform(.content(inode, range: range, extents: [reserved], size: keepSize ? node.size : max(node.size, range.upperBound), attributes: set()))
      case .collapse:
        guard offset % Self.shiftUnit == 0, length % Self.shiftUnit == 0, range.upperBound < node.size else { throw .invalidArgument }
        try perform(.collapseRange(inode, offset: offset, length: length, attributes: set()))
      case .insert:
        guard offset % Self.shiftUnit == 0, length % Self.shiftUnit == 0, offset < node.size else { throw .invalidArgument }
        // What was reserved beyond the end moves too.
        let end = max(node.size, try metadata.lastExtent(of: node)?.end ?? 0)
        guard end <= Limits.fileBytesMax - length else { throw .fileTooLarge }
        try perform(.insertRange(inode, offset: offset, length: length, attributes: set()))
      }
    } }
  }

  /// In steps, between which others come to the vault: each hole between two extents becomes one more.
  private func reserve(_ range: Range<UInt64>, of file: OpenFile, keepSize: Bool, _ clearsPrivileges: Bool, _ isMember: (UInt32) -> Bool) throws(VaultError) {
    try withinQuotas { () throws(VaultError) in
      var at = range.lowerBound
      try shapeInSteps(file, { node throws(VaultError) in
        if at == range.lowerBound {
          let length = range.upperBound - range.lowerBound
          try checkReservable(length - (try metadata.allocated(of: node, in: range)))
          try checkQuotas(for: node, allocating: length, in: range)
        }
        let (end, extents) = try metadata.extents(of: node, in: at..<range.upperBound, atMost: Self.extentsPerOperation)
        try checkRoom(for: extents.count * Self.extentBytes)
        try perform(.reserve(file.inode, range: at..<end, size: keepSize ? node.size : max(node.size, end), attributes: modified(node, clearsPrivileges, isMember)))
        at = end
        return at < range.upperBound
      })
    }
  }

  /// Space that is promised must be there now, as far as anyone can tell.
  private func checkReservable(_ wanted: UInt64) throws(VaultError) {
    if wanted > Limits.reserveBytes, wanted - Limits.reserveBytes > (try reserve.space().available) { throw .diskFull }
  }

  /// Extents that one operation makes, and operations of one request: nobody waits long for either.
  private static let extentsPerOperation = 4096, operationsMax = 16
  /// What an extent takes in the view, about; bytes.
  private static let extentBytes = 64

  /// Makes `length` bytes of `target` the same as those of `source`, by reference.
  /// - Returns: how many; fewer where the source ends, where it has very many extents, and where the disk fills up.
  public func clone(from source: OpenFile, at offset: UInt64, to target: OpenFile, at newOffset: UInt64, length: UInt64,
                    clearsPrivileges: Bool, isMember: (UInt32) -> Bool = { _ in true }) throws(VaultError) -> UInt64 {
    try checkSpace()
    var modeChanged = false
    defer { if modeChanged { unsafe whenModeChanges?(target.inode) } }
    let same = source.inode == target.inode
    /// As far as the source reaches at the beginning: what is copied behind its own end is not copied again.
    var length = length
    /// Copies the next part of what is left.
    func step(_ done: UInt64) throws(VaultError) -> UInt64 {
      try lock.withLock { () throws(VaultError) in
        let from = source.node, to = target.node
        if from.isDropped || to.isDropped { throw .staleNode }
        guard done < length, offset + done < from.size else { return 0 }
        if done == 0 { length = min(length, from.size - offset) }
        let left = min(length, from.size - offset) - done, start = offset + done, newStart = newOffset + done
        guard newStart <= Limits.fileBytesMax - left else { throw .fileTooLarge }
        if same, max(start, newStart) < min(start, newStart) + left { throw .invalidArgument }
        let (end, extents) = try metadata.extents(of: from, in: start..<start + left, atMost: Self.extentsPerOperation)
        try checkRoom(for: extents.count * Self.extentBytes)
        if !metadata.state.quotas.isEmpty {
          let allocated = try metadata.allocated(of: from, in: start..<end)
          try checkQuotas(for: to, allocating: allocated, in: newStart..<newStart + (end - start))
        }
        let set = modified(to, clearsPrivileges, isMember)
        modeChanged = modeChanged || set.mode != nil
        try perform(.clone(to.inode, at: newStart, from: from.inode, sourceRange: start..<end,
                           size: max(to.size, newStart + (end - start)), attributes: set))
        return end - start
      }
    }
    func copy() throws(VaultError) -> UInt64 {
      var done: UInt64 = 0
      for _ in 0..<Self.operationsMax {
        do throws(VaultError) {
          let copied = try step(done)
          if copied == 0 { break }
          done += copied
        } catch { if done == 0 { throw error } else { break } }
      }
      return done
    }
    if same { return try withinQuotas { () throws(VaultError) in try quiescent(source, copy) } }
    // Two drafts are always quieted in the order of their nodes, so that two copies cannot wait for each other.
    let (first, second) = source.inode < target.inode ? (source, target) : (target, source)
    return try withinQuotas { () throws(VaultError) in try quiescent(first) { () throws(VaultError) in try quiescent(second, copy) } }
  }

  public enum SeekTarget: Sendable { case data, hole }

  /// Data and holes are told in units of this, which is also `st_blksize`.
  private static let seekUnit: UInt64 = 4096

  /// The next data or hole at or after `offset` (lseek(2), SEEK_DATA and SEEK_HOLE). A hole is at the end of every file.
  public func seek(_ file: OpenFile, from offset: UInt64, to target: SeekTarget) throws(VaultError) -> UInt64 {
    do throws(VaultError) { return try seekSaved(file, from: offset, to: target) } catch {
      guard case .diskFull = error else { throw error }
      // What cannot be saved now may be anywhere: to call all of it data is right, if not helpful.
      let size = lock.withLock { file.node.currentSize }
      guard offset < size else { throw .noDataThere }
      return target == .data ? offset : size
    }
  }

  private func seekSaved(_ file: OpenFile, from offset: UInt64, to target: SeekTarget) throws(VaultError) -> UInt64 {
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
    try shapeInSteps(file, { node throws(VaultError) in
      try body(node)
      return false
    })
  }

  /// - Parameter step: returns whether there is more to be done.
  private func shapeInSteps(_ file: OpenFile, _ step: (Node) throws(VaultError) -> Bool) throws(VaultError) {
    let mode = lock.withLock { file.node.mode }
    defer { if lock.withLock({ file.node.mode }) != mode { unsafe whenModeChanges?(file.inode) } }
    try quiescent(file) { () throws(VaultError) in
      while try lock.withLock({ () throws(VaultError) in
        if file.node.isDropped { throw .staleNode }
        let isMore = try step(file.node)
        try dropCapabilities(of: file.node)
        return isMore
      }) {}
    }
  }

  /// - Parameter isWritten: closing the file ends a version. (To open it for writing anew does not yet make one.)
  private func modified(_ node: Node, _ clearsPrivileges: Bool, _ isMember: (UInt32) -> Bool, isWritten: Bool = true) -> AttributeSet {
    let time = Self.now()
    if isWritten { node.draft?.versionHasContent = true }
    return AttributeSet(mode: clearsPrivileges ? modeWithoutPrivileges(node, isMember) : nil, modified: time, changed: time,
                        continues: node.draft.map(continues) ?? false)
  }
}
