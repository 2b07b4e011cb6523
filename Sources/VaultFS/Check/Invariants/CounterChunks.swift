// Chunks are counted.

enum CounterChunks: Invariant {
  static let kind = Finding.Kind.counterChunks

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let counted = copy.state.counters.chunks, found = Int64(bitPattern: try copy.number("SELECT count(*) FROM chunk"))
    if counted != found { work.found(Finding(kind, table: "state", "\(counted) chunks are counted, and there are \(found)")) }
  }
}
