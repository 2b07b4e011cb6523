// Reads the journal back: segment by segment, record by record, up to where it ends.
//
// What must stay true: the journal ends at the first record that is not whole, does not follow the one before, or names
// a chunk that is not stored, and only if nothing shows that it was there once. After a power cut a valid record after it
// shows that, if it says that its LSN was durable: what no flush has covered may be gone in any part. After a mere
// kill (or a clean end) nothing that was written is gone, only the very last write can be torn: there any valid record
// of a greater LSN shows it. Then it is damage: reported, never cut; where only a chunk is missing, or the record that held it, the rest goes on
// without it. An operation that could not be applied, and that no other follows, was refused when it was tried: the journal ends
// before it. Else it and all that follows is what an interrupted write or a power cut left: cut off for good, kept
// aside (JournalCut.swift) and reported.

import Printable

struct JournalReader {
  let containers: ContainerStore
  let vault: NodeID
  /// The vault's directory, for messages.
  let path: String

  struct End {
    var lastLSN: LSN
    /// The greatest LSN that some record attests as durable.
    var durable: LSN
    var stamp: UInt64
    /// What a power cut or an interrupted write left behind the end, if anything.
    var torn: Torn?
    /// What was wrong and did no harm, in sentences.
    var notes: [String] = []

    struct Torn {
      var segment: ContainerNumber
      /// Where the first of it is in the segment.
      var offset: UInt64
      /// What stands there.
      var what: String
      var last: LSN
    }
    static let start = End(lastLSN: .zero, durable: .zero, stamp: 0, torn: nil)
  }

  struct Visitor {
    /// A frame and the place of its header in the segment.
    var frame: (FrameHeader, UInt64, ContainerNumber) throws(VaultError) -> Void
    /// The same of one whose record is damaged: its content shows whether it is one.
    var found: (FrameHeader, UInt64, ContainerNumber) throws(VaultError) -> Void
    /// - Returns: whether every chunk that the operation names is stored.
    var isComplete: (Operation) throws(VaultError) -> Bool
    /// With its LSN and its stamp.
    var operation: (Operation, LSN, UInt64) throws(VaultError) -> Void
  }

  /// Visits everything after `lsn`, beginning at `offset` of segment `first` (0: at its start), through all later segments.
  /// - Parameter afterPowerCut: unflushed writes may be missing. (They are never after a kill: then what is missing is damage.)
  /// - Parameter refused: an operation that could not be applied.
  func read(after lsn: LSN, from first: ContainerNumber, at offset: UInt64, afterPowerCut: Bool, but refused: LSN? = nil, _ visitor: Visitor) throws(VaultError) -> End {
    var end = End.start
    end.lastLSN = lsn
    let segments = containers.journal.filter { $0 >= first }
    var following: Segment?
    for (index, number) in segments.enumerated() {
      let segment: Segment, later = segments[(index + 1)...]
      if let following { segment = following } else { segment = try Segment(number, in: containers, vault: vault) }
      following = nil
      if let next = later.first { following = try Segment(next, in: containers, vault: vault) }
      var place = Place(segment: segment, at: Int(number == first ? offset : 0), later: later, following: following?.header?.firstLSN, afterPowerCut: afterPowerCut)
      guard let what = try read(&place, &end, but: refused, visitor) else { continue }
      let next = end.lastLSN.next, missing = next == refused ? next.next : next
      // What was attested was done.
      if next == refused, segment.attests(next, from: place.at) {
        throw .journalDamaged(detail: "operation \(next.value) at byte \(place.at) of \(path)/\(segment.file.path), which was done once, cannot be done")
      }
      // An unfinished write may be followed by the segment of the next opening, which goes on right after it.
      if place.isGivenUp(next) { continue }
      if try wasThere(missing, at: place) {
        throw .journalDamaged(detail: "\(what) at byte \(place.at) of \(path)/\(segment.file.path)\(afterPowerCut ? "" : Self.howToInsist(path))")
      }
      end.torn = End.Torn(segment: number, offset: UInt64(place.at), what: what, last: end.lastLSN)
      break
    }
    return end
  }

  /// Of damage that might be what a power cut left: the computer would know of its own, not of a disk's.
  private static func howToInsist(_ path: String) -> String {
    ". (If the disk lost its power or was pulled out, though the computer was not: `: > \(shellQuoted(path + "/boot"))` says so, and what follows is cut off then)"
  }

  private struct Place {
    let segment: Segment
    var at: Int
    let later: ArraySlice<ContainerNumber>
    /// The operation with which the next segment begins, where that can be known.
    let following: LSN?
    let afterPowerCut: Bool

    func isGivenUp(_ lsn: LSN) -> Bool { following.map { segment.isGivenUp(lsn, from: at, before: $0) } ?? false }
  }

