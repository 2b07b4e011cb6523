// What was written to an open file and is not saved yet: runs of bytes in memory, over the saved manifest.
//
// What must stay true: `dirty` is newer than `saving`, `saving` newer than the manifest; each list is sorted by
// offset and does not overlap; `saving` does not change until its operations are applied. Guarded by `lock`, which is
// taken before the metadata lock.
//
// Unsaved bytes are counted by the memory they take: a run is charged at least 4 KiB, so that what bounds the bytes of
// a draft bounds the number of its runs too, and with it the work of a save.

import Glibc

final class Draft {
  let lock = ReadWriteLock()
  /// Held by the one thread that saves; taken before `lock`.
  let saveLock = Lock()
  var dirty: [DirtyRun] = []
  var saving: [DirtyRun] = []
  /// When the first of the dirty bytes was written (monotonic nanoseconds).
  var since: UInt64 = 0
  /// A worker saves it, or will. Guarded by the vault's lock.
  var isBeingSaved = false
  /// When the version began that is being written, by the monotonic clock; 0 where its writer has closed.
  var versionSince: UInt64 = 0
  /// Something was saved of it: closing ends it. (Shells close a copy of the descriptor before they write.)
  var versionHasContent = false
  /// Saves to come in which the writer is taken to be faster than the workers.
  var hurry = 0
  /// The last chunk of what the keeper saved, where it ends for no other reason. Guarded by `saveLock`.
  var provisional: Range<UInt64>?

  /// Bytes of a program were given up after the last close; whoever asks for them next (flush, fsync) hears of it, once.
  /// Guarded by the vault's lock.
  var loss: VaultError?

  var isClean: Bool { dirty.isEmpty && saving.isEmpty }
  var charge: Int { dirty.charge }

  /// Bytes that a run grows to before the next one begins.
  static let runBytesMax = Limits.draftBytes
  /// Room in front of a streaming run for what the chunker leaves over of the run before it.
  static let headroom = Limits.chunkBytesMax

  /// Notes `bytes` at `offset`. Where `onlyGaps`, bytes that are already dirty stay: they are newer.
  /// - Returns: by how much the charge grew.
  @discardableResult
  func insert(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, onlyGaps: Bool = false) -> Int {
    var added = 0
    var at = offset
    let end = offset + UInt64(bytes.count)
    while at < end {
      let index = dirty.firstIndex(endingAfter: at)
      let source = unsafe UnsafeRawBufferPointer(rebasing: bytes[Int(at - offset)...])
      if index < dirty.count, dirty[index].offset <= at {
        let run = dirty[index], count = Int(min(run.end, end) - at)
        if !onlyGaps { unsafe run.overwrite(at: at, UnsafeRawBufferPointer(rebasing: source[0..<count])) }
        at += UInt64(count)
        continue
      }
      let limit = index < dirty.count ? min(end, dirty[index].offset) : end
      let gap = Int(limit - at)
      if index > 0, dirty[index - 1].end == at, dirty[index - 1].count < Self.runBytesMax {
        let taken = min(gap, Self.runBytesMax - dirty[index - 1].count)
        added -= dirty[index - 1].charge
        unsafe dirty[index - 1].append(UnsafeRawBufferPointer(rebasing: source[0..<taken]))
        added += dirty[index - 1].charge
        at += UInt64(taken)
      } else if index < dirty.count, dirty[index].offset == limit, let growth = unsafe dirty[index].prepend(UnsafeRawBufferPointer(rebasing: source[0..<gap])) {
        at = limit
        added += growth
      } else {
        let taken = min(gap, Self.runBytesMax)
        // A run that goes on after a full one belongs to a stream: the chunker will leave something over before it.
        let streaming = saving.last?.end == at || (index > 0 && dirty[index - 1].end == at)
        unsafe dirty.insert(DirtyRun(offset: at, UnsafeRawBufferPointer(rebasing: source[0..<taken]), streaming: streaming), at: index)
        at += UInt64(taken)
        added += dirty[index].charge
      }
    }
    return added
  }

  /// Lays what is not saved over `buffer`, which holds the file from `offset` on.
  func overlay(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
    let end = offset + UInt64(buffer.count)
    for runs in [saving, dirty] {
      var index = runs.firstIndex(endingAfter: offset)
      while index < runs.count, runs[index].offset < end {
        unsafe runs[index].copy(into: buffer, at: offset)
        index += 1
      }
    }
  }
}

extension Array where Element == DirtyRun {
  var charge: Int { reduce(0) { $0 + $1.charge } }

  /// Index of the first run that ends after `offset`.
  func firstIndex(endingAfter offset: UInt64) -> Int {
    // Most writes go on at the end.
    if let last, last.end <= offset { return count }
    var low = 0, high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle].end > offset { high = middle } else { low = middle + 1 }
    }
    return low
  }
}

/// Contiguous unsaved bytes of a file. Not thread-safe; immutable once it is being saved.
final class DirtyRun {
  private(set) var offset: UInt64
  private var buffer: Buffer
  private var start: Int
  private static let fullCapacity = Draft.headroom + Draft.runBytesMax
  private(set) var count: Int
  var end: UInt64 { offset + UInt64(count) }
  private static let chargeMin = 4096
  /// What it is counted as: no run is smaller in memory.
  var charge: Int { max(count, Self.chargeMin) }
  var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: buffer.base + start, count: count) }

  init(offset: UInt64, _ bytes: UnsafeRawBufferPointer, streaming: Bool) {
    self.offset = offset
    start = streaming ? Draft.headroom : 0
    buffer = Buffer(capacity: streaming ? Self.fullCapacity : max(Self.chargeMin, bytes.count))
    count = 0
    unsafe append(bytes)
  }

  func append(_ bytes: UnsafeRawBufferPointer) {
    let needed = start + count + bytes.count
    if needed > buffer.capacity {
      let larger = Buffer(capacity: needed > 256 << 10 ? Self.fullCapacity : max(needed, buffer.capacity * 2))
      unsafe memcpy(larger.base + start, buffer.base + start, count)
      buffer = larger
    }
    unsafe memcpy(buffer.base + start + count, bytes.baseAddress!, bytes.count)
    count += bytes.count
  }

  /// - Returns: by how much the charge grew; nil where there is no room in front.
  func prepend(_ bytes: UnsafeRawBufferPointer) -> Int? {
    guard bytes.count <= start else { return nil }
    let before = charge
    start -= bytes.count
    unsafe memcpy(buffer.base + start, bytes.baseAddress!, bytes.count)
    count += bytes.count
    offset -= UInt64(bytes.count)
    return charge - before
  }

  func overwrite(at position: UInt64, _ bytes: UnsafeRawBufferPointer) {
    unsafe memcpy(buffer.base + start + Int(position - offset), bytes.baseAddress!, bytes.count)
  }

  func copy(into target: UnsafeMutableRawBufferPointer, at targetOffset: UInt64) {
    let from = max(offset, targetOffset), to = min(end, targetOffset + UInt64(target.count))
    guard from < to else { return }
    unsafe memcpy(target.baseAddress! + Int(from - targetOffset), bytes.baseAddress! + Int(from - offset), Int(to - from))
  }
}
