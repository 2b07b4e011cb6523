// The root is there: a directory, and its own parent.

import Glibc

enum RootMissing: Invariant {
  static let kind = Finding.Kind.rootMissing

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let root = InodeNumber.root.value
    guard try copy.number("SELECT count(*) FROM shape WHERE inode = \(root) AND type = \(S_IFDIR) AND parent = \(root)") == 0 else { return }
    work.found(Finding(kind, inode: root, table: "node", key: [root], "the root is not there, or is no directory"))
  }
}
