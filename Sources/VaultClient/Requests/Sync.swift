// Everything that was written so far, on disk: sync(2), which never reaches a FUSE file system. As for that, anybody may.

import VaultFS

public struct SyncRequest: VaultRequest {
  public static let name = "sync"
  public static let access = Access.everyone
  public init() {}

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> Nothing {
    try host.vault.syncAll()
    return Nothing()
  }
}

extension VaultService {
  /// Returns when everything that was written before is on disk.
  public func sync() throws { _ = try ask(SyncRequest()) }
}
