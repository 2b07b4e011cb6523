// What a scrub found is noted in the view, and named as people know it: for each container in which something was wrong, every
// chunk that is read from there is read once more, by itself.
//
// What must stay true: the vault's lock is held for so many rows at a time; bytes are read without it. A chunk is noted only if
// its row is still what was read.

import Glibc
import Synchronization

final class DamageMarks {
  private let vault: Vault
  private let shared: ScrubShared
  private let verifier: FrameVerifier
  private static let rowsPerHold: UInt64 = 1000
  /// Damaged chunks whose files are looked for.
  private static let chunksMax = 1 << 17

  init(_ vault: Vault, _ shared: ScrubShared) {
    (self.vault, self.shared) = (vault, shared)
    verifier = FrameVerifier(vault.containers)
  }

  /// Gives all chunks, some at a time, to `take`, which holds no lock.
  private func eachBatch(_ take: ([StoredChunk]) throws(VaultError) -> Void) throws(VaultError) {
    var next: UInt64? = 0
    while let first = next, !shared.cancellation.isCancelled {
      var rows: [StoredChunk] = []
      next = nil
      try vault.lock.withLock { () throws(VaultError) in
        try vault.checkWhole()
        let select = try vault.metadata.database.prepare("SELECT \(StoredChunk.columns) FROM chunk WHERE number >= ? ORDER BY number LIMIT ?")
        select.bind(1, first)
        select.bind(2, Self.rowsPerHold)
        while try select.step() {
          next = select.unsigned(0) + 1
          if let chunk = StoredChunk(select) { rows.append(chunk) }
        }
      }
      try take(rows)
    }
  }

  /// Doubts containers that are not there, or end before something that is read from them: nobody could read what is missing.
  private func doubtWhatIsShort() throws(VaultError) {
    var ends: [ContainerNumber: UInt64] = [:]
    try eachBatch { rows throws(VaultError) in
      for chunk in rows where !chunk.isNowhere && chunk.place.frame.end > ends[chunk.place.frame.container] ?? 0 {
        let number = chunk.place.frame.container, size = vault.containers.size(of: number) ?? 0
        ends[number] = size
        if chunk.place.frame.end <= size { continue }
        // Of each container once.
        ends[number] = .max
        try tellMissing(chunk, number, size)
      }
    }
  }

  private func tellMissing(_ chunk: StoredChunk, _ number: ContainerNumber, _ size: UInt64) throws(VaultError) {
    // What the optimiser took away, or made an archive of, nothing is read from any more.
    guard vault.lock.withLock({ (try? vault.metadata.storedChunk(chunk.number))??.place == chunk.place }) else { return }
    switch vault.containers.kind(number) {
    case nil: shared.found(ContainerMissing.finding(number, count: nil), in: number, stretch: 0..<UInt64.max)
    case .archive: shared.doubt(number)
    case .pack, .segment:
      shared.found(ContainerShort.finding(number, size, count: nil, vault.containers), in: number, stretch: size..<UInt64.max)
      if vault.isReadOnly { return }
      try vault.changeView { $0.state.containers.limitFrames(in: number, to: size) }
    }
  }

  /// - Returns: how many chunks were noted as damaged.
  func look() throws(VaultError) -> Int {
    try doubtWhatIsShort()
    let doubtful = shared.state.withLock { $0.doubtful }
    guard !doubtful.isEmpty else { return 0 }
    var marked = 0
    try eachBatch { rows throws(VaultError) in
      for chunk in rows where doubtful.contains(chunk.place.frame.container) { if let trouble = trouble(with: chunk), try note(chunk, trouble) { marked += 1 } }
    }
    try countKnown()
    return marked
  }

  /// What was noted as damaged before, and has not come back since, is lost in the frame that it was in.
  private func countKnown() throws(VaultError) {
    for (place, wound) in shared.state.withLock({ $0.wounds }) where wound.lost == 0 {
      let lost = try vault.lock.withLock { () throws(VaultError) -> Int in
        var lost = 0
        for id in wound.ids {
          if let number = try vault.metadata.chunk(id, orMissing: true), try vault.metadata.storedChunk(number.value)?.isNowhere == true { lost += 1 }
        }
        return lost
      }
      shared.state.withLock { $0.wounds[place]?.lost = lost }
    }
  }

