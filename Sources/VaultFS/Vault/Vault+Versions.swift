// The versions of what is, or was, under a name.
//
// What must stay true:
// 1. The node that has the name now, or had it when it went, shows all it was, also under other names: history follows renames.
// 2. Another node that had the name before shows what it was while it had it, and nothing it became elsewhere.
// 3. Whoever asks sees of this no more than the modes of then, and the file that is there now, let them.
// 4. Others wait for no more than so many nodes: of a name that thousands of files had, one after the other, the newest are told.

import Glibc

extension Vault {
  /// All versions of a node, the newest first.
  public func versions(of inode: InodeNumber) throws(VaultError) -> [FileVersion] {
    try lock.withLock { () throws(VaultError) in try metadata.versions(of: inode).map(\.version).sorted { $0.id > $1.id } }
  }

  /// The versions of the file at a name, and of those that had it before, the newest first. One that ended later than its
  /// node had the name is said to have ended then.
  /// - Parameter viewer: one who may read the file that has the name now, where there is one.
  public func versions(named name: [UInt8], in parent: InodeNumber, for viewer: Viewer) throws(VaultError) -> [FileVersion] {
    try checkName(name)
    return try lock.withLock { () throws(VaultError) in
      var file: InodeNumber?
      if let row = try metadata.entry(name, in: parent), row.type == S_IFREG { file = row.inode }
      // The directory may have been taken back, too.
      var stays: [InodeNumber: [Range<LSN>]] = [:]
      for directory in try metadata.formerSelves(of: parent).map(\.inode).reversed() + [parent] {
        for (inode, found) in try metadata.pastStays(under: name, in: directory, of: S_IFREG) { stays[inode, default: []] += found }
      }
      // Others may have been where it is.
      var former: [InodeNumber: [Range<LSN>]] = [:]
      for directory in try metadata.predecessors(of: parent) {
        for (inode, found) in try metadata.stays(under: name, in: directory, of: S_IFREG) { former[inode, default: []] += found }
      }
      var found: [FileVersion] = [], access = PastAccess(viewer)
      // - Parameter isHere: in the directory that the viewer may search now.
      func add(_ kept: Metadata.KeptVersion, until end: LSN?, isHere: Bool = true) throws(VaultError) {
        var version = kept.version
        let isOwn = viewer.isAdministrator || version.user == viewer.user
        // Who had it may see what became of it elsewhere: what is written soon after a version began is not told from it.
        let isWhole = end.map { (version.died ?? .max) <= $0.value } ?? true
        guard kept.node.isRegular else { return }
        if !isOwn {
          guard isWhole, isHere, file != nil, viewer.may(.read, try metadata.protection(of: kept.node)) else { return }
          // Whoever opens a directory shows what is in it, not what its files were before.
          guard try access.hadReach(of: kept, metadata) else { return }
        }
        if let end, end.value < version.died ?? .max { (version.died, version.ended) = (end.value, try metadata.second(of: end, from: version.second)) }
        found.append(version)
      }
      var told: Set<InodeNumber> = []
      let gone = file == nil ? try lastGone(stays.isEmpty ? former : stays) : nil
      if let whole = file ?? gone {
        told.insert(whole)
        for kept in try metadata.versions(of: whole) { try add(kept, until: nil) }
        // What it was taken back from, until then.
        for origin in try metadata.formerSelves(of: whole) where told.insert(origin.inode).inserted {
          for kept in try metadata.versions(of: origin.inode) where kept.version.id < origin.made.value { try add(kept, until: origin.made) }
        }
      }
      for (stays, isHere) in [(stays, true), (former, false)] {
        for (inode, stays) in Self.newest(stays) where told.insert(inode).inserted {
          for kept in try metadata.versions(of: inode) {
            let version = kept.version
            guard let stay = stays.last(where: { $0.lowerBound.value < version.died ?? .max && version.id < $0.upperBound.value }) else { continue }
            try add(kept, until: stay.upperBound, isHere: isHere)
          }
        }
      }
      return found.sorted { $0.id > $1.id }
    }
  }

  /// Others wait while their versions are looked up: the nodes that had a name last.
  private static func newest(_ stays: [InodeNumber: [Range<LSN>]]) -> [InodeNumber: [Range<LSN>]] {
    guard stays.count > nodesMax else { return stays }
    let last = stays.sorted { ($0.value.last?.upperBound ?? .zero, $0.key) > ($1.value.last?.upperBound ?? .zero, $1.key) }
    return Dictionary(uniqueKeysWithValues: last.prefix(nodesMax).map { ($0.key, $0.value) })
  }
  private static let nodesMax = 1000

  /// The one of the nodes that had a name last, where that is gone. `lock` is held.
  private func lastGone(_ stays: [InodeNumber: [Range<LSN>]]) throws(VaultError) -> InodeNumber? {
    guard let last = stays.max(by: { ($0.value.last?.upperBound ?? .zero) < ($1.value.last?.upperBound ?? .zero) })?.key else { return nil }
    return try metadata.isNamed(last) ? nil : last
  }

  // MARK: Directories that are gone

  /// The directory that had a name last, as it was last; nil where none is known. It may have another name now.
  /// - Parameter viewer: one who may search the directory that it is looked for in.
  public func goneDirectory(named name: [UInt8], in parent: InodeNumber, for viewer: Viewer) throws(VaultError) -> NodeInfo? {
    try checkName(name)
    return try lock.withLock { () throws(VaultError) in
      // In one that has another name now, it may be there.
      if let row = try metadata.entry(name, in: parent), row.type == S_IFDIR, !metadata.isStaged(row) { return try metadata.node(row.inode).info }
      for directory in try [parent] + metadata.formerSelves(of: parent).map(\.inode) {
        if let found = try gone(metadata.pastStays(under: name, in: directory, of: S_IFDIR), for: viewer) { return found }
      }
      for directory in try metadata.predecessors(of: parent) where try PastAccess.maySearch(directory.inode, at: directory.end(metadata.state.applied), viewer, metadata) {
        if let found = try gone(metadata.stays(under: name, in: directory, of: S_IFDIR), for: viewer) { return found }
      }
      return nil
    }
  }

  /// `lock` is held.
  private func gone(_ stays: [InodeNumber: [Range<LSN>]], for viewer: Viewer) throws(VaultError) -> NodeInfo? {
    let last = stays.compactMap { inode, stays in stays.last.map { (inode: inode, end: $0.upperBound) } }
    for stay in last.sorted(by: { $0.end > $1.end }) {
      // One that has another name now is not gone: the way to that says who may see it.
      if try metadata.isNamed(stay.inode), try !PastAccess.maySearch(stay.inode, at: metadata.state.applied, viewer, metadata) { continue }
      // What it was at its end may be forgotten, and what it was before be held.
      if let node = try metadata.lastIfKept(stay.inode), node.isDirectory { return node.info }
    }
    return nil
  }

  /// As a node is, or as it was last.
  public func lastInfo(of inode: InodeNumber) throws(VaultError) -> NodeInfo {
    try lock.withLock { () throws(VaultError) in try metadata.last(inode).info }
  }
  public func lastProtection(of inode: InodeNumber) throws(VaultError) -> Protection {
    try lock.withLock { () throws(VaultError) in try metadata.protection(of: try metadata.last(inode)) }
  }

  /// Where a directory was at a moment; nil where it was not there.
  public func path(of directory: InodeNumber, at moment: LSN) throws(VaultError) -> [UInt8]? {
    try lock.withLock { () throws(VaultError) in try metadata.path(of: directory, at: moment) }
  }
}
