// Saving: a draft's bytes become chunks, the chunks frames, and an operation names them.
//
// What must stay true:
// 1. A frame's bytes are written before the operation that names its chunks.
// 2. One thread saves a draft at a time; what it saves stays readable until all its operations are applied. They may
//    be applied under several holds of the vault's lock: a reader sees the same bytes whichever of them are done.
// 3. After a failure the bytes are dirty again: nothing is lost that memory still holds.

import Glibc
import Synchronization

extension Vault {
  /// Saves what is unsaved of a node, if anything.
  func save(_ inode: InodeNumber) throws(VaultError) {
    let file = lock.withLock { unsaved[inode].flatMap { node in node.draft.map { OpenFile(node, $0) } } }
    if let file { try save(file) }
  }

  /// - Parameter isStreaming: more will follow; what the chunker cannot end yet stays unsaved.
  /// - Parameter isTimed: nobody asked for it: what is written may go on where it stops now.
  public func save(_ file: OpenFile, isStreaming: Bool = false, isTimed: Bool = false) throws(VaultError) {
    try file.draft.saveLock.withLock { () throws(VaultError) in try saveHoldingSaveLock(file, isStreaming: isStreaming, isTimed: isTimed) }
    guard file.isHandle, !isStreaming else { return }
    let loss = lock.withLock {
      defer { file.draft.loss = nil }
      return file.draft.loss
    }
    if let loss { throw loss }
  }

  /// Calls `body` with the draft saved and nobody writing: for changes of a file's shape.
  func quiescent<R>(_ file: OpenFile, _ body: () throws(VaultError) -> R) throws(VaultError) -> R {
    try file.draft.saveLock.withLock { () throws(VaultError) in
      while true {
        try saveHoldingSaveLock(file, isStreaming: false)
        let result: R? = try file.draft.lock.writing { () throws(VaultError) in file.draft.isClean ? try body() : nil }
        if let result { return result }
      }
    }
  }

  /// `file.draft.saveLock` is held.
  func saveHoldingSaveLock(_ file: OpenFile, isStreaming: Bool, isTimed: Bool = false) throws(VaultError) {
    let draft = file.draft
    let charge = draft.lock.reading { draft.charge }
    guard charge > 0 else { return }
    // Before anything is written: a vault that failed must not go on filling packs.
    try lock.withLock { () throws(VaultError) in try checkWritable() }
    try checkRoom(for: charge)
    var inHurry = false, since: UInt64 = 0
    // What is planned points into the runs.
    let runs: [DirtyRun] = draft.lock.writing {
      draft.saving = draft.dirty
      draft.dirty = []
      since = draft.since
      draft.since = 0
      inHurry = isStreaming && draft.hurry > 0
      draft.hurry = max(0, draft.hurry - 1)
      return draft.saving
    }
    defer { withExtendedLifetime(runs) {} }
    let batch = packs.beginBatch()
    defer { packs.end(batch) }
    do throws(VaultError) {
      var whole: [DirtyRun] = []
      for (index, run) in runs.enumerated() { whole.append(try widened(run, of: file, after: index == 0 ? 0 : runs[index - 1].end)) }
      defer { withExtendedLifetime(whole) {} }
      let planner = SavePlanner(self, whole, inHurry: inHurry)
      let plan = try planner.plan(whole, isStreaming: isStreaming)
      try commit(plan, to: file)
      draft.provisional = isTimed ? plan.tail : nil
      unsafe finish(file, saved: runs, leftover: plan.leftover, since: since)
      withExtendedLifetime(plan) {}
    } catch {
      // Tried again after a while, not at once.
      unsafe finish(file, saved: runs, leftover: runs.map { unsafe ($0.offset, $0.bytes) }, since: monotonicNanoseconds())
      throw error
    }
  }

  /// A run with what is to be cut anew together with it.
  /// - Parameter limit: where the run before it in the same save ends; what is saved below is older than that run.
  private func widened(_ run: DirtyRun, of file: OpenFile, after limit: UInt64) throws(VaultError) -> DirtyRun {
    // A slow stream is cut like a fast one: where the last save ended, only because its time had come, is no cut.
    if let tail = file.draft.provisional, tail.upperBound == run.offset, tail.lowerBound >= limit { return joined(run, with: tail.lowerBound, of: file.node) }
    return try withCrumbs(run, of: file.node, after: limit)
  }

  /// A run with the crumbs before it: a log that is synced after every line would else become one chunk a line. Eight
  /// small extents in a row are written again together, so a crumb is rewritten a few times and no more.
  private func withCrumbs(_ run: DirtyRun, of node: Node, after limit: UInt64) throws(VaultError) -> DirtyRun {
    guard run.count < Limits.crumbBytes, run.offset > limit else { return run }
    let reach = min(run.offset - limit, UInt64(Limits.chunkBytesAverage))
    let crumbs = try lock.withLock { () throws(VaultError) in
      var start = run.offset, count = 0
      for extent in try metadata.extents(of: node, in: run.offset - reach..<run.offset).reversed() {
        guard extent.end == start, extent.length < Limits.crumbBytes, extent.source != .reserved else { break }
        start = extent.offset
        count += 1
      }
      return count >= Limits.crumbsMax ? start : run.offset
    }
    return crumbs < run.offset ? joined(run, with: crumbs, of: node) : run
  }

