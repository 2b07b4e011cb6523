// Requests answered in this process, from a vault that is open here: for the owner itself, for tests, and for a vault
// that nobody owns.

public import VaultFS

public struct LocalService: VaultService {
  private let host: ServiceHost
  private let peer: Peer

  /// - Parameter peer: as whom to ask.
  public init(_ host: ServiceHost, as peer: Peer = .local) { (self.host, self.peer) = (host, peer) }
  public init(_ vault: Vault, as peer: Peer = .local) { self.init(ServiceHost(vault), as: peer) }

  public func ask<Request: VaultRequest>(_ request: Request, _ receiver: Receiver<Request.Item>) throws -> Request.Answer {
    do { return try request.answer(in: host, for: peer, receiver) } catch let error as VaultError { throw ServiceError(error) }
  }
}
