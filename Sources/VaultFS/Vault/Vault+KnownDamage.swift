// Files of a tree that hold something known to be damaged: whoever takes it back is to learn of it.

import Glibc

extension Vault {
  private static let namesMax = 10

  /// The files at or below a node in which chunks are noted as damaged. Free where nothing is noted in the vault; else each file is
  /// looked at.
  /// - Parameter goOn: false ends it with what was found so far.
  /// - Returns: how many, and what some of them are called.
  public func damagedFiles(in node: InodeNumber, called name: [UInt8], while goOn: () -> Bool = { true }) throws(VaultError) -> (count: UInt64, names: [[UInt8]]) {
    var count: UInt64 = 0, names: [[UInt8]] = [], waiting: [InodeNumber] = [], seen: Set<InodeNumber> = []
    guard damagedChunks > 0 else { return (0, []) }
    func look(at info: NodeInfo, called name: [UInt8]) throws(VaultError) {
      if info.mode & S_IFMT == S_IFDIR { return waiting.append(info.inode) }
      if info.links > 1, !seen.insert(info.inode).inserted { return }
      guard info.mode & S_IFMT == S_IFREG, try lock.withLock({ () throws(VaultError) in try metadata.hasLostChunks(info.inode) }) else { return }
      count += 1
      if names.count < Self.namesMax { names.append(name) }
    }
    try look(at: try info(node), called: name)
    while let next = waiting.popLast(), goOn() {
      for entry in try allEntries(of: next, withInfo: true) { if let info = entry.info { try look(at: info, called: entry.name) } }
      letOthers()
    }
    return (count, names)
  }
}
