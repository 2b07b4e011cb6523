// Everything that can go wrong in a vault, in the engine's words. Numbers for the kernel and sentences for people
// are made at the edges (VaultMount, the commands) and in `description`, which names the object and the next step.

import Glibc
import Printable

public enum VaultError: Error, Sendable {
  // What a program asked for cannot be.
  case notFound
  /// It was there, and what it was then is not kept.
  case notKept
  case alreadyExists
  case notADirectory
  case isADirectory
  case directoryNotEmpty
  case nameInvalid
  case nameTooLong
  /// The root has a directory of that name that is made up.
  case nameReserved
  case tooManyLinks
  case invalidArgument
  case notPermitted
  case attributeMissing
  case attributeExists
  case attributeTooLarge
  case fileTooLarge
  case noDataThere
  case staleNode
  case notSupported
  case crossesIntoItself
  /// Into a limited directory, of what is charged elsewhere.
  case crossesLimit

  // What the disk or the vault refuses.
  case readOnly(reason: String)
  case diskFull
  /// A limit of that subject.
  case quotaExceeded(QuotaSubject)
  case disk(operation: String, path: String, code: Int32)
  case chunkDamaged(detail: String)
  case journalDamaged(detail: String)
  /// - Parameter journal: its last operation, 0 where that is not known.
  case journalBehind(vault: String, journal: UInt64, database: UInt64)
  /// - Parameter detail: begins with the database's path, and a colon.
  case databaseDamaged(detail: String)
  /// It was made by a program before this one; it is made anew when the vault is opened.
  case databaseOutdated(path: String)
  case formatUnknown(path: String, detail: String)
  case notAVault(path: String, detail: String)
  case vaultMissing(path: String)
  /// Something else stands where the vault has a file or a directory of its own.
  case misplaced(path: String, kind: String, wanted: String)
  case directoryInUse(path: String, detail: String)
  case owned(path: String, by: String)
  case closed
  /// Somebody ended it before it was done.
  case interrupted
}

extension VaultError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notFound: "no such file or directory"
    case .notKept: "what it was then is not kept any more"
    case .alreadyExists: "it exists already"
    case .notADirectory: "not a directory"
    case .isADirectory: "it is a directory"
    case .directoryNotEmpty: "the directory is not empty"
    case .nameInvalid: "the name is not valid (it is empty, or holds a slash or a NUL)"
    case .nameTooLong: "the name is longer than \(Limits.nameBytesMax) bytes"
    case .nameReserved: "the name \(printable(Vault.pastName)) is that of the hidden directory at the root of a mount, which shows what was; choose another"
    case .tooManyLinks: "too many links"
    case .invalidArgument: "invalid argument"
    case .notPermitted: "not permitted"
    case .attributeMissing: "no such attribute"
    case .attributeExists: "the attribute exists already"
    case .attributeTooLarge: "the attribute is too large"
    case .fileTooLarge: "the file would be too large"
    case .noDataThere: "there is nothing at or after that offset"
    case .staleNode: "the node is gone"
    case .notSupported: "not supported"
    case .crossesIntoItself: "a directory cannot move into itself"
    case .crossesLimit: "a file with several names, or a directory with such a one, cannot have names inside and outside of a directory with a limit of its own; copy it"
    case .readOnly(let reason): "the vault is read-only: \(reason)"
    case .diskFull: "the disk that holds the vault is full: the last \(Limits.reserveBytes >> 20) MiB there are kept back for what makes room; delete something in the vault, or, where others took these, too, beside it: some MiB are enough to go on"
    case .quotaExceeded(let subject): "the quota of \(subject) has no room for that; delete something there, or raise the limit (`fsctl quota set`)"
    case .disk(let operation, let path, let code): "cannot \(operation) \(path): \(systemMessage(code))\(Self.wayOut(of: code))"
    case .chunkDamaged(let detail): "stored data is damaged: \(detail)"
    case .journalDamaged(let detail): "the journal is damaged: \(detail)"
    case .journalBehind(let vault, let journal, let database): Self.behind(vault, journal, database)
    case .databaseDamaged(let detail):
      "the metadata database is damaged: \(detail); with the vault unmounted, `vaultfs rebuild \(shellQuoted(folder(of: detail)))` makes it anew from the journal and the packs"
    case .databaseOutdated(let path): "the metadata database \(path) was made by an earlier vaultfs; mounting the vault makes it anew"
    case .formatUnknown(let path, let detail): "\(path): \(detail)"
    case .notAVault(let path, let detail): "\(path) is not a vault: \(detail); see whether the path is right, or make a new vault in an empty directory with `vaultfs init`"
    case .vaultMissing(let path): "\(path) does not exist; see whether the path is right, or make a new vault there with `vaultfs init`"
    case .misplaced(let path, let kind, let wanted):
      "\(path) is \(kind), where a vault has a \(wanted) of its own; take it away, and put back what belongs there, from a copy of the vault if need be"
    case .directoryInUse(let path, let detail): "\(path): \(detail)"
    case .owned(let path, let owner): "\(path) is in use by \(printable(owner.utf8)); one process owns a vault at a time: unmount it there first"
    case .closed: "the vault is closed"
    case .interrupted: "it was ended before it was done"
    }
  }
}

extension VaultError {
  /// What to do where the system's words leave it open.
  private static func wayOut(of code: Int32) -> String {
    switch code {
    case EACCES, EPERM: "; it must be this user's, or in a place where they may write: choose one of theirs, or run this as the one it belongs to"
    case ENOSPC, EDQUOT: "; delete something on that disk, or give it more space"
    case EROFS: "; make that file system writable, or choose another place"
    default: ""
    }
  }

  private static func behind(_ vault: String, _ journal: UInt64, _ database: UInt64) -> String {
    let end = journal == 0 ? "ends before operation \(database), which" : "ends with operation \(journal), and operation \(database) is what"
    return """
      the journal of the vault \(vault) \(end) its database has seen: files are missing from \(vault)/journal, or were cut short. \
      The present database is untouched. Put the journal's files back from a copy of the vault; or run `vaultfs mount --read-only \(shellQuoted(vault)) DIR` \
      and copy out what the database knows; or, to do without what the journal has lost, move `metadata.db*` in \(vault) away and run \
      `vaultfs rebuild \(shellQuoted(vault))`
      """
  }

  /// Whether it tells of bytes that are not what was stored, or of a disk that does not give them.
  var isDamage: Bool {
    switch self {
    case .chunkDamaged, .journalDamaged, .journalBehind, .databaseDamaged, .disk: true
    default: false
    }
  }
  /// Whether it is the journal that is not what it was.
  var isOfJournal: Bool {
    switch self {
    case .journalDamaged, .journalBehind: true
    default: false
    }
  }
}

/// The vault, by the path of its database.
private func folder(of detail: String) -> String {
  detail.firstRange(of: "/\(Vault.databaseName)").map { String(detail[..<$0.lowerBound]) } ?? "VAULT"
}
