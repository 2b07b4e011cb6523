// What a part of the vault needs of the stored content: a directory with all that is or was below it, or what somebody owns or
// owned.
//
// What must stay true:
// 1. The vault's lock is held for so many rows at a time. What changes meanwhile is seen or not.
// 2. Memory is bounded: of very many chunks only those count whose numbers are small, and stand for the others. (A number is
//    part of a hash. Gibbons, Distinct Sampling, VLDB 2001.)

import Glibc

public enum ContentScope: Sendable {
  case tree(InodeNumber)
  case user(UInt32)
  case group(UInt32)

  fileprivate func contains(_ node: Node) -> Bool {
    switch self {
    case .tree: true
    case .user(let user): node.user == user
    case .group(let group): node.group == group
    }
  }
}

/// Bytes. What others need, too, is in it.
public struct ContentSum: Codable, Sendable {
  /// Of different chunks; and of those, what only the past needs.
  public var uniqueBytes: UInt64 = 0
  public var historyBytes: UInt64 = 0
  /// What that takes in frames, about: chunks share them.
  public var compressedBytes: UInt64 = 0
  /// False where a sample of the chunks stands for all.
  public var isExact = true
}

/// Chunks that were met, and whether something that is there needs them.
private struct ChunkSample {
  private static let chunksMax = 1 << 18
  private(set) var chunks: [UInt64: Bool] = [:]
  /// One of so many counts (as a power of two).
  private(set) var shift: UInt64 = 0

  mutating func note(_ extents: [Extent], isPresent: Bool) {
    for extent in extents {
      guard case .chunk(let chunk, _) = extent.source, isCounted(chunk.value) else { continue }
      chunks[chunk.value] = chunks[chunk.value] == true || isPresent
      while chunks.count > Self.chunksMax {
        shift += 1
        chunks = chunks.filter { isCounted($0.key) }
      }
    }
  }
  /// Numbers have 63 bits.
  private func isCounted(_ number: UInt64) -> Bool { number >> (63 - shift) == 0 }
}

extension Vault {
  /// - Parameter mayGoOn: is told how many nodes were looked at.
  /// - Returns: nil where it may not.
  public func content(of scope: ContentScope, while mayGoOn: (UInt64) -> Bool) throws(VaultError) -> ContentSum? {
    var survey = ContentSurvey(self, scope)
    while try survey.step() { if !mayGoOn(survey.nodes) { return nil } }
    return try survey.sum(while: { mayGoOn(survey.nodes) })
  }
}

private struct ContentSurvey {
  private static let rowsPerHold = 200, extentsPerHold = 4096
  /// Frames whose headers are read: what they spare stands for all.
  private static let framesMax = 4096

  private let vault: Vault
  private let scope: ContentScope
  private var sample = ChunkSample()
  private(set) var nodes: UInt64 = 0
  /// Nodes that were met, by their numbers, one bit each.
  private var met: [UInt64] = []
  /// Directories to be looked at, with where to go on in the last: names that are there, and those that were.
  private var directories: [InodeNumber] = []
  private var cookie: UInt64 = 0, past: (cookie: UInt64, died: UInt64)?
  /// Of owners: where to go on among the nodes that are there, and those that were.
  private var next: UInt64? = 0, nextPast: (inode: UInt64, died: UInt64)? = (0, 0)
  /// A file with a long manifest, and how far that was looked at: of what is there, or of what was.
  private var long: (node: InodeNumber, at: UInt64)?
  private var longPast: (node: InodeNumber, start: UInt64, died: UInt64)?
  private var waiting: [InodeNumber] = []

  init(_ vault: Vault, _ scope: ContentScope) {
    (self.vault, self.scope) = (vault, scope)
    if case .tree(let directory) = scope { directories = [directory] }
  }

  /// - Returns: false at the end.
  mutating func step() throws(VaultError) -> Bool {
    let metadata = vault.metadata
    return try vault.lock.withLock { () throws(VaultError) in
      try vault.checkWhole()
      if try lookOn(metadata) { return true }
      guard case .tree = scope else { return try lookAtOwned(metadata) }
      return try lookAtNames(metadata)
    }
  }

