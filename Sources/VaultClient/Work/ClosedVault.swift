// Requests that work on a vault which nobody owns, as it is: it may be too damaged to be opened.

import VaultFS

public protocol ClosedVaultRequest: VaultRequest {
  /// Answers it from the vault at `path`, for whoever may use the folder.
  /// - Parameter log: hears what happens meanwhile.
  func perform(onClosed path: String, log: @escaping @Sendable (String) -> Void, _ answer: Receiver<Item>) throws -> Answer
}

extension ClosedVaultRequest {
  /// - Throws: `ServiceError`, or what `receiver` throws.
  public func ask(closed path: String, log: @escaping @Sendable (String) -> Void, _ receiver: Receiver<Item>) throws -> Answer {
    do { return try perform(onClosed: path, log: log, receiver) } catch let error as VaultError { throw ServiceError(error) }
  }
}
