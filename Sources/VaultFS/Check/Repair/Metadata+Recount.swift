// What the view counts, and who is charged for what, counted anew; and what it notes of chunks and containers, of which the journal says nothing.

extension Metadata {
  /// Counts nodes, bytes, chunks and what is read from each container anew.
  func recount(_ containers: ContainerStore) throws(VaultError) {
    try recountNodes()
    state.counters.chunks = try database.integer("SELECT count(*) FROM chunk") ?? 0
    state.counters.uniqueBytes = try database.integer("SELECT ifnull(sum(length), 0) FROM chunk") ?? 0
    try recountContainers(containers)
  }

  func recountNodes() throws(VaultError) {
    try writeNodes()
    state.counters.nodes = try database.integer("SELECT count(*) FROM node") ?? 0
    state.counters.logicalBytes = 0
    // Of each directory: the one above it, and what is at home in it.
    var above: [InodeNumber: InodeNumber] = [:], inside: [InodeNumber: Usage] = [:], accounts: [QuotaSubject: Usage] = [:]
    let nodes = try database.prepare("SELECT inode, record FROM node")
    while try nodes.step() {
      guard let node = try? unsafe Node(inode: InodeNumber(nodes.unsigned(0)), decoding: nodes.raw(1)) else { continue }
      let own = Usage(bytes: node.allocated, nodes: 1)
      state.counters.logicalBytes &+= Int64(bitPattern: own.bytes)
      for owner in [QuotaSubject.user(node.user), .group(node.group)] { accounts[owner] = accounts[owner, default: Usage()] &+ own }
      if node.isDirectory { above[node.inode] = node.parent }
      if let home = home(of: node) { inside[home] = inside[home, default: Usage()] &+ own }
    }
    state.accounts.become(accounts)
    try setBelow(above, inside)
    for subject in state.quotas.entries.keys { state.quotas.touch(subject) }
    state.quotas.notePlacement()
  }

  private func setBelow(_ above: [InodeNumber: InodeNumber], _ inside: [InodeNumber: Usage]) throws(VaultError) {
    var below: [InodeNumber: Usage] = [:]
    for (directory, usage) in inside {
      var at = directory, steps = 0
      while let next = above[at], steps <= above.count {
        below[at] = below[at, default: Usage()] &+ usage
        if at == .root { break }
        (at, steps) = (next, steps + 1)
      }
    }
    for inode in above.keys.sorted() {
      guard let directory = try? node(inode), directory.below != below[inode] ?? Usage() else { continue }
      directory.below = below[inode] ?? Usage()
      touch(directory)
    }
  }

  private func recountContainers(_ containers: ContainerStore) throws(VaultError) {
    var found: [ContainerNumber: Int64] = [:]
    let chunks = try database.prepare("SELECT container, count(*) FROM chunk GROUP BY container")
    while try chunks.step() { found[ContainerNumber(chunks.unsigned(0))] = chunks.integer(1) }
    for (number, count) in found { state.containers.add(count - state.containers.chunks(in: number), to: number) }
    let noted = try database.prepare("SELECT number FROM container")
    var numbers: [ContainerNumber] = []
    while try noted.step() { numbers.append(ContainerNumber(noted.unsigned(0))) }
    for number in numbers where found[number] == nil {
      state.containers.add(-state.containers.chunks(in: number), to: number)
      if containers.kind(number) == nil { state.containers.forget(number) }
    }
    try recountFrames(containers)
    // Where nothing is read from what is left of it, too.
    for number in state.containers.withFrames { if let size = containers.size(of: number) { state.containers.limitFrames(in: number, to: size) } }
    if let last = (numbers + Array(found.keys)).max() { containers.raiseNext(to: last.value + 1) }
  }

  /// What is read is found by the places of chunks; what is dead beside it is noted again when it goes.
  private func recountFrames(_ containers: ContainerStore) throws(VaultError) {
    let frames = try database.prepare("SELECT container, sum(frame_length) FROM (SELECT DISTINCT container, frame, frame_length FROM chunk WHERE container <> \(ContainerNumber.none.value)) GROUP BY container")
    while try frames.step() {
      let number = ContainerNumber(frames.unsigned(0)), read = frames.unsigned(1), noted = state.containers.frames(in: number)
      if noted < read || noted > (try? containers.file(number).size()) ?? .max { state.containers.addFrames(Int(clamping: read) - Int(clamping: noted), to: number) }
    }
  }

  /// Notes that what is stored of a chunk is damaged: the same content written again is stored anew, and heals it. What is left
  /// of it stays where it is.
  func markDamaged(_ chunk: StoredChunk) throws(VaultError) {
    let container = chunk.place.frame.container
    guard container != ContainerNumber.none else { return }
    let update = try database.prepare("UPDATE chunk SET container = ?, frame = 0, frame_length = 0, offset = 0, length = 0, crc = 0 WHERE number = ?")
    update.bind(1, ContainerNumber.none.value)
    update.bind(2, chunk.number)
    try update.run()
    state.containers.add(-1, to: container)
    state.containers.add(1, to: ContainerNumber.none)
    state.containers.keep(container)
    state.counters.uniqueBytes &-= Int64(chunk.length)
  }
}
