// What is true of every vault at rest, and of a vault at any moment between two operations.

import Glibc
import Synchronization
import Testing
@testable import VaultFS

/// One node as a walk of the tree finds it.
struct Found: Hashable {
  var inode: UInt64
  var mode: UInt32
  var links: UInt32
  var user: UInt32
  var group: UInt32
  var device: UInt64
  var size: UInt64
  var allocated: UInt64
  var times: [Timestamp]
  var id: NodeID
  /// A file's content, a symlink's target.
  var content: Int
  var xattrs: [XattrPair]
}

/// The whole tree: path by path, content and all.
func tree(of vault: Vault) throws -> [[UInt8]: Found] {
  var all: [[UInt8]: Found] = [:]
  var waiting: [(NodeInfo, [UInt8])] = [(try vault.info(.root), [])]
  while let (info, path) = waiting.popLast() {
    var found = Found(inode: info.inode.value, mode: info.mode, links: info.links, user: info.user, group: info.group, device: info.device,
                      size: info.size, allocated: info.allocated, times: [info.accessed, info.modified, info.changed, info.born], id: try vault.id(of: info.inode),
                      content: 0, xattrs: [])
    switch info.mode & S_IFMT {
    case S_IFREG: found.content = info.size <= 64 << 20 ? try vault.contents(of: info.inode).hashValue : 0
    case S_IFLNK: found.content = try vault.readLink(info.inode).hashValue
    case S_IFDIR: for entry in try vault.entries(of: info.inode) { waiting.append((try #require(entry.info), path + [0x2F] + entry.name)) }
    default: break
    }
    found.xattrs = try vault.xattrNames(of: info.inode).map { XattrPair(name: $0, value: try vault.xattr($0, of: info.inode)) }
    all[path] = found
  }
  return all
}

/// Expects that a check finds nothing (Sources/VaultFS/Check), that what programs are shown agrees with itself, and that
/// every byte can be read.
/// - Parameter unnamed: nodes without a name that are still held open.
/// - Parameter besides: what may be found, because it was done to the vault.
func expectSound(_ vault: Vault, unnamed: [InodeNumber] = [], besides: Set<Finding.Kind> = [], _ comment: String = "", at location: SourceLocation = #_sourceLocation) throws {
  for complaint in try complaints(about: vault, unnamed: unnamed, besides: besides) { Issue.record("\(comment) \(complaint)", sourceLocation: location) }
}

/// What is not as `expectSound` expects it.
func complaints(about vault: Vault, unnamed: [InodeNumber] = [], besides: Set<Finding.Kind> = []) throws -> [String] {
  var complaints: [String] = []
  for file in vault.lock.withLock({ vault.unsaved.values.compactMap { node in node.draft.map { OpenFile(node, $0) } } }) { try vault.save(file) }
  func expect(_ holds: Bool, _ what: @autoclosure () -> String) {
    if !holds { complaints.append(what()) }
  }
  var infos: [InodeNumber: NodeInfo] = [.root: try vault.info(.root)], directories: [InodeNumber] = [.root]
  while let directory = directories.popLast() {
    let entries = try vault.entries(of: directory)
    expect(Set(entries.map(\.name)).count == entries.count, "directory \(directory.value) lists a name twice")
    expect(zip(entries, entries.dropFirst()).allSatisfy { $0.cookie < $1.cookie }, "cookies of directory \(directory.value) are out of order")
    for entry in entries {
      let child = try #require(entry.info)
      let again = try vault.lookup(entry.name, in: directory)
      expect(again?.inode == child.inode, "a listed name leads elsewhere")
      guard infos.updateValue(child, forKey: child.inode) == nil else { continue }
      if child.mode & S_IFMT == S_IFDIR { directories.append(child.inode) }
      if child.mode & S_IFMT == S_IFREG, child.size <= 64 << 20 { _ = try vault.contents(of: child.inode) }
    }
  }
  for inode in unnamed { infos[inode] = try vault.info(inode) }
  let orphans = try vault.lock.withLock { () throws in try vault.metadata.database.integer("SELECT count(*) FROM orphan") }
  expect(orphans == Int64(unnamed.count), "\(orphans ?? 0) nodes without a name are left, \(unnamed.count) are held open")
  try vault.checkpoint()
  try checkUsage(vault, infos, expect: { expect($0, $1) })
  expect(vault.dirtyBytes.load(ordering: .relaxed) == 0, "\(vault.dirtyBytes.load(ordering: .relaxed)) unsaved bytes are counted and none are there")
  let report = try vault.check()
  expect(report.isComplete && report.findings.allSatisfy { $0.isNote || besides.contains($0.kind) }, "the check finds: \(report.findings.map { "\($0.kind.rawValue): \($0.detail)" }), complete: \(report.isComplete)")
  return complaints
}
