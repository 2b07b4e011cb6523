// The idle optimiser: what was written fast is written small. It moves the chunks of journal segments and of fresh
// packs into packs of larger frames, compressed with zstd, similar chunks against each other; then the old container
// goes: a pack is removed, a segment is archived without its frames.
//
// What must stay true:
// 1. The new frames are durable before the view points to them, and the view is durable (checkpointed) before the
//    old container goes. A crash at any point leaves at least one copy that the view points to, and at worst a superfluous pack.
// 2. Only what was read to its end goes, and only when no chunk is read from it any more. What saves did not write
//    (packs of an optimiser, whose frames others may need as base) is never moved or removed.
// 3. It works only while nobody else does, and gives way within one frame, or the last steps of one container. (A collection has it empty
//    segments with much that is dead, whoever is at work: it rests between frames then.)
// 4. A frame goes without a copy only where a collection has forgotten what was in it, and the operations that ended the last references
//    are durable and attested.
// One runs at a time, in the thread of OptimiserThread.

import Glibc

final class Optimiser {
  private let vault: Vault
  private let mayGoOn: () -> Bool
  private var index = SimilarityIndex()
  /// Containers that could not be worked on; not tried again before the next mount.
  private var refused: Set<ContainerNumber> = []

  /// - Parameter mayGoOn: false as soon as someone else needs the computer.
  init(_ vault: Vault, mayGoOn: @escaping () -> Bool) { (self.vault, self.mayGoOn) = (vault, mayGoOn) }

  /// Journal bytes worth ending a segment for.
  private static let segmentBytesMin: UInt64 = 64 << 10
  /// A pack of which less than this share compresses stays as it is.
  private static let compressibleShareMin = 0.1

  /// Improves everything that can be improved now.
  func run() throws(VaultError) {
    guard mayGoOn(), !vault.isReadOnly, hasRoom(for: 0) else { return }
    for container in try waiting() {
      guard mayGoOn(), hasRoom(for: (try? vault.containers.file(container).size()) ?? 0) else { break }
      try attempt(container)
    }
    // What was noted of containers would else wait for the next change of the vault.
    if mayGoOn(), vault.lock.withLock({ vault.metadata.inTransaction }) { try vault.checkpoint() }
  }

  /// Both copies are there for a while.
  private func hasRoom(for bytes: UInt64) -> Bool { (try? vault.checkRoom(for: Int(clamping: bytes))) != nil }

  /// The containers nobody writes any more, whose frames are all in the view, in the order in which they were begun.
  private func waiting() throws(VaultError) -> [ContainerNumber] {
    let current = try vault.lock.withLock { () throws(VaultError) in
      try vault.checkWritable()
      if vault.journal.end > Self.segmentBytesMin { try vault.rotate() }
      return vault.journal.segment
    }
    let next = vault.containers.next
    try vault.packs.seal()
    guard vault.packs.isQuiet else { return [] }
    let finished = vault.containers.numbers(.pack).filter { $0.value < next } + vault.containers.numbers(.segment).filter { $0 < current }
    return vault.lock.withLock { finished.filter { !refused.contains($0) && !vault.metadata.state.containers.isKept($0) } }.sorted()
  }

  /// Gives back what is dead in a finished segment: what is read from it moves, and it becomes an archive.
  /// - Returns: bytes that the vault's folder has fewer.
  func empty(_ segment: ContainerNumber) throws(VaultError) -> Int64 {
    if refused.contains(segment) || vault.lock.withLock({ vault.metadata.state.containers.isKept(segment) }) { return 0 }
    let before = try vault.containers.file(segment).size(), added = try attempt(segment)
    guard vault.containers.kind(segment) == .archive else { return 0 }
    return Int64(clamping: before) - Int64(clamping: try vault.containers.file(segment).size()) - Int64(clamping: added)
  }

  /// Improves a container. What is wrong with one is no reason to leave the others as they are.
  /// - Returns: bytes of what is new.
  @discardableResult
  private func attempt(_ container: ContainerNumber) throws(VaultError) -> UInt64 {
    do throws(VaultError) { return try improve(container) } catch {
      if case .diskFull = error { throw error }
      if vault.lock.withLock({ vault.failure != nil }) { throw error }
      refused.insert(container)
      say(container, "\(error)")
      return 0
    }
  }

  private func improve(_ container: ContainerNumber) throws(VaultError) -> UInt64 {
    guard let contents = try ContainerContents(of: container, in: vault) else {
      noteIfJournal(container)
      try keep(container, because: "it cannot be read to its end; it is damaged, or its owner was killed")
      return 0
    }
    if !contents.isSegment, !(try isWorthIt(contents)) {
      try keep(container)
      return 0
    }
    let damaged = vault.damagedChunks
    guard let uses = try uses(of: contents) else { return 0 }
    let forgets = forgotAllUnknown(of: contents, uses)
    guard let builder = try rewrite(contents, uses, forgets: forgets) else { return 0 }
    try settle(builder, from: container)
    index = builder.index
    if forgets { try vault.mark() }
    // What is noted as damaged since may be whole in it: the next time it is looked at for that.
    if vault.damagedChunks <= damaged { try retire(contents) }
    return try builder.pack.begun.map { number throws(VaultError) in try vault.containers.file(number).size() } ?? 0
  }

