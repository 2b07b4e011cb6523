// Saving: a draft's bytes become chunks, the chunks frames, and an operation names them.
//
// What must stay true:
// 1. A frame's bytes are written before the operation that names its chunks.
// 2. One thread saves a draft at a time; what it saves stays readable until the operation is applied.
// 3. After a failure the bytes are dirty again: nothing is lost that memory still holds.

import Glibc
import Synchronization

extension Vault {
  /// Saves what is unsaved of a node, if anything.
  func save(_ inode: InodeNumber) throws(VaultError) {
    let file = lock.withLock { unsaved[inode].flatMap { node in node.draft.map { OpenFile(node, $0) } } }
    if let file { try save(file) }
  }

  /// - Parameter isStreaming: more will follow; what the chunker cannot end yet stays unsaved.
  public func save(_ file: OpenFile, isStreaming: Bool = false) throws(VaultError) {
    try file.draft.saveLock.withLock { () throws(VaultError) in try saveHoldingSaveLock(file, isStreaming: isStreaming) }
  }

  /// Calls `body` with the draft saved and nobody writing: for changes of a file's shape.
  func quiescent<R>(_ file: OpenFile, _ body: () throws(VaultError) -> R) throws(VaultError) -> R {
    try file.draft.saveLock.withLock { () throws(VaultError) in
      while true {
        try saveHoldingSaveLock(file, isStreaming: false)
        let result: R? = try file.draft.lock.writing { () throws(VaultError) in file.draft.isClean ? try body() : nil }
        if let result { return result }
      }
    }
  }

  private func saveHoldingSaveLock(_ file: OpenFile, isStreaming: Bool) throws(VaultError) {
    let draft = file.draft
    // What is planned points into the runs.
    let runs: [DirtyRun] = draft.lock.writing {
      draft.saving = draft.dirty
      draft.dirty = []
      draft.since = 0
      return draft.saving
    }
    guard !runs.isEmpty else { return }
    defer { withExtendedLifetime(runs) {} }
    let batch = packs.beginBatch()
    defer { packs.end(batch) }
    do throws(VaultError) {
      try checkRoom(for: runs.reduce(0) { $0 + $1.count })
      var whole: [DirtyRun] = []
      for (index, run) in runs.enumerated() { whole.append(try widened(run, of: file.node, after: index == 0 ? 0 : runs[index - 1].end)) }
      defer { withExtendedLifetime(whole) {} }
      let plan = try plan(whole, isStreaming: isStreaming)
      try lock.withLock { () throws(VaultError) in try commit(plan, to: file.node) }
      finish(file, saved: runs, leftover: plan.leftover)
      withExtendedLifetime(plan) {}
    } catch {
      finish(file, saved: runs, leftover: runs.map { ($0.offset, $0.bytes) })
      throw error
    }
  }

  /// A run with the crumbs before it: a log that is synced after every line would else become one chunk a line. Eight
  /// small extents in a row are written again together, so a crumb is rewritten a few times and no more.
  /// - Parameter limit: where the run before it in the same save ends; what is saved below is older than that run.
  private func widened(_ run: DirtyRun, of node: Node, after limit: UInt64) throws(VaultError) -> DirtyRun {
    guard run.count < Limits.crumbBytes, run.offset > limit else { return run }
    let reach = min(run.offset - limit, UInt64(Limits.chunkBytesAverage))
    let crumbs = try lock.withLock { () throws(VaultError) in
      var start = run.offset, count = 0
      for extent in try metadata.extents(of: node, in: run.offset - reach..<run.offset).reversed() {
        guard extent.end == start, extent.length < Limits.crumbBytes, extent.source != .reserved else { break }
        start = extent.offset
        count += 1
      }
      return count >= Limits.crumbsMax ? start : run.offset
    }
    guard crumbs < run.offset else { return run }
    let before = Buffer(capacity: Int(run.offset - crumbs))
    before.count = try readSaved(node, at: crumbs, into: UnsafeMutableRawBufferPointer(start: before.base, count: Int(run.offset - crumbs)), size: \.size)
    defer { withExtendedLifetime(before) {} }
    guard before.count == Int(run.offset - crumbs) else { return run }
    let whole = DirtyRun(offset: crumbs, before.bytes, streaming: false)
    whole.append(run.bytes)
    return whole
  }

