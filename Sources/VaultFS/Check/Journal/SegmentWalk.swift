// The records of a segment, one after the other, and what is damaged between them: for whoever verifies it.
//
// What must stay true: damage that held no operation is passed, as a replay passes it (Segment.goesOn); behind any other nothing
// is known. A torn end, which is what a kill leaves, is no damage where nothing says that there was more.

struct SegmentWalk {
  @safe enum Step {
    /// Its body is there as long as the segment is.
    case record(RecordHeader, UnsafeRawBufferPointer, at: Int)
    /// Damage, and whether the walk goes on behind it.
    case damage(Finding, Range<Int>, isPassed: Bool)
  }

  let segment: Segment
  /// The operation before the next one.
  private(set) var last: LSN
  /// Where the next step begins.
  private(set) var at = SegmentHeader.length
  /// The first operation that is not this segment's to hold: those before must be there.
  private let end: LSN
  private var isOver = false

  /// - Parameter last: the operation before the segment's first.
  init(_ segment: Segment, after last: LSN, until end: LSN) { (self.segment, self.last, self.end) = (segment, last, end) }

  /// - Returns: nil at the end, torn or not: `at`.
  mutating func next() -> Step? {
    guard !isOver, at < segment.count else { return nil }
    if let (record, body) = unsafe segment.record(at: at) {
      if record.kind == .operation, end > .zero, record.lsn > last, segment.isGivenUp(record.lsn, from: at, before: end) {
        isOver = true
        return nil
      }
      defer { at += record.paddedLength }
      if record.kind == .operation { last = max(last, record.lsn) }
      return unsafe .record(record, body, at: at)
    }
    guard segment.attests(last.next, from: at) || end > last.next else {
      isOver = true
      return nil
    }
    let start = at, next = segment.goesOn(with: last.next, behind: at)
    at = next ?? segment.count
    isOver = next == nil
    let words = next == nil ? "operations from \(last.next.value) on" : "it held no operation, at most the content of one"
    let finding = Finding(.journalSegment, file: segment.file.path, byte: UInt64(start), "a record is damaged: \(words)")
    return .damage(finding, start..<at, isPassed: !isOver)
  }
}
