// From every directory the way up leads to the root, and not round in a circle.
// 
// What must stay true: memory is bounded; of the directories that are known to be well, so many are remembered and no more.

enum DirectoryCycle: Invariant {
  static let kind = Finding.Kind.directoryCycle
  private static let knownMax = 1 << 17

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let up = try copy.database.prepare("SELECT parent, cookie FROM entry INDEXED BY check_entry WHERE inode = ? AND type = 16384 LIMIT 1")
    func parent(of inode: UInt64) throws -> UInt64? {
      up.bind(1, inode)
      defer { up.reset() }
      return try up.step() ? up.unsigned(0) : nil
    }
    var known: Set<UInt64> = [InodeNumber.root.value], told: Set<UInt64> = []
    try copy.each("SELECT inode FROM shape WHERE type = 16384", work: work) { row in
      let start = row.unsigned(0)
      // Brent: `mark` stays behind at powers of two; who meets it again goes round.
      var at = start, mark = start, steps = 0, power = 1
      while !known.contains(at), let next = try parent(of: at) {
        if next == mark {
          try tell(from: next, parent, copy, &told, work)
          break
        }
        steps += 1
        if steps == power { (mark, power, steps) = (next, power * 2, 0) }
        at = next
      }
      // Without a name its way ends: that is another finding.
      if known.count >= knownMax { known = [InodeNumber.root.value] }
      known.insert(start)
    }
  }

  /// Reports a circle once, at its directory with the smallest number.
  private static func tell(from inode: UInt64, _ parent: (UInt64) throws -> UInt64?, _ copy: ViewCopy, _ told: inout Set<UInt64>, _ work: CheckWork) throws {
    var smallest = inode, at = inode
    repeat {
      guard let next = try parent(at) else { return }
      at = next
      smallest = min(smallest, at)
    } while at != inode
    guard told.count < Limits.findingsMax, told.insert(smallest).inserted else { return }
    try copy.each("SELECT parent, cookie FROM entry INDEXED BY check_entry WHERE inode = ?1 AND type = 16384 LIMIT 1", smallest, work: work) { row in
      work.found(Finding(kind, inode: smallest, table: "entry", key: [row.unsigned(0), row.unsigned(1)], "directory \(smallest) is within itself"))
    }
  }
}
