// When a directory that was deleted was still whole.
//
// What must stay true: nobody waits for a whole tree: each step holds the vault's lock for some rows. (What was deleted before
// does not change between them; it may be forgotten, and is then not told.)

/// What went from a directory before it went itself.
struct DeletedTree {
  /// Deletions of one tree are no further apart than this, seconds.
  private static let burst: Int64 = 10
  private static let rowsPerStep = 500

  private let item: Deletion
  private var deletions: [(died: UInt64, inode: UInt64, second: Int64)] = []
  private var deaths: Set<UInt64> = []
  /// All that were in it; how many were asked what was deleted from them, and how many what else was in them.
  private var directories: [UInt64], seen: Set<UInt64>, emptied = 0, read = 0
  /// Of the next of them, the deletions before this were not asked for yet; and the names up to here were.
  private var before: UInt64, after: (cookie: UInt64, died: UInt64) = (0, 0)
  /// How many ends of nodes were asked for what they were until then; of the next, the versions that ended before this are left.
  private var endsAsked = 0, versionsBefore: UInt64 = .max
  /// The last operation that changed something else in it.
  private var change: UInt64 = 0

  init(_ item: Deletion) { (self.item, directories, seen, before) = (item, [item.inode], [item.inode], item.died) }

  /// The moment before the first of the deletions that took it away: those that followed each other until it was gone, after
  /// the last time that anything else changed in it.
  var moment: LSN {
    var first = (died: item.died, second: item.second)
    for deletion in deletions.sorted(by: { $0.died > $1.died }) {
      guard deletion.died > change, deletion.second >= first.second &- Self.burst else { break }
      first = (deletion.died, deletion.second)
    }
    return LSN(first.died &- 1)
  }

  /// The vault's lock is held.
  /// - Returns: whether there is more to be looked at.
  mutating func step(_ metadata: Metadata) throws(VaultError) -> Bool {
    if emptied < directories.count { try findDeletions(metadata) } else if read < directories.count { try findNames(metadata) } else if endsAsked <= deletions.count {
      try findVersions(metadata)
    } else { return false }
    return true
  }

  private mutating func findDeletions(_ metadata: Metadata) throws(VaultError) {
    let select = try metadata.database.prepare("SELECT died, inode, second FROM trash WHERE parent = ? AND died < ? ORDER BY died DESC LIMIT \(Self.rowsPerStep)")
    select.bind(1, directories[emptied])
    select.bind(2, before)
    var rows = 0
    while try select.step() {
      rows += 1
      before = select.unsigned(0)
      deletions.append((before, select.unsigned(1), select.integer(2)))
      deaths.insert(before)
      if seen.insert(select.unsigned(1)).inserted { directories.append(select.unsigned(1)) }
    }
    if rows < Self.rowsPerStep { (emptied, before) = (emptied + 1, item.died) }
  }

  private mutating func findNames(_ metadata: Metadata) throws(VaultError) {
    let select = try metadata.database.prepare("SELECT cookie, died, born FROM past_entry WHERE parent = ? AND (cookie, died) > (?, ?) ORDER BY cookie, died LIMIT \(Self.rowsPerStep)")
    select.bind(1, directories[read])
    select.bind(2, after.cookie)
    select.bind(3, after.died)
    var rows = 0
    while try select.step() {
      rows += 1
      after = (select.unsigned(0), select.unsigned(1))
      if !deaths.contains(after.died) { note(after.died) }
      // (What came in the place of what one operation took away is no part of what it deleted.)
      note(select.unsigned(2))
    }
    if rows < Self.rowsPerStep { (read, after) = (read + 1, (0, 0)) }
  }

  private mutating func findVersions(_ metadata: Metadata) throws(VaultError) {
    let select = try metadata.database.prepare("SELECT died, born, record FROM past_node WHERE inode = ? AND died < ? ORDER BY died DESC")
    var rows = 0
    while endsAsked <= deletions.count, rows < Self.rowsPerStep {
      let (inode, died) = endsAsked == 0 ? (item.inode, item.died) : (deletions[endsAsked - 1].inode, deletions[endsAsked - 1].died)
      select.bind(1, inode)
      select.bind(2, min(died + 1, versionsBefore))
      defer { select.reset() }
      var isDone = false
      while !isDone, rows < Self.rowsPerStep {
        rows += 1
        guard try select.step() else {
          isDone = true
          break
        }
        versionsBefore = select.unsigned(0)
        let born = select.unsigned(1)
        // Deleting names changes directories, and files that have others: that is no change of its own. What came after it in the same
        // version is one.
        let isChange = unsafe !deaths.contains(born) || Node.isTouched(select.raw(2))
        if isChange { note(born) }
        isDone = isChange || born <= change
      }
      if isDone { (endsAsked, versionsBefore) = (endsAsked + 1, .max) }
    }
  }

  private mutating func note(_ operation: UInt64) { if operation < item.died { change = max(change, operation) } }
}
