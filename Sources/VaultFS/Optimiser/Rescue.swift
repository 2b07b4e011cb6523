// What the view does not point to, and may be wanted: chunks that are noted as damaged and stand somewhere whole, since a file of the
// vault was put back from a copy; and packs that a killed owner was still moving things to.
//
// What must stay true: nothing goes that may be all that is left of a chunk which something refers to. What the view is pointed to
// was verified. Called while nobody else moves or collects anything (`Vault.working`).

extension Metadata {
  /// Whether the view knows of a chunk where it is; nil: it is noted as damaged.
  func isStored(_ id: ChunkID) throws(VaultError) -> Bool? {
    guard let number = try chunk(id, orMissing: true) else { return false }
    return try place(of: number).place.frame.container == .none ? nil : true
  }
}

extension Vault {
  /// Chunks that are noted as damaged.
  var damagedChunks: Int64 { lock.withLock { metadata.state.containers.chunks(in: .none) } }

  /// Points what is not stored elsewhere to a frame that was found whole.
  /// - Parameter isCounted: what the frame takes is counted already.
  /// - Returns: how many chunks that were noted as damaged are not any more.
  func point(to header: FrameHeader, at place: FramePlace, isCounted: Bool) throws(VaultError) -> Int {
    var healed: Int64 = 0
    try changeView { metadata throws(VaultError) in
      guard [.pack, .segment].contains(containers.kind(place.container)) else { return }
      let before = metadata.state.containers.chunks(in: .none)
      try metadata.insert(header, at: place.offset, in: place.container, isCounted: isCounted)
      healed = before - metadata.state.containers.chunks(in: .none)
    }
    return Int(clamping: healed)
  }

  /// Points chunks that are noted as damaged to a pack that is about to go, where they are whole in it.
  /// - Returns: false where it may hold all that is left of such a chunk.
  func rescue(from pack: ContainerNumber) throws(VaultError) -> Bool {
    guard damagedChunks > 0 else { return true }
    return try eachFrame(of: pack, where: { metadata, id throws(VaultError) in try metadata.isStored(id) == nil })
  }

  /// Notes what is in a pack that nothing is read from, and that no collection knows anything of: the next one finds what of it is dead.
  func adopt(_ pack: ContainerNumber) throws(VaultError) {
    _ = try eachFrame(of: pack, where: { metadata, id throws(VaultError) in try metadata.isStored(id) != true })
  }

  /// Points the view to the frames with chunks that `isWanted`.
  /// - Returns: whether all of the pack was looked at, and all such frames are whole.
  private func eachFrame(of pack: ContainerNumber, where isWanted: (Metadata, ChunkID) throws(VaultError) -> Bool) throws(VaultError) -> Bool {
    let verifier = FrameVerifier(containers), isCounted = lock.withLock { metadata.state.containers.isCounted(pack) }
    var isSafe = true
    let isWhole = try PackScanner.search(try containers.file(pack), from: 0, verifyPayload: false) { header, offset, find throws(VaultError) in
      let place = FramePlace(container: pack, offset: offset, length: UInt32(header.totalLength))
      // Behind damage, what looks like a frame may be part of what a program stored.
      if find == .searched, !verifier.isReadable(place) { return false }
      let isAny = try lock.withLock { () throws(VaultError) in
        for chunk in header.chunks where try isWanted(metadata, chunk.id) { return true }
        return false
      }
      if !isAny { return true }
      if verifier.isReadable(place) { _ = try point(to: header, at: place, isCounted: isCounted) } else { isSafe = false }
      return true
    }
    return isWhole && isSafe
  }
}