  /// What the view says of a chunk in a frame.
  private enum Use {
    /// Where it is read from.
    case here, elsewhere
    /// It is noted as damaged, or not known.
    case damaged, unknown
  }

  /// - Returns: those of each frame's chunks; nil where it had to give way.
  private func uses(of contents: ContainerContents) throws(VaultError) -> [[Use]]? {
    var all: [[Use]] = []
    for (header, offset) in contents.frames {
      guard mayGoOn() else { return nil }
      let frame = contents.place(of: header, at: offset)
      all.append(try vault.lock.withLock { () throws(VaultError) in
        var uses: [Use] = []
        for chunk in header.chunks {
          switch try vault.metadata.isStored(chunk.id) {
          case true?: uses.append(try vault.metadata.frame(of: chunk.id) == frame ? .here : .elsewhere)
          case false?: uses.append(.unknown)
          case nil: uses.append(.damaged)
          }
        }
        return uses
      })
    }
    return all
  }

  /// Whether all in a container that the view does not know was forgotten by collections, which count what they forget. (Content that they
  /// had forgotten and that came again is somewhere else.) Else it may be the only copy of something, whatever the reason.
  private func forgotAllUnknown(of contents: ContainerContents, _ uses: [[Use]]) -> Bool {
    let dead = vault.lock.withLock { vault.metadata.state.containers.dead(in: contents.number) }
    var unknown: UInt64 = 0
    for ((header, _), uses) in zip(contents.frames, uses) { for (chunk, use) in zip(header.chunks, uses) where use == .unknown { unknown += UInt64(chunk.length) } }
    return dead > 0 && unknown <= dead
  }

  /// A finished segment goes on to where the next one begins, but for damage; of a pack a killed owner may have left a part.
  private func noteIfJournal(_ container: ContainerNumber) {
    guard vault.containers.kind(container) == .segment else { return }
    let file = "\(vault.path)/\(ContainerStore.path(container, .segment))"
    vault.lock.withLock {
      vault.noteDamage("a record in \(file) cannot be read. The database knows what it said, so keep that, and put this file back from a copy: a rebuild ends there, or does without what the record held")
    }
  }

  /// Leaves a container alone from now on.
  private func keep(_ container: ContainerNumber, because reason: String? = nil) throws(VaultError) {
    try vault.changeView { $0.state.containers.keep(container) }
    if let reason { say(container, reason) }
  }

  private func say(_ container: ContainerNumber, _ reason: String) {
    let file = ContainerStore.path(container, vault.containers.kind(container) ?? .pack)
    vault.log("\(vault.path)/\(file) is not made smaller, and stays as it is: \(reason). What can be read from it still can")
  }

  // MARK: Choosing

  /// Whether a pack is one that saves wrote, and enough of it compresses.
  private func isWorthIt(_ pack: ContainerContents) throws(VaultError) -> Bool {
    var compressible = 0, all = 0
    for (header, offset) in pack.frames {
      guard header.chunks.count == 1, header.codec == .raw || header.codec == .lz4 else { return false }
      all += header.plainLength
      let isCompressible = header.codec == .lz4 ? true : try saves(header, at: offset, pack.file)
      if isCompressible { compressible += header.plainLength }
    }
    return Double(compressible) >= Self.compressibleShareMin * Double(all)
  }

  /// Whether a raw frame is raw only because its writer was in a hurry.
  private func saves(_ header: FrameHeader, at offset: UInt64, _ file: any DiskFile) throws(VaultError) -> Bool {
    let sample = Buffer(capacity: Encoder.sampleBytes)
    defer { withExtendedLifetime(sample) {} }
    let part = unsafe UnsafeMutableRawBufferPointer(start: sample.base, count: min(header.plainLength, Encoder.sampleBytes))
    sample.count = try unsafe file.read(into: part, at: offset + UInt64(header.headerLength))
    return sample.count > 0 && vault.encoders.with { unsafe $0.saves(1, of: 32, sample.bytes) }
  }

  // MARK: Moving

  /// Writes what is still read from a container to a new pack.
  /// - Parameter forgets: what the view does not know is dead.
  /// - Returns: nil where it had to give way.
  private func rewrite(_ contents: ContainerContents, _ uses: [[Use]], forgets: Bool) throws(VaultError) -> FrameBuilder? {
    // One pack, however long: a frame's base is then in its own pack before it, or in one that is durable.
    let pack = PackWriter(containers: vault.containers, vault: vault.configuration.id, bytesMax: .max)
    let builder = FrameBuilder(vault, pack: pack, index: index) { [mayGoOn] in _ = mayGoOn() }
    do throws(VaultError) {
      for ((header, offset), uses) in zip(contents.frames, uses) {
        guard mayGoOn() else {
          abandon(pack)
          return nil
        }
        let wanted = uses.map { $0 == .here || $0 == .damaged || $0 == .unknown && !forgets }
        guard wanted.contains(true) else { continue }
        try move(header, at: offset, of: contents, wanted, isKnown: zip(uses, wanted).allSatisfy { !$1 || $0 == .here }, to: builder)
      }
      try builder.finish()
      try pack.seal()
      return builder
    } catch {
      abandon(pack)
      throw error
    }
  }

