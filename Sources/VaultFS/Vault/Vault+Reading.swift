// Opening and reading files.

import Glibc
import Synchronization

/// A regular file held open: by a program, or by the engine for a while. A program's does not end before it is closed.
public final class OpenFile: @unchecked Sendable {
  // Sendable: `node` is touched under the vault's lock only, `draft` has its own.
  public let inode: InodeNumber
  let node: Node
  let draft: Draft
  /// A program's: to it the loss of unsaved bytes is told.
  let isHandle: Bool
  /// Whoever is served must drop what they have cached of its content before they use this.
  public let isStale: Bool
  /// It was used: so they have.
  private let isUsed = Atomic<Bool>(false)
  init(_ node: Node, _ draft: Draft, isHandle: Bool = false, isStale: Bool = false) {
    (inode, self.node, self.draft, self.isHandle, self.isStale) = (node.inode, node, draft, isHandle, isStale)
  }
  fileprivate var isFirstUse: Bool { !isUsed.exchange(true, ordering: .relaxed) }
}

/// When a read changes the access time, by the words of mount(8).
public enum AccessTimes: Sendable {
  /// noatime.
  case never
  /// relatime: where it would else be older than the content, or a day old.
  case relative
  /// strictatime.
  case always
}

extension Vault {
  /// Holds a node open: it outlives its last name until `close`.
  public func retain(_ inode: InodeNumber) throws(VaultError) {
    try lock.withLock { () throws(VaultError) in try metadata.node(inode).openCount += 1 }
  }

