// A directory of the past that is made up for whoever looks: the trash, a file's versions, the snapshots. It is put
// together once for an opened directory, so that a listing in many pieces is of one moment and costs what it is long.

import FuseBridge
import Synchronization
import VaultFS

final class PastListing: Sendable {
  enum Target: Sendable {
    case place(PastView.Place)
    /// The moment before it was deleted is looked for when somebody wants it.
    case trashed(TrashItem)
  }
  struct Item: Sendable {
    let name: [UInt8]
    let target: Target
  }

  let items: [Item]
  private let index: [[UInt8]: Int]
  /// What it is of, for whom, and after which operation that can have changed it it was put together. Two programs of a user may have other groups.
  struct Key: Equatable {
    let place: PastView.Place
    let user: UInt32, group: UInt32, process: Int32
    let moment: LSN

    init(_ place: PastView.Place, for caller: Caller, at moment: LSN) {
      (self.place, self.moment) = (place, moment)
      (user, group, process) = (caller.user, caller.group, caller.process)
    }
  }
  let key: Key

  init(_ items: [Item], _ key: Key) {
    (self.items, self.key) = (items, key)
    var index: [[UInt8]: Int] = [:]
    for (at, item) in items.enumerated() where index[item.name] == nil { index[item.name] = at }
    self.index = index
  }

  subscript(name: [UInt8]) -> Item? { index[name].map { items[$0] } }
}

/// A directory of the past that somebody opened.
final class OpenPast: Sendable {
  let caller: Caller
  private let listing = Mutex<PastListing?>(nil)
  init(for caller: Caller) { self.caller = caller }

  /// The listing that this one goes on with; a new one where it begins.
  func listing(isAtStart: Bool, _ make: () throws(VaultError) -> PastListing) throws(VaultError) -> PastListing {
    if !isAtStart, let known = listing.withLock({ $0 }) { return known }
    let made = try make()
    listing.withLock { $0 = made }
    return made
  }
}

extension HandleNumber {
  init(_ open: OpenPast) { self.init(rawValue: unsafe UInt64(UInt(bitPattern: Unmanaged.passRetained(open).toOpaque()))) }
  private var past: Unmanaged<OpenPast> { unsafe Unmanaged.fromOpaque(UnsafeRawPointer(bitPattern: UInt(rawValue))!) }
  /// The kernel keeps a handle until it releases it.
  var openPast: OpenPast { unsafe past.takeUnretainedValue() }
  func releasePast() { unsafe past.release() }
}
