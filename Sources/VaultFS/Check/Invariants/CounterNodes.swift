// Nodes are counted.

enum CounterNodes: Invariant {
  static let kind = Finding.Kind.counterNodes

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let counted = copy.state.counters.nodes, found = Int64(bitPattern: try copy.number("SELECT count(*) FROM node"))
    if counted != found { work.found(Finding(kind, table: "state", "\(counted) nodes are counted, and there are \(found)")) }
  }
}