  /// What was saved is no longer in memory, but for what is left over.
  private func finish(_ file: OpenFile, saved runs: [DirtyRun], leftover: [(UInt64, UnsafeRawBufferPointer)]) {
    let draft = file.draft
    draft.lock.writing {
      draft.saving = []
      var balance = -runs.reduce(0) { $0 + $1.count }
      for (offset, bytes) in leftover { balance += draft.insert(bytes, at: offset, onlyGaps: true) }
      if !draft.dirty.isEmpty, draft.since == 0 { draft.since = monotonicNanoseconds() }
      dirtyBytes.add(balance, ordering: .relaxed)
      lock.withLock {
        guard var now = file.node.unsaved else { return }
        now.bytes = UInt64(draft.dirtyBytes)
        setUnsaved(draft.dirty.isEmpty ? nil : now, of: file.node)
        if draft.dirty.isEmpty, file.node.openCount == 0 { file.node.draft = nil }
      }
    }
  }

  /// What a save will write into the journal.
  private struct Plan {
    struct Edit {
      var range: Range<UInt64>
      var extents: [JournalExtent]
      var frames: [Journal.InlineFrame]
    }
    var edits: [Edit] = []
    var packed: [(FrameHeader, PackWriter.Position)] = []
    var known: [ChunkID: ChunkNumber] = [:]
    var leftover: [(UInt64, UnsafeRawBufferPointer)] = []
    /// What `leftover` and the cuts point into, beside the runs.
    var buffers: [Buffer] = []
  }

  private struct Cut {
    let offset: UInt64
    let plain: UnsafeRawBufferPointer
    let id: ChunkID
    let edit: Int
    init(offset: UInt64, plain: UnsafeRawBufferPointer, edit: Int) {
      (self.offset, self.plain, self.edit) = (offset, plain, edit)
      id = ChunkID(of: plain)
    }
  }

  private func plan(_ runs: [DirtyRun], isStreaming: Bool) throws(VaultError) -> Plan {
    var plan = Plan(), cuts: [Cut] = []
    var start = 0
    for index in runs.indices where index == runs.count - 1 || runs[index].end != runs[index + 1].offset {
      cut(runs[start...index], mayLeaveOver: isStreaming && index == runs.count - 1, &plan, &cuts)
      start = index + 1
    }
    plan.known = try lock.withLock { () throws(VaultError) in
      var known: [ChunkID: ChunkNumber] = [:]
      for cut in cuts { known[cut.id] = try metadata.chunk(cut.id) }
      return known
    }
    let inline = cuts.reduce(0) { $0 + $1.plain.count } <= Limits.inlineBytesMax
    var written: Set<ChunkID> = []
    try encoders.with { encoder throws(VaultError) in
      for cut in cuts {
        plan.edits[cut.edit].extents.append(JournalExtent(offset: cut.offset, length: UInt64(cut.plain.count), source: .chunk(cut.id, offset: 0)))
        guard plan.known[cut.id] == nil, written.insert(cut.id).inserted else { continue }
        let (codec, stored) = encoder.lz4(cut.plain)
        let chunk = FrameChunk(id: cut.id, length: UInt32(cut.plain.count), crc: Checksum.crc32(cut.plain))
        let header = FrameHeader(codec: codec, plain: cut.plain.count, stored: stored, chunks: [chunk])
        if inline {
          plan.edits[cut.edit].frames.append(Journal.InlineFrame(header: header, payload: Array(stored)))
        } else {
          plan.packed.append((header, try packs.append(header, stored)))
        }
      }
    }
    return plan
  }