  private func trouble(with chunk: StoredChunk) -> VaultError? {
    do throws(VaultError) {
      let frame = try verifier.verified(chunk.place.frame, in: try vault.containers.file(chunk.place.frame.container))
      let length = unsafe frame.withChunk(chunk.id, at: chunk.place.offsetInFrame) { $0.count }
      return length == Int(chunk.length) ? nil : .chunkDamaged(detail: "the frame holds another chunk there")
    } catch { return error }
  }

  /// - Returns: whether it was noted.
  private func note(_ chunk: StoredChunk, _ trouble: VaultError) throws(VaultError) -> Bool {
    let (isSo, isNoted) = try vault.lock.withLock { () throws(VaultError) in
      try vault.checkWhole()
      guard let now = try vault.metadata.storedChunk(chunk.number), now.place == chunk.place, now.id == chunk.id else { return (false, false) }
      if vault.isReadOnly { return (true, false) }
      do throws(VaultError) {
        try vault.metadata.begin()
        try vault.metadata.markDamaged(now)
      } catch { throw vault.fail(error) }
      vault.keeper?.wake()
      return (true, true)
    }
    guard isSo else { return false }
    let frame = chunk.place.frame
    shared.lost(in: frame, Finding(.chunkContent, chunk: chunk.id, file: vault.containers.kind(frame.container).map { ContainerStore.path(frame.container, $0) }, byte: frame.offset,
                         table: "chunk", key: [chunk.number], "chunk \(chunk.id) cannot be read: \(trouble)"))
    return isNoted
  }

  // MARK: What came back

  /// Chunks that are noted as damaged, `chunksMax` at most.
  static func missing(from vault: Vault) throws(VaultError) -> Set<ChunkID> {
    var ids: Set<ChunkID> = []
    for number in try numbers(in: vault) {
      if let chunk = try vault.lock.withLock({ () throws(VaultError) in try vault.metadata.storedChunk(number) }), chunk.isNowhere { ids.insert(chunk.id) }
    }
    return ids
  }

  /// Points what was noted as damaged to where it was found whole.
  /// - Returns: how many chunks.
  func heal() throws(VaultError) -> Int {
    let again = shared.state.withLock { $0.again }
    if again.isEmpty || vault.isReadOnly { return 0 }
    return try vault.working.withLock { () throws(VaultError) in
      var healed = 0, isCounted: [ContainerNumber: Bool] = [:]
      for (header, place) in again {
        let counted = isCounted[place.container] ?? vault.lock.withLock { vault.metadata.state.containers.isCounted(place.container) }
        isCounted[place.container] = counted
        healed += try vault.point(to: header, at: place, isCounted: counted)
      }
      return healed
    }
  }

  private static func numbers(in vault: Vault) throws(VaultError) -> Set<UInt64> {
    try vault.lock.withLock { () throws(VaultError) in
      var numbers: Set<UInt64> = []
      guard vault.metadata.state.containers.chunks(in: ContainerNumber.none) > 0 else { return numbers }
      let select = try vault.metadata.database.prepare("SELECT number FROM chunk WHERE container = ? LIMIT ?")
      select.bind(1, ContainerNumber.none.value)
      select.bind(2, UInt64(chunksMax))
      while try select.step() { numbers.insert(select.unsigned(0)) }
      return numbers
    }
  }

  // MARK: Files

  /// The files of the tree with chunks that are noted as damaged, and then those of the past, each once.
  func files(atMost limit: Int) throws(VaultError) -> [DamagedFile] {
    let damaged = try Self.numbers(in: vault)
    if damaged.isEmpty { return [] }
    var inodes: Set<UInt64> = [], ends: [UInt64: UInt64] = [:]
    for place in Self.present {
      try collect(place, damaged) { key in
        inodes.insert(key[0])
        return inodes.count < limit
      }
    }
    for place in Self.past {
      try collect(place, damaged) { key in
        if !inodes.contains(key[0]) { ends[key[0]] = max(ends[key[0]] ?? 0, place.table == "page" ? 0 : key[key.count - 1]) }
        return inodes.count + ends.count < limit
      }
    }
    var files: [DamagedFile] = []
    for inode in inodes.sorted().prefix(limit) { if let file = try present(InodeNumber(inode)) { files.append(file) } }
    for (inode, end) in ends.sorted(by: { $0.key < $1.key }).prefix(limit - files.count) { if let file = try past(InodeNumber(inode), until: end) { files.append(file) } }
    return files
  }

