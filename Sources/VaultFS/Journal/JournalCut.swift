// Taking what is behind the journal's end out of it, for good: else a later rebuild might find it.
//
// What must stay true: not a byte is lost. What is cut off a segment is in a file of its own, durable, before it is
// taken from the segment; whole segments, and an archive in which it ends, are renamed. All are `journal/NAME.OFFSET.cut` (or, where
// there is one, `NAME.OFFSET-2.cut` and so on), which nothing reads.

extension JournalReader {
  /// - Returns: what was cut off, in a sentence.
  func cut(_ torn: End.Torn) throws(VaultError) -> String {
    let disk = containers.disk, name = ContainerStore.path(torn.segment, containers.kind(torn.segment) ?? .segment)
    var bytes: UInt64 = 0, kept: [String] = []
    if containers.kind(torn.segment) == .archive, torn.offset >= UInt64(SegmentHeader.length) {
      // Places are those of what is in it: that becomes a segment again.
      kept.append("\(path)/\(try unpack(torn.segment))")
    }
    for number in containers.journal where number > torn.segment || number == torn.segment && torn.offset < UInt64(SegmentHeader.length) {
      bytes += try containers.file(number).size()
      if let place = try containers.setAside(number) { kept.append("\(path)/\(place)") }
    }
    if torn.offset >= UInt64(SegmentHeader.length) {
      let segment = ContainerStore.path(torn.segment, .segment), file = try disk.open(segment, .update), size = try file.size()
      if size > torn.offset {
        let place = containers.freeCutName(segment, at: torn.offset)
        try copy(file, torn.offset..<size, to: place)
        kept.insert("\(path)/\(place)", at: 0)
        bytes += size - torn.offset
      }
      try file.truncate(to: torn.offset)
      try file.sync()
    }
    try disk.syncDirectory("journal")
    return """
      cut off \(bytes) bytes behind operation \(torn.last.value), the last in the journal: what an unfinished write left (\(torn.what) \
      at byte \(torn.offset) of \(path)/\(name)). They are kept as \(kept.joined(separator: ", "))
      """
  }

  /// Makes a segment of an archive, which is set aside.
  /// - Returns: where the archive is then.
  private func unpack(_ number: ContainerNumber) throws(VaultError) -> String {
    let segment = try Segment(number, in: containers, vault: vault), disk = containers.disk, temporary = "journal/segment.new"
    defer { withExtendedLifetime(segment) {} }
    if disk.exists(temporary) { try disk.remove(temporary) }
    let file = try disk.open(temporary, .create)
    try unsafe file.write(segment.bytes, at: 0)
    try file.sync()
    // Where both are there, the segment counts.
    try disk.rename(temporary, to: ContainerStore.path(number, .segment))
    try disk.syncDirectory("journal")
    let place = try containers.setAside(number) ?? ""
    try containers.add(number, .segment, disk.open(ContainerStore.path(number, .segment), .update))
    return place
  }

  private static let copyBytes = 1 << 20

  private func copy(_ file: any DiskFile, _ range: Range<UInt64>, to path: String) throws(VaultError) {
    let copy = try containers.disk.open(path, .create), buffer = Buffer(capacity: Self.copyBytes)
    defer { withExtendedLifetime(buffer) {} }
    var at = range.lowerBound
    while at < range.upperBound {
      buffer.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: Int(min(UInt64(Self.copyBytes), range.upperBound - at))), at: at)
      if buffer.count == 0 { break }
      try unsafe copy.write(buffer.bytes, at: at - range.lowerBound)
      at += UInt64(buffer.count)
    }
    try copy.sync()
    try containers.disk.syncDirectory("journal")
  }
}
