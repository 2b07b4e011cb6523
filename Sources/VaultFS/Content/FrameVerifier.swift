// Frames read with nothing believed: what a scrub, a replay and a save do that must know whether content can be read.
//
// What must stay true: a chunk that is called readable is what its id says, byte for byte.

/// Belongs to one thread.
final class FrameVerifier {
  private let containers: ContainerStore
  private let bases: FrameCache
  private let decoder = Decoder()
  /// - Parameter bases: what was decoded of late; nothing older, for damage may be younger.
  init(_ containers: ContainerStore, bases: FrameCache = FrameCache(bytesMax: Limits.frameCacheBytes)) { (self.containers, self.bases) = (containers, bases) }

  /// - Returns: what the frame holds; each chunk is what its id says.
  func verified(_ place: FramePlace, in file: any DiskFile) throws(VaultError) -> DecodedFrame {
    let frame = try DecodedFrame(reading: file, at: place, decoder: decoder) { base throws(VaultError) in try self.base(base) }
    var offset: UInt32 = 0
    for chunk in frame.chunks {
      let isRight = unsafe frame.withChunk(chunk.id, at: offset) { plain in unsafe ChunkID(of: plain) == chunk.id }
      guard isRight == true else { throw .chunkDamaged(detail: "SHA-256 of chunk \(chunk.id) of the frame at \(place.offset) in \(file.path)") }
      offset += chunk.length
    }
    return frame
  }

  /// Whether a frame is there, and each chunk in it is what its id says. (A program can store bytes that look like a frame.)
  func isReadable(_ place: FramePlace) -> Bool {
    do throws(VaultError) { _ = try verified(place, in: try containers.file(place.container)) } catch { return false }
    return true
  }

  /// Whether a frame can be read that others were compressed against.
  func isBase(_ place: FramePlace) -> Bool {
    do throws(VaultError) { _ = try base(place) } catch { return false }
    return true
  }

  private func base(_ place: FramePlace) throws(VaultError) -> DecodedFrame {
    if let cached = bases.frame(place) { return cached }
    let frame = try DecodedFrame(reading: try containers.file(place.container), at: place, isBase: true, decoder: Decoder()) { _ throws(VaultError) in
      throw .chunkDamaged(detail: "a base that has a base")
    }
    bases.insert(frame, place)
    return frame
  }
}
