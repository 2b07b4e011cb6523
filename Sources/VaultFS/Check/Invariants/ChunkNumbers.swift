// A chunk's number is one of the eight that its id may have, and no id stands twice.

enum ChunkNumbers: Invariant {
  static let kind = Finding.Kind.chunkNumber

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    var near: [(number: UInt64, id: ChunkID)] = [], count = 0, damaged = 0
    try copy.each("SELECT number, id, container FROM chunk ORDER BY number", work: work) { row in
      count += 1
      if row.unsigned(2) == ContainerNumber.none.value { damaged += 1 }
      let number = row.unsigned(0)
      var reader = unsafe ByteReader(row.raw(1))
      guard let id = try? reader.chunkID(), reader.isAtEnd else {
        return work.found(Finding(kind, table: "chunk", key: [number], "the id of chunk \(number) is no id"))
      }
      let first = Metadata.firstNumber(of: id)
      near.removeAll { $0.number &+ Metadata.numberWindow <= number }
      if number < first || number - first >= Metadata.numberWindow {
        work.found(Finding(kind, chunk: id, table: "chunk", key: [number], "chunk \(number) has an id that nobody looks for there"))
      } else if near.contains(where: { $0.id == id }) {
        work.found(Finding(kind, chunk: id, table: "chunk", key: [number], "chunk \(number) stands twice"))
      }
      near.append((number, id))
    }
    work.note { ($0.chunks, $0.damagedChunks) = (count, damaged) }
  }
}
