// Promise 2: a power cut leaves the state after some operation, which has everything that was synced; on a disk that
// loses whatever it may.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct PowerCutTests {
  private func onLossyDisk(_ body: (Home, LossyDisk) throws -> Void) throws {
    try Home.run { home in
      try home.close()
      let disk = try LossyDisk(path: home.path)
      home.disk = disk
      try home.open()
      home.disk = nil
      try body(home, disk)
    }
  }

  @Test func `an open vault says in which run of the computer it was opened`() throws {
    try Home.run { home in
      let boot = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
      #expect(try boot.count > 30 && String(contentsOfFile: home.path + "/boot", encoding: .utf8) == boot)
    }
  }

  @Test(arguments: 0..<24)
  func `a power cut at any moment leaves a moment at or after the last sync`(seed: Int) throws {
    var random = Random(seed: UInt64(seed) &* 7919 &+ 11)
    try onLossyDisk { home, disk in
      var moments: [[[UInt8]: Found]] = [try tree(of: home.vault)], synced = 0
      try home.vault.syncAll()
      for step in 0..<30 {
        try change(home, step, &random) { moments.append(try tree(of: home.vault)) }
        switch random.below(8) {
        case 0:
          try home.vault.sync()
          synced = moments.count - 1
        case 1: try home.vault.lock.withLock { () throws in try home.vault.rotate() }
        case 2: try home.vault.packs.seal()
        case 3 where random.below(3) == 0:
          try home.vault.checkpoint()
          synced = moments.count - 1
        default: break
        }
        guard step > 3, random.below(4) == 0 else { continue }
        let (copy, state) = try home.vault.lock.withLock { () throws in
          let target = "\(home.directory)/cut-\(step)"
          let state = disk.state
          try FileManager.default.copyItem(atPath: home.path, toPath: target)
          return (target, state)
        }
        try LossyDisk.cut(copy, state, &random)
        try expectMoment(copy, of: moments[synced...], seed, step)
      }
    }
  }

  @Test(arguments: 0..<12)
  func `what a kill left unsynced is durable once the next owner has synced`(seed: Int) throws {
    var random = Random(seed: UInt64(seed) &* 104_729 &+ 3)
    try onLossyDisk { home, disk in
      for step in 0..<8 {
        try change(home, step, &random) {}
        // What moves the view's position without a flush.
        switch random.below(4) {
        case 0: try home.vault.lock.withLock { () throws in try home.vault.rotate() }
        case 1: try home.vault.packs.seal()
        case 2: try home.vault.lock.withLock { () throws in try home.vault.commit() }
        default: break
        }
      }
      let last = try tree(of: home.vault)
      var (killed, state) = try kill(home.vault, disk, to: home.directory + "/killed")
      if seed % 2 == 1 {
        // And killed again before its first flush.
        let (vault, disk) = try opened(killed, state)
        defer { try? vault.shutDown() }
        (killed, state) = try kill(vault, disk, to: home.directory + "/killed-twice")
      }
      let (vault, next) = try opened(killed, state), cut = home.directory + "/cut"
      defer { try? vault.shutDown() }
      #expect(try tree(of: vault) == last)
      if seed % 3 == 0 { try vault.checkpoint() } else { try vault.sync() }
      let after = try vault.lock.withLock { () throws in
        try FileManager.default.copyItem(atPath: killed, toPath: cut)
        return next.state
      }
      try LossyDisk.cut(cut, after, &random)
      try expectMoment(cut, of: [last], seed, 8)
    }
  }

  /// A copy of the vault as a kill leaves it, and what is not on the disk then.
  private func kill(_ vault: Vault, _ disk: LossyDisk, to target: String) throws -> (String, [String: LossyDisk.Unsynced]) {
    try vault.lock.withLock { () throws in
      try FileManager.default.copyItem(atPath: vault.path, toPath: target)
      return (target, disk.state)
    }
  }
  private func opened(_ path: String, _ state: [String: LossyDisk.Unsynced]) throws -> (Vault, LossyDisk) {
    let disk = try LossyDisk(path: path, state: state)
    let vault = try Vault.open(at: path, purpose: "tested", readOnly: false, disk: { _ in disk }, log: { _ in })
    vault.accessTimes = .never
    return (vault, disk)
  }

  @Test func `a recovery that is interrupted is still one when it is tried again`() throws {
    try Home.run { home in
      var random = Random(seed: 12)
      let old = random.bytes(300_000), inode = try home.vault.makeFile("f", old)
      try home.vault.checkpoint()
      try home.vault.put(random.bytes(300_000), in: inode)
      let cut = try home.copy()
      // The journal's record is there, the pack's frames are not.
      let pack = try #require(try containers(cut, .pack).last)
      try #require(truncate(pack, try #require(try FileManager.default.attributesOfItem(atPath: pack)[.size] as? Int) - 200_000) == 0)
      try? FileManager.default.removeItem(atPath: cut + "/metadata.db-wal")
      try "another boot".write(toFile: cut + "/boot", atomically: false, encoding: .utf8)
      let failing = BrokenDisk(try RealDisk(path: cut))
      #expect(throws: VaultError.self) { try Vault.open(at: cut, purpose: "tested", readOnly: false, disk: { _ in failing }, log: { _ in }) }
      try opening(cut) { vault in
        #expect(try vault.contents(of: inode) == old)
        try expectSound(vault)
      }
    }
  }

  /// A change or two; calls `note` after each operation.
  private func change(_ home: Home, _ step: Int, _ random: inout Random, _ note: () throws -> Void) throws {
    let vault = home.vault
    let names = try vault.names().sorted { $0.lexicographicallyPrecedes($1) }
    func write(_ bytes: [UInt8], _ inode: InodeNumber) throws {
      try vault.withOpen(inode) { file in
        try vault.write(bytes, to: file)
        try vault.save(file)
      }
    }
    switch random.below(7) {
    case 0...2:
      let inode = try vault.make("file-\(step)").inode
      try note()
      // Some travel in the journal, some have their frames in packs.
      try write(random.bytes(random.chance(40) ? 1 + random.below(9000) : 200_000 + random.below(300_000)), inode)
    case 3: try vault.makeDirectory("directory-\(step)")
    case 4 where !names.isEmpty: try vault.rename(random.pick(names), in: .root, to: [UInt8]("moved-\(step)"), in: .root, mode: .replace)
    case 5 where !names.isEmpty:
      let info = try #require(try vault.lookup(random.pick(names), in: .root))
      if info.mode & S_IFMT == S_IFREG { try write(random.bytes(5000), info.inode) } else {
        try vault.setXattr([UInt8]("user.step"), of: info.inode, to: [UInt8(step)], mode: .set, by: root)
      }
    default:
      for name in names.prefix(1) where try #require(try vault.lookup(name, in: .root)).mode & S_IFMT == S_IFREG { try vault.unlink(name, in: .root) }
    }
    try note()
  }

  /// Twice: what the first opening makes of it must stand; and a rebuild must find the same.
  private func expectMoment(_ copy: String, of moments: ArraySlice<[[UInt8]: Found]>, _ seed: Int, _ step: Int) throws {
    var first: [[UInt8]: Found]?
    for round in 0..<3 {
      if round == 2 { try Vault.rebuild(at: copy) { _ in } }
      let log = Messages()
      do {
        try opening(copy, log: log) { vault in
          let found = try tree(of: vault)
          #expect(moments.contains(found), "seed \(seed), step \(step), round \(round): \(log.all)")
          #expect(first == nil || first == found, "seed \(seed), step \(step): round \(round) found another state")
          first = found
          try expectSound(vault)
        }
      } catch { Issue.record("seed \(seed), step \(step), round \(round): \(error); \(log.all)") }
    }
  }
}

/// A disk on which no new journal segment can be made.
private final class BrokenDisk: Disk {
  private let real: RealDisk
  init(_ real: RealDisk) { self.real = real }
  func open(_ path: String, _ mode: OpenMode) throws(VaultError) -> any DiskFile {
    if mode == .create, path.hasSuffix(ContainerStore.Kind.segment.suffix) { throw .disk(operation: "open", path: path, code: EIO) }
    return try real.open(path, mode)
  }
  func exists(_ path: String) -> Bool { real.exists(path) }
  func list(_ directory: String) throws(VaultError) -> [String] { try real.list(directory) }
  func makeDirectory(_ path: String) throws(VaultError) { try real.makeDirectory(path) }
  func rename(_ path: String, to newPath: String) throws(VaultError) { try real.rename(path, to: newPath) }
  func remove(_ path: String) throws(VaultError) { try real.remove(path) }
  func syncDirectory(_ path: String) throws(VaultError) { try real.syncDirectory(path) }
  func space() throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64) { try real.space() }
}
