// The way to a node, as far as a peer may go it.

import Glibc
import Printable
public import VaultFS

/// Which node is meant.
public enum NodeAddress: Codable, Sendable {
  case path(VaultPath)
  /// By number: for administrators, because the way to it cannot be checked.
  case node(UInt64)
}

extension Peer {
  /// - Parameter followingLast: where the last name is a symlink's, what it leads to.
  public func find(_ address: NodeAddress, in vault: Vault, followingLast: Bool = true) throws -> NodeInfo {
    switch address {
    case .path(let path): return try find(path, in: vault, followingLast: followingLast)
    case .node(let number):
      guard isAdministrator else { throw ServiceError(.notPermitted, "nodes are found by number for root and for the vault's owner only; name the path") }
      return try vault.info(InodeNumber(number))
    }
  }

  /// The node at `path`; every directory on the way was one this peer may search.
  public func find(_ path: VaultPath, in vault: Vault, followingLast: Bool = true) throws -> NodeInfo {
    if path.isOfPast { throw ServiceError(.notFound, "\(path): what is in \(printable(Vault.pastName)) shows what was, and cannot be changed or limited; name the path without it") }
    do {
      var walk = Walk(vault: vault, peer: self, rest: path.names.reversed())
      return try walk.run(followingLast: followingLast)
    } catch let error as VaultError { throw ServiceError(error, of: "\(path)") } catch let error as Stop { throw error.words(for: path) }
  }

  /// The node at `address`, which this peer may read.
  public func findReadable(_ address: NodeAddress, in vault: Vault) throws -> NodeInfo {
    let info = try find(address, in: vault)
    guard mayRead(try vault.protection(of: info.inode)) else { throw ServiceError(.notPermitted, "\(address): you may not read it; its owner can let you, with chmod or setfacl") }
    return info
  }

  private struct Walk {
    let vault: Vault
    let peer: Peer
    /// The names still to be gone, the next one last.
    var rest: [[UInt8]]
    var way = [InodeNumber.root]
    var linksLeft = WireLimits.symlinksMax

    mutating func run(followingLast: Bool) throws -> NodeInfo {
      while let name = rest.popLast() {
        if name == Array(".".utf8) { continue }
        if name == Array("..".utf8) {
          guard way.count > 1 else { throw Stop.leadsOut }
          way.removeLast()
          continue
        }
        guard peer.maySearch(try vault.protection(of: way.last!)) else { throw Stop.notSearched }
        guard let info = try vault.lookup(name, in: way.last!) else { throw VaultError.notFound }
        if info.mode & S_IFMT == S_IFLNK, followingLast || !rest.isEmpty { try follow(info) } else {
          if rest.isEmpty { return info }
          guard info.mode & S_IFMT == S_IFDIR else { throw VaultError.notADirectory }
          way.append(info.inode)
        }
      }
      return try vault.info(way.last!)
    }

    private mutating func follow(_ link: NodeInfo) throws {
      linksLeft -= 1
      let target = try vault.readLink(link.inode)
      guard linksLeft >= 0 else { throw Stop.tooManyLinks }
      guard target.first != UInt8(ascii: "/") else { throw Stop.leadsOut }
      rest += target.split(separator: UInt8(ascii: "/")).map(Array.init).reversed()
    }
  }

  private enum Stop: Error {
    case notSearched, leadsOut, tooManyLinks

    func words(for path: VaultPath) -> ServiceError {
      switch self {
      case .notSearched: ServiceError(.notPermitted, "\(path): you may not search a directory on the way there; its owner can let you, with chmod or setfacl")
      case .leadsOut: ServiceError(.notPermitted, "\(path): a symlink on the way is absolute or leads out of the vault, which is for the kernel to follow; name the path that it leads to")
      case .tooManyLinks: ServiceError(.invalidArgument, "\(path): there are more than \(WireLimits.symlinksMax) symlinks on the way; do they go round in a circle?")
      }
    }
  }
}

extension NodeAddress: CustomStringConvertible {
  public var description: String {
    switch self {
    case .path(let path): "\(path)"
    case .node(let number): "node \(number)"
    }
  }
}
