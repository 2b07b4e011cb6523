// What somebody may take back, and what may give way to it.
//
// What must stay true: nobody gives by this what chown(2) would not let them give, nor takes what is not theirs. The engine asks for each
// node, when nothing can come between.

import Synchronization
import VaultFS

final class RestoreRights: Sendable {
  private let peer: Peer
  /// Why something may not.
  private let reason = Mutex<String?>(nil)
  init(_ peer: Peer) { self.peer = peer }

  static let others = "it was another's then, and comes back as that: for its owner, root and the vault's owner. A copy of your own you get with --to PATH"
  private static let remedy = "root and the vault's owner can bring it back, or copy what you may read from .vaultfs at the root of the mount"
  /// Who may give a file the powers that root gave it once is for root to say, today.
  private static let isRoots = "there is a device, or a file with attributes that only root can give (such as capabilities); \(remedy)"

  /// As options that ask for what this peer may.
  func binding(_ options: RestoreOptions) -> RestoreOptions {
    var options = options
    options.user = peer.user
    if peer.isAdministrator { return options }
    options.mayReturn = { [self] was, isRoots, now in isAllowed(whyNot(was, isRoots, now)) }
    options.mayReplace = { [self] now, _ in isAllowed(now.user == peer.user ? nil : "others' files are in it, which are not yours to replace, and nothing was changed; root and the vault's owner can take it back") }
    return options
  }

  /// As options for a copy that is the peer's own.
  func bindingCopy(_ options: RestoreOptions) -> RestoreOptions {
    var options = options
    options.mayReturn = { [self] _, isRoots, _ in isAllowed(isRoots ? Self.isRoots : nil) }
    return options
  }

  private func isAllowed(_ words: String?) -> Bool {
    guard let words else { return true }
    reason.withLock { $0 = $0 ?? words }
    return false
  }

  private func whyNot(_ was: NodeInfo, _ isRoots: Bool, _ now: NodeInfo?) -> String? {
    if isRoots { return Self.isRoots }
    if was.user != peer.user { return "others' files are in it, which are not yours to bring back; \(Self.remedy)" }
    // To a group, something is given by its members, as by chown(2). (What is there stays in its group.)
    if was.group != now?.group, !peer.isMember(of: was.group) { return "there is something of group \(was.group), of which you are no member; \(Self.remedy)" }
    return nil
  }

  func failure(_ error: VaultError, _ path: VaultPath, _ vault: Vault) -> ServiceError {
    guard case .notPermitted = error else { return ServiceError(error, of: "\(path)", in: vault) }
    return ServiceError(.notPermitted, "\(path): \(reason.withLock { $0 } ?? Self.others)")
  }
}
