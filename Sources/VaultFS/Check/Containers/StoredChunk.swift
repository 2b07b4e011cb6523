// A row of `chunk`, and whether what it says of its place is so: everything but the bytes themselves, which a scrub reads.
//
// What must stay true: the frame's header is read from the file each time anew, but for the one read last.

struct StoredChunk {
  var number: UInt64
  var id: ChunkID
  var length: UInt32
  var crc: UInt32
  var place: ChunkPlace

  static let columns = "number, id, length, crc, container, frame, frame_length, offset"

  /// nil where its id is none.
  init?(_ row: Statement) {
    var reader = unsafe ByteReader(row.raw(1))
    guard let id = try? reader.chunkID() else { return nil }
    (number, self.id) = (row.unsigned(0), id)
    (length, crc) = (UInt32(truncatingIfNeeded: row.integer(2)), UInt32(truncatingIfNeeded: row.integer(3)))
    place = ChunkPlace(frame: FramePlace(container: ContainerNumber(row.unsigned(4)), offset: row.unsigned(5), length: UInt32(truncatingIfNeeded: row.integer(6))),
                       offsetInFrame: UInt32(truncatingIfNeeded: row.integer(7)))
  }

  /// Noted as damaged.
  var isNowhere: Bool { place.frame.container == ContainerNumber.none }
}

/// What is wrong with a chunk's place.
struct PlaceTrouble {
  var kind: Finding.Kind
  var detail: String
}

/// Looks at places. Belongs to one thread at a time.
final class PlaceReader {
  private let containers: ContainerStore
  private let buffer = Buffer(capacity: FrameHeader.headerLength(chunks: Limits.frameChunksMax))
  private var last: (place: FramePlace, header: FrameHeader?)?
  /// Bases that were found well.
  private var bases: Set<FramePlace> = []
  private static let basesMax = 1 << 14

  init(_ containers: ContainerStore) { self.containers = containers }

  /// The header of the frame at `place`, if it is as long as that, and all there.
  func header(at place: FramePlace) throws(VaultError) -> FrameHeader? {
    if let last, last.place == place { return last.header }
    defer { withExtendedLifetime(buffer) {} }
    let file = try containers.file(place.container)
    var found: FrameHeader?
    if place.end <= UInt64(Int64.max), let header = try PackScanner.header(of: file, at: place.offset, buffer),
      header.totalLength == Int(place.length), place.end <= (try file.size()) { found = header }
    last = (place, found)
    return found
  }

  func forget() { (last, bases) = (nil, []) }

  func trouble(with chunk: StoredChunk) throws(VaultError) -> PlaceTrouble? {
    let frame = chunk.place.frame, kind = containers.kind(frame.container)
    guard let kind, kind != .archive else {
      let what = kind == nil ? "is missing" : "holds no frames any more"
      return PlaceTrouble(kind: kind == nil ? .containerMissing : .chunkPlace, detail: "chunk \(chunk.id) is in container \(frame.container.value), which \(what)")
    }
    guard let header = try header(at: frame) else {
      if let size = containers.size(of: frame.container), frame.end > size {
        return PlaceTrouble(kind: .containerShort, detail: "chunk \(chunk.id) is behind the end of container \(frame.container.value)")
      }
      return PlaceTrouble(kind: .chunkFrame, detail: "no whole frame of \(frame.length) bytes begins there, and chunk \(chunk.id) is in it")
    }
    var at: UInt32 = 0
    let named = header.chunks.first { named in
      defer { at &+= named.length }
      return at == chunk.place.offsetInFrame
    }
    guard let named, named.id == chunk.id, named.length == chunk.length, named.crc == chunk.crc else {
      return PlaceTrouble(kind: .chunkNamed, detail: "the frame there does not hold chunk \(chunk.id) at \(chunk.place.offsetInFrame), with its length and checksum")
    }
    if let base = header.base, try !isBase(base) {
      return PlaceTrouble(kind: .frameBase, detail: "the frame there is compressed against one at \(base.offset) in container \(base.container.value), which is not there; chunk \(chunk.id) is in it")
    }
    return nil
  }

  private func isBase(_ place: FramePlace) throws(VaultError) -> Bool {
    if bases.contains(place) { return true }
    let before = last
    defer { last = before }
    guard containers.kind(place.container) == .pack, let header = try header(at: place), header.base == nil else { return false }
    if bases.count >= Self.basesMax { bases = [] }
    bases.insert(place)
    return true
  }
}