  /// Nothing points to the new pack yet, nor will.
  private func abandon(_ pack: PackWriter) {
    guard let number = pack.begun else { return }
    do throws(VaultError) { try vault.containers.remove(number) } catch { vault.log("a superfluous pack is left: \(error)") }
  }

  /// Adds the chunks of a frame that are wanted.
  /// - Parameter isKnown: the view points to all of them here.
  private func move(_ header: FrameHeader, at offset: UInt64, of contents: ContainerContents, _ wanted: [Bool], isKnown: Bool, to builder: FrameBuilder) throws(VaultError) {
    let decoded = try vault.frame(at: contents.place(of: header, at: offset), in: contents.file)
    // Whatever the reason, this may be the only copy; and of what is noted as damaged it is the sound one, if it can be read.
    if !isKnown {
      try vault.changeView { metadata throws(VaultError) in
        // A collection may have forgotten it, and what it takes is counted still: unless there is not that much.
        let isCounted = metadata.state.containers.frames(in: contents.number) >= header.totalLength
        try metadata.insert(header, at: offset, in: contents.number, isCounted: isCounted)
        // Nothing may refer to it.
        metadata.state.lapses &+= 1
      }
    }
    var within: UInt32 = 0
    for (chunk, isWanted) in zip(header.chunks, wanted) {
      if isWanted {
        let added: Result<Void, VaultError>? = unsafe decoded.withChunk(chunk.id, at: within) { plain in
          do throws(VaultError) { return unsafe .success(try builder.add(chunk, plain)) } catch { return .failure(error) }
        }
        try added?.get()
      }
      within += chunk.length
    }
    builder.note(moved: header)
  }

  /// Makes the new frames durable, then points the view at them, then makes that durable.
  private func settle(_ builder: FrameBuilder, from container: ContainerNumber) throws(VaultError) {
    do throws(VaultError) { try builder.pack.sync() } catch { throw vault.lock.withLock { vault.fail(error) } }
    try vault.changeView { metadata in
      for number in builder.needed { metadata.state.containers.keep(number) }
      if let pack = builder.pack.begun {
        for base in builder.bases { metadata.state.containers.addBase(base, of: pack) }
        metadata.state.containers.addFrames(builder.frameBytes, to: pack)
      }
    }
    try vault.point(to: builder.moves, from: { _ in container }) { _ = mayGoOn() }
    // Not before: as long as something is read from it, its frames take something.
    try vault.changeView { $0.state.containers.addFrames(-builder.movedBytes, to: container) }
    try vault.checkpoint()
  }

  // MARK: Ending

  /// The container goes, if nothing is read from it any more.
  private func retire(_ contents: ContainerContents) throws(VaultError) {
    let number = contents.number
    // Nobody writes to it, so what nobody reads from it now, nobody ever will.
    if vault.lock.withLock({ vault.metadata.state.containers.isNeeded(number) }) {
      return try keep(number, because: "something is read from it that was not found in it")
    }
    if contents.isSegment { try archive(number, contents.records) } else { try vault.containers.remove(number) }
    try vault.changeView { $0.state.containers.forget(number) }
  }

  private func archive(_ segment: ContainerNumber, _ records: [UInt8]) throws(VaultError) {
    let disk = vault.containers.disk, temporary = "journal/archive.new"
    guard let archive = try? JournalArchive.encode(records) else { throw .journalDamaged(detail: "segment \(segment.value) cannot be archived") }
    // Decoded once before the segment goes, like everything that is encoded.
    guard unsafe archive.withUnsafeBytes({ unsafe JournalArchive.decode($0) }).map({ $0.holds(records) }) == true else {
      throw .journalDamaged(detail: "the archive of segment \(segment.value) does not decode to the same")
    }
    if disk.exists(temporary) { try disk.remove(temporary) }
    let file = try disk.open(temporary, .create)
    try writeAll(archive, to: file, at: 0)
    do throws(VaultError) {
      try file.sync()
      try disk.rename(temporary, to: ContainerStore.path(segment, .archive))
      try disk.syncDirectory("journal")
    } catch { throw vault.lock.withLock { vault.fail(error) } }
    try vault.containers.becomeArchive(segment)
  }
}

extension Buffer {
  fileprivate func holds(_ other: [UInt8]) -> Bool {
    defer { withExtendedLifetime(self) {} }
    return unsafe count == other.count && other.withUnsafeBytes { unsafe count == 0 || memcmp(base, $0.baseAddress!, count) == 0 }
  }
}
