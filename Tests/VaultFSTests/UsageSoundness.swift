// Usage, counted anew: what every account and every directory must say, from nothing but the nodes and the entries.

import Glibc
import Testing
@testable import VaultFS

/// Compares each usage and each limit's state with a recount. The vault is saved and committed.
/// - Parameter infos: all nodes, as a walk found them.
func checkUsage(_ vault: Vault, _ infos: [InodeNumber: NodeInfo], expect: (Bool, String) -> Void) throws {
  try vault.lock.withLock { () throws in
    let metadata = vault.metadata
    let names = try places("SELECT inode, parent, cookie FROM entry", metadata), links = try places("SELECT inode, parent, cookie FROM link", metadata)
    var below: [InodeNumber: Usage] = [:], accounts: [QuotaSubject: Usage] = [:], all = Usage()
    for (inode, info) in infos {
      let own = Usage(bytes: info.allocated, nodes: 1), node = try metadata.node(inode)
      all = all &+ own
      accounts[.user(info.user), default: Usage()] = accounts[.user(info.user), default: Usage()] &+ own
      accounts[.group(info.group), default: Usage()] = accounts[.group(info.group), default: Usage()] &+ own
      guard inode != .root, info.links > 0 else { continue }
      let home = names[inode, default: []].subtracting(links[inode, default: []])
      expect(home.count == 1 && links[inode, default: []].isSubset(of: names[inode, default: []]), "node \(inode.value) has \(home.count) homes")
      expect(home.first?.parent == node.parent, "node \(inode.value) is charged to \(node.parent.value), its home is \(home.first?.parent.value ?? 0)")
      var at = node.parent
      while true {
        below[at, default: Usage()] = below[at, default: Usage()] &+ own
        if at == .root { break }
        at = try metadata.node(at).parent
      }
    }
    for (inode, info) in infos where info.mode & S_IFMT == S_IFDIR {
      let node = try metadata.node(inode), counted = below[inode] ?? Usage()
      expect(node.below == counted, "directory \(inode.value) has \(node.below), counted \(counted)")
    }
    expect(Set(links.keys).isSubset(of: infos.keys), "links of no node are left")
    expect(try metadata.usage(of: .vault) == all, "the vault counts \(try metadata.usage(of: .vault)), there is \(all)")
    try checkAccounts(metadata, accounts, expect)
    try checkLimits(metadata, infos, expect)
  }
}

private struct Name: Hashable {
  var parent: InodeNumber
  var cookie: UInt64
}

private func places(_ query: String, _ metadata: Metadata) throws -> [InodeNumber: Set<Name>] {
  let select = try metadata.database.prepare(query)
  defer { select.reset() }
  var places: [InodeNumber: Set<Name>] = [:]
  while try select.step() {
    places[InodeNumber(select.unsigned(0)), default: []].insert(Name(parent: InodeNumber(select.unsigned(1)), cookie: select.unsigned(2)))
  }
  return places
}

private func checkAccounts(_ metadata: Metadata, _ accounts: [QuotaSubject: Usage], _ expect: (Bool, String) -> Void) throws {
  for (owner, usage) in accounts {
    expect(try metadata.usage(of: owner) == usage, "\(owner) has \(try metadata.usage(of: owner)), counted \(usage)")
  }
  let select = try metadata.database.prepare("SELECT kind, id, bytes, nodes FROM account")
  defer { select.reset() }
  var rows: [QuotaSubject: Usage] = [:]
  while try select.step() {
    let owner = try #require(QuotaSubject(kind: select.unsigned(0), id: select.unsigned(1)))
    rows[owner] = Usage(bytes: select.unsigned(2), nodes: select.unsigned(3))
  }
  expect(rows == accounts, "the database has the accounts \(rows), counted \(accounts)")
}

private func checkLimits(_ metadata: Metadata, _ infos: [InodeNumber: NodeInfo], _ expect: (Bool, String) -> Void) throws {
  let quotas = metadata.state.quotas
  for (subject, entry) in quotas.entries {
    if case .tree(let inode) = subject { expect(infos[inode].map { $0.mode & S_IFMT == S_IFDIR && $0.links > 0 } ?? false, "\(subject) has a limit and no directory") }
    let usage = try metadata.usage(of: subject)
    for resource in QuotaResource.allCases {
      let isOver = entry.limits[resource].soft.map { usage[resource] > $0 } ?? false
      expect(isOver == (entry[since: resource] != nil), "\(subject) is above its soft limit of \(resource): \(isOver), noted: \(!isOver)")
    }
  }
  expect(try metadata.database.integer("SELECT count(*) FROM quota") == Int64(quotas.entries.count), "the database has other limits")
}
