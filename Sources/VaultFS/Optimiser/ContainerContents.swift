// What a finished container holds, read to its very end.
//
// What must stay true: there are contents only where nothing is damaged or missing. Behind the first thing that cannot be read
// there may be more, and it must not go with the container.

struct ContainerContents {
  let number: ContainerNumber
  let isSegment: Bool
  let file: any DiskFile
  private(set) var frames: [(header: FrameHeader, offset: UInt64)] = []
  /// Of a segment: its header, its operations and marks, byte for byte.
  private(set) var records: [UInt8] = []

  func place(of header: FrameHeader, at offset: UInt64) -> FramePlace { FramePlace(container: number, offset: offset, length: UInt32(header.totalLength)) }

  /// - Returns: nil where the container cannot be read to its end.
  init?(of number: ContainerNumber, in vault: Vault) throws(VaultError) {
    self.number = number
    isSegment = vault.containers.kind(number) == .segment
    file = try vault.containers.file(number)
    let isWhole = isSegment ? try readSegment(vault) : try readPack(vault)
    if !isWhole { return nil }
  }

  /// - Returns: whether that was all of it.
  private mutating func readPack(_ vault: Vault) throws(VaultError) -> Bool {
    guard let found = try PackScanner.whole(file, vault: vault.configuration.id, number: number) else { return false }
    frames = found
    return true
  }

  /// The operations must go on without a gap up to where the next segment begins; a torn end behind them is nothing.
  private mutating func readSegment(_ vault: Vault) throws(VaultError) -> Bool {
    let id = vault.configuration.id
    guard let limit = try vault.containers.firstLSN(behind: number, of: id) else { return false }
    let segment = try Segment(number, in: vault.containers, vault: id)
    defer { withExtendedLifetime(segment) {} }
    guard let header = segment.header else { return false }
    records = header.encoded()
    var at = SegmentHeader.length, expected = header.firstLSN
    while at < segment.count, let (record, body) = unsafe segment.record(at: at) {
      if record.kind == .operation {
        if segment.isGivenUp(record.lsn, from: at, before: limit) { break }
        guard record.lsn == expected, expected < limit else { return false }
        expected = expected.next
      }
      if record.kind == .frame {
        guard let frame = try? unsafe FrameHeader(decoding: body), frame.totalLength == body.count else { return false }
        frames.append((frame, UInt64(at + RecordHeader.length)))
      } else {
        unsafe records += segment.bytes[at..<min(at + record.paddedLength, segment.count)]
      }
      at += record.paddedLength
    }
    return expected == limit
  }
}
