// What taking something back would change, told without changing anything.
//
// What must stay true: it is found by what does it otherwise, up to where that would begin to change something. (So the limits of a tree
// are not asked: they are when it is put together.)

import Glibc
import Synchronization

/// A name that taking something back changes.
public struct RestoreChange: Sendable, Hashable, Codable {
  public enum Kind: String, Sendable, Codable {
    /// It is not there, and comes back.
    case returns
    /// It was not there then, or is another one than the one that comes back: it goes to the trash, unless it has another name.
    case goes
    /// Its content, or its attributes, become what they were.
    case changes
  }
  public var kind: Kind
  /// Below what is taken back; empty: that itself.
  public var path: [UInt8]
  public var isDirectory: Bool
}

/// Filled by whatever takes something back and finds it among its `RestoreOptions`. Thread-safe.
public final class RestorePlan: Sendable {
  private let state = Mutex<(changes: [RestoreChange], isComplete: Bool)>(([], true))
  private static let changesMax = 10_000
  public init() {}

  public var changes: [RestoreChange] { state.withLock { $0.changes } }
  /// false: there is more than is told, and all of it would be made anew.
  public var isComplete: Bool { state.withLock { $0.isComplete } }

  public func add(_ kind: RestoreChange.Kind, _ path: [UInt8] = [], isDirectory: Bool) {
    state.withLock { state in
      if state.changes.count < Self.changesMax { state.changes.append(RestoreChange(kind: kind, path: path, isDirectory: isDirectory)) } else { state.isComplete = false }
    }
  }
  func endEarly() { state.withLock { $0.isComplete = false } }
  func beginAnew() { state.withLock { $0 = ([], true) } }
}

extension Vault {
  /// What making a node anew under a name would change.
  public func plan(_ plan: RestorePlan, _ inode: InodeNumber, at moment: LSN, as name: [UInt8], in parent: InodeNumber, _ options: RestoreOptions) throws(VaultError) {
    try checkName(name)
    try checkSpace()
    try lock.withLock { () throws(VaultError) in try metadata.checkFree(name, in: parent) }
    try askPast(inode, at: moment, options)
    plan.add(.returns, isDirectory: try info(inode, at: moment).mode & S_IFMT == S_IFDIR)
  }

  /// What taking back a tree would change.
  func tell(_ plan: RestorePlan, _ directory: InodeNumber, from source: InodeNumber, at moment: LSN, _ isWhole: Bool, _ options: RestoreOptions) throws(VaultError) -> Restored {
    plan.beginAnew()
    try askAll(below: directory, options)
    let difference = try difference(of: directory, from: source, at: moment, isWhole: isWhole, options)
    try askReturning(difference, at: moment, options)
    var done = difference.done
    if difference.isLarge {
      plan.endEarly()
      // What is in directories that are made anew goes with those.
      done.stayed = 0
    }
    let touched = Set(difference.touched), directories = Set(difference.pairs.map(\.directory)), changed = Dictionary(grouping: difference.changed.keys) { difference.changed[$0]!.pair }
    for (number, pair) in difference.pairs.enumerated() where touched.contains(number) || changed[number] != nil {
      guard let path = difference.path(of: number) else {
        plan.endEarly()
        continue
      }
      // Whose names change is told by them.
      if !touched.contains(number), difference.changed[pair.directory]?.pair == number { plan.add(.changes, path, isDirectory: true) }
      // What comes back takes its name from what has it now.
      for name in difference.names(number) {
        guard let info = try lookup(name, in: pair.directory) else { continue }
        plan.add(.goes, path.name(name), isDirectory: info.mode & S_IFMT == S_IFDIR)
      }
      for entry in difference.absent[number] ?? [] { plan.add(.returns, path.name(entry.name), isDirectory: entry.type == S_IFDIR) }
      // (Directories are told by themselves, and what has several names by all of them.)
      let inodes = Set(changed[number] ?? []).filter { !directories.contains($0) && difference.linked[$0] == nil }
      for entry in inodes.isEmpty ? [] : try allEntries(of: pair.directory) where inodes.contains(entry.inode) { plan.add(.changes, path.name(entry.name), isDirectory: false) }
    }
    for (inode, names) in difference.linked where difference.changed[inode] != nil {
      for name in names {
        if let path = difference.path(of: name.pair) { plan.add(.changes, path.name(name.entry.name), isDirectory: false) } else { plan.endEarly() }
      }
    }
    return done
  }
}

extension [UInt8] {
  /// The path of a name in the directory with this path.
  fileprivate func name(_ name: [UInt8]) -> [UInt8] { isEmpty ? name : self + [0x2F] + name }
}

extension TreeDifference {
  /// The path of the directory at that place of `pairs`; nil where it is too long to be told.
  fileprivate func path(of number: Int) -> [UInt8]? {
    var names: [[UInt8]] = [], length = 0, at = number
    while let place = pairs[at].place {
      length += place.name.count + 1
      guard length < Int(PATH_MAX) else { return nil }
      names.append(place.name)
      at = place.above
    }
    return Array(names.reversed().joined(separator: [0x2F]))
  }
}