  /// nil where it is gone meanwhile.
  private func present(_ inode: InodeNumber) throws(VaultError) -> DamagedFile? {
    try vault.lock.withLock { () throws(VaultError) in
      guard let node = try vault.metadata.nodeIfThere(inode), let path = try vault.metadata.onePath(of: node.inode) else { return nil }
      return DamagedFile(inode: inode.value, path: displayed(path), pathBytes: path)
    }
  }

  /// A version that ended with the operation `end`, or, where that is 0, the last one.
  private func past(_ inode: InodeNumber, until end: UInt64) throws(VaultError) -> DamagedFile? {
    try vault.lock.withLock { () throws(VaultError) in
      guard let end = end > 0 ? LSN(end) : try vault.metadata.lastPast(of: inode), end > .zero else { return nil }
      let path = try vault.metadata.nodeIfThere(inode) != nil ? vault.metadata.onePath(of: inode) : formerPath(of: inode)
      return DamagedFile(inode: inode.value, path: path.map(displayed), pathBytes: path, until: try vault.metadata.second(of: end, from: vault.configuration.created))
    }
  }

  /// Where it was when it was deleted. `lock` is held.
  private func formerPath(of inode: InodeNumber) throws(VaultError) -> [UInt8]? {
    let select = try vault.metadata.database.prepare("SELECT parent, died, name FROM trash WHERE inode = ? ORDER BY died DESC LIMIT 1")
    select.bind(1, inode.value)
    guard try select.step() else { return nil }
    let name = select.bytes(2)
    return try vault.metadata.path(of: InodeNumber(select.unsigned(0)), at: LSN(select.unsigned(1) &- 1)).map { $0 + [0x2F] + name }
  }

  /// A table whose rows name chunks: what identifies a row, the node first and, of the past, the operation that ended it last.
  private struct Place {
    let table, key, content: String
    var isNode = false
    var condition = "true"
  }
  // (Pages of what is gone stay where they are.)
  private static let isThere = "EXISTS (SELECT 1 FROM node WHERE node.inode = page.inode)"
  private static let present = [Place(table: "node", key: "inode", content: "record", isNode: true), Place(table: "page", key: "inode, start", content: "extents", condition: isThere)]
  private static let past = [
    Place(table: "past_node", key: "inode, died", content: "record", isNode: true), Place(table: "past_page", key: "inode, start, died", content: "extents"),
    Place(table: "page", key: "inode, start", content: "extents", condition: "NOT \(isThere)"),
  ]

  /// Gives the keys of rows that name one of `damaged` to `take`, until that has enough.
  private func collect(_ place: Place, _ damaged: Set<UInt64>, _ take: ([UInt64]) -> Bool) throws(VaultError) {
    let width = Int32(place.key.split(separator: ",").count)
    var after: [UInt64]? = [UInt64](repeating: 0, count: Int(width)), isEnough = false
    while let start = after, !isEnough {
      after = nil
      try vault.lock.withLock { () throws(VaultError) in
        try vault.checkWhole()
        try vault.metadata.writeNodes()
        let places = start.map { _ in "?" }.joined(separator: ", ")
        let select = try vault.metadata.database.prepare(
          "SELECT \(place.key), \(place.content) FROM \(place.table) WHERE (\(place.key)) > (\(places)) AND \(place.condition) ORDER BY \(place.key) LIMIT \(Self.rowsPerHold)")
        for (index, value) in start.enumerated() { select.bind(Int32(index + 1), value) }
        while try select.step(), !isEnough {
          let key = (0..<width).map { select.unsigned($0) }
          after = key
          if unsafe names(damaged, select.raw(width), of: key[0], isNode: place.isNode) { isEnough = !take(key) }
        }
      }
    }
  }

  private func names(_ damaged: Set<UInt64>, _ bytes: UnsafeRawBufferPointer, of inode: UInt64, isNode: Bool) -> Bool {
    var reader = unsafe ByteReader(bytes)
    let extents = isNode ? (try? unsafe Node(inode: InodeNumber(inode), decoding: bytes))?.extents : try? [Extent](decoding: &reader, max: Limits.pageExtentsMax)
    return extents?.contains { if case .chunk(let number, _) = $0.source { damaged.contains(number.value) } else { false } } ?? false
  }
}
