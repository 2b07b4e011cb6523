// What the mount is doing, as counters since it was made: two answers and the time between them give rates.

import Glibc
import VaultFS

public struct ActivityRequest: VaultRequest {
  public static let name = "activity"
  public static let command = "fsctl top"
  public static let access = Access.administrators
  public init() {}

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> ActivityReport {
    guard let mount = host.mount?() else { throw ServiceError(.notSupported, "the vault is not mounted, so there is nothing to see") }
    let cache = host.vault.frameCacheUses
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return ActivityReport(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec), mount: mount, cacheHits: cache.hits, cacheMisses: cache.misses)
  }
}

extension VaultService {
  public func activity() throws -> ActivityReport { try ask(ActivityRequest()) }
}

public struct ActivityReport: Codable, Sendable {
  /// When, by a clock that never goes back.
  public var nanoseconds: UInt64
  public var mount: MountActivity
  /// Frames that were decoded already when a read needed them, and those that were not.
  public var cacheHits: UInt64
  public var cacheMisses: UInt64
}