  /// A run with the saved bytes before it, from `start` on. Where they cannot be read, it is saved as it is: damage must not
  /// keep it out.
  private func joined(_ run: DirtyRun, with start: UInt64, of node: Node) -> DirtyRun {
    let count = Int(run.offset - start), before = Buffer(capacity: count)
    defer { withExtendedLifetime(before) {} }
    let target = unsafe UnsafeMutableRawBufferPointer(start: before.base, count: count)
    guard let read = try? unsafe readSaved(node, at: start, into: target, size: \.size), read == count else { return run }
    before.count = count
    let whole = unsafe DirtyRun(offset: start, before.bytes, streaming: false)
    unsafe whole.append(run.bytes)
    return whole
  }

  /// What was saved is no longer in memory, but for what is left over.
  /// - Parameter since: the age of what is left over.
  private func finish(_ file: OpenFile, saved runs: [DirtyRun], leftover: [(UInt64, UnsafeRawBufferPointer)], since: UInt64) {
    let draft = file.draft
    draft.lock.writing {
      draft.saving = []
      var balance = -runs.charge
      for unsafe (offset, bytes) in unsafe leftover { unsafe balance += draft.insert(bytes, at: offset, onlyGaps: true) }
      if unsafe !leftover.isEmpty { draft.since = since }
      dirtyBytes.add(balance, ordering: .relaxed)
      lock.withLock {
        defer { saved.signalAll() }
        guard var now = file.node.unsaved else { return }
        now.bytes = UInt64(draft.charge)
        now.growth = growth(of: draft, in: file.node)
        setUnsaved(draft.dirty.isEmpty ? nil : now, of: file.node)
        if draft.dirty.isEmpty, file.node.openCount == 0 { file.node.draft = nil }
      }
    }
  }

  /// Rows or operations that are committed under one hold of `lock`: some milliseconds at most.
  private static var commitsPerHold: Int { 100 }
  /// Long enough for a thread to wake.
  private static var pauseMicroseconds: UInt32 { 200 }

  /// Notes the plan's frames, then performs its edits in their order.
  private func commit(_ plan: SavePlan, to file: OpenFile) throws(VaultError) {
    let node = file.node
    try inHolds(plan.packed) { frame throws(VaultError) in
      do throws(VaultError) {
        try metadata.begin()
        try metadata.insert(frame.0, at: frame.1.offset, in: frame.1.container)
      } catch { throw fail(error) }
    }
    try inHolds(plan.edits) { edit throws(VaultError) in
      guard !edit.range.isEmpty, !node.isDropped else { return }
      file.draft.versionHasContent = true
      let times = AttributeSet(modified: node.unsaved?.modified, changed: node.unsaved?.changed, continues: continues(file.draft)), growth = try growth(of: edit, in: node)
      try perform(.content(node.inode, range: edit.range, extents: edit.extents, size: max(node.size, edit.range.upperBound), attributes: times),
                  frames: edit.frames, known: plan.known)
      settleGrowth(growth, of: node)
    }
  }

  /// A file that is kept open gets a version so often, nanoseconds.
  private static var versionInterval: UInt64 { 600 * 1_000_000_000 }

  /// Whether what is saved now belongs to the version before: until its writer closes. `lock` is held.
  func continues(_ draft: Draft) -> Bool {
    let now = monotonicNanoseconds()
    if draft.versionSince > 0, now - draft.versionSince < Self.versionInterval { return true }
    draft.versionSince = now
    return false
  }

  /// A writer closes: what it wrote is a version. (See `save` for what is thrown.)
  public func endVersion(_ file: OpenFile) throws(VaultError) {
    defer {
      lock.withLock { if file.draft.versionHasContent { (file.draft.versionSince, file.draft.versionHasContent) = (0, false) } }
    }
    try save(file)
  }

  /// Between two holds of `lock`: it is not fair, and taken again at once it would be had again before those who wait have woken.
  func letOthers() { usleep(Self.pauseMicroseconds) }

  /// Calls `body` for each item with `lock` held, and lets others have it now and then.
  private func inHolds<T>(_ items: [T], _ body: (T) throws(VaultError) -> Void) throws(VaultError) {
    var rest = items[...]
    while !rest.isEmpty {
      let part = rest.prefix(Self.commitsPerHold)
      try lock.withLock { () throws(VaultError) in
        try checkWritable()
        for item in part { try body(item) }
      }
      rest = rest.dropFirst(part.count)
      if !rest.isEmpty { letOthers() }
    }
  }
}
