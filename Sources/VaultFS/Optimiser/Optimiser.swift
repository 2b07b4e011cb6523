// The idle optimiser: what was written fast is written small. It moves the chunks of journal segments and of fresh
// packs into packs of larger frames, compressed with zstd, similar chunks against each other; then the old container
// goes: a pack is removed, a segment is archived without its frames.
//
// What must stay true:
// 1. The new frames are durable before the view points to them, and the view is durable (checkpointed) before the
//    old container goes. A crash at any point leaves one good copy, and at worst a superfluous pack.
// 2. It works only while nobody else does, and gives way within one frame.
// It runs on the keeper's thread's behalf in a thread of its own; one at a time.

import Glibc

final class Optimiser {
  private let vault: Vault
  private let mayGoOn: () -> Bool
  private var index = SimilarityIndex()

  /// - Parameter mayGoOn: false as soon as someone else needs the computer.
  init(_ vault: Vault, mayGoOn: @escaping () -> Bool) { (self.vault, self.mayGoOn) = (vault, mayGoOn) }

  /// Journal bytes worth ending a segment for.
  private static let segmentBytesMin: UInt64 = 64 << 10
  /// A pack of which less than this share compresses stays as it is.
  private static let compressibleShareMin = 0.1
  /// View rows that are changed under one hold of the vault's lock.
  private static let movesPerHold = 500

  /// Improves everything that can be improved now.
  func run() throws(VaultError) {
    try vault.lock.withLock { () throws(VaultError) in
      guard vault.failure == nil, vault.journal.end > Self.segmentBytesMin else { return }
      try vault.journal.rotate(to: vault.containers.takeNumber())
      try vault.metadata.begin()
      vault.notePosition()
    }
    // Only packs that were begun before this, are sealed, and whose frames are all in the view.
    let next = vault.containers.next
    try vault.packs.seal()
    guard vault.packs.isQuiet else { return }
    let (current, done) = vault.lock.withLock { (vault.journal.segment, vault.metadata.state.optimised) }
    let fresh = vault.containers.numbers(.pack).filter { $0.value >= done && $0.value < next && !vault.containers.isOptimised($0) }
    let segments = vault.containers.numbers(.segment).filter { $0 < current }
    for container in (fresh + segments).sorted() {
      guard mayGoOn() else { return }
      try improve(container, isSegment: segments.contains(container))
    }
    vault.lock.withLock { vault.metadata.state.optimised = next }
  }

  private func improve(_ container: ContainerNumber, isSegment: Bool) throws(VaultError) {
    let file = try vault.containers.file(container)
    let frames = isSegment ? try segmentFrames(container) : try packFrames(container, file)
    guard let frames else { return vault.containers.setOptimised(container) }
    let pack = PackWriter(containers: vault.containers, vault: vault.configuration.id, isOptimised: true)
    let builder = FrameBuilder(vault, pack: pack, index: index)
    for (header, offset) in frames {
      guard mayGoOn() else { return try abandon(pack) }
      try move(header, at: offset, of: container, file, to: builder)
    }
    index = try builder.finish()
    try pack.seal()
    try settle(pack, builder, old: frames)
    if isSegment { try archive(container) } else { try vault.containers.remove(container) }
  }

  /// Interrupted: what was written of the new pack is superfluous.
  private func abandon(_ pack: PackWriter) throws(VaultError) {
    for number in pack.made { try vault.containers.remove(number) }
    index = SimilarityIndex()
  }

  private func packFrames(_ container: ContainerNumber, _ file: any DiskFile) throws(VaultError) -> [(FrameHeader, UInt64)]? {
    var frames: [(FrameHeader, UInt64)] = [], compressible = 0, all = 0
    _ = try PackScanner.frames(of: file, from: 0, verifyPayload: false) { header, at throws(VaultError) in
      frames.append((header, at))
      all += header.plainLength
      let saves = header.codec == .raw ? try saves(header, at: at, file) : header.codec == .lz4
      if saves { compressible += header.plainLength }
    }
    return Double(compressible) < Self.compressibleShareMin * Double(all) ? nil : frames
  }

