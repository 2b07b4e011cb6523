// Reads the whole journal, segment by segment and archive by archive, as far as the view has seen it, and tells what is wrong
// with it. One thing a segment is enough: what stands behind it is not known.
//
//   journal-segment     a segment or archive cannot be read, or ends in the middle of a record that was durable
//   journal-sequence    an operation does not follow the one before
//   journal-stamp       a stamp is smaller than one before
//   journal-operation   an operation's or frame's record holds none
//   journal-position    the view goes on from a place that is not behind its last operation
//   journal-epoch       the epochs in the journal are not those in the view
//
// What must stay true: one segment is in memory at a time. What the vault appends meanwhile is none of this walk's.

final class JournalWalk {
  private let copy: ViewCopy
  private let work: CheckWork
  private let containers: ContainerStore
  private var last = LSN.zero
  private var stamp: UInt64 = 0
  private var epochs: UInt64 = 0
  private lazy var selectEpoch = try? copy.database.prepare("SELECT key FROM epoch WHERE number = ?")
  /// Where the operation `applied` ends.
  private var position: (segment: ContainerNumber, offset: UInt64)?
  /// Something could not be read: what is missing is not told again.
  private var isBroken = false

  private init(_ copy: ViewCopy, _ work: CheckWork) { (self.copy, self.work, containers) = (copy, work, work.vault.containers) }

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws { try JournalWalk(copy, work).look() }

  private func look() throws {
    let segments = containers.journal
    for (index, number) in segments.enumerated() {
      try work.proceed(Double(index) / Double(segments.count))
      guard last < copy.state.applied else { break }
      try look(at: number, next: index + 1 < segments.count ? segments[index + 1] : nil)
    }
    if isBroken { return }
    if last < copy.state.applied {
      return work.found(Finding(.journalSequence, file: "journal", "the journal ends with operation \(last.value); the database has seen \(copy.state.applied.value)"))
    }
    if epochs != copy.state.epoch { work.found(Finding(.journalEpoch, table: "epoch", "the journal begins \(epochs) epochs, the database knows \(copy.state.epoch)")) }
    expectPosition()
  }

  /// Reads a segment; once more where it became an archive meanwhile.
  private func open(_ number: ContainerNumber) throws(VaultError) -> Segment {
    do throws(VaultError) { return try Segment(number, in: containers, vault: work.vault.configuration.id) } catch {
      return try Segment(number, in: containers, vault: work.vault.configuration.id)
    }
  }

  private func firstLSN(behind number: ContainerNumber) -> LSN? {
    func look() throws(VaultError) -> LSN? { try containers.firstLSN(behind: number, of: work.vault.configuration.id) }
    return (try? look()) ?? (try? look())
  }

  private func file(_ number: ContainerNumber) -> String { ContainerStore.path(number, containers.kind(number) ?? .segment) }

  private func broken(_ kind: Finding.Kind, _ number: ContainerNumber, _ byte: Int, _ detail: String) {
    isBroken = true
    work.found(Finding(kind, file: file(number), byte: UInt64(byte), detail))
  }

  private func look(at number: ContainerNumber, next: ContainerNumber?) throws {
    let segment: Segment
    do throws(VaultError) { segment = try open(number) } catch { return broken(.journalSegment, number, 0, "\(error)") }
    defer { withExtendedLifetime(segment) {} }
    guard let header = segment.header else {
      // One that was made when the computer stopped has none, and nothing in it.
      if segment.count > SegmentHeader.length || next != nil && copy.state.segment > number { broken(.journalSegment, number, 0, "the segment's header is damaged") }
      return
    }
    // Harmless as long as the rest of it tells what it was.
    if segment.isRepaired { work.found(Finding(.journalSegment, file: file(number), byte: 0, SegmentHeader.repairedWords)) }
    if header.firstLSN > last.next, !isBroken {
      broken(.journalSequence, number, 0, "the segment begins with operation \(header.firstLSN.value), and \(last.next.value) to \(header.firstLSN.value - 1) are missing")
    }
    last = max(last, LSN(header.firstLSN.value - min(header.firstLSN.value, 1)))
    // What is wrong with the next one is told when it is its turn.
    try read(segment, firstOfNext: firstLSN(behind: number))
  }

