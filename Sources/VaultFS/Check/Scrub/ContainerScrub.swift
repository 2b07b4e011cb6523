// Verifies every byte of one container: of a pack and of a segment each frame's header, payload, decoding and the SHA-256 of each
// chunk (or, where that is asked for, what its checksums say of what is stored); of a segment also its records; of an archive all of it.
//
// What must stay true: the vault's lock is not taken here; what this finds is looked at again by whoever holds it. What is being
// appended meanwhile may look torn: such a container is not damaged, only doubtful. One belongs to one thread.

import Synchronization

/// What was read, and verified.
struct ScrubCounts: Equatable {
  var bytes: UInt64 = 0
  var frames: UInt64 = 0
  var chunks: UInt64 = 0
  static func += (sum: inout ScrubCounts, more: ScrubCounts) {
    sum.bytes += more.bytes
    sum.frames += more.frames
    sum.chunks += more.chunks
  }
}

/// What all threads of a scrub share.
final class ScrubShared: Sendable {
  struct Wound {
    let finding: Int
    /// What was in it, where that can be read.
    var ids: [ChunkID] = []
    var lost = 0
  }
  struct State {
    var read = ScrubCounts()
    var findings: [Finding] = []
    /// Of damaged frames, and of longer stretches (as if each were a frame of no length at its beginning), by where they are: which
    /// finding tells of it, and how many chunks that are needed cannot be read because of it.
    var wounds: [FramePlace: Wound] = [:]
    /// Of a container, what is missing or cannot be read: more than a frame.
    var stretches: [ContainerNumber: [Range<UInt64>]] = [:]

    /// The wound in which a frame lies.
    func wound(of frame: FramePlace) -> FramePlace? {
      if wounds[frame] != nil { return frame }
      let stretch = stretches[frame.container]?.first { frame.offset < $0.upperBound && $0.lowerBound < frame.end }
      return stretch.map { FramePlace(container: frame.container, offset: $0.lowerBound, length: 0) }
    }
    /// Sound frames with chunks that were noted as damaged before.
    var again: [(header: FrameHeader, place: FramePlace)] = []
    /// Containers in which something was not as it should be: all chunks that are read from there are looked at one by one.
    var doubtful: Set<ContainerNumber> = []
  }
  let state = Mutex(State())
  let pace: Pace
  let decodes: Bool
  /// Chunks that are noted as damaged, when it begins.
  let missing: Set<ChunkID>
  let cancellation: Cancellation
  /// Frames that others are compressed against.
  let bases = FrameCache(bytesMax: Limits.frameCacheBytes)

  init(_ options: ScrubOptions, missing: Set<ChunkID>) {
    (cancellation, decodes, self.missing) = (options.cancellation, options.decodes, missing)
    pace = Pace(options.bytesPerSecond, options.cancellation)
  }

  /// - Parameter wound: the frame that it is of.
  func found(_ finding: Finding, in container: ContainerNumber? = nil, wound: FramePlace? = nil, of chunks: [FrameChunk] = []) {
    state.withLock { state in
      if let container { state.doubtful.insert(container) }
      guard state.findings.count < Limits.findingsMax else { return }
      if let wound { state.wounds[wound] = Wound(finding: state.findings.count, ids: chunks.map(\.id)) }
      state.findings.append(finding)
    }
  }

  /// Of a whole stretch of a container: whatever is read from there, nothing more is told of it.
  func found(_ finding: Finding, in container: ContainerNumber, stretch: Range<UInt64>) {
    state.withLock { $0.stretches[container, default: []].append(stretch) }
    found(finding, in: container, wound: FramePlace(container: container, offset: stretch.lowerBound, length: 0))
  }
  func isDoubtful(_ container: ContainerNumber) -> Bool { state.withLock { $0.doubtful.contains(container) } }
  func doubt(_ container: ContainerNumber) { state.withLock { _ = $0.doubtful.insert(container) } }

  /// A chunk cannot be read.
  /// - Parameter finding: told where nothing is told of its frame yet.
  func lost(in frame: FramePlace, _ finding: Finding) {
    let isNew = state.withLock { state in
      guard let wound = state.wound(of: frame) else { return true }
      state.wounds[wound]?.lost += 1
      return false
    }
    guard isNew else { return }
    found(finding, wound: frame)
    state.withLock { $0.wounds[frame]?.lost = 1 }
  }

  /// A frame is what it should be: what is noted as damaged may be in it, since a file of the vault was put back.
  func sound(_ header: FrameHeader, at place: FramePlace) {
    guard decodes, !missing.isEmpty, header.chunks.contains(where: { missing.contains($0.id) }) else { return }
    state.withLock { $0.again.append((header, place)) }
  }

  /// All that was found: of each damaged frame, whether anybody needs it.
  var findings: [Finding] {
    state.withLock { state in
      var all = state.findings
      for wound in state.wounds.values {
        if wound.lost > 0 { all[wound.finding].detail += "; \(wound.lost) chunk\(wound.lost == 1 ? "" : "s") in it cannot be read" } else if all[wound.finding].kind == .frameDamaged {
          all[wound.finding].kind = .frameSuperfluous
          all[wound.finding].detail += "; nothing is read from it"
        }
      }
      return all
    }
  }

  func done(_ read: ScrubCounts) {
    state.withLock { $0.read += read }
    pace.take(Int(clamping: read.bytes))
  }
}

final class ContainerScrub {
  private let vault: Vault
  private let shared: ScrubShared
  private let verifier: FrameVerifier
  /// Of the container that is being read.
  private(set) var read = ScrubCounts()

  init(_ vault: Vault, _ shared: ScrubShared) {
    (self.vault, self.shared) = (vault, shared)
    verifier = FrameVerifier(vault.containers, bases: shared.bases)
  }

