// How far a scrub has come, in the file `scrub` of the vault: so that it goes on after a restart, and so that people see when the
// last one was.
//
// What must stay true: what is not a position of this vault is none; then a scrub begins anew. Losing it costs time and nothing else.

struct ScrubPosition: Equatable {
  static let fileName = "scrub"
  private static let bytesMax = 128 << 10
  /// `bytesMax` holds them.
  static let againMax = 4000

  /// Containers with smaller numbers are done.
  var next: UInt64 = 0
  /// But for these: something was found in them, and it is noted at the end. `againMax` at most.
  var again: [UInt64] = []
  /// When the scrub that left it was begun, by the volume's clock: whatever was written since is read again, too.
  var begun: UInt64 = 0
  /// What all others held.
  var read = ScrubCounts()
  /// Seconds since 1970; 0 where it has not ended yet.
  var finished: UInt64 = 0

  init() {}

  func encoded(vault: NodeID) -> String {
    let lines = """
      vaultfs-scrub 1
      id \(hex(vault.high))\(hex(vault.low))
      next \(next)
      begun \(begun)
      bytes \(read.bytes)
      frames \(read.frames)
      chunks \(read.chunks)
      finished \(finished)

      """ + again.map { "again \($0)\n" }.joined()
    return lines + "crc32 \(Self.checksum(lines))\n"
  }

  init?(decoding text: String, vault: NodeID) {
    var values: [String: UInt64] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count == 2, let value = UInt64(words[1]) else { continue }
      if words[0] == "again" { again.append(value) } else { values[String(words[0])] = value }
    }
    (next, begun, finished) = (values["next"] ?? 0, values["begun"] ?? 0, values["finished"] ?? 0)
    read = ScrubCounts(bytes: values["bytes"] ?? 0, frames: values["frames"] ?? 0, chunks: values["chunks"] ?? 0)
    // Whatever is not exactly what would be written is damaged, or another vault's.
    guard encoded(vault: vault) == text else { return nil }
  }

  private static func checksum(_ text: String) -> String { unsafe hex(UInt64(Array(text.utf8).withUnsafeBytes { unsafe Checksum.crc32($0) })) }

  static func read(_ disk: any Disk, vault: NodeID) -> ScrubPosition? {
    guard disk.exists(fileName), let file = try? disk.open(fileName, .read) else { return nil }
    let buffer = Buffer(capacity: bytesMax)
    defer { withExtendedLifetime(buffer) {} }
    buffer.count = (try? unsafe file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: bytesMax), at: 0)) ?? 0
    return unsafe ScrubPosition(decoding: String(decoding: buffer.bytes, as: UTF8.self), vault: vault)
  }

  func write(_ disk: any Disk, vault: NodeID) throws(VaultError) {
    let new = Self.fileName + ".new"
    if disk.exists(new) { try disk.remove(new) }
    let file = try disk.open(new, .create)
    try writeAll(Array(encoded(vault: vault).utf8), to: file, at: 0)
    try disk.rename(new, to: Self.fileName)
  }
}

extension Vault {
  /// When the last whole scrub of the vault ended, seconds since 1970; nil where there was none, or one is under way.
  public var lastScrub: Int64? {
    ScrubPosition.read(containers.disk, vault: configuration.id).flatMap { $0.finished > 0 ? Int64(clamping: $0.finished) : nil }
  }
}
