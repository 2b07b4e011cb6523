// Whether somebody is there. Waits for nothing in the vault.

public struct PingRequest: VaultRequest {
  public static let name = "ping"
  public static let access = Access.everyone
  public init() {}
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Nothing { Nothing() }
}

extension VaultService {
  public func ping() throws { _ = try ask(PingRequest()) }
}
