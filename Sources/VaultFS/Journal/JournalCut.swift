// Taking what is behind the journal's end out of it, for good: else a later rebuild might find it.
//
// What must stay true: not a byte is lost. What is cut off a segment is in a file of its own, durable, before it is
// taken from the segment; whole segments are renamed. Both are `journal/NAME.OFFSET.cut`, which nothing reads.

extension JournalReader {
  /// - Returns: what was cut off, in a sentence.
  func cut(_ torn: End.Torn) throws(VaultError) -> String {
    let disk = containers.disk, name = ContainerStore.path(torn.segment, containers.kind(torn.segment) ?? .segment)
    var bytes: UInt64 = 0, kept: [String] = []
    for number in containers.journal where number > torn.segment || number == torn.segment && torn.offset < UInt64(SegmentHeader.length) {
      bytes += try containers.file(number).size()
      if let place = try containers.setAside(number) { kept.append("\(path)/\(place)") }
    }
    if torn.offset >= UInt64(SegmentHeader.length) {
      let file = try disk.open(name, .update), size = try file.size(), place = ContainerStore.cutName(name, at: torn.offset)
      if size > torn.offset {
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

  private static let copyBytes = 1 << 20

  private func copy(_ file: any DiskFile, _ range: Range<UInt64>, to path: String) throws(VaultError) {
    // Left by a cut that was interrupted: the same bytes.
    if containers.disk.exists(path) { try containers.disk.remove(path) }
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
