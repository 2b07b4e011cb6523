// Every container is as long as what is read from it: one that was cut short is one wound, however much was behind.

enum ContainerShort: Invariant {
  static let kind = Finding.Kind.containerShort

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    // (`use` is made by ContainerChunks.)
    try copy.each("SELECT number, end FROM use WHERE number <> \(ContainerNumber.none.value)", work: work) { row in
      let number = ContainerNumber(row.unsigned(0))
      // A file only grows, or goes as a whole: what was behind its end in the copy is so still.
      guard let size = work.vault.containers.size(of: number), row.unsigned(1) > size else { return }
      let behind = try copy.database.prepare("SELECT count(*) FROM chunk WHERE container = ?1 AND frame + frame_length > ?2")
      behind.bind(1, number.value)
      behind.bind(2, size)
      let count = try behind.step() ? behind.unsigned(0) : 0
      work.found(finding(number, size, count: count, work.vault.containers))
    }
  }

  /// - Parameter count: chunks that are read from behind the end; nil: it is told apart.
  static func finding(_ number: ContainerNumber, _ size: UInt64, count: UInt64?, _ containers: ContainerStore) -> Finding {
    let file = containers.kind(number).map { ContainerStore.path(number, $0) }
    let chunks = count.map { ", and \($0) chunk\($0 == 1 ? " is" : "s are") read from behind that" } ?? ", before what is read from it"
    return Finding(kind, file: file, byte: size, table: "container", key: [number.value], "\(file ?? "container \(number.value)") ends at byte \(size)\(chunks)")
  }
}

extension ContainerStore {
  /// Of one that frames are read from, in bytes; nil where it is none, or gone.
  func size(of number: ContainerNumber) -> UInt64? {
    let size = try? file(number).size()
    // (What became an archive meanwhile is another file.)
    return [.pack, .segment].contains(kind(number)) ? size : nil
  }
}
