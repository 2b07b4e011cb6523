// Numbers of containers are used once: every one that is named is smaller than the next.

enum ContainerNumbers: Invariant {
  static let kind = Finding.Kind.containerNumber

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let named = try copy.number("SELECT max((SELECT ifnull(max(container), 0) FROM chunk), (SELECT ifnull(max(number), 0) FROM container))")
    // A segment is named while it is begun, and the pack that is settled before it is.
    let last = max(named, copy.state.segment.value), next = copy.state.nextContainer
    if last >= next { work.found(Finding(kind, table: "state", "the next container would get the number \(next), and \(last) is used")) }
  }
}
