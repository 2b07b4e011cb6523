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

/// Checks every invariant of the view: links, parents, entries, manifests, chunks, counters, usage; and reads every byte.
/// - Parameter unnamed: nodes without a name that are still held open.
func expectSound(_ vault: Vault, unnamed: [InodeNumber] = [], _ comment: String = "", at location: SourceLocation = #_sourceLocation) throws {
  for file in vault.lock.withLock({ vault.unsaved.values.compactMap { node in node.draft.map { OpenFile(node, $0) } } }) { try vault.save(file) }
  func expect(_ holds: Bool, _ what: @autoclosure () -> String) {
    if !holds { Issue.record("\(comment) \(what())", sourceLocation: location) }
  }
  var names: [InodeNumber: UInt32] = [.root: 1], infos: [InodeNumber: NodeInfo] = [.root: try vault.info(.root)]
  var directories: [InodeNumber] = [.root]
  while let directory = directories.popLast() {
    let entries = try vault.entries(of: directory)
    expect(Set(entries.map(\.name)).count == entries.count, "directory \(directory.value) lists a name twice")
    expect(zip(entries, entries.dropFirst()).allSatisfy { $0.cookie < $1.cookie }, "cookies of directory \(directory.value) are out of order")
    let count = try vault.lock.withLock { () throws in try vault.metadata.node(directory).entries }
    expect(count == UInt64(entries.count), "directory \(directory.value) counts \(count) entries and has \(entries.count)")
    let links = try vault.info(directory).links
    expect(links == UInt32(2 + entries.count { $0.type == S_IFDIR }), "directory \(directory.value) has \(links) links")
    for entry in entries {
      let child = try #require(entry.info)
      expect(entry.type == child.mode & S_IFMT, "entry \(String(decoding: entry.name, as: UTF8.self)) has another type than its node")
      let again = try vault.lookup(entry.name, in: directory)
      expect(again?.inode == child.inode, "a listed name leads elsewhere")
      names[child.inode, default: 0] += 1
      guard infos.updateValue(child, forKey: child.inode) == nil, child.mode & S_IFMT == S_IFDIR else { continue }
      let parent = try vault.parent(of: child.inode)
      expect(parent == directory, "directory \(child.inode.value) has another parent")
      directories.append(child.inode)
    }
  }
  for inode in unnamed {
    infos[inode] = try vault.info(inode)
    names[inode] = 0
  }
  var logical: Int64 = 0
  for (inode, info) in infos {
    if info.mode & S_IFMT != S_IFDIR { expect(info.links == names[inode], "node \(inode.value) has \(info.links) links and \(names[inode] ?? 0) names") }
    let (extents, node) = try vault.lock.withLock { () throws in
      let node = try vault.metadata.node(inode)
      return (try vault.metadata.extents(of: node, in: 0..<UInt64.max), node)
    }
    expect(isSound(extents), "the manifest of node \(inode.value) is out of order")
    expect(extents.allocated == info.allocated, "node \(inode.value) counts \(info.allocated) bytes, its manifest \(extents.allocated)")
    logical += Int64(info.allocated)
    for extent in extents {
      guard case .chunk(let number, let offset) = extent.source else { continue }
      expect(extent.end <= info.size, "node \(inode.value) has data beyond its end")
      let row = try vault.lock.withLock { () throws in try vault.metadata.place(of: number) }
      expect(UInt64(offset) + extent.length <= UInt64(row.length), "node \(inode.value) names more of a chunk than there is")
    }
    if node.isRegular, info.size <= 64 << 20 { _ = try vault.contents(of: inode) }
  }
  try vault.checkpoint()
  try checkUsage(vault, infos, expect: { expect($0, $1) })
  try vault.lock.withLock { () throws in
    let database = vault.metadata.database, counters = vault.metadata.state.counters
    expect(counters.nodes == Int64(infos.count), "\(counters.nodes) nodes counted, \(infos.count) found")
    expect(counters.logicalBytes == logical, "\(counters.logicalBytes) logical bytes counted, \(logical) found")
    expect(counters.chunks == (try database.integer("SELECT count(*) FROM chunk")), "chunks are counted wrong")
    expect(counters.uniqueBytes == (try database.integer("SELECT total(length) FROM chunk")), "unique bytes are counted wrong")
    expect(try database.integer("SELECT count(*) FROM node") == Int64(infos.count), "the database has nodes that nobody can reach")
    expect(try database.integer("SELECT count(*) FROM orphan") == Int64(unnamed.count), "orphans are left")
    expect(try database.integer("SELECT count(*) FROM page WHERE inode NOT IN (SELECT inode FROM node UNION SELECT inode FROM past_node)") == 0, "pages of no node are left")
    expect(try database.integer("SELECT count(*) FROM xattr WHERE inode NOT IN (SELECT inode FROM node UNION SELECT inode FROM past_node)") == 0, "attributes of no node are left")
    let check = try database.prepare("PRAGMA integrity_check")
    expect(try check.step() && check.bytes(0) == [UInt8]("ok"), "the database is not sound")
  }
  expect(vault.dirtyBytes.load(ordering: .relaxed) == 0, "\(vault.dirtyBytes.load(ordering: .relaxed)) unsaved bytes are counted and none are there")
}