  /// Cuts runs that follow on each other, as one stream, into chunks and holes.
  private func cut(_ stream: ArraySlice<DirtyRun>, mayLeaveOver: Bool, _ plan: inout Plan, _ cuts: inout [Cut]) {
    let edit = plan.edits.count, first = stream.first!.offset
    var end = stream.last!.end
    // What a run ends with before a chunk ends: it goes on in the next run.
    var carry: Buffer?
    for run in stream {
      let isLast = run === stream.last!
      var start = 0
      if let before = carry {
        let head = UnsafeRawBufferPointer(rebasing: run.bytes.prefix(Limits.chunkBytesMax))
        let joined = Buffer(capacity: before.count + head.count)
        joined.append(before.bytes)
        joined.append(head)
        let length = Chunker.firstCut(joined.bytes)
        if length == joined.count, length < Limits.chunkBytesMax, head.count == run.count, !isLast || mayLeaveOver {
          carry = joined
          continue
        }
        plan.buffers.append(joined)
        cuts.append(Cut(offset: run.offset - UInt64(before.count), plain: UnsafeRawBufferPointer(rebasing: joined.bytes[0..<length]), edit: edit))
        start = max(0, length - before.count)
        carry = nil
      }
      let rest = UnsafeRawBufferPointer(rebasing: run.bytes[start...])
      carry = cut(rest, at: run.offset + UInt64(start), isFinal: isLast && !mayLeaveOver, edit, &cuts)
    }
    if let carry {
      end -= UInt64(carry.count)
      plan.buffers.append(carry)
      plan.leftover.append((end, carry.bytes))
    }
    plan.edits.append(Plan.Edit(range: first..<end, extents: [], frames: []))
  }

  /// - Returns: what the bytes end with before a chunk ends, unless they are final.
  private func cut(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, isFinal: Bool, _ edit: Int, _ cuts: inout [Cut]) -> Buffer? {
    let parts = ZeroRuns.split(bytes, at: offset)
    for (index, part) in parts.enumerated() where !part.isZero {
      var rest = UnsafeRawBufferPointer(rebasing: bytes[part.range])
      var at = offset + UInt64(part.range.lowerBound)
      while !rest.isEmpty {
        let length = Chunker.firstCut(rest)
        if length == rest.count, length < Limits.chunkBytesMax, !isFinal, index == parts.count - 1 {
          let carry = Buffer(capacity: length)
          carry.append(rest)
          return carry
        }
        cuts.append(Cut(offset: at, plain: UnsafeRawBufferPointer(rebasing: rest[0..<length]), edit: edit))
        rest = UnsafeRawBufferPointer(rebasing: rest[length...])
        at += UInt64(length)
      }
    }
    return nil
  }

  /// `lock` is held.
  private func commit(_ plan: Plan, to node: Node) throws(VaultError) {
    guard !node.isDropped else { return }
    try checkWritable()
    if !plan.packed.isEmpty {
      do throws(VaultError) {
        try metadata.begin()
        for (header, position) in plan.packed { try metadata.insert(header, at: position.offset, in: position.container) }
      } catch { throw fail(error) }
    }
    for edit in plan.edits where !edit.range.isEmpty {
      let times = AttributeSet(modified: node.unsaved?.modified, changed: node.unsaved?.changed)
      try perform(.content(node.inode, range: edit.range, extents: edit.extents, size: max(node.size, edit.range.upperBound), attributes: times),
                  frames: edit.frames, known: plan.known)
    }
  }
}

/// Finds the zeros in content: they become holes.
enum ZeroRuns {
  private static let block = 4096
  /// Shorter runs of zeros inside content stay in their chunks, where they compress to nothing.
  private static let blocksMin = 4

  /// - Parameter offset: where the bytes are in the file; blocks are the file's, so the same zeros are found however
  ///   the bytes arrive.
  static func split(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> [(range: Range<Int>, isZero: Bool)] {
    if bytes.isEmpty { return [] }
    if bytes.count <= block * blocksMin { return [(0..<bytes.count, bytes.isAllZero)] }
    var parts: [(range: Range<Int>, isZero: Bool)] = []
    var dataStart = 0, at = (block - Int(offset % UInt64(block))) % block
    while at < bytes.count {
      let zeros = zeroBlocks(bytes, from: at)
      let end = min(at + zeros * block, bytes.count)
      if zeros >= blocksMin || zeros > 0 && end == bytes.count && dataStart == at {
        if dataStart < at { parts.append((dataStart..<at, false)) }
        parts.append((at..<end, true))
        dataStart = end
      }
      at = max(end, at + block)
    }
    if dataStart < bytes.count { parts.append((dataStart..<bytes.count, false)) }
    return parts
  }

  private static func zeroBlocks(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
    var count = 0
    while start + count * block < bytes.count {
      let at = start + count * block
      guard UnsafeRawBufferPointer(rebasing: bytes[at..<min(at + block, bytes.count)]).isAllZero else { break }
      count += 1
    }
    return count
  }
}
