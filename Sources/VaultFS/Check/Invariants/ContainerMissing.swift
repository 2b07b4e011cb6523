// Every container that something is read from, or that is kept, is there.

enum ContainerMissing: Invariant {
  static let kind = Finding.Kind.containerMissing

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.each("SELECT number, chunks FROM container WHERE (chunks <> 0 OR kept <> 0) AND number <> \(ContainerNumber.none.value)", work: work) { row in
      let number = ContainerNumber(row.unsigned(0))
      // The optimiser may have moved what was in it meanwhile.
      guard work.vault.containers.kind(number) == nil,
        work.vault.lock.withLock({ work.vault.containers.kind(number) == nil && work.vault.metadata.state.containers.isNeeded(number) }) else { return }
      work.found(Finding(kind, table: "container", key: [number.value], "container \(number.value) is missing; \(row.integer(1)) chunks are read from it"))
    }
  }
}
