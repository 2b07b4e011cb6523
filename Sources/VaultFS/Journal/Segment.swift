// The bytes of one segment of the journal; of an archive, what it keeps of them.
//
// What must stay true: pointers into it are valid while it lives; it is read whole, and never changes.

final class Segment {
  let number: ContainerNumber
  let file: any DiskFile
  /// nil where it is not a valid header of this vault.
  let header: SegmentHeader?
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
    header = decoded?.vault == vault ? decoded : nil
  }

  /// The valid record at `offset` and its body, if there is one.
  func record(at offset: Int) -> (RecordHeader, UnsafeRawBufferPointer)? {
    let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[offset...])
    guard let header, let record = try? unsafe RecordHeader(decoding: rest, seed: header.seed) else { return nil }
    return unsafe (record, UnsafeRawBufferPointer(rebasing: rest[RecordHeader.length..<RecordHeader.length + record.bodyLength]))
  }

  /// Whether a valid record from `start` on says that operation `lsn` was durable.
  func attests(_ lsn: LSN, from start: Int) -> Bool {
    var at = (max(start, SegmentHeader.length) + 7) & ~7
    while at + RecordHeader.length <= count {
      if unsafe buffer.bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self) == RecordHeader.magic, let (record, _) = unsafe record(at: at), record.durable >= lsn { return true }
      at += 8
    }
    return false
  }
}
