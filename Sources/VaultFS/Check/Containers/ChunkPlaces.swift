// Every chunk is where its row says: in a container that is there, in a frame with a valid header that names it, whose base
// is there too, kept and noted. What the bytes are, a scrub tells.
//
// What must stay true: containers are read in their order, for so many chunks at a time that memory is bounded. A chunk that
// looked wrong is looked up again in the vault with its lock held: the optimiser may have moved it.

enum ChunkPlaces {
  /// Rows that are sorted at once.
  private static let window: UInt64 = 1 << 18

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let reader = PlaceReader(work.vault.containers), all = Double(max(copy.state.counters.chunks, 1))
    var next: UInt64? = 0, done = 0
    var told: Set<Pair> = []
    while let first = next {
      var rows: [StoredChunk] = []
      next = nil
      try copy.each("SELECT \(StoredChunk.columns) FROM chunk WHERE number >= ?1 ORDER BY number LIMIT ?2", first, window, work: work) { row in
        next = row.unsigned(0) + 1
        if let chunk = StoredChunk(row), !chunk.isNowhere { rows.append(chunk) }
      }
      rows.sort { ($0.place.frame.container.value, $0.place.frame.offset, $0.place.offsetInFrame) < ($1.place.frame.container.value, $1.place.frame.offset, $1.place.offsetInFrame) }
      for chunk in rows {
        done += 1
        if done & 0x3FF == 0 { try work.proceed(Double(done) / all) }
        if try !isFine(chunk, reader) { try lookAgain(at: chunk, work) } else {
          try expectBase(chunk, reader, copy, &told, work)
        }
      }
    }
  }

  private static func isFine(_ chunk: StoredChunk, _ reader: PlaceReader) throws -> Bool {
    // A container that goes away while it is read is met again below.
    (try? reader.trouble(with: chunk) == nil) ?? false
  }

  private static func lookAgain(at chunk: StoredChunk, _ work: CheckWork) throws {
    let vault = work.vault
    let found = try vault.lock.withLock { () throws(VaultError) -> (StoredChunk, PlaceTrouble)? in
      guard let now = try vault.metadata.storedChunk(chunk.number), !now.isNowhere, let trouble = try PlaceReader(vault.containers).trouble(with: now) else { return nil }
      return (now, trouble)
    }
    // What is missing with others is told once (ContainerMissing, ContainerShort).
    guard let (now, trouble) = found, ![.containerMissing, .containerShort].contains(trouble.kind) else { return }
    let frame = now.place.frame, kind = vault.containers.kind(frame.container)
    work.found(Finding(trouble.kind, chunk: now.id, file: kind.map { ContainerStore.path(frame.container, $0) }, byte: frame.offset, table: "chunk", key: [now.number], trouble.detail))
  }

  /// A base's container is kept, and known to be needed where the frame is: else a collection would not move the frame before it
  /// takes the base away.
  private static func expectBase(_ chunk: StoredChunk, _ reader: PlaceReader, _ copy: ViewCopy, _ told: inout Set<Pair>, _ work: CheckWork) throws {
    let number = chunk.place.frame.container
    guard let base = try? reader.header(at: chunk.place.frame)?.base, told.count < toldMax, told.insert(Pair(base: base.container, of: number)).inserted else { return }
    func tell(_ kind: Finding.Kind, _ detail: String) {
      work.found(Finding(kind, file: ContainerStore.path(base.container, .pack), byte: base.offset, table: "container", key: [base.container.value, number.value], detail))
    }
    // What looks wrong is asked of the vault itself: the frame may be gone by now.
    func isSo(_ wrong: (ContainerUses) -> Bool) -> Bool {
      wrong(copy.state.containers) && work.vault.lock.withLock {
        wrong(work.vault.metadata.state.containers) && (try? work.vault.metadata.storedChunk(chunk.number))??.place.frame == chunk.place.frame
      }
    }
    if isSo({ !$0.isKept(base.container) }) { tell(.baseKept, "frames need container \(base.container.value), and it is not kept for them") }
    if base.container != number, isSo({ !$0.isBase(base.container, of: number) }) {
      tell(.baseNoted, "frames in container \(number.value) need container \(base.container.value), and that is not noted")
    }
  }

  private struct Pair: Hashable { var base: ContainerNumber, of: ContainerNumber }
  private static let toldMax = 1 << 16
}

extension Metadata {
  /// Chunks that are read from a container, in the order of their numbers. (Looks through all that there are.)
  func chunks(in container: ContainerNumber, from first: UInt64, count: UInt64) throws(VaultError) -> [StoredChunk] {
    let select = try database.prepare("SELECT \(StoredChunk.columns) FROM chunk WHERE container = ? AND number >= ? ORDER BY number LIMIT ?")
    select.bind(1, container.value)
    select.bind(2, first)
    select.bind(3, count)
    var found: [StoredChunk] = []
    while try select.step() { if let chunk = StoredChunk(select) { found.append(chunk) } }
    return found
  }

  /// The row of a chunk, if there is one.
  func storedChunk(_ number: UInt64) throws(VaultError) -> StoredChunk? {
    let select = try database.prepare("SELECT \(StoredChunk.columns) FROM chunk WHERE number = ?")
    select.bind(1, number)
    return try select.step() ? StoredChunk(select) : nil
  }
}
