// Steps that change what files hold.

import Glibc
@testable import VaultFS

extension Walk {
  private static let sizeMax = 600_000, block = 4096

  func write() throws {
    if let inode = file() { try write(to: inode) }
  }

  /// Opens a file, writes to it, and closes it.
  func write(to inode: InodeNumber) throws {
    let file = try vault.open(inode)
    held.append(file)
    for _ in 0..<1 + random.below(3) { try write(to: file) }
    try close(file)
  }

  /// Through a descriptor that stays open. What is written may stay unsaved.
  func writeHeld() throws {
    guard !held.isEmpty else { return try open() }
    let file = random.pick(held)
    for _ in 0..<1 + random.below(3) { try write(to: file) }
    if random.chance(40) { try save(file) }
    let bytes = tree[file.inode].content.bytes
    try require(try vault.read(file, count: bytes.count + 1) == bytes, "node \(file.inode.value) is read otherwise than it was written")
  }

  private func save(_ file: OpenFile) throws {
    note("save \(file.inode.value)")
    try vault.save(file)
    unsaved[file.inode] = nil
  }

  private func write(to file: OpenFile) throws {
    let inode = file.inode, node = tree[inode]
    let isZeros = random.chance(6)
    let bytes = isZeros ? ModelContent.zeros(Self.block * (4 + random.below(30))) : BlockPool.content(&random)
    var offset = random.chance(35) ? 0 : random.chance(30) ? node.content.size : random.below(300_000)
    if isZeros { offset = offset / Self.block * Self.block }
    guard offset + bytes.count <= Self.sizeMax else { return }
    // Zeros are holes as a whole where they are saved by themselves.
    if isZeros || hasZeros.contains(inode) { try save(file) }
    let range = offset..<offset + bytes.count
    let adding = Usage(bytes: UInt64(bytes.count - node.content.allocated(in: range)))
    let refusal = limits.refusal(subjects(of: node), adding: adding, tree, at: clock)
    guard try attempt("write \(inode.value) \(range)\(isZeros ? " zeros" : "")", refusal, { try vault.write(bytes, to: file, at: UInt64(offset)) }) != nil else { return }
    unsaved[inode, default: []].append(node.content)
    tree[inode].content.write(bytes, at: offset)
    if isZeros { hasZeros.insert(inode) } else { hasZeros.remove(inode) }
    // Who comes below a soft limit and above it again has a new grace.
    if limits.hasSoftOnes { try settle() }
  }

  func subjects(of node: ModelNode) -> [QuotaSubject] { ModelLimits.subjects(user: node.user, group: node.group, home: node.home?.directory, tree) }

  func truncate() throws {
    guard let inode = file() else { return }
    // (A file that is emptied while others have it open is about to be written: no version yet.)
    let size = random.chance(25) && !isHeld(inode) ? 0 : 1 + random.below(random.chance(50) ? 300_000 : tree[inode].content.size + 1)
    try attempt("truncate \(inode.value) to \(size)") { try vault.truncate(inode, to: UInt64(size), clearsPrivileges: false) }
    tree[inode].content.truncate(to: size)
    unsaved[inode] = nil
  }

  func allocate() throws {
    guard let inode = file() else { return }
    let node = tree[inode], size = node.content.size
    let offset = random.below(60) * (random.chance(60) ? Self.block : 1009), length = Self.block * (1 + random.below(20)) - (random.chance(40) ? 7 : 0), range = offset..<offset + length
    guard range.upperBound + size <= Self.sizeMax else { return }
    let keepsSize = random.chance(40)
    let mode = random.pick([Vault.Allocation.punchHole, .punchHole, .reserve(keepSize: keepsSize), .zero(keepSize: keepsSize), .collapse, .insert])
    var refusal: VaultError?, next = node.content
    let adding = limits.refusal(subjects(of: node), adding: Usage(bytes: UInt64(length - node.content.allocated(in: range))), tree, at: clock)
    let isWhole = offset % Self.block == 0 && length % Self.block == 0
    switch mode {
    case .punchHole: next.punch(range)
    case .reserve, .zero:
      refusal = adding
      if case .zero = mode { next.reserve(range, zeroing: true, keepsSize: keepsSize) } else { next.reserve(range, zeroing: false, keepsSize: keepsSize) }
    case .collapse:
      if isWhole, range.upperBound < size { next.collapse(range) } else { refusal = .invalidArgument }
    case .insert:
      if isWhole, offset < size { next.insert(range) } else { refusal = .invalidArgument }
    }
    let done: Void? = try attempt("\(mode) \(inode.value) \(range)", refusal) {
      try vault.withOpen(inode) { try vault.allocate($0, offset: UInt64(offset), length: UInt64(length), mode, clearsPrivileges: false) }
    }
    if done != nil { tree[inode].content = next }
    unsaved[inode] = nil
  }

  /// Copies a range by reference.
  func clone() throws {
    guard let source = file(), let target = file() else { return }
    let from = tree[source].content, to = tree[target].content
    let at = random.below(from.size + 1), newAt = random.below(random.chance(50) ? 1 : to.size + 1)
    let length = random.chance(50) ? Self.sizeMax : random.below(200_000), count = min(length, from.size - at)
    guard newAt + count <= Self.sizeMax else { return }
    let overlaps = source == target && max(at, newAt) < min(at, newAt) + count
    let added = from.allocated(in: at..<at + count), gone = to.allocated(in: newAt..<newAt + count)
    let refusal = count == 0 ? nil : overlaps ? .invalidArgument : limits.refusal(subjects(of: tree[target]), adding: Usage(bytes: UInt64(max(0, added - gone))), tree, at: clock)
    let done = try attempt("clone \(source.value) \(at)+\(count) to \(target.value) \(newAt)", refusal) {
      try vault.withOpen(source) { a in
        try vault.withOpen(target) { b in
          try vault.clone(from: a, at: UInt64(at), to: b, at: UInt64(newAt), length: UInt64(length), clearsPrivileges: false)
        }
      }
    }
    (unsaved[source], unsaved[target]) = (nil, nil)
    guard let done else { return }
    try require(done == UInt64(count), "\(done) bytes were cloned of \(count)")
    if count > 0 { tree[target].content.clone(at..<at + count, of: from, to: newAt) }
  }

  // MARK: Descriptors

  private static let heldMax = 6

  func open() throws {
    guard held.count < Self.heldMax, let inode = file() else { return try closeOne() }
    note("open \(inode.value)")
    held.append(try vault.open(inode))
  }

  func closeOne() throws {
    if !held.isEmpty { try close(random.pick(held)) }
  }

  /// A file as it was, to be read later.
  func openPast() throws {
    guard heldPast.count < Self.heldMax, let moment = moment(), let inode = random.pickAny(moment.tree.files) else { return }
    note("open \(inode.value) at \(moment.lsn.value)")
    heldPast.append((try vault.openPast(inode, at: moment.lsn), moment.tree[inode].content.bytes))
  }

  /// What they show was kept until now.
  func closePasts() throws { while !heldPast.isEmpty { try closePast() } }

  func closePast() throws {
    guard !heldPast.isEmpty else { return }
    let (file, bytes) = heldPast.remove(at: random.below(heldPast.count))
    defer { vault.close(file) }
    try require(try vault.read(file, count: bytes.count + 1) == bytes, "node \(file.inode.value) of the past changed while it was open")
  }
}
