// What requests are answered from: the open vault, and what its mount knows, where there is one.

public import VaultFS

public struct ServiceHost: Sendable {
  public let vault: Vault
  /// What the kernel asked of the mount so far; nil where nothing is mounted.
  public let mount: (@Sendable () -> MountActivity)?
  let works = Works()

  public init(_ vault: Vault, mount: (@Sendable () -> MountActivity)? = nil) { (self.vault, self.mount) = (vault, mount) }
}

/// What went through a mount since it was made.
public struct MountActivity: Codable, Sendable {
  /// Requests of each kind that came.
  public var requests: [String: UInt64]
  /// How long those took that were answered.
  public var latencies: [String: LatencyHistogram]
  /// For how long those are being answered that are, nanoseconds.
  public var inFlight: [String: [UInt64]]
  public var bytesRead: UInt64
  public var bytesWritten: UInt64
  public init(requests: [String: UInt64], latencies: [String: LatencyHistogram], inFlight: [String: [UInt64]] = [:], bytesRead: UInt64, bytesWritten: UInt64) {
    (self.requests, self.latencies, self.inFlight, self.bytesRead, self.bytesWritten) = (requests, latencies, inFlight, bytesRead, bytesWritten)
  }
}
