// What survives in a pack that goes moves to a new one, and what elsewhere is compressed against frames of it; then the view is
// pointed there. What must stay true is said in Collector.swift.

extension Collector {
  /// - Returns: bytes of the new pack.
  func move(from pack: ContainerNumber, _ dependents: [ContainerNumber]) throws(VaultError) -> Int64 {
    let frames = try framesInUse(of: pack, dependents)
    try vault.makeRoom(moving: frames.reduce(0) { $0 + $1.survivingBytes })
    let writer = PackWriter(containers: vault.containers, vault: vault.configuration.id, bytesMax: .max)
    let builder = FrameBuilder(vault, pack: writer, index: SimilarityIndex()) { [unowned self] in pause() }
    var origins: [ChunkID: ContainerNumber] = [:]
    do throws(VaultError) {
      for frame in frames {
        guard mayGoOn() else {
          abandon(writer)
          return 0
        }
        try add(frame, to: builder, &origins)
        pause()
      }
      try builder.finish()
      try writer.seal()
    } catch {
      abandon(writer)
      throw error
    }
    guard let number = writer.begun else { return 0 }
    do throws(VaultError) { try writer.sync() } catch { throw vault.lock.withLock { vault.fail(error) } }
    try vault.changeView { metadata throws(VaultError) in
      metadata.state.containers.keep(number)
      metadata.state.containers.addFrames(builder.frameBytes, to: number)
    }
    try vault.point(to: builder.moves, from: { origins[$0] }) { pause() }
    return Int64(try vault.containers.file(number).size())
  }

  /// Nothing points to the new pack, nor will.
  private func abandon(_ pack: PackWriter) {
    guard let number = pack.begun else { return }
    do throws(VaultError) { try vault.containers.remove(number) } catch { vault.log("a superfluous pack is left: \(error)") }
  }

  /// A frame with chunks that are read from it.
  private struct FrameInUse {
    let place: FramePlace
    let chunks: [FrameChunk]
    /// Which of them.
    let wanted: [Bool]
    /// About what they take elsewhere.
    let survivingBytes: Int
  }

  /// Those of `pack`, and those elsewhere that are compressed against frames of it.
  private func framesInUse(of pack: ContainerNumber, _ dependents: [ContainerNumber]) throws(VaultError) -> [FrameInUse] {
    var found: [FrameInUse] = []
    for container in [pack] + dependents {
      var frames: [(header: FrameHeader, place: FramePlace)] = []
      _ = try PackScanner.frames(of: try vault.containers.file(container), from: 0, verifyPayload: false) { header, at, _ in
        guard container == pack || header.base?.container == pack else { return }
        frames.append((header, FramePlace(container: container, offset: at, length: UInt32(header.totalLength))))
      }
      for (header, place) in frames {
        let wanted = try wanted(header, at: place)
        guard wanted.contains(true) else { continue }
        let plain = zip(header.chunks, wanted).reduce(0) { $0 + ($1.1 ? Int($1.0.length) : 0) }
        // Without its base it may take all of them.
        let bytes = header.base == nil ? header.storedLength * plain / max(header.plainLength, 1) : plain
        found.append(FrameInUse(place: place, chunks: header.chunks, wanted: wanted, survivingBytes: bytes))
      }
    }
    return found
  }

  private func wanted(_ header: FrameHeader, at place: FramePlace) throws(VaultError) -> [Bool] {
    try vault.lock.withLock { () throws(VaultError) in
      var wanted: [Bool] = []
      for chunk in header.chunks { wanted.append(try vault.metadata.frame(of: chunk.id) == place) }
      return wanted
    }
  }

  private func add(_ frame: FrameInUse, to builder: FrameBuilder, _ origins: inout [ChunkID: ContainerNumber]) throws(VaultError) {
    let container = frame.place.container, decoded = try vault.frame(at: frame.place, in: try vault.containers.file(container))
    pause()
    var within: UInt32 = 0
    for (chunk, isWanted) in zip(frame.chunks, frame.wanted) {
      if isWanted {
        let added: Result<Void, VaultError>? = unsafe decoded.withChunk(chunk.id, at: within) { plain in
          do throws(VaultError) { return unsafe .success(try builder.add(chunk, plain)) } catch { return .failure(error) }
        }
        try added?.get()
        origins[chunk.id] = container
      }
      within += chunk.length
    }
  }
}

extension Vault {
  /// Changes the view alone, not what it shows. If that fails, nobody knows what it holds.
  func changeView(_ body: (Metadata) throws(VaultError) -> Void) throws(VaultError) {
    try lock.withLock { () throws(VaultError) in
      try checkWritable()
      do throws(VaultError) {
        try metadata.begin()
        try body(metadata)
      } catch { throw fail(error) }
    }
  }

  /// Points the view to better copies of chunks.
  /// - Parameter origin: where a chunk was read; nil: it stays as it is.
  /// - Parameter pause: called between holds of the lock.
  func point(to moves: [FrameBuilder.Move], from origin: (ChunkID) -> ContainerNumber?, pause: () -> Void = {}) throws(VaultError) {
    var rest = moves[...]
    while !rest.isEmpty {
      let part = rest.prefix(Self.movesPerHold)
      rest = rest.dropFirst(part.count)
      try changeView { metadata throws(VaultError) in
        for move in part { if let origin = origin(move.id) { try metadata.move(move.id, from: origin, to: move.place) } }
      }
      pause()
    }
  }
  /// View rows that are changed under one hold of the lock.
  private static let movesPerHold = 10

  /// - Throws: what ended the view's transaction behind our back.
  func checkWhole() throws(VaultError) {
    if let failure { throw .readOnly(reason: failure) }
    try metadata.database.checkWhole()
  }
}
