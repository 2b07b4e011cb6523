// The bytes of different chunks are counted.

enum CounterUnique: Invariant {
  static let kind = Finding.Kind.counterUnique

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let counted = copy.state.counters.uniqueBytes, found = Int64(bitPattern: try copy.number("SELECT ifnull(sum(length), 0) FROM chunk"))
    if counted != found { work.found(Finding(kind, table: "state", "\(counted) bytes of chunks are counted, and there are \(found)")) }
  }
}
