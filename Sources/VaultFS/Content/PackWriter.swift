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
    unsafe w.u32(w.bytes.withUnsafeBytes { unsafe Checksum.crc32($0) })
    return w.bytes
  }

  /// Whether `file` begins with the header of the pack `number` of this vault.
  static func check(_ file: any DiskFile, vault: NodeID, number: ContainerNumber) throws(VaultError) -> Bool {
    let buffer = Buffer(capacity: length)
    defer { withExtendedLifetime(buffer) {} }
    buffer.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: length), at: 0)
    return unsafe encoded(vault: vault, number: number).withUnsafeBytes { unsafe $0.elementsEqual(buffer.bytes) }
  }
}

/// What a pack holds, summed up: what its footer says, and what whoever walks its frames finds.
struct PackFooter: Equatable {
  static let magic: UInt32 = 0x5446_5056  // "VPFT"
  static let length = 24

  private(set) var frames: UInt32 = 0
  /// Where the frames end.
  private(set) var end = UInt64(PackHeader.length)
  /// Over the checksums of the frames' headers.
  private var crc: UInt32 = 0

  /// Of a pack without frames.
  init() {}

  /// A frame more.
  mutating func add(_ header: FrameHeader) {
    var w = ByteWriter(capacity: header.headerLength)
    header.encode(into: &w)
    add(header, encoded: w.bytes)
  }
  mutating func add(_ header: FrameHeader, encoded: [UInt8]) {
    frames &+= 1
    end += UInt64(header.totalLength)
    crc = unsafe encoded.withUnsafeBytes { unsafe Checksum.crc32(UnsafeRawBufferPointer(rebasing: $0.suffix(4)), seed: crc) }
  }

  func encoded() -> [UInt8] {
    var w = ByteWriter(capacity: Self.length)
    w.u32(Self.magic); w.u32(frames); w.u64(end); w.u32(crc)
    unsafe w.u32(w.bytes.withUnsafeBytes { unsafe Checksum.crc32($0) })
    return w.bytes
  }

