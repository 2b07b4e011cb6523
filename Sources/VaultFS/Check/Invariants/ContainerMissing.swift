// Every container that something is read from is there, and every one with bases of frames that are read.

enum ContainerMissing: Invariant {
  static let kind = Finding.Kind.containerMissing

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    // (`use` is made by ContainerChunks.)
    try copy.each(
      """
      SELECT number, chunks FROM use WHERE number <> \(ContainerNumber.none.value)
      UNION ALL SELECT number, 0 FROM container WHERE kept <> 0 AND number NOT IN (SELECT number FROM use)
      """, work: work) { row in
      let number = ContainerNumber(row.unsigned(0))
      // The optimiser may have moved what was in it meanwhile.
      guard work.vault.containers.kind(number) == nil,
        work.vault.lock.withLock({ work.vault.containers.kind(number) == nil && work.vault.metadata.state.containers.isRead(number) }) else { return }
      work.found(finding(number, count: row.unsigned(1)))
    }
  }

  /// - Parameter count: chunks that are read from it; nil: it is told apart.
  static func finding(_ number: ContainerNumber, count: UInt64?) -> Finding {
    let chunks = count.map { "; \($0) chunk\($0 == 1 ? " is" : "s are") read from it" } ?? ""
    return Finding(kind, table: "container", key: [number.value], "container \(number.value) is missing\(chunks)")
  }
}
