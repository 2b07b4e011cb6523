// Planning a save: runs of bytes are cut, named, looked up, and what is new is compressed and written.
//
// What must stay true: cuts depend on the bytes of a stream alone, not on how it was handed over; every frame is
// written before the plan is handed on.

import Synchronization

/// What a save will write into the journal.
@safe struct SavePlan {
  struct Edit {
    var range: Range<UInt64>
    var extents: [JournalExtent]
    var frames: [Journal.InlineFrame]
  }
  var edits: [Edit] = []
  /// New frames in packs, and where.
  var packed: [(FrameHeader, PackWriter.Position)] = []
  var known: [ChunkID: ChunkNumber] = [:]
  /// What the chunker could not end yet.
  var leftover: [(UInt64, UnsafeRawBufferPointer)] = unsafe []
  /// The last chunk, where it ends because the bytes did.
  var tail: Range<UInt64>?
  /// What `leftover` and the cuts point into, beside the runs.
  var buffers: [Buffer] = []
}

/// A chunk on its way into the vault. It belongs to the thread that works on it, and to the planner before and after.
@safe private final class Cut: @unchecked Sendable {
  let offset: UInt64
  let plain: UnsafeRawBufferPointer
  let edit: Int
  var id: ChunkID?
  var outcome: Result<Outcome, VaultError>?

  enum Outcome {
    case known(ChunkNumber)
    /// The same content stands earlier in the same save.
    case again
    case inline(Journal.InlineFrame)
    case packed(FrameHeader, PackWriter.Position)
  }
  init(offset: UInt64, plain: UnsafeRawBufferPointer, edit: Int) { unsafe (self.offset, self.plain, self.edit) = unsafe (offset, plain, edit) }
}

/// Plans one save. Not thread-safe; shares the work on chunks with the save queue.
final class SavePlanner {
  private let vault: Vault
  private var plan = SavePlan()
  private var cuts: [Cut] = []
  private let work: SharedWork<Cut>
  private let isInline: Bool

  /// - Parameter inHurry: a writer waits; what lz4 would do little for stays raw, until the optimiser has time.
  init(_ vault: Vault, _ runs: [DirtyRun], inHurry: Bool) {
    self.vault = vault
    let isInline = runs.reduce(0) { $0 + $1.count } <= Limits.inlineBytesMax
    let claims = Claims()
    self.isInline = isInline
    // An inline frame must stand at or before the first operation that names it: small saves are done in order.
    work = SharedWork(isInline ? nil : vault.saveQueue) { cut in
      do throws(VaultError) { cut.outcome = .success(try vault.store(cut, claims, inHurry: inHurry, inline: isInline)) } catch { cut.outcome = .failure(error) }
    }
  }

  /// - Parameter isStreaming: more will follow the last run; what ends before its chunk does is left over.
  func plan(_ runs: [DirtyRun], isStreaming: Bool) throws(VaultError) -> SavePlan {
    var start = 0
    for index in runs.indices where index == runs.count - 1 || runs[index].end != runs[index + 1].offset {
      cut(runs[start...index], mayLeaveOver: isStreaming && index == runs.count - 1)
      start = index + 1
    }
    work.finish()
    if let last = cuts.last, case let count = unsafe last.plain.count, last.offset + UInt64(count) == runs.last?.end, count < Limits.chunkBytesMax {
      plan.tail = last.offset..<last.offset + UInt64(count)
    }
    for cut in cuts {
      let id = cut.id!
      switch try cut.outcome!.get() {
      case .known(let number): plan.known[id] = number
      case .again: break
      case .inline(let frame): plan.edits[cut.edit].frames.append(frame)
      case .packed(let header, let position): plan.packed.append((header, position))
      }
      unsafe plan.edits[cut.edit].extents.append(JournalExtent(offset: cut.offset, length: UInt64(cut.plain.count), source: .chunk(id, offset: 0)))
    }
    return plan
  }

  private func add(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) {
    let cut = unsafe Cut(offset: offset, plain: bytes, edit: plan.edits.count)
    cuts.append(cut)
    work.add(cut)
  }

