// Groups chunks into the optimiser's frames: in the order they come, in frames of 256 KiB; those that resemble a
// frame already written, in frames that are compressed against it.
//
// What must stay true: a base has no base itself; chunks keep their ids, so every reference to them stays right.
// Belongs to the optimiser's thread.

import Synchronization

final class FrameBuilder {
  /// A chunk's new place.
  struct Move {
    var id: ChunkID
    var place: ChunkPlace
  }

  private struct Group {
    var base: FramePlace?
    var buffer = Buffer(capacity: FrameBuilder.plainBytes + Limits.chunkBytesMax)
    var chunks: [FrameChunk] = []
    var sketches: [Sketch] = []
    var used = 0
  }
  /// Plain bytes of a frame, about. Larger ones compress little better and cost every random read.
  static let plainBytes = 256 << 10
  private static let level: Int32 = 3
  /// Frames against different bases that are being filled at once.
  private static let deltaGroupsMax = 4

  private let vault: Vault
  let pack: PackWriter
  /// Called between steps, of which none takes long: the kernel may let one that began run to its end whoever waits for the processor.
  private let pause: () -> Void
  private let encoder = Encoder()
  /// Of what was written before, and of what is.
  private(set) var index: SimilarityIndex
  private var solid = Group()
  private var deltas: [Group] = []
  private var clock = 0
  private(set) var moves: [Move] = []
  /// Bytes of the frames written, and of those whose chunks are in them now.
  private(set) var frameBytes = 0
  private(set) var movedBytes = 0
  private(set) var bases: Set<ContainerNumber> = []
  /// Containers that must stay from now on: the new pack, whose frames may become bases, and those with bases of its frames.
  var needed: Set<ContainerNumber> { bases.union(pack.begun.map { [$0] } ?? []) }

  init(_ vault: Vault, pack: PackWriter, index: SimilarityIndex, pause: @escaping () -> Void) {
    (self.vault, self.pack, self.index, self.pause) = (vault, pack, index, pause)
  }

  func add(_ chunk: FrameChunk, _ plain: UnsafeRawBufferPointer) throws(VaultError) {
    guard plain.count >= Sketch.bytesMin else { return try unsafe append(chunk, plain, sketch: nil, to: &solid) }
    let sketch = unsafe Sketch(of: plain)
    pause()
    guard let base = index.frame(like: sketch) else { return try unsafe append(chunk, plain, sketch: sketch, to: &solid) }
    clock += 1
    if let found = deltas.firstIndex(where: { $0.base == base }) {
      deltas[found].used = clock
      try unsafe append(chunk, plain, sketch: nil, to: &deltas[found])
    } else {
      if deltas.count == Self.deltaGroupsMax, let oldest = deltas.indices.min(by: { deltas[$0].used < deltas[$1].used }) {
        var group = deltas.remove(at: oldest)
        try write(&group)
      }
      var group = Group(base: base, used: clock)
      try unsafe append(chunk, plain, sketch: nil, to: &group)
      deltas.append(group)
    }
  }

  /// All that is still read of a frame was added.
  func note(moved header: FrameHeader) { movedBytes += header.totalLength }

  /// Writes what is begun.
  func finish() throws(VaultError) {
    for index in deltas.indices { try write(&deltas[index]) }
    deltas = []
    try write(&solid)
  }

  private func append(_ chunk: FrameChunk, _ plain: UnsafeRawBufferPointer, sketch: Sketch?, to group: inout Group) throws(VaultError) {
    // A frame's header may say more than any save writes.
    guard plain.count <= Limits.chunkBytesMax else { throw .chunkDamaged(detail: "a chunk of \(plain.count) bytes") }
    if group.buffer.count + plain.count > Self.plainBytes || group.chunks.count >= Limits.frameChunksMax { try write(&group) }
    unsafe UnsafeMutableRawBufferPointer(rebasing: group.buffer.space[group.buffer.count...]).copyMemory(from: plain)
    group.buffer.count += plain.count
    group.chunks.append(chunk)
    if let sketch { group.sketches.append(sketch) }
  }

  private func write(_ group: inout Group) throws(VaultError) {
    guard !group.chunks.isEmpty else { return }
    let buffer = group.buffer
    defer { withExtendedLifetime(buffer) {} }
    let codec: Codec, stored: UnsafeRawBufferPointer
    // A base that cannot be read is none: what resembles it must not suffer with it.
    if let base = group.base, let frame = try? vault.frame(at: base, in: try vault.containers.file(base.container), isBase: true) {
      unsafe (codec, stored) = unsafe frame.withBytes { unsafe encoder.zstd(buffer.bytes, level: Self.level, prefix: $0) }
    } else {
      unsafe (codec, stored) = unsafe encoder.zstd(buffer.bytes, level: Self.level)
    }
    pause()
    let header = unsafe FrameHeader(codec: codec, plain: buffer.count, stored: stored, base: group.base, chunks: group.chunks)
    if let base = header.base { bases.insert(base.container) }
    let position = try unsafe pack.append(header, stored, pause: pause)
    let place = FramePlace(container: position.container, offset: position.offset, length: UInt32(header.totalLength))
    var offset: UInt32 = 0
    for chunk in group.chunks {
      moves.append(Move(id: chunk.id, place: ChunkPlace(frame: place, offsetInFrame: offset)))
      offset += chunk.length
    }
    for sketch in group.sketches { index.insert(sketch, in: place) }
    frameBytes += header.totalLength
    group.chunks = []
    group.sketches = []
    group.buffer.count = 0
  }
}
