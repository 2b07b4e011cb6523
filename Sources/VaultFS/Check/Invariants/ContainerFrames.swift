// What the frames in a container take is some of its file, and none only where nothing is read from it. (Of one that was cut short
// that is told: ContainerShort.)

enum ContainerFrames: Invariant {
  static let kind = Finding.Kind.containerFrames

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    // (`use` is made by ContainerChunks.)
    try copy.each("SELECT number, frames, number IN (SELECT number FROM use), ifnull((SELECT end FROM use WHERE use.number = container.number), 0) FROM container WHERE number <> \(ContainerNumber.none.value)", work: work) { row in
      let number = ContainerNumber(row.unsigned(0)), frames = row.unsigned(1)
      if frames == 0, row.integer(2) != 0, work.vault.containers.kind(number) != nil {
        work.found(Finding(kind, table: "container", key: [number.value], "the frames in container \(number.value) take nothing, and chunks are read from them"))
      } else if let size = size(of: number, copy, work), frames > size, row.unsigned(3) <= size {
        work.found(Finding(kind, table: "container", key: [number.value], "the frames in container \(number.value) take \(frames) bytes, and its file has \(size)"))
      }
    }
  }

  /// nil where the file is not there, or grows still.
  private static func size(of number: ContainerNumber, _ copy: ViewCopy, _ work: CheckWork) -> UInt64? {
    number == copy.state.segment || work.vault.packs.isUnsettled(number) ? nil : work.vault.containers.size(of: number)
  }
}
