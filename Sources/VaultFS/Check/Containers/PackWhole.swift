// A pack can be read to its end: its header names it, and its frames are those that its footer sums up. Only then may it ever be
// removed; one that cannot must be kept. A pack without a footer is one whose owner was killed, or is being written: what is
// read from it is looked at chunk by chunk (ChunkPlaces).
//
// Also told, as a note: packs that nothing is read from. The optimiser takes them away.

enum PackWhole {
  static func look(_ work: CheckWork) throws {
    let containers = work.vault.containers, packs = containers.numbers(.pack)
    let short = Set(work.report.findings.filter { $0.kind == .containerShort }.compactMap { $0.row?.key.first })
    for (index, number) in packs.enumerated() where !short.contains(number.value) {
      try work.proceed(Double(index) / Double(packs.count))
      guard let trouble = trouble(with: number, work.vault) else {
        noteIfSuperfluous(number, work)
        continue
      }
      // It may be one that is gone by now, or was being sealed.
      let isSo = try work.vault.lock.withLock { () throws(VaultError) in
        containers.kind(number) == .pack && !work.vault.metadata.state.containers.isKept(number) && self.trouble(with: number, work.vault) != nil
      }
      if isSo { work.found(Finding(.packWhole, file: ContainerStore.path(number, .pack), byte: trouble.byte, table: "container", key: [number.value], trouble.detail)) }
    }
  }

  private static func noteIfSuperfluous(_ number: ContainerNumber, _ work: CheckWork) {
    let vault = work.vault
    guard (try? PackFooter(of: vault.containers.file(number))) != nil,
      vault.lock.withLock({ vault.containers.kind(number) == .pack && vault.packs.begun != number && !vault.metadata.state.containers.isNeeded(number) }) else { return }
    work.found(Finding(.packSuperfluous, file: ContainerStore.path(number, .pack), table: "container", key: [number.value], "nothing is read from pack \(number.value)"))
  }

  static func trouble(with number: ContainerNumber, _ vault: Vault) -> (byte: UInt64, detail: String)? {
    do throws(VaultError) {
      let file = try vault.containers.file(number)
      guard try PackHeader.check(file, vault: vault.configuration.id, number: number) else { return (0, "the pack's header is not that of pack \(number.value) of this vault") }
      var found = PackFooter()
      try PackScanner.frames(of: file, from: 0, verifyPayload: false) { header, _, _ in found.add(header) }
      if let footer = try PackFooter(of: file) {
        return footer == found ? nil : (found.end, "the pack's frames are not those that its footer tells of: \(found.frames) of \(footer.frames) can be read")
      }
      return try isNearlyFooter(of: file, found) ? (found.end, "the pack's footer is damaged") : nil
    } catch { return (0, "the pack cannot be read: \(error)") }
  }

  /// Bytes of a footer that must be right for what is there to be a damaged one.
  private static let alikeMin = PackFooter.length - 8

  private static func isNearlyFooter(of file: any DiskFile, _ found: PackFooter) throws(VaultError) -> Bool {
    guard try file.size() == found.end + UInt64(PackFooter.length) else { return false }
    let buffer = Buffer(capacity: PackFooter.length)
    defer { withExtendedLifetime(buffer) {} }
    buffer.count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: PackFooter.length), at: found.end)
    return unsafe zip(found.encoded(), buffer.bytes).count { $0 == $1 } >= alikeMin
  }
}
