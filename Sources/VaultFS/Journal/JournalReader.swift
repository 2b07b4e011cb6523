// Reads the journal back: segment by segment, record by record, up to where it ends.
//
// What must stay true: an invalid record is the torn end of an interrupted write only if nothing attests it: no later
// valid record in the segment says that its LSN was durable. Otherwise it is damage, and is reported, never cut.

struct JournalReader {
  let containers: ContainerStore
  let vault: NodeID

  struct End {
    var lastLSN: LSN
    /// The greatest LSN that some record attests as durable.
    var durable: LSN
    var stamp: UInt64
    /// What an interrupted write left, if anything: said in the log.
    var torn: String?
  }

  struct Visitor {
    /// A frame and the place of its header in the segment.
    var frame: (FrameHeader, UInt64, ContainerNumber) throws(VaultError) -> Void
    var operation: (Operation, LSN) throws(VaultError) -> Void
  }

  /// Visits everything after `lsn`, beginning at `offset` of segment `first` (0: at its start), through all later segments.
  func read(after lsn: LSN, from first: ContainerNumber, at offset: UInt64, _ visitor: Visitor) throws(VaultError) -> End {
    var end = End(lastLSN: lsn, durable: .zero, stamp: 0, torn: nil)
    let segments = containers.journal.filter { $0 >= first }
    for (index, number) in segments.enumerated() {
      if end.torn != nil, index > 0 {
        // After a torn end the next segment must go on exactly there (an unclean end was followed by a new segment).
        end.torn = nil
      }
      try readSegment(number, from: number == first ? offset : 0, isLast: index == segments.count - 1, &end, visitor)
    }
    return end
  }

  private func readSegment(_ number: ContainerNumber, from offset: UInt64, isLast: Bool, _ end: inout End, _ visitor: Visitor) throws(VaultError) {
    let (file, buffer) = try load(number)
    defer { withExtendedLifetime(buffer) {} }
    func damaged(_ what: String, _ at: Int) -> VaultError { .journalDamaged(detail: "\(what) at byte \(at) of \(file.path)") }
    guard let header = try? SegmentHeader(decoding: buffer.bytes), header.vault == vault else {
      // A segment that was being made when the power failed has no operations.
      if isLast && !attests(buffer, from: 0, seed: nil, after: .zero) { return end.torn = "\(file.path) has no valid header" }
      throw damaged("the segment header", 0)
    }
    guard offset > 0 || header.firstLSN <= end.lastLSN.next else {
      throw damaged("operations \(end.lastLSN.next.value) to \(header.firstLSN.value - 1) are missing before the segment", 0)
    }
    var at = max(Int(offset), SegmentHeader.length)
    while at < buffer.count {
      let rest = UnsafeRawBufferPointer(rebasing: buffer.bytes[at...])
      guard let record = try? RecordHeader(decoding: rest, seed: header.seed) else {
        if attests(buffer, from: at, seed: header.seed, after: end.lastLSN) || end.durable > end.lastLSN { throw damaged("the record of operation \(end.lastLSN.next.value)", at) }
        end.torn = "\(buffer.count - at) bytes of an unfinished write after operation \(end.lastLSN.value) in \(file.path)"
        return
      }
      end.durable = max(end.durable, record.durable)
      end.stamp = max(end.stamp, record.stamp)
      let body = UnsafeRawBufferPointer(rebasing: rest[RecordHeader.length..<RecordHeader.length + record.bodyLength])
      switch record.kind {
      case .mark: break
      case .frame where record.lsn > end.lastLSN:
        guard let frame = try? FrameHeader(decoding: body) else { throw damaged("a frame", at) }
        try visitor.frame(frame, UInt64(at + RecordHeader.length), number)
      case .operation where record.lsn > end.lastLSN:
        guard record.lsn == end.lastLSN.next else { throw damaged("operation \(record.lsn.value) after \(end.lastLSN.value)", at) }
        var reader = ByteReader(body)
        guard let operation = try? Operation(decoding: &reader, stamp: record.stamp), reader.isAtEnd else { throw damaged("operation \(record.lsn.value)", at) }
        try visitor.operation(operation, record.lsn)
        end.lastLSN = record.lsn
      default: break
      }
      at += record.paddedLength
    }
  }

  /// A segment's bytes; of an archive, what it keeps of them.
  func load(_ number: ContainerNumber) throws(VaultError) -> (any DiskFile, Buffer) {
    let file = try containers.file(number)
    let size = Int(try file.size())
    let buffer = Buffer(capacity: size)
    buffer.count = try file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: size), at: 0)
    guard containers.kind(number) == .archive else { return (file, buffer) }
    defer { withExtendedLifetime(buffer) {} }
    guard let plain = JournalArchive.decode(buffer.bytes) else { throw .journalDamaged(detail: "the archive \(file.path)") }
    return (file, plain)
  }

  /// Whether a valid record after `start` says that an operation after `lsn` was durable.
  private func attests(_ buffer: Buffer, from start: Int, seed: UInt32?, after lsn: LSN) -> Bool {
    guard let seed else { return buffer.count > SegmentHeader.length }
    var at = (start + 7) & ~7
    while at + RecordHeader.length <= buffer.count {
      let rest = UnsafeRawBufferPointer(rebasing: buffer.bytes[at...])
      if rest.loadUnaligned(as: UInt32.self) == RecordHeader.magic, let record = try? RecordHeader(decoding: rest, seed: seed), record.durable > lsn {
        return true
      }
      at += 8
    }
    return false
  }
}