  private func read(_ segment: Segment, firstOfNext: LSN?) throws {
    // What a kill or a power cut left: nobody says that it was ever whole, and the next segment goes on where it begins.
    var walk = SegmentWalk(segment, after: last, until: firstOfNext ?? copy.state.applied.next)
    while last < copy.state.applied, let step = walk.next() {
      try work.proceed()
      switch step {
      case .damage(let finding, _, let isPassed):
        if !isPassed { isBroken = true }
        work.found(finding)
      case .record(let record, let body, let at):
        guard unsafe take(record, body, segment.number, at) else { return }
        if record.kind == .operation, record.lsn == copy.state.applied { position = (segment.number, UInt64(walk.at)) }
      }
    }
  }

  /// - Returns: whether to go on in the segment.
  private func take(_ record: RecordHeader, _ body: UnsafeRawBufferPointer, _ number: ContainerNumber, _ at: Int) -> Bool {
    // (A mark of an earlier program may have none.)
    if record.stamp < stamp, record.kind != .mark || record.stamp > 0 { work.found(Finding(.journalStamp, file: file(number), byte: UInt64(at), "a record's stamp is \(stamp - record.stamp) ns smaller than that of one before")) }
    stamp = max(stamp, record.stamp)
    switch record.kind {
    case .mark: return true
    case .frame:
      if unsafe (try? FrameHeader(decoding: body)) != nil { return true }
      work.found(Finding(.journalOperation, file: file(number), byte: UInt64(at), "a frame's record holds no frame"))
      return true
    case .operation:
      // The first of a segment may repeat what a torn end before it seemed to hold.
      if record.lsn <= last { return true }
      guard record.lsn == last.next else {
        broken(.journalSequence, number, at, "operation \(record.lsn.value) follows \(last.value)")
        return false
      }
      last = record.lsn
      unsafe take(operation: body, record, number, at)
      return true
    }
  }

  private func take(operation body: UnsafeRawBufferPointer, _ record: RecordHeader, _ number: ContainerNumber, _ at: Int) {
    var reader = unsafe ByteReader(body)
    guard let operation = try? Operation(decoding: &reader, stamp: record.stamp), reader.isAtEnd else {
      return work.found(Finding(.journalOperation, file: file(number), byte: UInt64(at), "operation \(record.lsn.value) is none"))
    }
    guard case .epoch(let key) = operation else { return }
    epochs += 1
    // Behind a gap nobody knows which one it is.
    guard !isBroken, let select = selectEpoch else { return }
    select.bind(1, epochs)
    defer { select.reset() }
    if (try? select.step()) == true, select.unsigned(0) == key { return }
    work.found(Finding(.journalEpoch, table: "epoch", key: [epochs], "epoch \(epochs) is another in the journal than in the database"))
  }

  /// The view goes on behind the operation that it saw last: there, or where only marks, frames or a torn end are between.
  private func expectPosition() {
    let state = copy.state
    guard containers.journal.contains(state.segment) else {
      return work.found(Finding(.journalPosition, table: "state", "the view goes on in segment \(state.segment.value), which is not there"))
    }
    guard let position, state.segment == position.segment, containers.kind(state.segment) == .segment else {
      if let position, state.segment < position.segment { work.found(Finding(.journalPosition, table: "state", "the view goes on in segment \(state.segment.value), and its last operation is in \(position.segment.value)")) }
      return
    }
    if state.segmentOffset < position.offset || !isBetweenRecords(state.segmentOffset, after: position.offset, in: state.segment) {
      work.found(Finding(.journalPosition, file: file(state.segment), byte: state.segmentOffset, table: "state",
                         "the view goes on at byte \(state.segmentOffset); its last operation ends at \(position.offset), and no operation ends there"))
    }
  }

  private func isBetweenRecords(_ offset: UInt64, after start: UInt64, in number: ContainerNumber) -> Bool {
    guard let segment = try? open(number) else { return true }
    defer { withExtendedLifetime(segment) {} }
    var at = Int(start)
    while at < Int(offset), at < segment.count, let (record, _) = unsafe segment.record(at: at), record.kind != .operation { at += record.paddedLength }
    return UInt64(at) == offset
  }
}