  // MARK: Which nodes

  private mutating func lookAtNames(_ metadata: Metadata) throws(VaultError) -> Bool {
    guard let directory = directories.last else { return false }
    if past == nil {
      let rows = try metadata.entries(of: directory, after: max(cookie, Metadata.cookieFirst - 1), count: Self.rowsPerHold)
      for row in rows where meet(row.inode) {
        try look(at: row.inode, metadata)
        if row.type == S_IFDIR { directories.insert(row.inode, at: directories.count - 1) }
      }
      if let last = rows.last { cookie = last.cookie } else { past = (0, 0) }
      return true
    }
    let select = try metadata.database.prepare("SELECT cookie, died, inode, type FROM past_entry WHERE parent = ? AND (cookie, died) > (?, ?) ORDER BY cookie, died LIMIT \(Self.rowsPerHold)")
    select.bind(1, directory.value)
    select.bind(2, past!.cookie)
    select.bind(3, past!.died)
    var isAny = false
    while try select.step() {
      isAny = true
      past = (select.unsigned(0), select.unsigned(1))
      let inode = InodeNumber(select.unsigned(2))
      // One that is somewhere else now is not of this tree.
      guard try !metadata.isNamed(inode), meet(inode) else { continue }
      try look(at: inode, metadata)
      if select.integer(3) == S_IFDIR { directories.insert(inode, at: directories.count - 1) }
    }
    if !isAny {
      directories.removeLast()
      (cookie, past) = (0, nil)
    }
    return true
  }

  private mutating func lookAtOwned(_ metadata: Metadata) throws(VaultError) -> Bool {
    if let first = next {
      try metadata.writeNodes()
      next = nil
      let select = try metadata.database.prepare("SELECT inode, record FROM node WHERE inode >= ? ORDER BY inode LIMIT \(Self.rowsPerHold)")
      select.bind(1, first)
      while try select.step() {
        let inode = InodeNumber(select.unsigned(0))
        next = inode.value + 1
        guard let node = unsafe try? Node(inode: inode, decoding: select.raw(1)), scope.contains(node), meet(inode) else { continue }
        try look(at: inode, metadata)
      }
      return true
    }
    guard let last = nextPast else { return false }
    nextPast = nil
    let select = try metadata.database.prepare("SELECT inode, died, record FROM past_node WHERE (inode, died) > (?, ?) ORDER BY inode, died LIMIT \(Self.rowsPerHold)")
    select.bind(1, last.inode)
    select.bind(2, last.died)
    while try select.step() {
      let inode = InodeNumber(select.unsigned(0))
      nextPast = (inode.value, select.unsigned(1))
      guard let node = unsafe try? Node(inode: inode, decoding: select.raw(2)), scope.contains(node), meet(inode) else { continue }
      try look(at: inode, metadata)
    }
    return true
  }

  /// - Returns: whether it was not met before.
  private mutating func meet(_ inode: InodeNumber) -> Bool {
    guard inode.value <= UInt64(Int64.max) else { return false }
    let word = Int(inode.value >> 6), bit = UInt64(1) << (inode.value & 63)
    // (A damaged row may name any number.)
    guard word < 1 << 26 else { return true }
    while met.count <= word { met.append(contentsOf: repeatElement(0, count: max(64, met.count))) }
    defer { met[word] |= bit }
    return met[word] & bit == 0
  }

  // MARK: What they need

  private mutating func look(at inode: InodeNumber, _ metadata: Metadata) throws(VaultError) {
    nodes += 1
    if let node = try metadata.nodeIfThere(inode), scope.contains(node) {
      if node.paged { waiting.append(inode) } else { sample.note(node.extents, isPresent: true) }
    }
    let select = try metadata.database.prepare("SELECT record FROM past_node WHERE inode = ?")
    select.bind(1, inode.value)
    var isPaged = false
    while try select.step() {
      guard let node = unsafe try? Node(inode: inode, decoding: select.raw(0)), scope.contains(node) else { continue }
      sample.note(node.extents, isPresent: false)
      isPaged = isPaged || node.paged
    }
    if isPaged, waiting.last != inode { waiting.append(inode) }
  }

