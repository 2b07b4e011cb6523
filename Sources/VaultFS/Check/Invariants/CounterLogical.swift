// The bytes of all files are counted: those that are no holes.

enum CounterLogical: Invariant {
  static let kind = Finding.Kind.counterLogical

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    // Clones can make a sum that no 64 bits hold: it wraps, here as there.
    var found: Int64 = 0
    try copy.each("SELECT allocated FROM shape", work: work) { row in found &+= row.integer(0) }
    let counted = copy.state.counters.logicalBytes
    if counted != found { work.found(Finding(kind, table: "state", "\(counted) bytes of files are counted, and there are \(found)")) }
  }
}