  private func done(bytes: Int, frames: UInt64 = 0, chunks: UInt64 = 0) {
    let more = ScrubCounts(bytes: UInt64(bytes), frames: frames, chunks: chunks)
    read += more
    shared.done(more)
  }

  func scrub(_ number: ContainerNumber) {
    read = ScrubCounts()
    guard let kind = vault.containers.kind(number), !shared.cancellation.isCancelled else { return }
    do throws(VaultError) {
      switch kind {
      case .pack: try scrubPack(number)
      case .segment: try scrubSegment(number)
      case .archive: try scrubArchive(number)
      }
    } catch {
      // It may be gone, or an archive by now: that one is read.
      if shared.cancellation.isCancelled || vault.containers.kind(number) == nil { return }
      if let now = vault.containers.kind(number), now != kind { return scrub(number) }
      shared.found(Finding(kind == .pack ? .packWhole : .journalSegment, file: ContainerStore.path(number, kind), byte: 0, "it cannot be read: \(error)"), in: number)
    }
  }

  private func scrubPack(_ number: ContainerNumber) throws(VaultError) {
    let file = try vault.containers.file(number)
    var at = UInt64(PackHeader.length)
    let isWhole = try PackScanner.search(file, from: 0, verifyPayload: false) { header, offset, find throws(VaultError) in
      if shared.cancellation.isCancelled { throw .closed }
      // What was passed over was read, too.
      if offset > at { done(bytes: Int(offset - at)) }
      let place = FramePlace(container: number, offset: offset, length: UInt32(header.totalLength))
      // Behind damage, what looks like a frame may be part of what a program stored.
      let isFollowing = find == .following
      guard verify(place, header, in: file, isFollowing: isFollowing) || isFollowing else { return false }
      at = offset + UInt64(header.totalLength)
      return true
    }
    let size = try file.size()
    if size > at { done(bytes: Int(size - at)) }
    if !isWhole { shared.doubt(number) }
    if let trouble = PackWhole.trouble(with: number, vault), vault.containers.kind(number) == .pack {
      shared.found(Finding(.packWhole, file: file.path, byte: trouble.byte, table: "container", key: [number.value], trouble.detail), in: number)
    }
  }

  /// A frame, in a pack or a segment.
  /// - Parameter isFollowing: what is before it is sound; otherwise it may be part of what a program stored.
  /// - Returns: whether all of it is right.
  @discardableResult
  private func verify(_ place: FramePlace, _ header: FrameHeader, in file: any DiskFile, isFollowing: Bool = true) -> Bool {
    do throws(VaultError) {
      if shared.decodes || !isFollowing { _ = try verifier.verified(place, in: file) } else { _ = try StoredFrame(reading: file, at: place) }
    } catch {
      if !isFollowing { return false }
      defer { done(bytes: Int(place.length)) }
      if vault.containers.kind(place.container) != nil {
        shared.found(Finding(.frameDamaged, file: file.path, byte: place.offset, "\(error)"), in: place.container, wound: place, of: header.chunks)
      }
      return false
    }
    done(bytes: Int(place.length), frames: 1, chunks: UInt64(header.chunks.count))
    if isFollowing { shared.sound(header, at: place) }
    return true
  }

  private func scrubSegment(_ number: ContainerNumber) throws(VaultError) {
    let segment = try Segment(number, in: vault.containers, vault: vault.configuration.id)
    defer { withExtendedLifetime(segment) {} }
    guard let header = segment.header else {
      // (The last one may have been begun just now.)
      if segment.count > SegmentHeader.length || number != vault.containers.journal.last { shared.found(Finding(.journalSegment, file: segment.file.path, byte: 0, "the segment's header is damaged"), in: number) }
      return
    }
    if segment.isRepaired { shared.found(Finding(.journalSegment, file: segment.file.path, byte: 0, SegmentHeader.repairedWords), in: number) }
    let next = try vault.containers.firstLSN(behind: number, of: vault.configuration.id) ?? .zero
    var walk = SegmentWalk(segment, after: LSN(header.firstLSN.value &- 1), until: next)
    while let step = walk.next() {
      if shared.cancellation.isCancelled { throw .closed }
      switch step {
      case .damage(let finding, let range, _):
        shared.found(finding, in: number, stretch: UInt64(range.lowerBound)..<UInt64(range.upperBound))
        done(bytes: range.count)
      case .record(let record, let body, let at):
        let read = min(record.paddedLength, segment.count - at)
        if record.kind == .frame, let frame = try? unsafe FrameHeader(decoding: body), frame.totalLength == body.count {
          verify(FramePlace(container: number, offset: UInt64(at + RecordHeader.length), length: UInt32(body.count)), frame, in: segment.file)
          done(bytes: read - body.count)
        } else { done(bytes: read) }
      }
    }
    // A torn end is what a kill leaves, or what is being written.
    guard walk.at < segment.count else { return }
    done(bytes: segment.count - walk.at)
    shared.doubt(number)
  }

  private func scrubArchive(_ number: ContainerNumber) throws(VaultError) {
    // Reading it verifies it whole; what is decoded is walked, for a checksum does not say who made it.
    let segment = try Segment(number, in: vault.containers, vault: vault.configuration.id)
    defer { withExtendedLifetime(segment) {} }
    let size = Int(try segment.file.size())
    var at = SegmentHeader.length
    while at < segment.count, let (record, _) = unsafe segment.record(at: at) { at += record.paddedLength }
    if segment.header == nil || at < segment.count {
      shared.found(Finding(.journalSegment, file: segment.file.path, byte: 0, "what the archive holds is no segment"), in: number)
    }
    done(bytes: size)
  }
}
