// Reads the journal back: segment by segment, record by record, up to where it ends.
//
// What must stay true: the journal ends at the first record that is not whole, does not follow the one before, or names
// a chunk that is not stored, and only if nothing attests that record: no valid record after it says that its LSN was
// durable. Then it and all that follows is what a power cut left of unflushed work (promise 2): it is cut off for good,
// and reported. Otherwise it is damage: reported, never cut; where only a chunk is missing, the rest goes on without it.

struct JournalReader {
  let containers: ContainerStore
  let vault: NodeID

  struct End {
    var lastLSN: LSN
    /// The greatest LSN that some record attests as durable.
    var durable: LSN
    var stamp: UInt64
    /// What a power cut or an interrupted write left behind the end, if anything.
    var torn: Torn?

    struct Torn {
      var segment: ContainerNumber
      /// Where the first of it is in the segment.
      var offset: UInt64
      var detail: String
    }
    static let start = End(lastLSN: .zero, durable: .zero, stamp: 0, torn: nil)
  }

  struct Visitor {
    /// A frame and the place of its header in the segment.
    var frame: (FrameHeader, UInt64, ContainerNumber) throws(VaultError) -> Void
    /// - Returns: whether every chunk that the operation names is stored.
    var isComplete: (Operation) throws(VaultError) -> Bool
    /// With its LSN and its stamp.
    var operation: (Operation, LSN, UInt64) throws(VaultError) -> Void
  }

  /// Visits everything after `lsn`, beginning at `offset` of segment `first` (0: at its start), through all later segments.
  /// - Parameter afterPowerCut: unflushed writes may be missing. (They are never after a kill: then what is missing is damage.)
  func read(after lsn: LSN, from first: ContainerNumber, at offset: UInt64, afterPowerCut: Bool, _ visitor: Visitor) throws(VaultError) -> End {
    var end = End.start
    end.lastLSN = lsn
    let segments = containers.journal.filter { $0 >= first }
    for (index, number) in segments.enumerated() {
      let segment = try Segment(number, in: containers, vault: vault), later = segments[(index + 1)...]
      var place = Place(segment: segment, at: Int(number == first ? offset : 0), later: later, afterPowerCut: afterPowerCut)
      guard let what = try read(&place, &end, visitor) else { continue }
      // An unfinished write may be followed by the segment of the next opening, which goes on right after it.
      if let next = later.first, let header = try Segment(next, in: containers, vault: vault).header, header.firstLSN <= end.lastLSN.next,
        !segment.attests(end.lastLSN.next, from: place.at) { continue }
      let detail = "\(what) at byte \(place.at) of \(segment.file.path)"
      if try isAttested(end.lastLSN.next, at: place) { throw .journalDamaged(detail: detail) }
      end.torn = End.Torn(segment: number, offset: UInt64(place.at), detail: "\(detail), unfinished after operation \(end.lastLSN.value)")
      break
    }
    return end
  }

  private struct Place {
    let segment: Segment
    var at: Int
    let later: ArraySlice<ContainerNumber>
    let afterPowerCut: Bool
  }

  private func isAttested(_ lsn: LSN, at place: Place) throws(VaultError) -> Bool {
    if place.segment.attests(lsn, from: place.at) { return true }
    for number in place.later {
      if try Segment(number, in: containers, vault: vault).attests(lsn, from: SegmentHeader.length) { return true }
    }
    return false
  }

  /// Takes what is behind the end out of the journal, for good: else a later rebuild might find it.
  func cut(_ torn: End.Torn) throws(VaultError) {
    let disk = containers.disk
    for number in containers.journal where number > torn.segment { try containers.setAside(number) }
    if torn.offset < UInt64(SegmentHeader.length) { try containers.setAside(torn.segment) } else {
      let file = try disk.open(ContainerStore.path(torn.segment, .segment), .update)
      try file.truncate(to: torn.offset)
      try file.sync()
    }
    try disk.syncDirectory("journal")
  }

  /// - Returns: what stands at `place` that is not a part of the journal, if the segment does not end as it should.
  private func read(_ place: inout Place, _ end: inout End, _ visitor: Visitor) throws(VaultError) -> String? {
    let segment = place.segment
    defer { withExtendedLifetime(segment) {} }
    guard let header = segment.header else {
      // No record is written before its segment's header is durable.
      if segment.count > SegmentHeader.length { throw .journalDamaged(detail: "the segment header at byte 0 of \(segment.file.path)") }
      return "no segment header"
    }
    guard place.at > 0 || header.firstLSN <= end.lastLSN.next else {
      return "a segment that begins after the missing operations \(end.lastLSN.next.value) to \(header.firstLSN.value - 1)"
    }
    place.at = max(place.at, SegmentHeader.length)
    while place.at < segment.count {
      guard let (record, body) = unsafe segment.record(at: place.at) else { return "\(segment.count - place.at) bytes of no record" }
      end.durable = max(end.durable, record.durable)
      end.stamp = max(end.stamp, record.stamp)
      switch record.kind {
      case .mark: break
      case .frame where record.lsn > end.lastLSN:
        guard let frame = try? unsafe FrameHeader(decoding: body) else { return "a frame" }
        try visitor.frame(frame, UInt64(place.at + RecordHeader.length), segment.number)
      case .operation where record.lsn > end.lastLSN:
        guard record.lsn == end.lastLSN.next else { return "operation \(record.lsn.value), which does not follow \(end.lastLSN.value)," }
        var reader = unsafe ByteReader(body)
        guard let operation = try? Operation(decoding: &reader, stamp: record.stamp), reader.isAtEnd else { return "operation \(record.lsn.value)" }
        if place.afterPowerCut, try !visitor.isComplete(operation), try !isAttested(record.lsn, at: place) {
          return "operation \(record.lsn.value), whose content did not reach the disk,"
        }
        try visitor.operation(operation, record.lsn, record.stamp)
        end.lastLSN = record.lsn
      default: break
      }
      place.at += record.paddedLength
    }
    return nil
  }
}
