// Appends frames to the pack being written, and seals it when it is full. The byte table is in docs/format.md.
//
//   header { magic u32 · version u16 · 0 u16 · vault id 16 · container u64 · CRC-32 u32 } · frames ·
//   footer { magic u32 · frames u32 · end of frames u64 · CRC-32 over the frames' header checksums u32 · CRC-32 u32 }
//
// What must stay true: a sealed pack never changes. `settled` is a place before which every frame is in the view, so
// that recovery need only look at frames after it. Thread-safe.

import Synchronization

struct PackHeader {
  static let magic: UInt32 = 0x4B41_5056  // "VPAK"
  static let version: UInt16 = 1
  static let length = 36

  static func encoded(vault: NodeID, number: ContainerNumber) -> [UInt8] {
    var w = ByteWriter(capacity: length)
    w.u32(magic); w.u16(version); w.u16(0); w.id(vault); w.u64(number.value)
    w.u32(w.bytes.withUnsafeBytes { Checksum.crc32($0) })
    return w.bytes
  }

  static func check(_ bytes: UnsafeRawBufferPointer, vault: NodeID, number: ContainerNumber) -> Bool {
    encoded(vault: vault, number: number).withUnsafeBytes { $0.elementsEqual(bytes) }
  }
}

struct PackFooter {
  static let magic: UInt32 = 0x5446_5056  // "VPFT"
  static let length = 24
}

final class PackWriter: Sendable {
  struct Position: Comparable, Sendable {
    var container: ContainerNumber
    var offset: UInt64
    static func < (a: Position, b: Position) -> Bool { (a.container.value, a.offset) < (b.container.value, b.offset) }
  }
  /// A run of appends whose frames are not all in the view yet.
  struct Batch: Sendable { fileprivate let number: Int }

  private struct State {
    var file: (any DiskFile)?
    var number = ContainerNumber(0)
    var end: UInt64 = 0
    var frames: UInt32 = 0
    var crc: UInt32 = 0
    var batches: [Int: Position] = [:]
    var nextBatch = 0
    var unsynced: [any DiskFile] = []
    var unsyncedDirectory = false
    var made: [ContainerNumber] = []
    var bytesUnsynced: UInt64 = 0
  }
  private let state = Mutex(State())
  private let containers: ContainerStore
  private let vault: NodeID
  private let isOptimised: Bool

  /// - Parameter settled: every frame of every container before this one is in the view.
  /// - Parameter unsynced: older packs that no flush may have covered.
  /// - Parameter isOptimised: its packs need no further work.
  init(containers: ContainerStore, vault: NodeID, settled: ContainerNumber = ContainerNumber(0), unsynced: [any DiskFile] = [], isOptimised: Bool = false) {
    (self.containers, self.vault, self.isOptimised) = (containers, vault, isOptimised)
    state.withLock { state in
      state.number = settled
      state.unsynced = unsynced
      state.unsyncedDirectory = !unsynced.isEmpty
    }
  }

  /// The packs begun so far.
  var made: [ContainerNumber] { state.withLock { $0.made } }

  var bytesUnsynced: UInt64 { state.withLock { $0.bytesUnsynced } }

  /// Makes everything appended so far durable.
  func sync() throws(VaultError) {
    let (files, directory) = takeUnsynced()
    for file in files { try file.sync() }
    if directory { try containers.disk.syncDirectory("packs") }
  }

  func beginBatch() -> Batch {
    state.withLock { state in
      state.nextBatch += 1
      state.batches[state.nextBatch] = Position(container: state.number, offset: state.end)
      return Batch(number: state.nextBatch)
    }
  }
  /// The frames of `batch` are in the view, or never will be.
  func end(_ batch: Batch) { state.withLock { $0.batches[batch.number] = nil } }

  /// Whether every frame appended so far is in the view.
  var isQuiet: Bool { state.withLock { $0.batches.isEmpty } }

  var settled: Position {
    state.withLock { state in state.batches.values.min() ?? Position(container: state.number, offset: state.end) }
  }

  func append(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer) throws(VaultError) -> Position {
    var w = ByteWriter(capacity: header.headerLength)
    header.encode(into: &w)
    let bytes = w.bytes
    let result: Result<Position, VaultError> = state.withLock { state in
      do throws(VaultError) {
        if state.end >= Limits.packBytes { try seal(&state) }
        if state.file == nil { try start(&state) }
        let position = Position(container: state.number, offset: state.end)
        try writeAll(bytes, to: state.file!, at: state.end)
        try state.file!.write(payload, at: state.end + UInt64(bytes.count))
        state.end += UInt64(header.totalLength)
        state.frames += 1
        state.bytesUnsynced += UInt64(header.totalLength)
        state.crc = Array(bytes.suffix(4)).withUnsafeBytes { Checksum.crc32($0, seed: state.crc) }
        return .success(position)
      } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// Files with bytes that no sync has covered; the caller syncs them.
  func takeUnsynced() -> (files: [any DiskFile], directory: Bool) {
    state.withLock { state in
      defer {
        state.unsynced = state.file.map { [$0] } ?? []
        state.bytesUnsynced = 0
        state.unsyncedDirectory = false
      }
      return (state.unsynced, state.unsyncedDirectory)
    }
  }

  /// Ends the pack being written, if any.
  func seal() throws(VaultError) {
    let error: VaultError? = state.withLock { state in
      do throws(VaultError) { try seal(&state); return nil } catch { return error }
    }
    if let error { throw error }
  }

  private func start(_ state: inout State) throws(VaultError) {
    let number = containers.takeNumber()
    let file = try containers.disk.open(ContainerStore.path(number, .pack), .create)
    let header = PackHeader.encoded(vault: vault, number: number)
    try writeAll(header, to: file, at: 0)
    containers.add(number, .pack, file)
    state.file = file
    state.number = number
    state.end = UInt64(header.count)
    state.frames = 0
    state.crc = 0
    state.unsynced.append(file)
    state.unsyncedDirectory = true
    state.made.append(number)
    if isOptimised { containers.setOptimised(number) }
  }

  private func seal(_ state: inout State) throws(VaultError) {
    guard let file = state.file else { return }
    try writeAll(Self.footer(frames: state.frames, end: state.end, crc: state.crc), to: file, at: state.end)
    state.file = nil
  }

  static func footer(frames: UInt32, end: UInt64, crc: UInt32) -> [UInt8] {
    var w = ByteWriter(capacity: PackFooter.length)
    w.u32(PackFooter.magic); w.u32(frames); w.u64(end); w.u32(crc)
    w.u32(w.bytes.withUnsafeBytes { Checksum.crc32($0) })
    return w.bytes
  }
}

func writeAll(_ bytes: [UInt8], to file: any DiskFile, at offset: UInt64) throws(VaultError) {
  let error: VaultError? = bytes.withUnsafeBytes { raw in
    do throws(VaultError) { try file.write(raw, at: offset); return nil } catch { return error }
  }
  if let error { throw error }
}
