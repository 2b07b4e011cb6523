// Which directories were at a place: a path means others at other times.

import Glibc

extension Metadata {
  /// A directory, and when it was somewhere.
  struct PlaceThen {
    let inode: InodeNumber
    let stay: Range<LSN>
    /// The last moment of that.
    func end(_ present: LSN) -> LSN { min(LSN(stay.upperBound.value &- 1), present) }
  }
  private static let never = LSN(UInt64(Int64.max))

  /// Others wait while it is looked: so many directories of each place on the way, the oldest left out, and no longer ways.
  private static let placesMax = 32, wayMax = 128
  /// So many stays under a name, the newest.
  private static let staysMax = 1000

  /// The directories that had the path that one has, or had last, and when; without itself and what it goes on from.
  func predecessors(of directory: InodeNumber) throws(VaultError) -> [PlaceThen] {
    guard let names = try way(to: directory) else { return [] }
    var found = [PlaceThen(inode: .root, stay: .zero..<Self.never)]
    for name in names {
      var next: [PlaceThen] = []
      for above in found {
        for (inode, stays) in try stays(under: name, in: above, of: S_IFDIR) { next += stays.map { PlaceThen(inode: inode, stay: $0) } }
      }
      found = Array(next.sorted { $0.stay.upperBound > $1.stay.upperBound }.prefix(Self.placesMax))
    }
    let own = Set(try [directory] + origins(of: directory).map(\.inode))
    return found.filter { !own.contains($0.inode) }
  }

  /// The names that lead to a directory, or did last; nil where that is not known.
  private func way(to directory: InodeNumber) throws(VaultError) -> [[UInt8]]? {
    let select = try database.prepare("""
      SELECT parent, name, 1 AS isThere, 0 AS died FROM entry WHERE inode = ?1 AND type = \(S_IFDIR) UNION ALL
      SELECT parent, name, 0, died FROM past_entry WHERE inode = ?1 AND type = \(S_IFDIR) ORDER BY isThere DESC, died DESC LIMIT 1
      """)
    var names: [[UInt8]] = [], at = directory
    while at != .root {
      select.bind(1, at.value)
      defer { select.reset() }
      guard names.count < Self.wayMax, try select.step() else { return nil }
      at = InodeNumber(select.unsigned(0))
      names.append(select.bytes(1))
    }
    return names.reversed()
  }

  /// The nodes of a type that had a name in a directory while that was somewhere, or have it, each with the times, in their order.
  func stays(under name: [UInt8], in directory: PlaceThen, of type: mode_t) throws(VaultError) -> [InodeNumber: [Range<LSN>]] {
    var stays = try pastStays(under: name, in: directory.inode, of: type)
    if let row = try entry(name, in: directory.inode), row.type == type, !isStaged(row) { stays[row.inode, default: []].append(row.born..<Self.never) }
    return stays.compactMapValues { stays in
      let both = stays.filter { $0.overlaps(directory.stay) }.map { $0.clamped(to: directory.stay) }
      return both.isEmpty ? nil : both
    }
  }

  /// Those that had it before.
  func pastStays(under name: [UInt8], in parent: InodeNumber, of type: mode_t) throws(VaultError) -> [InodeNumber: [Range<LSN>]] {
    let (first, end) = cookies(of: name)
    let select = try database.prepare("SELECT name, inode, born, died FROM past_entry WHERE parent = ? AND cookie >= ? AND cookie < ? AND type = ? ORDER BY died DESC LIMIT \(Self.staysMax)")
    select.bind(1, parent.value)
    select.bind(2, first)
    select.bind(3, end)
    select.bind(4, UInt64(type))
    var stays: [InodeNumber: [Range<LSN>]] = [:]
    while try select.step() {
      let born = LSN(select.unsigned(2)), died = LSN(select.unsigned(3))
      guard unsafe select.raw(0).elementsEqual(name), born < died else { continue }
      stays[InodeNumber(select.unsigned(1)), default: []].append(born..<died)
    }
    return stays.mapValues { $0.reversed() }
  }
}