  /// Whether something shows that operation `lsn`, which cannot be read at `place`, was in the journal for good.
  private func wasThere(_ lsn: LSN, at place: Place) throws(VaultError) -> Bool {
    func shows(_ segment: Segment, from start: Int) -> Bool {
      place.afterPowerCut ? segment.attests(lsn, from: start) : segment.holds(lsn, from: start)
    }
    if shows(place.segment, from: place.at) { return true }
    // No segment is begun before all operations up to its first are written.
    if !place.afterPowerCut, let first = place.segment.header?.firstLSN, first > lsn { return true }
    for number in place.later {
      let segment = try Segment(number, in: containers, vault: vault)
      if shows(segment, from: SegmentHeader.length) { return true }
      if !place.afterPowerCut, let first = segment.header?.firstLSN, first > lsn { return true }
    }
    return false
  }

  /// Where the journal goes on behind a damaged record; nil where that was an operation, or may be what was never acknowledged.
  private func goesOn(after last: LSN, at place: Place) throws(VaultError) -> Int? {
    // Where the next segment begins here, this was given up before that one was begun.
    if place.isGivenUp(last.next) { return nil }
    guard let next = place.segment.goesOn(with: last.next, behind: place.at) else { return nil }
    if place.afterPowerCut, try !wasThere(last.next, at: place) { return nil }
    return next
  }

  private static func unknown(_ kind: UInt8, _ lsn: LSN) -> String {
    "operation \(lsn.value) in its journal is of kind \(kind), which this program does not know; use the vaultfs that wrote it, or a newer one. Nothing was changed"
  }

  /// - Returns: what stands at `place` that is not a part of the journal, if the segment does not end as it should.
  private func read(_ place: inout Place, _ end: inout End, but refused: LSN?, _ visitor: Visitor) throws(VaultError) -> String? {
    let segment = place.segment
    defer { withExtendedLifetime(segment) {} }
    guard let header = segment.header else {
      // Whoever reads on from its end needs nothing of it.
      if place.at > 0, place.at >= segment.count {
        end.notes.append("the header of \(path)/\(segment.file.path) is damaged. The database has everything that is in it; put the file back from a copy of the vault, for a later rebuild")
        return nil
      }
      // No record is written before its segment's header is durable.
      if segment.count > SegmentHeader.length { throw .journalDamaged(detail: "the segment header at byte 0 of \(path)/\(segment.file.path)") }
      return "a segment that was only being begun"
    }
    if segment.isRepaired {
      end.notes.append("the header of \(path)/\(segment.file.path) is damaged; what it said is worked out from the rest, and nothing is lost. Put the file back from a copy of the vault where there is one")
    }
    guard place.at > 0 || header.firstLSN <= end.lastLSN.next else {
      return "a segment that begins after the missing operations \(end.lastLSN.next.value) to \(header.firstLSN.value - 1)"
    }
    place.at = max(place.at, SegmentHeader.length)
    while place.at < segment.count {
      guard let (record, body) = unsafe segment.record(at: place.at) else {
        guard let next = try goesOn(after: end.lastLSN, at: place) else { return "a record that is not whole" }
        end.notes.append("""
          \(path)/\(segment.file.path) is damaged from byte \(place.at) to \(next). No operation stood there, at most the content of one: what cannot be read \
          for that is named. Put the file back from a copy of the vault where there is one
          """)
        for (frame, at) in segment.frames(in: place.at..<next) { try visitor.found(frame, UInt64(at), segment.number) }
        place.at = next
        continue
      }
      if record.kind == .operation, record.lsn > end.lastLSN, place.isGivenUp(record.lsn) { return nil }
      end.durable = max(end.durable, record.durable)
      end.stamp = max(end.stamp, record.stamp)
      switch record.kind {
      case .mark: break
      case .frame where record.lsn > end.lastLSN:
        guard let frame = try? unsafe FrameHeader(decoding: body) else { return "a frame that is none" }
        try visitor.frame(frame, UInt64(place.at + RecordHeader.length), segment.number)
      case .operation where record.lsn > end.lastLSN:
        guard record.lsn == end.lastLSN.next else { return "operation \(record.lsn.value), which does not follow \(end.lastLSN.value)," }
        if record.lsn == refused { return "operation \(record.lsn.value), which cannot be done and was refused when it was tried," }
        var reader = unsafe ByteReader(body)
        let operation: Operation
        do throws(Malformed) {
          operation = try Operation(decoding: &reader, stamp: record.stamp)
          guard reader.isAtEnd else { throw Malformed() }
        } catch {
          if let kind = error.kind { throw .formatUnknown(path: path, detail: Self.unknown(kind, record.lsn)) }
          // It is whole, and somebody's: nothing that may be cut off.
          throw .journalDamaged(detail: "operation \(record.lsn.value) at byte \(place.at) of \(path)/\(segment.file.path) is none that this program knows")
        }
        if place.afterPowerCut, try !visitor.isComplete(operation), try !wasThere(record.lsn, at: place) {
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
