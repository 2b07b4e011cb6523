// Writing: into the draft, at memory's speed, with back-pressure; saving happens behind (Vault+Saving.swift).

import Glibc
import Synchronization

extension Vault {
  /// - Parameter clearsPrivileges: the writer may not keep set-uid and set-gid of what it writes.
  /// - Parameter isMember: whether a group is one of the writer's.
  /// - Throws: `.diskFull` or `.quotaExceeded` before anything is taken, where there is no room.
  public func write(_ bytes: UnsafeRawBufferPointer, to file: OpenFile, at offset: UInt64, clearsPrivileges: Bool,
                    isMember: (UInt32) -> Bool = { _ in true }) throws(VaultError) {
    guard unsafe !bytes.isEmpty else { return }
    guard offset <= Limits.fileBytesMax - UInt64(bytes.count) else { throw .fileTooLarge }
    noteUse(of: file)
    try checkSpace()
    let draft = file.draft
    var modeChanged = false
    let unsaved = try withinQuotas { () throws(VaultError) in try draft.lock.writing { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        try checkWritable()
        if file.node.isDropped { throw .staleNode }
        if clearsPrivileges, let mode = modeWithoutPrivileges(file.node, isMember) {
          try perform(.setAttributes(file.inode, AttributeSet(mode: mode, changed: Self.now())))
          modeChanged = true
        }
        if file.node.hasXattrs { try dropCapabilities(of: file.node) }
        try admit(offset..<offset + UInt64(bytes.count), to: file)
      }
      let added = unsafe draft.insert(bytes, at: offset)
      dirtyBytes.add(added, ordering: .relaxed)
      let total = lock.withLock { note(added, upTo: offset + UInt64(bytes.count), file.node) }
      if draft.since == 0 { draft.since = monotonicNanoseconds() }
      if total >= Self.waitingBytes { draft.hurry = Self.hurrySaves }
      return total
    } }
    if modeChanged { unsafe whenModeChanges?(file.inode) }
    if dirtyBytes.load(ordering: .relaxed) > Limits.dirtyBytesMax {
      try save(file, isStreaming: true)
    } else if unsaved >= UInt64(Limits.draftBytes) {
      try saveBehind(file, unsaved)
    }
  }

  /// Unsaved bytes at which a stream's writer waits: a run being saved, one full, one being filled.
  private static var waitingBytes: UInt64 { 3 * UInt64(Limits.draftBytes) }
  /// A writer that had to wait is taken to be faster than the workers for so many saves.
  private static var hurrySaves: Int { 16 }

  /// A worker saves what is full, while the writer goes on.
  private func saveBehind(_ file: OpenFile, _ unsaved: UInt64) throws(VaultError) {
    let draft = file.draft
    let starts = lock.withLock {
      defer { draft.isBeingSaved = true }
      return !draft.isBeingSaved
    }
    if starts { saveQueue.add { self.saveOneRun(file) } }
    guard unsaved >= Self.waitingBytes else { return }
    let isStuck = lock.withLock {
      while draft.isBeingSaved && file.node.unsavedBytes >= Self.waitingBytes { saved.wait() }
      return file.node.unsavedBytes >= Self.waitingBytes
    }
    // The worker could not save it: here the writer learns why.
    if isStuck { try save(file, isStreaming: true) }
  }

  private func saveOneRun(_ file: OpenFile) {
    var isSaved = true
    do throws(VaultError) { try save(file, isStreaming: true) } catch { isSaved = false }
    let goesOn = lock.withLock {
      file.draft.isBeingSaved = isSaved && file.node.unsavedBytes >= UInt64(Limits.draftBytes)
      saved.signalAll()
      return file.draft.isBeingSaved
    }
    // Behind what others wait for.
    if goesOn { saveQueue.add { self.saveOneRun(file) } }
  }

  /// - Returns: unsaved bytes of the node.
  private func note(_ added: Int, upTo end: UInt64, _ node: Node) -> UInt64 {
    let time = Self.now()
    var now = node.unsaved ?? Node.Unsaved(size: node.size, modified: nil, changed: nil, bytes: 0)
    now.size = max(now.size, end)
    now.modified = time
    now.changed = time
    now.bytes += UInt64(added)
    setUnsaved(now, of: node)
    return now.bytes
  }

  /// `lock` is held.
  func setUnsaved(_ value: Node.Unsaved?, of node: Node) {
    noteGrowth(node.unsaved?.growth ?? 0, value?.growth ?? 0, of: node)
    node.unsaved = value
    if value == nil {
      unsaved[node.inode] = nil
    } else if unsaved.updateValue(node, forKey: node.inode) == nil {
      keeper?.wake()
    }
  }
}

func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}