  /// What the footer of `file` says; nil where there is none: its owner did not end cleanly, or it is damaged.
  init?(of file: any DiskFile) throws(VaultError) {
    let size = try file.size()
    guard size >= UInt64(PackHeader.length + Self.length) else { return nil }
    let buffer = Buffer(capacity: Self.length)
    defer { withExtendedLifetime(buffer) {} }
    buffer.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: Self.length), at: size - UInt64(Self.length))
    do throws(Malformed) {
      var r = unsafe ByteReader(buffer.bytes)
      guard try r.u32() == Self.magic else { return nil }
      (frames, end, crc) = (try r.u32(), try r.u64(), try r.u32())
    } catch { return nil }
    // Its own checksum, and that it stands where the frames end.
    guard unsafe encoded().elementsEqual(buffer.bytes), end == size - UInt64(Self.length) else { return nil }
  }
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
    /// Of the pack being written, as it would be sealed now.
    var footer: PackFooter?
    var end: UInt64 { footer?.end ?? 0 }
    var batches: [Int: Position] = [:]
    var nextBatch = 0
    var unsynced: [any DiskFile] = []
    var unsyncedDirectory = false
    var begun: ContainerNumber?
    var bytesUnsynced: UInt64 = 0
  }
  private let state = Mutex(State())
  private let containers: ContainerStore
  private let vault: NodeID
  private let bytesMax: UInt64
  /// Of a payload, what is written at once where somebody may wait for the processor.
  private static let partBytes = 64 << 10

  /// - Parameter unsynced: older packs that no flush may have covered.
  /// - Parameter bytesMax: where one pack ends and the next begins.
  init(containers: ContainerStore, vault: NodeID, unsynced: [any DiskFile] = [], bytesMax: UInt64 = Limits.packBytes) {
    (self.containers, self.vault, self.bytesMax) = (containers, vault, bytesMax)
    state.withLock { state in
      state.unsynced = unsynced
      state.unsyncedDirectory = !unsynced.isEmpty
    }
  }

  /// The pack begun last, if any.
  var begun: ContainerNumber? { state.withLock { $0.begun } }

  var bytesUnsynced: UInt64 { state.withLock { $0.bytesUnsynced } }

  /// Makes everything appended so far durable.
  /// - Returns: the pack being written, or the next: those before it are durable as a whole.
  @discardableResult
  func sync() throws(VaultError) -> ContainerNumber {
    let (files, directory, number) = takeUnsynced()
    for file in files { try file.sync() }
    if directory { try containers.disk.syncDirectory("packs") }
    return number
  }

  func beginBatch() -> Batch {
    state.withLock { state in
      state.nextBatch += 1
      state.batches[state.nextBatch] = end(of: state)
      return Batch(number: state.nextBatch)
    }
  }
  /// The frames of `batch` are in the view, or never will be.
  func end(_ batch: Batch) { state.withLock { $0.batches[batch.number] = nil } }

  /// Whether it is the pack being written, or one whose frames are not all in the view.
  func isUnsettled(_ pack: ContainerNumber) -> Bool {
    state.withLock { state in state.file != nil && state.number == pack || state.batches.values.contains { $0.container <= pack } }
  }

  /// The saves that are under way.
  var openBatches: Set<Int> { state.withLock { Set($0.batches.keys) } }

  /// Whether every frame appended so far is in the view.
  var isQuiet: Bool { state.withLock { $0.batches.isEmpty } }

  /// Where nothing is being written, that is beyond all packs, also those that others wrote: recovery need not look at them.
  var settled: Position { state.withLock { state in state.batches.values.min() ?? end(of: state) } }

  /// Where the next frame would be; where no pack is being written, no pack begun from here on has a smaller number.
  private func end(of state: borrowing State) -> Position {
    state.file == nil ? Position(container: ContainerNumber(containers.next), offset: 0) : Position(container: state.number, offset: state.end)
  }

  /// - Parameter pause: called between parts of the payload, with the writer's lock held.
  func append(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer, pause: (() -> Void)? = nil) throws(VaultError) -> Position {
    var w = ByteWriter(capacity: header.headerLength)
    header.encode(into: &w)
    let bytes = w.bytes
    let result: Result<Position, VaultError> = state.withLock { state in
      do throws(VaultError) {
        if state.end >= bytesMax { try seal(&state) }
        if state.file == nil { try start(&state) }
        let position = Position(container: state.number, offset: state.end)
        try unsafe write(bytes, payload, to: state.file!, at: state.end, pause)
        state.bytesUnsynced += UInt64(header.totalLength)
        state.footer!.add(header, encoded: bytes)
        return .success(position)
      } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// What a failed write leaves behind goes: the footer must be the last thing in the file, and the next frame may be shorter.
  private func write(_ header: [UInt8], _ payload: UnsafeRawBufferPointer, to file: any DiskFile, at end: UInt64, _ pause: (() -> Void)?) throws(VaultError) {
    do throws(VaultError) {
      try writeAll(header, to: file, at: end)
      let part = pause == nil ? payload.count : Self.partBytes
      for start in stride(from: 0, to: payload.count, by: max(part, 1)) {
        try unsafe file.write(UnsafeRawBufferPointer(rebasing: payload[start..<min(start + part, payload.count)]), at: end + UInt64(header.count + start))
        pause?()
      }
    } catch {
      try? file.truncate(to: end)
      throw error
    }
  }

  /// Files with bytes that no sync has covered.
  private func takeUnsynced() -> (files: [any DiskFile], directory: Bool, number: ContainerNumber) {
    state.withLock { state in
      defer {
        state.unsynced = state.file.map { [$0] } ?? []
        state.bytesUnsynced = 0
        state.unsyncedDirectory = false
      }
      return (state.unsynced, state.unsyncedDirectory, end(of: state).container)
    }
  }

  /// The pack is gone: it needs no flush, and its bytes are free when nobody has it open.
  func forget(_ pack: ContainerNumber) {
    let path = ContainerStore.path(pack, .pack)
    state.withLock { state in state.unsynced.removeAll { $0.path.hasSuffix(path) } }
  }

  /// Ends the pack being written, if any.
  func seal() throws(VaultError) {
    let error: VaultError? = state.withLock { state in
      do throws(VaultError) { try seal(&state); return nil } catch { return error }
    }
    if let error { throw error }
  }

  private func start(_ state: inout State) throws(VaultError) {
    let number = containers.takeNumber(), path = ContainerStore.path(number, .pack)
    let file = try containers.disk.open(path, .create)
    do throws(VaultError) { try writeAll(PackHeader.encoded(vault: vault, number: number), to: file, at: 0) } catch {
      try? containers.disk.remove(path)
      throw error
    }
    containers.add(number, .pack, file)
    state.file = file
    state.number = number
    state.footer = PackFooter()
    state.unsynced.append(file)
    state.unsyncedDirectory = true
    state.begun = number
  }

  private func seal(_ state: inout State) throws(VaultError) {
    guard let file = state.file, let footer = state.footer else { return }
    try writeAll(footer.encoded(), to: file, at: footer.end)
    containers.end(state.number)
    state.file = nil
  }
}

func writeAll(_ bytes: [UInt8], to file: any DiskFile, at offset: UInt64) throws(VaultError) {
  let error: VaultError? = unsafe bytes.withUnsafeBytes { raw in
    do throws(VaultError) { try unsafe file.write(raw, at: offset); return nil } catch { return error }
  }
  if let error { throw error }
}
