// Damage that was met: said in the log, once, with the file it belongs to and what to do; and remembered, for `status`
// and `unmount`, because nobody reads a log in which nothing is expected.

import Glibc

extension Vault {
  /// Different reports that are remembered as said.
  private static let reportsMax = 1000

  /// Says in the log what a program only saw as an I/O error; the same thing once.
  public func report(_ error: VaultError) {
    var text = "\(error)"
    if case .disk = error { text += "; see to the disk that holds \(path)" }
    report(text, as: text, isDamage: error.isDamage)
  }
  func report(_ text: String) { report(text, as: text, isDamage: false) }

  /// Bytes of a file cannot be read.
  func report(_ error: VaultError, reading range: Range<UInt64>, of inode: InodeNumber) {
    let name = lock.withLock { metadata.named(inode) }
    // What nobody may note is not known when the same content comes again.
    let remedy = isReadOnly ? "Mount the vault for writing and run `fsctl scrub` on it, then copy the file in again" : "Copy the file in again"
    report("""
      cannot read bytes \(range.lowerBound) to \(range.upperBound) of \(name) in the vault \(path): \(error). \(remedy), \
      or put what is damaged or missing in the vault back from a copy of it, and run `fsctl scrub`; all else can be read
      """, as: "\(inode.value) \(range.lowerBound) \(error)", isDamage: true)
  }

  /// What a program wrote into a mapping of a file is not stored: it may be gone, and nobody can be told but at an msync or fsync.
  public func reportLostMapping(at offset: UInt64, of file: OpenFile, isFull: Bool) {
    let name = lock.withLock { metadata.named(file.inode) }
    let because = isFull ? "a limit is used up, or the disk that holds the vault is full" : "it could not be stored"
    report("""
      what a program wrote into its memory mapping of \(name) in the vault \(path) is lost, at byte \(offset) and perhaps elsewhere in it: \(because). \
      The program learns of it from msync or fsync only
      """, as: "mapping of \(file.inode.value)", isDamage: false)
  }

  /// Something in a container cannot be read: what else is in it is looked at before new content refers to it.
  func doubt(_ container: ContainerNumber, because error: VaultError) {
    switch error {
    case .chunkDamaged, .disk(_, _, EIO): break
    default: return
    }
    lock.withLock {
      guard failure == nil, !isReadOnly, container != .none, !metadata.state.containers.isDoubted(container) else { return }
      do throws(VaultError) {
        try metadata.begin()
        metadata.state.containers.doubt(container)
        // Whoever comes after a kill shall know it, too.
        try commit()
      } catch {}
    }
  }

  /// Those of which it is noted that something in them could not be read. (The optimiser leaves a segment alone for damage only.)
  var distrusted: Set<ContainerNumber> {
    let segments = containers.numbers(.segment), packs = containers.numbers(.pack)
    return lock.withLock {
      let uses = metadata.state.containers
      return Set((segments + packs).filter { uses.isDoubted($0) } + segments.filter { uses.isKept($0) })
    }
  }

  /// These were read, and all in them is what it should be.
  func trust(_ containers: [ContainerNumber]) throws(VaultError) {
    if containers.isEmpty || isReadOnly { return }
    try changeView { metadata in
      for number in containers {
        metadata.state.containers.doubt(number, false)
        if self.containers.kind(number) == .segment { metadata.state.containers.release(number) }
      }
    }
  }

  /// - Parameter key: reports with the same one are the same.
  private func report(_ text: String, as key: String, isDamage: Bool) {
    let isNew = lock.withLock { () -> Bool in
      if isDamage { noteDamage(text) }
      if reported.count >= Self.reportsMax { reported.removeAll() }
      return reported.insert(key).inserted
    }
    if isNew { log(text) }
  }

  /// What was written and could not be saved when the last close came.
  func reportLoss(of bytes: Int, in inode: InodeNumber, _ error: VaultError) {
    let name = lock.withLock { metadata.named(inode) }
    let text = "\(bytes) bytes written to \(name) in the vault \(path) could not be saved and are lost: \(error)"
    lock.withLock { loss = loss ?? text }
    log(text)
  }

  /// The first damage that was met since the vault was opened.
  public var damageMet: String? { lock.withLock { damage } }

  /// `lock` is held.
  func noteDamage(_ text: String) { damage = damage ?? text }

  /// The files of the vault that something is read from and that are not there, in a sentence; nil where all are.
  func missingContainers() -> String? {
    let missing = lock.withLock { metadata.state.containers.inUse.filter { containers.kind($0) == nil } }
    if missing.isEmpty { return nil }
    let named = missing.prefix(Self.missingNamed).map { ContainerStore.path($0, .pack) }.joined(separator: ", ")
    return """
      \(named)\(missing.count > Self.missingNamed ? " and \(missing.count - Self.missingNamed) more" : "") \(missing.count == 1 ? "is" : "are") missing in the vault \(path): \
      put \(missing.count == 1 ? "it" : "them") back from a copy. `fsctl scrub` names the files whose content cannot be read; all else can be
      """
  }
  private static let missingNamed = 5
}
