// Random work on a vault with limits: after each reopening every usage is what a recount finds, and no limit is exceeded
// by anything that was accepted.

import Foundation
import Glibc
import Testing
@testable import VaultFS

struct QuotaModelTests {
  private final class Walk {
    let home: Home
    let seed: UInt64
    var random: Random
    var step = 0
    /// Names: directories and others, each once for every name that it has.
    var directories: [InodeNumber] = [.root]
    var open: [OpenFile] = []
    var vault: Vault { home.vault }
    private var accepted = 0, refused = 0

    init(_ home: Home, seed: UInt64) { (self.home, self.seed, random) = (home, seed, Random(seed: seed)) }

    private func name() -> [UInt8] { [UInt8]("n\(random.below(6))") }
    private func directory() -> InodeNumber { random.pick(directories) }
    private func requester() -> Requester { Requester(user: UInt32(random.below(3)), group: UInt32(random.below(3)), umask: 0) }
    private func file() throws -> InodeNumber? {
      for _ in 0..<8 {
        let files = try vault.entries(of: directory()).filter { $0.type == S_IFREG }
        if !files.isEmpty { return random.pick(files).inode }
      }
      return nil
    }

    /// What a program may be told is no defect of limits.
    private func attempt(_ body: () throws -> Void) throws {
      do {
        try body()
        accepted += 1
      } catch VaultError.quotaExceeded { refused += 1 } catch let error as VaultError {
        switch error {
        case .alreadyExists, .notFound, .directoryNotEmpty, .isADirectory, .notADirectory, .crossesIntoItself, .invalidArgument, .notPermitted: break
        default: throw error
        }
      }
    }

    func act() throws {
      switch random.below(100) {
      case 0..<14: try attempt { try create() }
      case 14..<36: try attempt { try write() }
      case 36..<44:
        try attempt { try vault.rename(name(), in: directory(), to: name(), in: directory(), mode: random.pick([.replace, .replace, .exchange])) }
        // It may have taken the place of an empty one.
        try prune()
      case 44..<52: if let file = try file() { try attempt { _ = try vault.link(file, as: name(), in: directory()) } }
      case 52..<60: try attempt { try vault.unlink(name(), in: directory()) }
      case 60..<62:
        try attempt { try vault.removeDirectory(name(), in: directory()) }
        try prune()
      case 62..<68: if let file = try file() { try attempt { try vault.truncate(file, to: UInt64(random.below(200_000)), clearsPrivileges: false) } }
      case 68..<74: try attempt { try vault.own(try file() ?? directory(), user: UInt32(random.below(3)), group: random.chance(50) ? UInt32(random.below(3)) : nil) }
      case 74..<80: try attempt { try clone() }
      case 80..<86: try attempt { try allocate() }
      case 86..<90: try limit()
      case 90..<94: if let file = try file() { open.append(try vault.open(file)) }
      case 94..<95: try attempt { try takeBack() }
      case 95..<97: if !open.isEmpty { vault.close(open.remove(at: random.below(open.count))) }
      default: try reopen()
      }
    }

    private func create() throws {
      let mode = random.pick([S_IFREG, S_IFREG, S_IFDIR, S_IFLNK])
      let info = try vault.make(name(), in: directory(), mode | 0o644, target: [65], by: requester())
      if mode == S_IFDIR { directories.append(info.inode) }
    }

    private func write() throws {
      guard let inode = random.chance(30) ? open.isEmpty ? nil : random.pick(open).inode : try file(), (try? vault.info(inode)) != nil else { return }
      let before = try most()
      let held = try vault.open(inode)
      defer { vault.close(held) }
      for _ in 0..<1 + random.below(3) { try vault.write(random.content(1 + random.below(60_000)), to: held, at: UInt64(random.below(150_000))) }
      try expectWithin(before)
    }

    private func clone() throws {
      guard let source = try file(), let target = try file() else { return }
      let from = try vault.open(source), to = try vault.open(target)
      defer { for file in [from, to] { vault.close(file) } }
      _ = try vault.clone(from: from, at: UInt64(random.below(50_000)), to: to, at: UInt64(random.below(100_000)), length: UInt64(random.below(100_000)), clearsPrivileges: false)
    }