  /// Cuts runs that follow on each other, as one stream, into chunks and holes.
  private func cut(_ stream: ArraySlice<DirtyRun>, mayLeaveOver: Bool) {
    let first = stream.first!.offset
    var end = stream.last!.end
    // What a run ends with before a chunk ends: it goes on in the next run.
    var carry: Buffer?
    for run in stream {
      let isLast = run === stream.last!
      var start = 0
      if let before = carry {
        let head = unsafe UnsafeRawBufferPointer(rebasing: run.bytes.prefix(Limits.chunkBytesMax))
        let joined = Buffer(capacity: before.count + head.count)
        unsafe joined.append(before.bytes)
        unsafe joined.append(head)
        let length = unsafe Chunker.firstCut(joined.bytes)
        if length == joined.count, length < Limits.chunkBytesMax, head.count == run.count, !isLast || mayLeaveOver {
          carry = joined
          continue
        }
        plan.buffers.append(joined)
        unsafe add(UnsafeRawBufferPointer(rebasing: joined.bytes[0..<length]), at: run.offset - UInt64(before.count))
        start = max(0, length - before.count)
        carry = nil
      }
      let rest = unsafe UnsafeRawBufferPointer(rebasing: run.bytes[start...])
      carry = unsafe cut(rest, at: run.offset + UInt64(start), isFinal: isLast && !mayLeaveOver)
    }
    if let carry {
      end -= UInt64(carry.count)
      plan.buffers.append(carry)
      unsafe plan.leftover.append((end, carry.bytes))
    }
    plan.edits.append(SavePlan.Edit(range: first..<end, extents: [], frames: []))
  }

  /// - Returns: what the bytes end with before a chunk ends, unless they are final.
  private func cut(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, isFinal: Bool) -> Buffer? {
    let parts = unsafe ZeroRuns.split(bytes, at: offset)
    for (index, part) in parts.enumerated() where !part.isZero {
      var rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[part.range])
      var at = offset + UInt64(part.range.lowerBound)
      while unsafe !rest.isEmpty {
        let length = unsafe Chunker.firstCut(rest)
        if length == rest.count, length < Limits.chunkBytesMax, !isFinal, index == parts.count - 1 {
          let carry = Buffer(capacity: length)
          unsafe carry.append(rest)
          return carry
        }
        unsafe add(UnsafeRawBufferPointer(rebasing: rest[0..<length]), at: at)
        unsafe rest = unsafe UnsafeRawBufferPointer(rebasing: rest[length...])
        at += UInt64(length)
      }
    }
    return nil
  }
}

/// The new chunks of one save, each stored by whoever names it first.
private final class Claims: Sendable {
  private let ids = Mutex<Set<ChunkID>>([])
  func claim(_ id: ChunkID) -> Bool { ids.withLock { $0.insert(id).inserted } }
}

extension Vault {
  /// The chunk with this id, if it is stored. One that may be as damaged as others in its container is read first: what is written
  /// shall not be acknowledged for the sake of what cannot be read.
  private func readableChunk(_ id: ChunkID) throws(VaultError) -> ChunkNumber? {
    let (found, frame) = try lock.withLock { () throws(VaultError) -> (ChunkNumber?, FramePlace?) in
      guard let (number, container) = try metadata.unsuspectedChunk(id) else { return (nil, nil) }
      let uses = metadata.state.containers, isTrusted = uses.isSo(ofAllNeededBy: container) { containers.kind($0) != nil && !uses.isDoubted($0) }
      return (number, isTrusted ? nil : try metadata.place(of: number).place.frame)
    }
    guard let found, let frame, !FrameVerifier(containers).isReadable(frame) else { return found }
    lock.withLock { _ = metadata.suspects.insert(found) }
    return nil
  }

  fileprivate func store(_ cut: Cut, _ claims: Claims, inHurry: Bool, inline: Bool) throws(VaultError) -> Cut.Outcome {
    let id = unsafe ChunkID(of: cut.plain)
    cut.id = id
    if let number = try readableChunk(id) { return .known(number) }
    guard claims.claim(id) else { return .again }
    return try encoders.with { encoder throws(VaultError) in
      let (codec, stored) = unsafe encoder.lz4(cut.plain, inHurry: inHurry)
      let chunk = unsafe FrameChunk(id: id, length: UInt32(cut.plain.count), crc: Checksum.crc32(cut.plain))
      let header = unsafe FrameHeader(codec: codec, plain: cut.plain.count, stored: stored, chunks: [chunk])
      if inline { return unsafe .inline(Journal.InlineFrame(header: header, payload: Array(stored))) }
      do throws(VaultError) { return unsafe .packed(header, try packs.append(header, stored)) } catch {
        if case .diskFull = error { throw error }
        throw lock.withLock { fail(error) }
      }
    }
  }
}
