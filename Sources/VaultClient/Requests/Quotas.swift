// Limits: showing and setting them.
//
// What must stay true: whoever does not administer sees their own limit, those of their groups, of directories that they
// may read, and the vault's, which df(1) shows them anyway. Limits and usages of others are not theirs to know.

import Glibc
import VaultFS

/// Whom a limit binds, as it is said from outside.
public enum QuotaHolder: Codable, Sendable {
  case vault
  case user(UInt32)
  case group(UInt32)
  /// What is below a directory.
  case tree(NodeAddress)
}

/// The limits that are set.
public struct QuotasRequest: VaultRequest {
  public static let name = "quotas"
  public static let access = Access.everyone
  /// Only those that bind whoever asks.
  public var onlyMine: Bool
  /// Of directories: only those that this path is in; nil: all.
  public var around: VaultPath?
  public init(onlyMine: Bool = false, around: VaultPath? = nil) { (self.onlyMine, self.around) = (onlyMine, around) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<QuotaReport>) throws -> Nothing {
    for quota in try host.vault.quotas() {
      let report = try QuotaReport(quota, in: host.vault)
      if try peer.maySee(quota.subject, at: report.path, in: host.vault), isWanted(quota.subject, report.path, peer) { try answer.item(report) }
    }
    return Nothing()
  }

  private func isWanted(_ subject: QuotaSubject, _ path: VaultPath?, _ peer: Peer) -> Bool {
    switch subject {
    case .vault: true
    case .user(let user): !onlyMine || user == peer.user
    case .group(let group): !onlyMine || peer.isMember(of: group)
    case .tree: around.map { around in path.map { around.names.starts(with: $0.names) } ?? false } ?? true
    }
  }
}

/// How one subject stands, limited or not.
public struct QuotaRequest: VaultRequest {
  public static let name = "quota"
  public static let access = Access.everyone
  public var holder: QuotaHolder
  public init(_ holder: QuotaHolder) { self.holder = holder }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> QuotaReport {
    let subject = try peer.subject(holder, in: host.vault)
    guard try peer.maySee(subject, holder, in: host.vault) else {
      throw ServiceError(.notPermitted, "what \(subject) has and uses is for them, for root and for the vault's owner to know; `fsctl quota show` shows what binds you")
    }
    return try QuotaReport(of: subject, in: host.vault)
  }
}

public struct SetQuotaRequest: VaultRequest {
  public static let name = "set-quota"
  public static let command = "fsctl quota set"
  public static let access = Access.administrators
  public var holder: QuotaHolder
  public var change: QuotaChange
  public init(_ holder: QuotaHolder, _ change: QuotaChange) { (self.holder, self.change) = (holder, change) }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> QuotaReport {
    let vault = host.vault, subject = try peer.subject(holder, in: vault)
    // Two changes at once would take each other back.
    return try host.works.run("change of limits", answer) {
      let limits = try change.applied(to: try vault.quota(of: subject)?.limits, of: "\(holder)")
      if let limits { try vault.setQuota(limits, for: subject) } else { try vault.removeQuota(of: subject) }
      return try QuotaReport(of: subject, in: vault)
    }
  }
}

public struct RemoveQuotaRequest: VaultRequest {
  public static let name = "remove-quota"
  public static let command = "fsctl quota remove"
  public static let access = Access.administrators
  public var holder: QuotaHolder
  public var isDry: Bool
  public init(_ holder: QuotaHolder, isDry: Bool) { (self.holder, self.isDry) = (holder, isDry) }

  /// What it was.
  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Nothing>) throws -> QuotaReport {
    let subject = try peer.subject(holder, in: host.vault)
    guard let quota = try host.vault.quota(of: subject) else {
      throw ServiceError(.notFound, "\(holder) has no limit; `fsctl quota list` shows which there are")
    }
    if !isDry { try host.vault.removeQuota(of: subject) }
    return try QuotaReport(quota, in: host.vault)
  }
}

extension Peer {
  /// A directory is one that this peer may read.
  func subject(_ holder: QuotaHolder, in vault: Vault) throws -> QuotaSubject {
    switch holder {
    case .vault: return .vault
    case .user(let user): return .user(user)
    case .group(let group): return .group(group)
    case .tree(let address):
      let info: NodeInfo
      do { info = try findReadable(address, in: vault) } catch let error as VaultError { throw ServiceError(error, of: "\(address)") }
      guard info.mode & S_IFMT == S_IFDIR else { throw ServiceError(.notADirectory, "\(address) is no directory; limits are of directories, with all that is below them") }
      return .tree(info.inode)
    }
  }

  /// - Parameter holder: whose directory, if it is one, was found to be readable.
  fileprivate func maySee(_ subject: QuotaSubject, _ holder: QuotaHolder, in vault: Vault) throws -> Bool {
    if case .tree = holder { true } else { try maySee(subject, at: nil, in: vault) }
  }

  /// - Parameter path: of a directory.
  func maySee(_ subject: QuotaSubject, at path: VaultPath?, in vault: Vault) throws -> Bool {
    if isAdministrator { return true }
    switch subject {
    case .vault: return true
    case .user(let user): return user == self.user
    case .group(let group): return isMember(of: group)
    case .tree(let inode):
      guard let path else { return false }
      // What is renamed or removed meanwhile is not shown; what the vault itself has against it is said.
      do { return try findReadable(.path(path), in: vault).inode == inode } catch let error as ServiceError where [.notPermitted, .notFound, .notADirectory].contains(error.code) { return false }
    }
  }
}

extension QuotaHolder: CustomStringConvertible {
  public var description: String {
    switch self {
    case .vault: "the vault"
    case .user(let user): "user \(user)"
    case .group(let group): "group \(group)"
    case .tree(let address): "\(address)"
    }
  }
}
