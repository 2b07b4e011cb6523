// Why a request has no answer: a code for programs and a sentence for people. It crosses the wire as both.

import Glibc
import Printable
public import VaultFS

public struct ServiceError: Error, Codable, Sendable, CustomStringConvertible {
  public enum Code: String, Codable, Sendable {
    // The engine's words.
    case notFound, alreadyExists, notADirectory, isADirectory, directoryNotEmpty, nameInvalid, nameTooLong, tooManyLinks, invalidArgument
    case notPermitted, attributeMissing, attributeExists, attributeTooLarge, fileTooLarge, noDataThere, staleNode, notSupported, crossesIntoItself, crossesLimit
    case readOnly, diskFull, quotaExceeded, disk, chunkDamaged, journalDamaged, databaseDamaged, databaseOutdated, formatUnknown, notAVault, vaultMissing
    case directoryInUse, owned, closed
    // Of the wire.
    /// Nobody listens.
    case unreachable
    /// Somebody listens and says nothing.
    case silent
    /// Too many ask already.
    case busy
    case unknownRequest
    /// What came is not what this protocol says.
    case malformed
    /// The connection ended before the answer did.
    case interrupted
    /// Of a peer that is newer than we are.
    case other
  }

  public let code: Code
  public let message: String
  public var description: String { message }
  public init(_ code: Code, _ message: String) { (self.code, self.message) = (code, message) }

  private enum Key: CodingKey { case code, message }
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: Key.self)
    code = Code(rawValue: try fields.decode(String.self, forKey: .code)) ?? .other
    message = printable(try fields.decode(String.self, forKey: .message).utf8)
  }
}

extension ServiceError {
  /// Of what: named in front of the engine's sentence.
  public init(_ error: VaultError, of object: String? = nil) {
    self.init(error.code, object.map { "\($0): \(error)" } ?? "\(error)")
  }

  /// - Parameter vault: in which it was met: a limit is then named by its path.
  init(_ error: VaultError, of object: String, in vault: Vault) {
    guard case .quotaExceeded(let subject) = error else {
      self.init(error, of: object)
      return
    }
    self.init(error.code, "\(object): the \(vault.name(ofQuotaOf: subject)) has no room for that, and nothing was changed; delete something there, or raise the limit (`fsctl quota set`)")
  }

  /// Whatever was thrown while a request was answered.
  init(anything error: any Error) {
    switch error {
    case let error as ServiceError: self = error
    case let error as VaultError: self.init(error)
    default: self.init(.other, "\(error)")
    }
  }

  init(_ error: ChannelError, speakingTo name: String) {
    switch error {
    case .ended: self.init(.interrupted, "the connection to \(name) ended before the answer did, and what was asked for may have been done or not; the owner may have ended: `vaultfs status` tells")
    case .stalled: self.init(.silent, "\(name) stopped in the middle of an answer")
    case .malformed, .tooLarge: self.init(.malformed, "what \(name) says is not understood; the owner may be another version of this program: mount the vault anew")
    case .system(let code): self.init(code == EACCES ? .notPermitted : .unreachable, "cannot reach \(name): \(systemWords(code))")
    }
  }
}

extension VaultError {
  /// The engine's word for it, as it crosses the wire.
  var code: ServiceError.Code {
    switch self {
    case .notFound, .notKept: .notFound
    case .alreadyExists: .alreadyExists
    case .notADirectory: .notADirectory
    case .isADirectory: .isADirectory
    case .directoryNotEmpty: .directoryNotEmpty
    case .nameInvalid, .nameReserved: .nameInvalid
    case .nameTooLong: .nameTooLong
    case .tooManyLinks: .tooManyLinks
    case .invalidArgument: .invalidArgument
    case .notPermitted: .notPermitted
    case .attributeMissing: .attributeMissing
    case .attributeExists: .attributeExists
    case .attributeTooLarge: .attributeTooLarge
    case .fileTooLarge: .fileTooLarge
    case .noDataThere: .noDataThere
    case .staleNode: .staleNode
    case .notSupported: .notSupported
    case .crossesIntoItself: .crossesIntoItself
    case .crossesLimit: .crossesLimit
    case .readOnly: .readOnly
    case .diskFull: .diskFull
    case .quotaExceeded: .quotaExceeded
    case .disk, .misplaced: .disk
    case .chunkDamaged: .chunkDamaged
    case .journalDamaged, .journalBehind: .journalDamaged
    case .databaseDamaged: .databaseDamaged
    case .databaseOutdated: .databaseOutdated
    case .formatUnknown: .formatUnknown
    case .notAVault: .notAVault
    case .vaultMissing: .vaultMissing
    case .directoryInUse: .directoryInUse
    case .owned: .owned
    case .closed: .closed
    case .interrupted: .interrupted
    }
  }
}
