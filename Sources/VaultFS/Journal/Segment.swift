// The bytes of one segment of the journal; of an archive, what it keeps of them.
//
// What must stay true: pointers into it are valid while it lives; it is read whole, and never changes.

final class Segment {
  let number: ContainerNumber
  let file: any DiskFile
  /// nil where it is not a header of this vault, nor can be worked out.
  let header: SegmentHeader?
  /// The header in the file is damaged, and `header` is worked out from what is left of it and the first record.
  let isRepaired: Bool
  private let buffer: Buffer
  var count: Int { buffer.count }
  var bytes: UnsafeRawBufferPointer { unsafe buffer.bytes }

  init(_ number: ContainerNumber, in containers: ContainerStore, vault: NodeID) throws(VaultError) {
    self.number = number
    file = try containers.file(number)
    let length = try file.size()
    guard length <= Limits.segmentBytesMax else {
      throw .journalDamaged(detail: "\(file.path) has \(length) bytes, more than any segment has; put that file back from a copy of the vault")
    }
    let size = Int(length), raw = Buffer(capacity: size)
    raw.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: raw.base, count: size), at: 0)
    defer { withExtendedLifetime(raw) {} }
    if containers.kind(number) == .archive {
      guard let plain = unsafe JournalArchive.decode(raw.bytes) else { throw .journalDamaged(detail: "the archive \(file.path)") }
      buffer = plain
    } else { buffer = raw }
    let decoded = try? unsafe SegmentHeader(decoding: buffer.bytes)
    let repaired = decoded == nil ? unsafe SegmentHeader(repairing: buffer.bytes, of: vault) : nil
    header = decoded?.vault == vault ? decoded : repaired
    isRepaired = repaired != nil
  }

  /// The valid record at `offset` and its body, if there is one.
  func record(at offset: Int) -> (RecordHeader, UnsafeRawBufferPointer)? {
    let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[offset...])
    guard let header, let record = try? unsafe RecordHeader(decoding: rest, seed: header.seed) else { return nil }
    return unsafe (record, UnsafeRawBufferPointer(rebasing: rest[RecordHeader.length..<RecordHeader.length + record.bodyLength]))
  }

  /// Whether a valid record from `start` on says that operation `lsn` was durable.
  func attests(_ lsn: LSN, from start: Int) -> Bool { holds(from: start) { record, _ in record.durable >= lsn } }

  /// Whether there is a valid record from `start` on, wherever it begins, that belongs to operation `lsn` or a later one.
  func holds(_ lsn: LSN, from start: Int) -> Bool { holds(from: start) { record, _ in record.lsn >= lsn } }

  /// Whether operation `lsn`, which stands at `place` or would, was given up: the next segment was begun without it, with operation
  /// `next`, and nothing says that it was durable. So it is in a copy of the segment that is put back. (Frames before it are content like
  /// any other: what came again refers to it there.)
  func isGivenUp(_ lsn: LSN, from place: Int, before next: LSN) -> Bool { next <= lsn && !attests(lsn, from: place) }

  /// Where the segment goes on behind a record that is damaged, if that was no operation: the next valid one belongs to operation
  /// `lsn`, which comes next.
  func goesOn(with lsn: LSN, behind offset: Int) -> Int? {
    var found: (header: RecordHeader, at: Int)?
    _ = holds(from: offset + 8) { record, at in
      found = (record, at)
      return true
    }
    guard let found, found.header.lsn == lsn, found.header.kind != .mark else { return nil }
    return found.at
  }

  /// The frames in a range whose records are damaged, as far as their headers are whole, and where they are.
  func frames(in range: Range<Int>) -> [(FrameHeader, at: Int)] {
    var found: [(FrameHeader, at: Int)] = [], at = range.lowerBound
    while at < range.upperBound {
      if let header = try? unsafe FrameHeader(decoding: UnsafeRawBufferPointer(rebasing: buffer.bytes[at..<range.upperBound])), header.totalLength <= range.upperBound - at {
        found.append((header, at))
        at += header.totalLength & ~7
      }
      at += 8
    }
    return found
  }

  private func holds(from start: Int, _ isWanted: (RecordHeader, Int) -> Bool) -> Bool {
    var at = (max(start, SegmentHeader.length) + 7) & ~7
    while at + RecordHeader.length <= count {
      if unsafe buffer.bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self) == RecordHeader.magic, let (record, _) = unsafe record(at: at), isWanted(record, at) { return true }
      at += 8
    }
    return false
  }

  /// The last operation up to `offset`; nil where not all up to there is whole, or no record ends there.
  func lastLSN(before offset: UInt64) -> LSN? {
    guard let header, offset <= UInt64(count) else { return nil }
    var last = LSN(header.firstLSN.value &- 1), at = SegmentHeader.length
    while at < Int(offset), let (record, _) = unsafe record(at: at) {
      if record.kind == .operation { last = record.lsn }
      at += record.paddedLength
    }
    return UInt64(at) == offset ? last : nil
  }

  /// The last operation that a valid record here belongs to; where there is none, the one before the segment's first.
  var lastLSN: LSN? {
    guard let header else { return nil }
    var last = LSN(header.firstLSN.value &- 1)
    _ = holds(from: SegmentHeader.length) { record, _ in
      last = max(last, record.lsn)
      return false
    }
    return last
  }
}

extension ContainerStore {
  /// The operation with which the segment behind `number` begins; nil where there is none, or that cannot be known.
  func firstLSN(behind number: ContainerNumber, of vault: NodeID) throws(VaultError) -> LSN? {
    guard let next = journal.first(where: { $0 > number }) else { return nil }
    if kind(next) == .segment {
      let raw = Buffer(capacity: SegmentHeader.length)
      defer { withExtendedLifetime(raw) {} }
      raw.count = try unsafe file(next).read(into: UnsafeMutableRawBufferPointer(start: raw.base, count: SegmentHeader.length), at: 0)
      if let header = try? unsafe SegmentHeader(decoding: raw.bytes), header.vault == vault { return header.firstLSN }
    }
    // An archive, or damaged.
    return try Segment(next, in: self, vault: vault).header?.firstLSN
  }
}

extension SegmentHeader {
  static let repairedWords = "the segment's header is damaged; what it said is worked out from the rest"

  /// Bits that may be wrong in a header which is still the same one.
  private static let flipsMax = 8

  /// Works out a header in which a few bits are wrong. All of it is known but the salt and the first LSN; every record's
  /// checksum covers the salt, and the first record says what the LSN was.
  /// - Returns: nil where too little is left, where there is no record to prove it, or where the header is whole (then it is another's).
  init?(repairing bytes: UnsafeRawBufferPointer, of vault: NodeID) {
    guard bytes.count > Self.length, unsafe !Self.isWhole(bytes) else { return nil }
    let salt = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: Self.saltOffset, as: UInt64.self))
    let records = unsafe UnsafeRawBufferPointer(rebasing: bytes[Self.length...])
    for candidate in [salt] + (0..<UInt64.bitWidth).map({ salt ^ 1 << $0 }) {
      var header = SegmentHeader(vault: vault, salt: candidate, firstLSN: .zero, device: 0, incarnation: 0)
      guard let first = try? unsafe RecordHeader(decoding: records, seed: header.seed) else { continue }
      header.firstLSN = first.kind == .mark ? first.lsn.next : first.lsn
      let flips = unsafe zip(header.encoded(), bytes).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount }
      guard flips <= Self.flipsMax else { return nil }
      self = header
      return
    }
    return nil
  }

  private static func isWhole(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let crc = unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: bytes[0..<length - 4]))
    return unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: length - 4, as: UInt32.self)) == crc
  }
}
