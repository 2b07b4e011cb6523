// A name leads to what it led to before: a symlink mostly, which has no content that could become what it was.
//
// What must stay true: it is one operation: whatever moment is looked at, the name leads to what was there or to what was taken back.

import Glibc

extension Vault {
  /// What is there becomes what was, under one name: neither is a directory, and they are not both files (which `restore` is for). Unless it
  /// goes on from that, it gives way: what was is made anew, and what was there is in the trash.
  /// - Returns: whether it was anything else.
  public func replace(_ name: [UInt8], in parent: InodeNumber, with source: InodeNumber, at moment: LSN, _ options: RestoreOptions) throws(VaultError) -> Bool {
    try checkName(name)
    try checkSpace()
    // What programs have written by now is in the trash with the rest.
    if let now = try lookup(name, in: parent) { try save(now.inode) }
    var isDone = false, changed: InodeNumber?
    let ended = try withinQuotas { () throws(VaultError) in try lock.withLock { () throws(VaultError) -> InodeNumber? in
      guard let past = try metadata.node(source, at: moment) else { throw .notFound }
      _ = try metadata.directory(parent)
      guard let row = try metadata.entry(name, in: parent), !metadata.isStaged(row) else { throw .notFound }
      let node = try metadata.node(row.inode)
      if node.isDirectory || past.isDirectory { throw .isADirectory }
      if node.isRegular && past.isRegular { throw .notSupported }
      let isAlike = node.mode & S_IFMT == past.mode & S_IFMT
      if isAlike, try metadata.isSame(node, past) { return nil }
      let selves = isAlike ? try metadata.formerSelves(of: node.inode).map(\.inode) + [node.inode] : [], goesOn = selves.contains(source)
      try options.check(node, metadata)
      try options.checkReturn(past, metadata, now: goesOn ? node : nil)
      let new = try newNode(from: past, options), set = attributes(of: past, options)
      if goesOn { try checkQuotas(for: node, becoming: past, options.owner) } else { try checkQuotas(making: new, of: past, inPlaceOf: node, in: parent) }
      isDone = true
      if let plan = options.plan {
        plan.add(.changes, isDirectory: false)
        return nil
      }
      if goesOn {
        try perform(.restore(node.inode, from: source, moment: moment, attributes: set))
        changed = node.inode
        return nil
      }
      try beginEpoch()
      try perform(.together([
        .unlink(parent: parent, name: name, drops: endsWithItsNames(node), time: Self.now()),
        .revive(new, parent: parent, name: name, from: source, moment: moment, attributes: set, isCopy: false),
      ]))
      if node.links > 0 { changed = node.inode }
      return noteUnlinked(node)
    } }
    guard isDone, options.plan == nil else { return isDone }
    unsafe whenNameChanges?(name, parent)
    if let changed { unsafe whenModeChanges?(changed) }
    if let ended { try dropOrphan(ended) }
    return true
  }
}
