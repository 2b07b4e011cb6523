// The view made from the journal and the packs: a little of it after an unclean end, all of it in a rebuild.

import Printable

final class Replay {
  let metadata: Metadata
  /// An operation is being applied: where that failed, half of it may be in the view.
  private(set) var isHalfway = false
  /// The operation that could not be applied, where that is the journal's fault.
  private(set) var refused: LSN?
  /// Files that operations gave content which was not stored then.
  private var incomplete: Set<InodeNumber> = []
  private var damagedPacks: [ContainerNumber] = []
  /// Frames that others were compressed against, and whether they can be read.
  private var bases: [FramePlace: Bool] = [:]
  /// Other frames that were read.
  private var readable: [FramePlace: Bool] = [:]

  private let containers: ContainerStore
  private let verifier: FrameVerifier

  init(_ metadata: Metadata, _ containers: ContainerStore) {
    (self.metadata, self.containers) = (metadata, containers)
    verifier = FrameVerifier(containers)
  }

  // MARK: Packs

  /// Notes the chunks of all packs from `first` on, beginning at `offset` in it.
  func learnPacks(from first: ContainerNumber, at offset: UInt64, progress: (Double) -> Void = { _ in }) throws(VaultError) {
    let packs = containers.numbers(.pack).filter { $0 >= first }
    for (index, number) in packs.enumerated() {
      progress(Double(index) / Double(packs.count))
      let file = try containers.file(number), start = number == first ? offset : 0
      var bytesRead = 0
      let isWhole = try PackScanner.search(file, from: start) { header, at, find throws(VaultError) in
        let place = FramePlace(container: number, offset: at, length: UInt32(header.totalLength))
        if find == .searched, !verifier.isReadable(place) { return false }
        // A frame without its base is not stored: the same content written again is.
        if let base = header.base, !has(base) { return true }
        try metadata.begin()
        try distrust(header, at: at, in: number)
        if try metadata.insert(header, at: at, in: number, isCounted: start == 0) { bytesRead += header.totalLength }
        return true
      }
      // The view may have counted some of a pack that is looked at as a whole, and forgotten chunks of that since.
      if start == 0, metadata.state.containers.frames(in: number) != bytesRead {
        try metadata.begin()
        metadata.state.containers.setFrames(UInt64(bytesRead), in: number)
      }
      if !isWhole { damagedPacks.append(number) }
    }
  }

  /// A chunk that is known to be elsewhere was written again: its owner may have found that it cannot be read there.
  private func distrust(_ header: FrameHeader, at offset: UInt64, in container: ContainerNumber) throws(VaultError) {
    for chunk in header.chunks {
      guard let number = try metadata.chunk(chunk.id) else { continue }
      let frame = try metadata.place(of: number).place.frame
      if frame.container == container, frame.offset == offset { continue }
      let isReadable = readable[frame] ?? verifier.isReadable(frame)
      readable[frame] = isReadable
      if !isReadable { metadata.suspects.insert(number) }
    }
  }

  private func has(_ base: FramePlace) -> Bool {
    if let known = bases[base] { return known }
    // Its number is used up, also where the container is gone.
    containers.raiseNext(to: base.container.value &+ 1)
    let found = verifier.isBase(base)
    bases[base] = found
    return found
  }

  // MARK: Journal

  /// Applies what a journal reader finds.
  var visitor: JournalReader.Visitor {
    JournalReader.Visitor(
      frame: { [self] header, offset, container throws(VaultError) in
        try metadata.begin()
        try distrust(header, at: offset, in: container)
        try metadata.insert(header, at: offset, in: container)
      },
      found: { [self] header, offset, container throws(VaultError) in
        let place = FramePlace(container: container, offset: offset, length: UInt32(header.totalLength))
        guard verifier.isReadable(place) else { return }
        try metadata.begin()
        try distrust(header, at: offset, in: container)
        try metadata.insert(header, at: offset, in: container)
      },
      isComplete: { [self] operation throws(VaultError) in try missing(operation).isEmpty },
      operation: { [self] operation, lsn, stamp throws(VaultError) in
        isHalfway = true
        for id in try missing(operation) { try metadata.insertMissing(id) }
        do throws(VaultError) { try metadata.apply(operation, lsn: lsn, stamp: stamp) } catch { throw refusal(of: lsn, error) }
        isHalfway = false
        if metadata.isCommitDue { try metadata.commit() }
      })
  }

  private func refusal(of lsn: LSN, _ error: VaultError) -> VaultError {
    switch error {
    case .disk, .diskFull, .databaseDamaged, .readOnly, .closed: return error
    default:
      refused = lsn
      return .journalDamaged(detail: "operation \(lsn.value) cannot be done: \(error)")
    }
  }

  /// The chunks that `operation` names and that are not stored. Also notes whose content they are, or may be.
  private func missing(_ operation: Operation) throws(VaultError) -> [ChunkID] {
    switch operation {
    case .clone(let inode, _, let source, _, _, _), .restore(let inode, let source, _, _):
      if incomplete.contains(source) { incomplete.insert(inode) }
    case .revive(let node, _, _, let source, _, _, _), .stage(let node, _, _, let source, _, _, _):
      if incomplete.contains(source) { incomplete.insert(node.inode) }
    case .together(let parts):
      for part in parts { _ = try missing(part) }
    case .content(let inode, _, _, _, _):
      let missing = try metadata.missing(operation)
      if !missing.isEmpty { incomplete.insert(inode) }
      return missing
    default: break
    }
    return []
  }

  // MARK: What is lost

  private static let namedMax = 10

  /// Which content is not stored any more, in a sentence; nil where all of it is.
  /// - Parameter needed: the chunks that something refers to and that are not stored, where all of them are known.
  /// - Parameter missing: containers that are gone, as far as somebody knows.
  func losses(in path: String, of needed: Int = 0, missing: [ContainerNumber] = []) throws(VaultError) -> String? {
    var chunks: Set<ChunkNumber> = [], files: [InodeNumber] = []
    for inode in incomplete.sorted() {
      let lost = try metadata.lostChunks(of: inode)
      if !lost.isEmpty { files.append(inode) }
      chunks.formUnion(lost)
    }
    let count = max(chunks.count, needed)
    guard count > 0 else { return nil }
    let named = files.prefix(Self.namedMax).map { metadata.named($0) }.joined(separator: ", ")
    let more = files.count > Self.namedMax ? " and \(files.count - Self.namedMax) more" : ""
    let whose = files.isEmpty ? "of former versions of files" : "of \(files.count) files, which can be read only in part: \(named)\(more)"
    let why = missing.map { "\(ContainerStore.path($0, .pack)) is missing" } + damagedPacks.map { "\(ContainerStore.path($0, .pack)) is damaged" }
    return """
      content is not stored any more in the vault \(path)\(why.isEmpty ? "" : " (\(why.joined(separator: ", ")))"): \(count) chunks \(whose). \
      Put the packs back from a copy of the vault and run `vaultfs rebuild \(shellQuoted(path))`, or copy those files in again
      """
  }
}

extension Metadata {
  /// The chunks that `operation` names and that are not stored.
  func missing(_ operation: Operation) throws(VaultError) -> [ChunkID] {
    guard case .content(_, _, let extents, _, _) = operation else { return [] }
    var missing: [ChunkID] = []
    for extent in extents {
      if case .chunk(let id, _) = extent.source, try chunk(id) == nil { missing.append(id) }
    }
    return missing
  }
}