    private func allocate() throws {
      guard let inode = try file() else { return }
      let file = try vault.open(inode)
      defer { vault.close(file) }
      let mode = random.pick([Vault.Allocation.reserve(keepSize: true), .reserve(keepSize: false), .punchHole, .zero(keepSize: false), .insert, .collapse])
      try vault.allocate(file, offset: UInt64(random.below(30)) * 4096, length: UInt64(1 + random.below(8)) * 4096, mode, clearsPrivileges: false)
    }

    private func limit() throws {
      let subject: QuotaSubject = random.pick([.vault, .user(UInt32(random.below(3))), .group(UInt32(random.below(3))), .tree(directory()), .tree(directory())])
      if random.chance(25) { return try attempt { try vault.removeQuota(of: subject) } }
      let hard = UInt64(50_000 + random.below(900_000)), nodes = UInt64(4 + random.below(60))
      let limits = QuotaLimits(bytes: QuotaLimit(soft: random.chance(50) ? hard / 2 : nil, hard: hard), nodes: QuotaLimit(soft: nodes / 2, hard: nodes),
                               graceSeconds: random.pick([0, 1, 1_000_000]))
      try vault.setQuota(limits, for: subject)
    }

    /// How far each subject is above its hard limit, by limits that were lowered and homes that were found.
    private func most() throws -> [QuotaSubject: UInt64] {
      var over: [QuotaSubject: UInt64] = [:]
      for quota in try vault.quotas() { over[quota.subject] = max(quota.used.bytes, quota.limits.bytes.hard ?? .max) }
      return over
    }
    private func expectWithin(_ before: [QuotaSubject: UInt64]) throws {
      for quota in try vault.quotas() { if let most = before[quota.subject] { #expect(quota.used.bytes <= most, "seed \(seed), step \(step): \(quota.subject)") } }
    }

    private func prune() throws { directories = directories.filter { ((try? vault.info($0))?.links ?? 0) > 0 } }

    /// What was deleted, whole trees too.
    private func takeBack() throws {
      guard let item = try vault.trash().prefix(20).randomElement(using: &random) else { return }
      defer {
        directories = [.root]
        var at = 0
        while at < directories.count {
          directories += ((try? vault.entries(of: directories[at])) ?? []).filter { $0.type == S_IFDIR }.map(\.inode)
          at += 1
        }
      }
      let moment = try vault.momentBefore(item)
      if random.chance(30), let file = try file(), item.mode & S_IFMT == S_IFREG { return try vault.restore(file, from: InodeNumber(item.inode), at: moment) }
      try vault.revive(InodeNumber(item.inode), at: moment, as: name(), in: directory())
    }

    private func reopen() throws {
      let unnamed = Set(open.map(\.inode)).filter { (try? vault.info($0))?.links == 0 }
      try expectSound(vault, unnamed: Array(unnamed), "seed \(seed), step \(step), before:")
      let killed = random.chance(60) ? try home.copy() : nil
      for file in open { vault.close(file) }
      open = []
      if let killed {
        if random.chance(30) { try "another boot".write(toFile: killed + "/boot", atomically: false, encoding: .utf8) }
        try home.move(to: killed)
      } else if random.chance(30) {
        try home.close()
        try Vault.rebuild(at: home.path) { _ in }
        try home.open()
      } else { try home.reopen() }
      try prune()
      try expectSound(vault, "seed \(seed), step \(step), after:")
    }

    func finish() throws {
      try reopen()
      #expect(accepted > 50 && refused > 0, "seed \(seed): \(accepted) accepted, \(refused) refused")
    }
  }

  @Test(arguments: seeds(24))
  func `usages are what a recount finds, whatever was done and wherever it was cut off`(seed: UInt64) throws {
    try Home.run { home in
      let walk = Walk(home, seed: seed)
      for step in 0..<500 {
        walk.step = step
        try walk.act()
      }
      try walk.finish()
    }
  }
}