  /// Whether a raw frame is raw only because its writer was in a hurry.
  private func saves(_ header: FrameHeader, at offset: UInt64, _ file: any DiskFile) throws(VaultError) -> Bool {
    let sample = Buffer(capacity: Encoder.sampleBytes)
    defer { withExtendedLifetime(sample) {} }
    let part = UnsafeMutableRawBufferPointer(start: sample.base, count: min(header.plainLength, Encoder.sampleBytes))
    sample.count = try file.read(into: part, at: offset + UInt64(header.headerLength))
    return sample.count > 0 && vault.encoders.with { $0.saves(1, of: 32, sample.bytes) }
  }

  private func segmentFrames(_ container: ContainerNumber) throws(VaultError) -> [(FrameHeader, UInt64)] {
    var frames: [(FrameHeader, UInt64)] = []
    try JournalReader(containers: vault.containers, vault: vault.configuration.id).scan(container) { record, body, offset in
      if record.kind == .frame, let header = try? FrameHeader(decoding: body) { frames.append((header, offset)) }
    }
    return frames
  }

  /// Adds the chunks of a frame that are still read from it.
  private func move(_ header: FrameHeader, at offset: UInt64, of container: ContainerNumber, _ file: any DiskFile, to builder: FrameBuilder) throws(VaultError) {
    let place = FramePlace(container: container, offset: offset, length: UInt32(header.totalLength))
    let wanted = try vault.lock.withLock { () throws(VaultError) in
      var wanted: [Bool] = []
      for chunk in header.chunks {
        let row = try vault.metadata.chunk(chunk.id).map { number throws(VaultError) in try vault.metadata.place(of: number) }
        wanted.append(row?.place.frame == place)
      }
      return wanted
    }
    guard wanted.contains(true) else { return }
    let frame = try vault.frame(at: place, in: file)
    var within: UInt32 = 0
    for (chunk, isWanted) in zip(header.chunks, wanted) {
      if isWanted {
        let added: Result<Void, VaultError>? = frame.withChunk(chunk.id, at: within) { plain in
          do throws(VaultError) { return .success(try builder.add(chunk, plain)) } catch { return .failure(error) }
        }
        try added?.get()
      }
      within += chunk.length
    }
  }

  /// Makes the new frames durable, then points the view at them, then makes that durable.
  private func settle(_ pack: PackWriter, _ builder: FrameBuilder, old: [(FrameHeader, UInt64)]) throws(VaultError) {
    do throws(VaultError) {
      try pack.sync()
      var moves = builder.moves[...]
      while !moves.isEmpty {
        let part = moves.prefix(Self.movesPerHold)
        moves = moves.dropFirst(part.count)
        try vault.lock.withLock { () throws(VaultError) in
          try vault.metadata.begin()
          for move in part { if let number = try vault.metadata.chunk(move.id) { try vault.metadata.move(number, to: move.place) } }
        }
      }
    } catch {
      throw vault.lock.withLock { vault.fail(error) }
    }
    vault.lock.withLock {
      vault.metadata.state.counters.frameBytes += Int64(builder.frameBytes) - old.reduce(0) { $0 + Int64($1.0.totalLength) }
    }
    try vault.checkpoint()
  }

  private func archive(_ segment: ContainerNumber) throws(VaultError) {
    let reader = JournalReader(containers: vault.containers, vault: vault.configuration.id)
    let plain = try reader.operations(of: segment)
    let disk = vault.containers.disk
    let temporary = "journal/archive.new"
    if disk.exists(temporary) { try disk.remove(temporary) }
    let file = try disk.open(temporary, .create)
    guard let archive = try? JournalArchive.encode(plain) else { throw .journalDamaged(detail: "segment \(segment.value) cannot be archived") }
    // Decoded once before the segment goes, like everything that is encoded.
    guard archive.withUnsafeBytes({ JournalArchive.decode($0) }).map({ buffer in buffer.bytes.elementsEqual(plain) }) == true else {
      throw .journalDamaged(detail: "the archive of segment \(segment.value) does not decode to the same")
    }
    try writeAll(archive, to: file, at: 0)
    try file.sync()
    try disk.rename(temporary, to: ContainerStore.path(segment, .archive))
    try disk.syncDirectory("journal")
    try vault.containers.becomeArchive(segment)
  }
}
