// What the rows of the trash are: things by themselves, or what went with a directory.
//
// What must stay true: what comes back with a directory is not told by itself, and whatever else can be taken back is.

/// A directory that was deleted.
struct Deletion: Hashable {
  let inode: UInt64
  /// The operation that did, and its second.
  let died: UInt64
  let second: Int64
}

/// When directories that were deleted were still whole, by the operations that deleted them. Found once: that does not change. Guarded by
/// the vault's lock.
struct DeletedWhole {
  private var moments: [UInt64: LSN] = [:]
  private static let countMax = 100_000

  mutating func note(_ moment: LSN, _ died: UInt64) {
    if moments.count >= Self.countMax { moments = [:] }
    moments[died] = moment
  }

  func moment(of died: UInt64) -> LSN? { moments[died] }

  /// Others wait for each of them: of a longer way, only so many are looked at.
  static let wayMax = 32

  /// Whether what ended with the operation `died` comes back with the directory that it went with: the outermost, or the next that was gone
  /// when that was still whole.
  /// - Parameter directories: the outermost first.
  /// - Returns: nil where that must be found first, of `unknown`.
  func has(_ died: UInt64, in directories: [Deletion], _ unknown: inout Deletion?) -> Bool? {
    var whole: UInt64 = 0
    for (index, directory) in directories.enumerated() where index == 0 || directory.died <= whole {
      guard let moment = moments[directory.died] else {
        unknown = directory
        return nil
      }
      whole = moment.value
    }
    return died > whole
  }
}

/// Where directories of deleted things are now, and were. Guarded by the vault's lock; good for a short while.
struct Whereabouts {
  enum Standing: Equatable {
    /// It, or what was made of it later, is there; its path, where that is asked for and not too long to tell.
    case at([UInt8]?)
    /// It was deleted, and can be taken back with what was in it.
    case deleted
    /// Something took its place.
    case replaced
  }
  private let metadata: Metadata
  private let tellsPaths: Bool
  private var known: [InodeNumber: Standing] = [:]
  /// Of those that were deleted, how, and from which directory.
  private var deletions: [InodeNumber: (deletion: Deletion, parent: InodeNumber)] = [:]
  private var names: [InodeNumber: Metadata.FormerName] = [:]
  /// Others wait while so many directories are looked for.
  private static let directoriesPerHold = 100
  private var left = Self.directoriesPerHold
  init(_ metadata: Metadata, tellsPaths: Bool) { (self.metadata, self.tellsPaths) = (metadata, tellsPaths) }

  mutating func beginHold() { left = Self.directoriesPerHold }

  /// - Returns: nil, as of all here, where that is more than is looked for in one hold of the lock: it is to be asked for again.
  private mutating func standing(of directory: InodeNumber) throws(VaultError) -> Standing? {
    var chain: Set<InodeNumber> = [], at = directory, end: Standing?
    while end == nil {
      if let found = known[at] {
        end = found
        continue
      }
      if let found = deletions[at], chain.insert(at).inserted {
        at = found.parent
        continue
      }
      guard left > 0 else { return nil }
      left -= 1
      if let living = try metadata.living(at) {
        end = .at(tellsPaths ? try metadata.path(of: living) : nil)
        known[at] = end
      } else if let found = try deletion(of: at), chain.insert(at).inserted {
        deletions[at] = found
        at = found.parent
      } else {
        end = .replaced
        known[at] = end
      }
    }
    for inode in chain { known[inode] = end == .replaced ? .replaced : .deleted }
    return known[directory]
  }

  /// What a row of the trash is: something that can be taken back; something in directories that were deleted, the outermost first, with
  /// them or before; or a former version of what is there.
  enum Kind { case item([UInt8]?), part(of: [Deletion]), version }

  mutating func kind(of inode: InodeNumber, in parent: InodeNumber, deletedBy died: LSN) throws(VaultError) -> Kind? {
    if try metadata.wasTakenBack(inode, after: died) { return .version }
    switch try standing(of: parent) {
    case nil: return nil
    case .at(let path): return .item(path)
    case .deleted: return .part(of: way(from: parent))
    case .replaced: return .version
    }
  }

  /// The path that a directory had.
  mutating func formerPath(of directory: InodeNumber, at moment: LSN) throws(VaultError) -> [UInt8]?? {
    var isMore = false
    let path = try metadata.path(of: directory) { inode throws(VaultError) in
      if let known = names[inode], known.born <= moment, moment < known.died { return known.place }
      guard left > 0 else {
        isMore = true
        return nil
      }
      left -= 1
      guard let found = try metadata.formerName(of: inode, at: moment) else { return nil }
      names[inode] = found
      return found.place
    }
    return isMore ? nil : .some(path)
  }

  private func way(from directory: InodeNumber) -> [Deletion] {
    var way: [Deletion] = [], at = directory
    while let found = deletions[at] {
      way.append(found.deletion)
      at = found.parent
    }
    return Array(way.reversed().prefix(DeletedWhole.wayMax))
  }

  private func deletion(of directory: InodeNumber) throws(VaultError) -> (deletion: Deletion, parent: InodeNumber)? {
    let select = metadata.statements.selectLastDeletion
    select.bind(1, directory.value)
    defer { select.reset() }
    guard try select.step() else { return nil }
    return (Deletion(inode: directory.value, died: select.unsigned(1), second: select.integer(2)), InodeNumber(select.unsigned(0)))
  }
}