  /// Goes on with a long manifest.
  /// - Returns: whether there was one.
  private mutating func lookOn(_ metadata: Metadata) throws(VaultError) -> Bool {
    if let (inode, at) = long {
      long = nil
      guard let node = try metadata.nodeIfThere(inode) else { return try lookAtPagesLeft(by: inode, from: at, metadata) }
      guard scope.contains(node), at < Limits.fileBytesMax else { return true }
      let (end, extents) = try metadata.extents(of: node, in: at..<Limits.fileBytesMax, atMost: Self.extentsPerHold)
      sample.note(extents, isPresent: true)
      if end < Limits.fileBytesMax { long = (inode, end) }
      return true
    }
    if let (inode, start, died) = longPast {
      longPast = nil
      let select = try metadata.database.prepare("SELECT start, died, extents FROM past_page WHERE inode = ? AND (start, died) > (?, ?) ORDER BY start, died LIMIT 64")
      select.bind(1, inode.value)
      select.bind(2, start)
      select.bind(3, died)
      while try select.step() {
        longPast = (inode, select.unsigned(0), select.unsigned(1))
        unsafe note(select.raw(2))
      }
      return true
    }
    guard let inode = waiting.popLast() else { return false }
    (long, longPast) = ((inode, 0), (inode, 0, 0))
    return true
  }

  /// The pages of the last version of a node that is gone.
  private mutating func lookAtPagesLeft(by inode: InodeNumber, from start: UInt64, _ metadata: Metadata) throws(VaultError) -> Bool {
    let select = try metadata.database.prepare("SELECT start, extents FROM page WHERE inode = ? AND start >= ? ORDER BY start LIMIT 64")
    select.bind(1, inode.value)
    select.bind(2, start)
    while try select.step() {
      long = (inode, select.unsigned(0) + 1)
      unsafe note(select.raw(1))
    }
    return true
  }

  private mutating func note(_ page: UnsafeRawBufferPointer) {
    var reader = unsafe ByteReader(page)
    if let extents = try? [Extent](decoding: &reader, max: Limits.pageExtentsMax) { sample.note(extents, isPresent: false) }
  }

  // MARK: The sum

  func sum(while mayGoOn: () -> Bool) throws(VaultError) -> ContentSum? {
    var unique: UInt64 = 0, history: UInt64 = 0, looked = 0.0, taken = 0.0
    let numbers = sample.chunks.keys.sorted(), reader = PlaceReader(vault.containers)
    var spared: [FramePlace: Double] = [:]
    for start in stride(from: 0, to: numbers.count, by: Self.rowsPerHold) {
      if !mayGoOn() { return nil }
      let rows = try vault.lock.withLock { () throws(VaultError) -> [StoredChunk] in
        try vault.checkWhole()
        var rows: [StoredChunk] = []
        for number in numbers[start..<min(start + Self.rowsPerHold, numbers.count)] { if let chunk = try vault.metadata.storedChunk(number), !chunk.isNowhere { rows.append(chunk) } }
        return rows
      }
      for chunk in rows {
        unique += UInt64(chunk.length)
        if sample.chunks[chunk.number] == false { history += UInt64(chunk.length) }
        let frame = chunk.place.frame
        if spared[frame] == nil, spared.count < Self.framesMax, let header = try? reader.header(at: frame), header.plainLength > 0 { spared[frame] = Double(frame.length) / Double(header.plainLength) }
        guard let share = spared[frame] else { continue }
        looked += Double(chunk.length)
        taken += Double(chunk.length) * share
      }
    }
    let scale: (UInt64) -> UInt64 = { [shift = sample.shift] in $0 << min(shift, 40) }
    return ContentSum(uniqueBytes: scale(unique), historyBytes: scale(history),
                      compressedBytes: looked > 0 ? UInt64(Double(scale(unique)) * taken / looked) : 0, isExact: sample.shift == 0)
  }
}
