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

  /// A file could not be read from some place on, or only in part.
  func report(_ error: VaultError, reading range: Range<UInt64>, of inode: InodeNumber) {
    let name = lock.withLock { metadata.named(inode) }
    // Whatever is read of one damaged frame, it is one damage.
    report("""
      cannot read bytes \(range.lowerBound) to \(range.upperBound) of \(name) in the vault \(path): \(error). Copy the file in again, \
      or put what is damaged or missing in the vault back from a copy of it; all else can be read
      """, as: "\(inode.value) \(error)", isDamage: true)
  }

  /// A chunk cannot be read: whoever writes the same content shall not be told that it is stored.
  func suspect(_ id: ChunkID, because error: VaultError) {
    switch error {
    case .chunkDamaged, .disk(_, _, EIO): break
    default: return
    }
    lock.withLock {
      guard metadata.suspects.count < Metadata.suspectsMax, let number = try? metadata.chunk(id) else { return }
      metadata.suspects.insert(number)
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

  /// The first damage that was met since the vault was opened.
  public var damageMet: String? { lock.withLock { damage } }

  /// `lock` is held.
  func noteDamage(_ text: String) { damage = damage ?? text }
}
