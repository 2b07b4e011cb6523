// Whether somebody might come to a node as the tree was at a moment: what the kernel would have let them, through the mount, then.
//
// What must stay true: one moment answers for the whole way. What is not kept of a way lets nobody go it: whoever opens a directory shows
// what is in it, not what its files were before.

import Glibc

/// What one viewer may reach, remembered: the past does not change. Guarded by the vault's lock while it is asked.
public struct PastAccess {
  private enum Answer {
    case yes, no
    /// What this directory was then is not kept.
    case forgotten(InodeNumber)
  }
  private struct Known {
    let moments: ClosedRange<LSN>
    let answer: Answer
  }
  let viewer: Viewer
  private var known: [InodeNumber: [Known]] = [:]
  public init(_ viewer: Viewer) { self.viewer = viewer }

  /// Whether the viewer might look up what was in a directory, and come to it.
  mutating func maySearch(_ directory: InodeNumber, at moment: LSN, _ metadata: Metadata) throws(VaultError) -> Bool {
    if viewer.isAdministrator { return true }
    if case .yes = try answer(of: directory, at: moment, metadata) { return true } else { return false }
  }
  static func maySearch(_ directory: InodeNumber, at moment: LSN, _ viewer: Viewer, _ metadata: Metadata) throws(VaultError) -> Bool {
    var access = PastAccess(viewer)
    return try access.maySearch(directory, at: moment, metadata)
  }

  /// Whether they might come to a node.
  mutating func mayReach(_ inode: InodeNumber, at moment: LSN, _ metadata: Metadata) throws(VaultError) -> Bool {
    if viewer.isAdministrator || inode == .root { return true }
    guard let node = try metadata.node(inode, at: moment) else { return false }
    return try maySearch(node.parent, at: moment, metadata)
  }

  /// So often what a version can be asked at is looked for.
  private static let momentsMax = 16

  /// Whether they might come to a former version: at its end; where it is not kept who might then, at the last moment of it of which it is.
  mutating func hadReach(of version: Metadata.KeptVersion, _ metadata: Metadata) throws(VaultError) -> Bool {
    guard let died = version.version.died else { return true }
    var moment = LSN(died &- 1)
    for _ in 0..<Self.momentsMax {
      switch try answer(of: version.node.parent, at: moment, metadata) {
      case .yes: return true
      case .no: return false
      case .forgotten(let directory):
        guard let earlier = try metadata.lastMoment(of: directory, before: moment), earlier.value >= version.version.id else { return false }
        moment = earlier
      }
    }
    return false
  }

  private mutating func answer(of directory: InodeNumber, at moment: LSN, _ metadata: Metadata) throws(VaultError) -> Answer {
    var way: [(inode: InodeNumber, stay: ClosedRange<LSN>)] = [], seen: Set<InodeNumber> = [], at = directory
    var end = Known(moments: .zero...moment, answer: .yes)
    while true {
      if let known = known[at]?.last(where: { $0.moments.contains(moment) }) {
        end = known
        break
      }
      // (A damaged past may go in a circle.)
      guard seen.insert(at).inserted, let node = try metadata.node(at, at: moment) else {
        end = Known(moments: moment...moment, answer: .forgotten(at))
        break
      }
      way.append((at, min(node.since, moment)...max(node.moment ?? moment, moment)))
      guard viewer.may(.search, try metadata.protection(of: node)) else {
        end = Known(moments: way.last!.stay, answer: .no)
        break
      }
      if at == .root {
        end = Known(moments: way.last!.stay, answer: .yes)
        break
      }
      at = node.parent
    }
    var moments = end.moments
    for step in way.reversed() {
      moments = moments.clamped(to: step.stay)
      remember(Known(moments: moments, answer: end.answer), of: step.inode)
    }
    return end.answer
  }

  /// What is asked next is mostly what was asked last.
  private static let knownMax = 32
  private mutating func remember(_ new: Known, of directory: InodeNumber) {
    var all = known[directory] ?? []
    if all.count >= Self.knownMax { all.removeFirst(Self.knownMax / 2) }
    known[directory] = all + [new]
  }
}

extension Vault {
  /// Whether a viewer might come to a directory as the tree was at a moment: search every one above it.
  public func mayReach(_ directory: InodeNumber, at moment: LSN, _ access: inout PastAccess) throws(VaultError) -> Bool {
    try lock.withLock { () throws(VaultError) in try access.mayReach(directory, at: moment, metadata) }
  }
  public func mayReach(_ directory: InodeNumber, at moment: LSN, _ viewer: Viewer) throws(VaultError) -> Bool {
    var access = PastAccess(viewer)
    return try mayReach(directory, at: moment, &access)
  }
}

extension Metadata {
  /// The last moment before another of which it is kept what a node was.
  fileprivate func lastMoment(of inode: InodeNumber, before moment: LSN) throws(VaultError) -> LSN? {
    let select = try database.prepare("SELECT died FROM past_node WHERE inode = ? AND died <= ? ORDER BY died DESC LIMIT 1")
    select.bind(1, inode.value)
    select.bind(2, moment.value)
    return try select.step() ? LSN(select.unsigned(0) &- 1) : nil
  }
}
