// Names are what names can be: 1 to 255 bytes without NUL and slash, not `.` and `..`.

enum EntryName: Invariant {
  static let kind = Finding.Kind.entryName

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    var count = 0
    try copy.each("SELECT parent, cookie, inode, name FROM entry", work: work) { row in
      count += 1
      if unsafe isValid(row.raw(3)) { return }
      let parent = row.unsigned(0), cookie = row.unsigned(1)
      work.found(Finding(kind, inode: row.unsigned(2), table: "entry", key: [parent, cookie], "directory \(parent) holds the name \(displayed(row.bytes(3))), which cannot be one"))
    }
    work.note { $0.entries = count }
  }

  static func isValid(_ name: UnsafeRawBufferPointer) -> Bool {
    guard unsafe !name.isEmpty, name.count <= Limits.nameBytesMax, unsafe !name.contains(where: { $0 == 0 || $0 == 0x2F }) else { return false }
    return unsafe name.count > 2 || name.contains { $0 != 0x2E }
  }
}
