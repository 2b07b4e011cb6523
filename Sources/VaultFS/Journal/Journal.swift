// The append-only log of operations: the truth of the vault.
//
// What must stay true:
// 1. An operation is acknowledged only after its record (and the frames it names) are written.
// 2. Records stand in the order of their LSNs, without gaps, through all segments.
// 3. Nothing stands at or after `end`: what a failed write left there is taken away at once. The next append might be
//    shorter, and after a kill a record behind it would be taken for one that was there (JournalReader).
// Guarded by the vault's metadata lock.

import Glibc

final class Journal {
  private let containers: ContainerStore
  private let vault: NodeID
  private(set) var segment: ContainerNumber
  private(set) var end: UInt64
  private(set) var lastLSN: LSN
  /// nil where nothing is ever appended.
  private var file: (any DiskFile)?
  /// Whether the segment that is being written was deleted by somebody.
  var isUnlinked: Bool { file?.isUnlinked ?? false }
  private var seed: UInt32
  /// Of the last operation.
  private(set) var stamp: UInt64
  private var clock = StampClock()
  private var buffer = ByteWriter(capacity: 1 << 16)
  private var unsynced: [any DiskFile] = []
  /// The last LSN known to be on disk; what every new record attests.
  var durable: LSN
  /// Bytes appended since the last time someone asked.
  private(set) var bytesUnsynced: UInt64 = 0

  /// Starts a new segment after `end`. (An old one is never appended to again once the process that wrote it ended.)
  /// - Parameter unsynced: older segments that may hold operations after `end.durable` which no flush has covered.
  init(containers: ContainerStore, vault: NodeID, number: ContainerNumber, after end: JournalReader.End, unsynced: [any DiskFile] = []) throws(VaultError) {
    self.containers = containers
    self.vault = vault
    lastLSN = end.lastLSN
    stamp = end.stamp
    segment = number
    durable = min(end.durable, end.lastLSN)
    let file: any DiskFile
    (file, seed, self.end) = try Self.start(containers, vault, number, lastLSN.next)
    self.file = file
    self.unsynced = unsynced + [file]
  }

  /// A journal that is damaged, and that nothing is added to. What is shown of it ends with `last`.
  init(closed containers: ContainerStore, vault: NodeID, after last: LSN) {
    (self.containers, self.vault, lastLSN, durable, stamp) = (containers, vault, last, last, 0)
    (segment, seed, end) = (.none, 0, 0)
  }

  private static func start(_ containers: ContainerStore, _ vault: NodeID, _ number: ContainerNumber, _ first: LSN)
    throws(VaultError) -> (any DiskFile, UInt32, UInt64) {
    var generator = SystemRandomNumberGenerator()
    let header = SegmentHeader(vault: vault, salt: generator.next(), firstLSN: first, device: 0, incarnation: 0)
    let path = ContainerStore.path(number, .segment)
    let file = try containers.disk.open(path, .create)
    do throws(VaultError) {
      try writeAll(header.encoded(), to: file, at: 0)
      // Durable by name before anything may refer to it: the view's position does, even where no operation follows.
      try file.sync()
      try containers.disk.syncDirectory("journal")
    } catch {
      try? containers.disk.remove(path)
      throw error
    }
    containers.add(number, .segment, file)
    return (file, header.seed, UInt64(SegmentHeader.length))
  }

  /// Whether nothing stands in the segment that is being written.
  var isEmpty: Bool { end == UInt64(SegmentHeader.length) }
  var isFull: Bool { end >= Limits.segmentBytes }

  /// Goes on in a new segment; the old one never changes again.
  func rotate(to number: ContainerNumber) throws(VaultError) {
    let file: any DiskFile
    (file, seed, end) = try Self.start(containers, vault, number, lastLSN.next)
    self.file = file
    containers.end(segment)
    segment = number
    unsynced.append(file)
  }

  /// A frame that travels in the journal, before the operation that names it.
  struct InlineFrame {
    var header: FrameHeader
    var payload: [UInt8]
  }

  /// Appends one operation in one write.
  /// - Returns: its LSN, and where each frame's header is in the segment.
  func append(_ operation: Operation, frames: [InlineFrame] = []) throws(VaultError) -> (LSN, [UInt64]) {
    let lsn = lastLSN.next
    let newStamp = clock.now(after: stamp)
    buffer.removeAll()
    var places: [UInt64] = []
    for frame in frames {
      places.append(end + UInt64(buffer.count + RecordHeader.length))
      var body = ByteWriter(capacity: frame.header.headerLength)
      frame.header.encode(into: &body)
      let record = RecordHeader(kind: .frame, bodyLength: frame.header.totalLength, lsn: lsn, stamp: newStamp, durable: durable)
      unsafe frame.payload.withUnsafeBytes { unsafe record.encode(into: &buffer, body: body.bytes, $0, seed: seed) }
    }
    var body = ByteWriter(capacity: 256)
    operation.encode(into: &body, stamp: newStamp)
    guard body.count <= Limits.recordBytesMax else { throw .invalidArgument }
    unsafe RecordHeader(kind: .operation, bodyLength: body.count, lsn: lsn, stamp: newStamp, durable: durable)
      .encode(into: &buffer, body: body.bytes, seed: seed)
    try write()
    lastLSN = lsn
    stamp = newStamp
    return (lsn, places)
  }

  /// Attests in the log what is durable: the witness that a later damage of the tail is damage.
  func mark() throws(VaultError) {
    buffer.removeAll()
    unsafe RecordHeader(kind: .mark, bodyLength: 0, lsn: lastLSN, stamp: stamp, durable: durable).encode(into: &buffer, body: [], seed: seed)
    try write()
  }

  private func write() throws(VaultError) {
    guard let file else { throw .readOnly(reason: "its journal is closed") }
    do throws(VaultError) { try writeAll(buffer.bytes, to: file, at: end) } catch {
      // If this fails, too, nobody knows what is in the file: the vault becomes read-only.
      if try file.size() > end { try file.truncate(to: end) }
      throw error
    }
    end += UInt64(buffer.count)
    bytesUnsynced += UInt64(buffer.count)
  }

  /// Files with bytes that no sync has covered; the caller syncs them in this order.
  func takeUnsynced() -> [any DiskFile] {
    defer {
      unsynced = file.map { [$0] } ?? []
      bytesUnsynced = 0
    }
    return unsynced
  }

  /// As if it were so late, and time stood still from here on: for tests, which do not wait for an hour to pass.
  func advance(to later: UInt64) {
    stamp = max(stamp, later)
    clock.stop()
  }

  /// Not before the last stamp.
  func now() -> UInt64 { max(clock.now(after: stamp), stamp) }
}
