// Writing: into the draft, at memory's speed, with back-pressure; saving happens behind (Vault+Saving.swift).

import Glibc
import Synchronization

extension Vault {
  /// - Parameter clearsPrivileges: the writer may not keep set-uid and set-gid of what it writes.
  /// - Parameter isMember: whether a group is one of the writer's.
  /// - Throws: `.diskFull` before anything is taken, where there is no room.
  public func write(_ bytes: UnsafeRawBufferPointer, to file: OpenFile, at offset: UInt64, clearsPrivileges: Bool,
                    isMember: (UInt32) -> Bool = { _ in true }) throws(VaultError) {
    guard !bytes.isEmpty else { return }
    guard offset <= Limits.fileBytesMax - UInt64(bytes.count) else { throw .fileTooLarge }
    try checkSpace()
    let draft = file.draft
    var modeChanged = false
    let waiting = try draft.lock.writing { () throws(VaultError) in
      try lock.withLock { () throws(VaultError) in
        try checkWritable()
        if clearsPrivileges, let mode = modeWithoutPrivileges(file.node, isMember) {
          try perform(.setAttributes(file.inode, AttributeSet(mode: mode, changed: Self.now())))
          modeChanged = true
        }
        if file.node.hasXattrs { try dropCapabilities(of: file.node) }
      }
      let added = draft.insert(bytes, at: offset)
      dirtyBytes.add(added, ordering: .relaxed)
      let total = lock.withLock { note(added, upTo: offset + UInt64(bytes.count), file.node) }
      if draft.since == 0 { draft.since = monotonicNanoseconds() }
      return total
    }
    if modeChanged { whenModeChanges?(file.inode) }
    if waiting >= 2 * UInt64(Limits.draftBytes) || dirtyBytes.load(ordering: .relaxed) > Limits.dirtyBytesMax {
      try save(file, isStreaming: true)
    } else if waiting >= UInt64(Limits.draftBytes) {
      saveQueue.add { try? self.save(file, isStreaming: true) }
    }
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
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}

/// A few threads that save streams while their writers go on. Work is bounded by the writers' back-pressure: a file
/// adds one piece of work per full run, and waits itself at the second.
final class SaveQueue: @unchecked Sendable {
  // Sendable: `work`, `isClosed` and `threads` are guarded by `lock`.
  private let lock = Lock()
  private let wakeUp: Condition
  private var work: [@Sendable () -> Void] = []
  private var isClosed = false
  private var threads: [pthread_t] = []

  init(workers: Int) {
    wakeUp = Condition(lock)
    for index in 0..<workers {
      threads.append(startThread("vault-save-\(index)") { [unowned self] in
        while true {
          let next: (@Sendable () -> Void)? = lock.withLock {
            while work.isEmpty && !isClosed { wakeUp.wait() }
            return work.isEmpty ? nil : work.removeFirst()
          }
          guard let next else { return }
          next()
        }
      })
    }
  }
  func add(_ task: @escaping @Sendable () -> Void) {
    lock.withLock {
      work.append(task)
      wakeUp.signalAll()
    }
  }
  /// Returns when the work that was added is done.
  func close() {
    let ending = lock.withLock {
      isClosed = true
      wakeUp.signalAll()
      defer { threads = [] }
      return threads
    }
    for thread in ending { pthread_join(thread, nil) }
  }
}
