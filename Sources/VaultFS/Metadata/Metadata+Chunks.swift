// Which chunks the vault has, and where.

extension Metadata {
  /// Ids whose first 63 bits collide stand within this many numbers.
  static let numberWindow: UInt64 = 8

  static func firstNumber(of id: ChunkID) -> UInt64 { min(max(id.words.0 >> 1, 1), UInt64(Int64.max) - numberWindow) }

  /// The chunk with this id, if it is stored.
  /// - Parameter orMissing: also where all that is left of it is its number.
  func chunk(_ id: ChunkID, orMissing: Bool = false) throws(VaultError) -> ChunkNumber? { try find(id, orMissing: orMissing)?.number }

  private func find(_ id: ChunkID, orMissing: Bool) throws(VaultError) -> (number: ChunkNumber, container: ContainerNumber)? {
    let first = Self.firstNumber(of: id)
    let find = statements.findChunk
    find.bind(1, first)
    find.bind(2, first + Self.numberWindow)
    defer { find.reset() }
    while try find.step() {
      var reader = unsafe ByteReader(find.raw(1))
      if let found = try? reader.chunkID(), found == id {
        if find.unsigned(2) == ContainerNumber.none.value, !orMissing { return nil }
        let number = ChunkNumber(find.unsigned(0))
        marks?.insert(number)
        return (number, ContainerNumber(find.unsigned(2)))
      }
    }
    return nil
  }

  /// As `chunk`, with the container it is in, unless it is known that it cannot be read.
  func unsuspectedChunk(_ id: ChunkID) throws(VaultError) -> (number: ChunkNumber, container: ContainerNumber)? {
    try find(id, orMissing: false).flatMap { suspects.contains($0.number) ? nil : $0 }
  }

  /// Notes that a chunk is not stored any more. The same content written again heals it.
  func insertMissing(_ id: ChunkID) throws(VaultError) {
    let header = unsafe FrameHeader(codec: .raw, plain: 0, stored: UnsafeRawBufferPointer(start: nil, count: 0), chunks: [FrameChunk(id: id, length: 0, crc: 0)])
    try insert(header, at: 0, in: ContainerNumber.none)
  }

  /// Notes where the chunks of a frame are; a chunk that is known stays where it is.
  /// - Parameter isCounted: what the frame takes is counted already, or will be by the caller.
  /// - Returns: whether any chunk is read from it.
  @discardableResult
  func insert(_ frame: FrameHeader, at offset: UInt64, in container: ContainerNumber, isCounted: Bool = false) throws(VaultError) -> Bool {
    if let base = frame.base {
      state.containers.keep(base.container)
      state.containers.addBase(base.container, of: container)
    }
    var within: UInt32 = 0
    var isNew = false, isRead = false
    for chunk in frame.chunks {
      defer { within += chunk.length }
      let first = Self.firstNumber(of: chunk.id)
      var free = first, known = false, missing: UInt64?
      let find = statements.findChunk
      find.bind(1, first)
      find.bind(2, first + Self.numberWindow)
      while try find.step() {
        var reader = unsafe ByteReader(find.raw(1))
        if let found = try? reader.chunkID(), found == chunk.id {
          let number = find.unsigned(0)
          if find.unsigned(2) == ContainerNumber.none.value || suspects.contains(ChunkNumber(number)) { missing = number } else {
            known = true
            if find.unsigned(2) == container.value, find.unsigned(3) == offset { isRead = true }
          }
        }
        if find.unsigned(0) == free { free += 1 }
      }
      find.reset()
      if known { continue }
      if let missing {
        let old = try place(of: ChunkNumber(missing))
        statements.deleteChunk.bind(1, missing)
        try statements.deleteChunk.run()
        // What may be left of it there stays: it was not looked at by anybody who knows why it could not be read.
        if old.place.frame.container != .none { state.containers.keep(old.place.frame.container) }
        state.containers.add(-1, to: old.place.frame.container)
        state.counters.chunks &-= 1
        state.counters.uniqueBytes &-= Int64(old.length)
        suspects.remove(ChunkNumber(missing))
        free = missing
      }
      guard free < first + Self.numberWindow else { throw damaged("chunk numbers collide at \(first)") }
      let insert = statements.insertChunk
      insert.bind(1, free)
      insert.bind(2, chunk.id)
      insert.bind(3, UInt64(chunk.length))
      insert.bind(4, UInt64(chunk.crc))
      insert.bind(5, container.value)
      insert.bind(6, offset)
      insert.bind(7, UInt64(frame.totalLength))
      insert.bind(8, UInt64(within))
      try insert.run()
      marks?.insert(ChunkNumber(free))
      isNew = true
      state.containers.add(1, to: container)
      state.counters.chunks &+= 1
      state.counters.uniqueBytes &+= Int64(chunk.length)
    }
    if isNew, !isCounted, container != ContainerNumber.none { state.containers.addFrames(frame.totalLength, to: container) }
    return isNew || isRead
  }

  struct ChunkRow {
    var id: ChunkID
    var length: UInt32
    var place: ChunkPlace
  }

  func place(of number: ChunkNumber) throws(VaultError) -> ChunkRow {
    let select = statements.selectChunk
    select.bind(1, number.value)
    defer { select.reset() }
    guard try select.step() else { throw damaged("chunk \(number.value) is referred to and not there") }
    var reader = unsafe ByteReader(select.raw(0))
    guard let id = try? reader.chunkID() else { throw damaged("the row of chunk \(number.value)") }
    return ChunkRow(id: id, length: UInt32(truncatingIfNeeded: select.integer(1)),
      place: ChunkPlace(frame: FramePlace(container: ContainerNumber(select.unsigned(2)), offset: select.unsigned(3), length: UInt32(truncatingIfNeeded: select.integer(4))),
                        offsetInFrame: UInt32(truncatingIfNeeded: select.integer(5))))
  }

  /// The frame that a chunk is read from; nil where the chunk is not known.
  func frame(of id: ChunkID) throws(VaultError) -> FramePlace? {
    try chunk(id).map { number throws(VaultError) in try place(of: number).place.frame }
  }

  /// A better copy of a chunk was written than the one in `old`. A chunk that is not read from there stays where it is.
  func move(_ id: ChunkID, from old: ContainerNumber, to place: ChunkPlace) throws(VaultError) {
    guard let number = try chunk(id), try self.place(of: number).place.frame.container == old else { return }
    let move = statements.moveChunk
    move.bind(1, place.frame.container.value)
    move.bind(2, place.frame.offset)
    move.bind(3, UInt64(place.frame.length))
    move.bind(4, UInt64(place.offsetInFrame))
    move.bind(5, number.value)
    try move.run()
    state.containers.add(-1, to: old)
    state.containers.add(1, to: place.frame.container)
  }
}
