// The rows of the trash, newest first, looked at some at a time.
//
// What must stay true: whoever waits for the vault's lock waits for a few milliseconds, however deep directories were. (What is found of
// them is as it was at most `rowsPerLook` rows ago: whoever acts upon it looks again.)

struct TrashRow {
  /// The operation that deleted it, and its second.
  let died: LSN
  let second: Int64
  let inode, parent: InodeNumber
  let name: [UInt8]
}

struct TrashWalk {
  static let rowsPerLook = 500
  /// Under one hold of the lock, nanoseconds; one row at least, or so many directories of the way to it.
  static let holdMax: UInt64 = 5_000_000

  /// Where to go on; and whether there is nothing more.
  private(set) var before: UInt64
  private(set) var isDone = false
  /// Rows that were looked at.
  private(set) var rows = 0
  private let tellsPaths: Bool
  private var whereabouts: Whereabouts

  init(_ metadata: Metadata, before id: UInt64, tellsPaths: Bool) {
    (before, self.tellsPaths, whereabouts) = (min(id, UInt64(Int64.max)), tellsPaths, Whereabouts(metadata, tellsPaths: tellsPaths))
  }

  /// The vault's lock is held.
  /// - Parameter rowsMax: where to stop.
  /// - Parameter take: returns false where it will ask again when others have had their turn.
  mutating func step(_ metadata: Metadata, rows rowsMax: Int = .max, _ take: (TrashRow, inout Whereabouts) throws(VaultError) -> Bool) throws(VaultError) {
    let start = monotonicNanoseconds()
    whereabouts.beginHold()
    let select = try metadata.database.prepare("SELECT died, second, inode, parent, name FROM trash WHERE died < ? ORDER BY died DESC")
    select.bind(1, before)
    while try select.step() {
      let row = TrashRow(died: LSN(select.unsigned(0)), second: select.integer(1), inode: InodeNumber(select.unsigned(2)), parent: InodeNumber(select.unsigned(3)), name: select.bytes(4))
      guard try take(row, &whereabouts) else { return }
      (before, rows) = (row.died.value, rows + 1)
      let isLookOver = rows % Self.rowsPerLook == 0
      if isLookOver { whereabouts = Whereabouts(metadata, tellsPaths: tellsPaths) }
      if isLookOver || rows >= rowsMax || monotonicNanoseconds() > start + Self.holdMax { return }
    }
    isDone = true
  }
}
