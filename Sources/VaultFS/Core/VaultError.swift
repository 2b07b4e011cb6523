// Everything that can go wrong in a vault, in the engine's words. Numbers for the kernel and sentences for people
// are made at the edges (VaultMount, the commands) and in `description`, which names the object and the next step.

public enum VaultError: Error, Sendable {
  // What a program asked for cannot be.
  case notFound
  case alreadyExists
  case notADirectory
  case isADirectory
  case directoryNotEmpty
  case nameInvalid
  case nameTooLong
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

  // What the disk or the vault refuses.
  case readOnly(reason: String)
  case diskFull
  /// A limit of that subject.
  case quotaExceeded(QuotaSubject)
  case disk(operation: String, path: String, code: Int32)
  case chunkDamaged(detail: String)
  case journalDamaged(detail: String)
  case databaseDamaged(detail: String)
  /// It was made by a program before this one; it is made anew when the vault is opened.
  case databaseOutdated(path: String)
  case formatUnknown(path: String, detail: String)
  case notAVault(path: String, detail: String)
  case vaultMissing(path: String)
  case directoryInUse(path: String, detail: String)
  case owned(path: String, by: String)
  case closed
}

extension VaultError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notFound: "no such file or directory"
    case .alreadyExists: "it exists already"
    case .notADirectory: "not a directory"
    case .isADirectory: "it is a directory"
    case .directoryNotEmpty: "the directory is not empty"
    case .nameInvalid: "the name is not valid (it is empty, or holds a slash or a NUL)"
    case .nameTooLong: "the name is longer than \(Limits.nameBytesMax) bytes"
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
    case .readOnly(let reason): "the vault is read-only: \(reason)"
    case .diskFull: "the disk that holds the vault is full: less than \(Limits.reserveBytes >> 20) MiB are left there, which are kept back so that deleting goes on; delete something there or give it more space"
    case .quotaExceeded(let subject): "the quota of \(subject) is used up; delete something there, or raise the limit (`fsctl quota set`)"
    case .disk(let operation, let path, let code): "cannot \(operation) \(path): \(systemMessage(code))"
    case .chunkDamaged(let detail): "stored data is damaged: \(detail)"
    case .journalDamaged(let detail): "the journal is damaged: \(detail)"
    case .databaseDamaged(let detail): "the metadata database is damaged: \(detail); `vaultfs rebuild` makes it anew from the journal and the packs"
    case .databaseOutdated(let path): "the metadata database \(path) was made by an earlier vaultfs; mounting the vault makes it anew"
    case .formatUnknown(let path, let detail): "\(path): \(detail)"
    case .notAVault(let path, let detail): "\(path) is not a vault: \(detail); `vaultfs init` makes one in an empty directory"
    case .vaultMissing(let path): "\(path) does not exist; `vaultfs init` makes a vault there"
    case .directoryInUse(let path, let detail): "\(path): \(detail)"
    case .owned(let path, let owner): "\(path) is in use by \(owner); one process owns a vault at a time: unmount it there first"
    case .closed: "the vault is closed"
    }
  }
}
