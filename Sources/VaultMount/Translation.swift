// Between the engine's words and the kernel's.

import FuseBridge
import Glibc
import Synchronization
import VaultFS

extension VaultError {
  /// The only place where a vault's troubles become numbers the kernel knows.
  var errno: FuseBridge.Errno {
    switch self {
    case .notFound: .noEntry
    case .notKept: .noAttribute
    case .alreadyExists, .attributeExists: .exists
    case .notADirectory: .notDirectory
    case .isADirectory: .isDirectory
    case .directoryNotEmpty: .notEmpty
    case .nameInvalid, .invalidArgument, .crossesIntoItself: .invalidArgument
    case .nameTooLong: .nameTooLong
    case .tooManyLinks: .tooManyLinks
    case .crossesLimit: .crossDevice
    case .nameReserved: .busy
    case .notPermitted: .permission
    case .attributeMissing: .noAttribute
    case .attributeTooLarge: .argumentTooBig
    case .fileTooLarge: .tooBig
    case .noDataThere: .noDevice
    case .staleNode: .stale
    case .notSupported: .notSupported
    case .readOnly: .readOnlyFileSystem
    case .diskFull: .noSpace
    case .quotaExceeded: .quota
    // Never hand out bytes that failed their check, nor pretend that a doubtful disk did its work.
    case .disk, .chunkDamaged, .journalDamaged, .journalBehind, .databaseDamaged, .closed: .io
    case .interrupted: .interrupted
    // Met when a vault is opened, not by a program that uses it.
    case .databaseOutdated, .formatUnknown, .notAVault, .vaultMissing, .misplaced, .directoryInUse, .owned: .io
    }
  }
}

extension VaultFileSystem {
  /// Calls the engine; its errors become the kernel's. What a number cannot tell a person goes to the log.
  func answer<R>(_ body: () throws(VaultError) -> R) throws(FuseBridge.Errno) -> R {
    vault.noteUse()
    do throws(VaultError) { return try body() } catch {
      switch error {
      case .databaseDamaged, .journalDamaged, .disk: vault.report(error)
      default: break
      }
      throw error.errno
    }
  }
}

extension NodeNumber {
  var inode: InodeNumber { InodeNumber(rawValue) }
  init(_ inode: InodeNumber) { self.init(rawValue: inode.value) }
}

extension Caller {
  var viewer: Viewer { Viewer(user: user, isMember: isMember) }
  var requester: Requester { Requester(user: user, group: group, umask: umask, isMember: isMember) }

  /// Whether `wanted` is one of the caller's groups. A request tells one of them; /proc has the others.
  var isMember: @Sendable (UInt32) -> Bool {
    { [group, process] wanted in
      if wanted == group { return true }
      guard let file = unsafe fopen("/proc/\(process)/status", "re") else { return false }
      defer { unsafe fclose(file) }
      var line = [CChar](repeating: 0, count: 65536)
      while unsafe fgets(&line, Int32(line.count), file) != nil {
        let text = String(decoding: line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if text.hasPrefix("Groups:") { return text.dropFirst(7).split(separator: " ").contains { UInt32($0.drop { $0 == "\t" }) == wanted } }
      }
      return false
    }
  }
}

extension FuseBridge.Timestamp {
  init(_ time: VaultFS.Timestamp) { self.init(seconds: time.seconds, nanoseconds: time.nanoseconds) }
}
extension VaultFS.Timestamp {
  init(_ time: FuseBridge.Timestamp) { self.init(seconds: time.seconds, nanoseconds: time.nanoseconds) }
}

func timestamp(_ time: AttributeChanges.Time) -> VaultFS.Timestamp {
  switch time {
  case .at(let time): VaultFS.Timestamp(time)
  case .now: .now
  }
}

extension Attributes {
  init(_ info: NodeInfo) {
    self.init(node: NodeNumber(info.inode), mode: info.mode, links: info.links, user: info.user, group: info.group,
              device: info.device, size: info.size, blocks: (info.allocated + 511) / 512, accessed: .init(info.accessed),
              modified: .init(info.modified), changed: .init(info.changed))
  }
}

/// Set once, read from many threads.
final class Flag: Sendable {
  private let value = Atomic<Bool>(false)
  var isSet: Bool { value.load(ordering: .relaxed) }
  func set(_ new: Bool) { value.store(new, ordering: .relaxed) }
}
