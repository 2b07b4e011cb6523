// What taking something back would change, told without changing anything.
//
// What must stay true: it is found by what does it otherwise, up to where that would begin to change something.

import Glibc
import Synchronization

/// A name that taking something back changes.
public struct RestoreChange: Sendable, Hashable, Codable {
  public enum Kind: String, Sendable, Codable {
    /// It is not there, and comes back.
    case returns
    /// It was not there then, or is another one than the one that comes back: it goes to the trash.
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
}

extension Vault {
  /// Throws where something could not be made under that name.
  public func mustBeFree(_ name: [UInt8], in parent: InodeNumber) throws(VaultError) {
    try checkName(name)
    try lock.withLock { () throws(VaultError) in try metadata.checkFree(name, in: parent) }
  }

  func tell(_ plan: RestorePlan, _ difference: TreeDifference) throws(VaultError) {
    if difference.isLarge { plan.endEarly() }
    guard let top = try path(of: difference.pairs[0].directory) else { throw .notFound }
    let touched = Set(difference.touched), changed = Dictionary(grouping: difference.changed.keys) { difference.changed[$0]!.pair }
    for (number, pair) in difference.pairs.enumerated() where touched.contains(number) || changed[number] != nil {
      guard let place = try path(of: pair.directory) else { throw .notFound }
      let prefix = place.count > top.count ? place.dropFirst(top.count + 1) + [0x2F] : []
      // Whose names change is told by them.
      if !touched.contains(number), difference.changed[pair.directory]?.pair == number { plan.add(.changes, Array(prefix.dropLast()), isDirectory: true) }
      // What comes back takes its name from what has it now.
      for name in difference.names(number) {
        guard let info = try lookup(name, in: pair.directory) else { continue }
        plan.add(.goes, prefix + name, isDirectory: info.mode & S_IFMT == S_IFDIR)
      }
      for entry in difference.absent[number] ?? [] { plan.add(.returns, prefix + entry.name, isDirectory: entry.type == S_IFDIR) }
      let inodes = Set(changed[number] ?? []).subtracting(touched.map { difference.pairs[$0].directory })
      for entry in inodes.isEmpty ? [] : try allEntries(of: pair.directory) where inodes.contains(entry.inode) {
        plan.add(.changes, prefix + entry.name, isDirectory: entry.type == S_IFDIR)
      }
    }
  }
}