  /// Holds a file open for as long as `body` reads it. Letting go of it saves nothing and ends no version, as closing a
  /// program's handle would.
  public func reading<R>(_ inode: InodeNumber, _ body: (OpenFile) throws -> R) throws -> R {
    let file = try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode)
      if node.isDirectory { throw .isADirectory }
      guard node.isRegular else { throw .notSupported }
      let draft = node.draft ?? Draft()
      node.draft = draft
      node.openCount += 1
      return OpenFile(node, draft)
    }
    defer { release(inode) }
    return try body(file)
  }

  /// - Parameter isRetained: `create(opening:)` has counted this opening already.
  public func open(_ inode: InodeNumber, isRetained: Bool = false) throws(VaultError) -> OpenFile {
    try lock.withLock { () throws(VaultError) in
      let node = try metadata.node(inode)
      if node.isDirectory { throw .isADirectory }
      guard node.isRegular else { throw .notSupported }
      let draft = node.draft ?? Draft()
      node.draft = draft
      if !isRetained { node.openCount += 1 }
      return OpenFile(node, draft, isHandle: true, isStale: stale.contains(inode))
    }
  }

  /// The last descriptor of a handle is gone. What cannot be saved stays in memory for as long as another handle is
  /// open; with the last one it is lost, and said in the log.
  public func close(_ file: OpenFile) {
    // What was cannot have been changed.
    if file.node.moment != nil {
      // What is left of it goes when the vault is opened again.
      return lock.withLock { try? metadata.close(past: file.node) }
    }
    file.draft.saveLock.withLock {
      do throws(VaultError) { try saveHoldingSaveLock(file, isStreaming: false) } catch { abandon(file, error) }
    }
    release(file.inode)
  }

  /// `file.draft.saveLock` is held: nobody is saving what is given up.
  private func abandon(_ file: OpenFile, _ error: VaultError) {
    var lost = 0
    file.draft.lock.writing {
      let isLast = lock.withLock {
        guard file.node.openCount == 1 else { return false }
        // For whoever opens it before `release` has run.
        file.draft.loss = error
        setUnsaved(nil, of: file.node)
        return true
      }
      guard isLast else { return }
      let bytes = file.draft.dirty.reduce(0) { $0 + $1.count }
      dirtyBytes.subtract(file.draft.charge, ordering: .relaxed)
      file.draft.dirty = []
      lost = bytes
    }
    if lost > 0 { reportLoss(of: lost, in: file.inode, error) }
  }

  public func release(_ inode: InodeNumber) {
    let isLast = lock.withLock {
      guard let node = try? metadata.node(inode) else { return false }
      node.openCount -= 1
      guard node.openCount == 0 else { return false }
      if node.unsaved == nil { node.draft = nil }
      if metadata.isCrowded { keeper?.wake() }
      return unsafe !awaitsForget || node.isForgotten
    }
    if isLast { try? dropOrphan(inode) }
  }

  /// Whoever is served (the kernel) holds the node no longer. Needed where `awaitsForget`.
  public func forget(_ inode: InodeNumber) {
    let isLast = lock.withLock {
      guard orphans.contains(inode), let node = try? metadata.node(inode) else { return false }
      // The last close may be on its way still, in another thread.
      node.isForgotten = true
      return node.openCount == 0
    }
    if isLast { try? dropOrphan(inode) }
  }

  /// The end of a node without a name, if it is one. What fails is done when the vault is opened again.
  func dropOrphan(_ inode: InodeNumber) throws(VaultError) {
    guard let (node, isKept) = try lock.withLock({ () throws(VaultError) -> (Node, Bool)? in
      guard orphans.contains(inode), case let node = try metadata.node(inode), node.openCount == 0 else { return nil }
      return (node, try metadata.hasPast(inode))
    }) else { return }
    // What history keeps stays where it is.
    if !isKept { try shorten(node, to: 0) }
    try lock.withLock { () throws(VaultError) in
      // Somebody may have opened it meanwhile, by what the kernel remembers still: then it ends with the last close.
      guard orphans.contains(inode), node.openCount == 0 else { return }
      try perform(.drop(inode))
      orphans.remove(inode)
      stale.remove(inode)
    }
  }

  /// What works by itself gives way to whoever uses the vault. Cheap; called with every request.
  public func noteUse() { lastUse.store(monotonicNanoseconds(), ordering: .relaxed) }

  /// A handle is read from or written to: that it was to be opened without what was cached has arrived. (Its opening does not tell
  /// that, nor its closing: the answer may be on its way, or may have reached nobody.)
  func noteUse(of file: OpenFile) {
    noteUse()
    if file.isStale, file.isFirstUse { lock.withLock { _ = stale.remove(file.inode) } }
  }

  /// Nobody has read or looked at anything for a moment, nor changed anything for longer.
  var isQuiet: Bool {
    // Somebody may do so between the two looks: it is later than now, then.
    let last = lastUse.load(ordering: .relaxed), now = monotonicNanoseconds()
    return now > last && now - last > 200_000_000 && (isReadOnly || keeper?.isAtRest != false)
  }

  /// Where some bytes of a read come from.
  private struct Piece {
    var start: UInt64
    var count: Int
    var id: ChunkID
    var place: ChunkPlace
    /// Open since the place was looked up: the optimiser may move the chunk and remove the container meanwhile.
    var file: Result<any DiskFile, VaultError>
    var offsetInChunk: UInt32
  }

  /// Fills `buffer` from `offset` on.
  /// - Returns: bytes read; fewer than asked only at the end of the file.
  public func read(_ file: OpenFile, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(VaultError) -> Int {
    noteUse(of: file)
    return try file.draft.lock.reading { () throws(VaultError) in
      let count = try unsafe readSaved(file.node, at: offset, into: buffer, size: \.currentSize, isAccess: true)
      unsafe file.draft.overlay(UnsafeMutableRawBufferPointer(rebasing: buffer[0..<count]), at: offset)
      return count
    }
  }

  private static let secondsPerDay: Int64 = 86_400

  /// `lock` is held.
  private func noteAccess(_ node: Node) {
    if unsafe accessTimes == .never || isReadOnly || node.moment != nil { return }
    let now = Self.now(), info = node.info
    // The sum is made of the clock's time: a node's may be any number, and would overflow.
    guard unsafe accessTimes == .always || info.accessed <= info.modified || info.accessed <= info.changed || info.accessed.seconds <= now.seconds - Self.secondsPerDay,
      info.accessed < now, failure == nil, !diskIsFull.load(ordering: .relaxed), !node.isDropped else { return }
    _ = try? perform(.setAttributes(node.inode, AttributeSet(accessed: now)))
  }

  /// Reads what the manifest says, up to a size the node has.
  /// - Parameter isAccess: a program reads, and its access time shall show that.
  func readSaved(_ node: Node, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer, size: (Node) -> UInt64,
                 isAccess: Bool = false) throws(VaultError) -> Int {
    let count = lock.withLock {
      if isAccess { noteAccess(node) }
      let size = size(node)
      return offset < size ? Int(min(UInt64(buffer.count), size - offset)) : 0
    }
    var done = 0
    while done < count {
      let at = offset + UInt64(done)
      let (end, pieces) = try lock.withLock { () throws(VaultError) in try locate(node, at..<offset + UInt64(count)) }
      let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<Int(end - offset)])
      unsafe fillGaps(part, at: at, pieces)
      for piece in pieces { try unsafe copy(piece, into: part, at: at, of: node.inode) }
      done = Int(end - offset)
    }
    return count
  }

  /// Extents that are looked up under one hold of the vault's lock. (Whoever writes single bytes makes very many.)
  private static let extentsPerHold = 1024

  /// Where the first bytes of `range` come from, all of them but where there are very many extents.
  /// - Returns: also up to where.
  private func locate(_ node: Node, _ range: Range<UInt64>) throws(VaultError) -> (UInt64, [Piece]) {
    let (end, extents) = try metadata.extents(of: node, in: range, atMost: Self.extentsPerHold)
    var pieces: [Piece] = []
    for extent in extents {
      guard case .chunk(let number, let within) = extent.source else { continue }
      let row = try metadata.place(of: number)
      let file: Result<any DiskFile, VaultError>
      do throws(VaultError) { file = .success(try containers.file(row.place.frame.container)) } catch { file = .failure(error) }
      pieces.append(Piece(start: extent.offset, count: Int(extent.length), id: row.id, place: row.place, file: file, offsetInChunk: within))
    }
    return (end, pieces)
  }

  private func fillGaps(_ target: UnsafeMutableRawBufferPointer, at offset: UInt64, _ pieces: [Piece]) {
    var at = 0
    for piece in pieces {
      let start = Int(piece.start - offset)
      if start > at { unsafe memset(target.baseAddress! + at, 0, start - at) }
      at = start + piece.count
    }
    if at < target.count { unsafe memset(target.baseAddress! + at, 0, target.count - at) }
  }

  /// A chunk may move this often while it is being read.
  private static let movesMax = 3

  private func copy(_ piece: Piece, into target: UnsafeMutableRawBufferPointer, at offset: UInt64, of inode: InodeNumber, moves: Int = 0) throws(VaultError) {
    do throws(VaultError) {
      let file = try piece.file.get(), frame = try self.frame(at: piece.place.frame, in: file)
      let copied: Void? = unsafe frame.withChunk(piece.id, at: piece.place.offsetInFrame) { plain in
        guard Int(piece.offsetInChunk) + piece.count <= plain.count else { return nil }
        unsafe memcpy(target.baseAddress! + Int(piece.start - offset), plain.baseAddress! + Int(piece.offsetInChunk), piece.count)
        return ()
      }
      guard copied != nil else {
        throw .chunkDamaged(detail: "the frame at \(piece.place.frame.offset) of \(file.path) holds another chunk")
      }
    } catch {
      // What it was compressed against may have gone since it was looked up: then it is somewhere else itself.
      if moves < Self.movesMax, let moved = moved(piece) { return try unsafe copy(moved, into: target, at: offset, of: inode, moves: moves + 1) }
      doubt(piece.place.frame.container, because: error)
      // Whatever is read of one damaged frame, it is one damage.
      report(error, reading: stretch(around: piece, of: inode), of: inode)
      throw error
    }
  }

  /// All of a file, without a gap, that comes from the same frame as a piece.
  private func stretch(around piece: Piece, of inode: InodeNumber) -> Range<UInt64> {
    let end = piece.start + UInt64(piece.count), far = UInt64(Limits.frameBytesMax)
    return lock.withLock {
      guard let node = try? metadata.node(inode), let extents = try? metadata.extents(of: node, in: piece.start - min(piece.start, far)..<end + far) else { return piece.start..<end }
      var found = piece.start..<end
      func joins(_ extent: Extent) -> Bool {
        guard case .chunk(let number, _) = extent.source else { return false }
        return (try? metadata.place(of: number).place.frame) == piece.place.frame
      }
      for extent in extents where extent.offset <= found.upperBound && extent.end > found.upperBound && joins(extent) { found = found.lowerBound..<extent.end }
      for extent in extents.reversed() where extent.end >= found.lowerBound && extent.offset < found.lowerBound && joins(extent) { found = extent.offset..<found.upperBound }
      return found
    }
  }

  /// Where a piece comes from now; nil where that is the same place.
  private func moved(_ piece: Piece) -> Piece? {
    lock.withLock {
      guard let number = try? metadata.chunk(piece.id), let place = try? metadata.place(of: number).place, place != piece.place,
        let file = try? containers.file(place.frame.container) else { return nil }
      var moved = piece
      (moved.place, moved.file) = (place, .success(file))
      return moved
    }
  }

  /// The decoded frame, from the cache or the disk.
  /// - Parameter isBase: it is needed to decode another one.
  func frame(at place: FramePlace, in file: any DiskFile, isBase: Bool = false) throws(VaultError) -> DecodedFrame {
    if let cached = frames.frame(place) { return cached }
    guard place.offset <= UInt64(Int64.max) - UInt64(place.length) else { throw metadata.damaged("a chunk's place") }
    let frame = try decoders.with { decoder throws(VaultError) in
      try DecodedFrame(reading: file, at: place, isBase: isBase, decoder: decoder) { base throws(VaultError) in
        do throws(VaultError) { return try self.frame(at: base, in: try containers.file(base.container), isBase: true) } catch {
          doubt(base.container, because: error)
          throw error
        }
      }
    }
    frames.insert(frame, place)
    return frame
  }
}
