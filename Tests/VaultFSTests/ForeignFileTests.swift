// What stands in a vault's folder and is not the vault's: a FIFO, a socket, a device, a symlink, a file of any size. It is
// refused by its path, at once; nothing outside the folder is touched.

import Foundation
import Glibc
import Testing
@testable import VaultFS

@Suite(.serialized) struct ForeignFileTests {
  private enum Thing: CaseIterable { case fifo, socket, device, symlink, directory }

  private func put(_ thing: Thing, at path: String) throws {
    _ = try? FileManager.default.removeItem(atPath: path)
    switch thing {
    case .fifo: try #require(mkfifo(path, 0o600) == 0)
    case .device: try #require(mknod(path, S_IFCHR | 0o600, 1 << 8 | 7) == 0, "makes a device: run the tests as root")
    case .directory: try #require(mkdir(path, 0o700) == 0)
    case .symlink: try #require(Glibc.symlink("/etc/passwd", path) == 0)
    case .socket: try #require(mknod(path, S_IFSOCK | 0o600, 0) == 0)
    }
  }

  /// Opening, status and rebuild of a vault, each ended after a while.
  private func attempts(_ path: String) -> [(String, any Error)] {
    var errors: [(String, any Error)] = []
    func attempt(_ what: String, _ body: () throws -> Void) {
      let took = ContinuousClock().measure { do { try body() } catch { errors.append((what, error)) } }
      #expect(took < .seconds(20), "\(what) took \(took)")
    }
    attempt("open") { try opening(path) { _ in } }
    attempt("status") { _ = try Vault.status(at: path) }
    attempt("rebuild") { try Vault.rebuild(at: path) { _ in } }
    return errors
  }

  /// A copy of a vault that ended uncleanly, so that everything is looked at.
  private func withCopy(_ home: Home, _ body: (String) throws -> Void) throws {
    let copy = try home.copy()
    defer { try? FileManager.default.removeItem(atPath: copy) }
    try body(copy)
  }

  @Test func `whatever is in the place of a vault's file is refused by its path, and waited for by nobody`() throws {
    try Home.run { home in
      try plant(home.vault)
      // Nothing may change while it is copied.
      home.vault.keeper?.stop()
      for thing in Thing.allCases {
        for name in ["vault", "metadata.db", "metadata.db-wal", "owner", "boot"] {
          try withCopy(home) { copy in
            try put(thing, at: "\(copy)/\(name)")
            let errors = attempts(copy)
            #expect(!errors.isEmpty, "\(thing) as \(name)")
            for (what, error) in errors {
              let says = "\(error)"
              #expect(says.contains("\(copy)/\(name)") || thing == .directory && says.contains("is a directory"), "\(what) with a \(thing) as \(name): \(says)")
            }
            // A rebuild needs no database.
            if name.hasPrefix("metadata") { #expect(errors.contains { $0.0 == "open" } && errors.contains { $0.0 == "status" }, "\(thing) as \(name)") }
          }
        }
        for kind in [ContainerStore.Kind.pack, .segment] {
          try withCopy(home) { copy in
            let file = try #require(try containers(copy, kind).last)
            try put(thing, at: file)
            let errors = attempts(copy)
            #expect(errors.contains { $0.0 == "open" && "\($0.1)".contains(file) }, "\(thing) as \(kind): \(errors)")
            #expect(errors.contains { $0.0 == "rebuild" && "\($0.1)".contains(file) }, "\(thing) as \(kind): \(errors)")
          }
        }
      }
    }
  }

  @Test func `a copy made of hard links is refused, for to write to it would be to write to the vault`() throws {
    try Home.run { home in
      try plant(home.vault)
      home.vault.keeper?.stop()
      for file in ["owner", "metadata.db", "metadata.db-wal"] {
        try withCopy(home) { copy in
          let other = copy + ".other"
          try FileManager.default.moveItem(atPath: "\(copy)/\(file)", toPath: other)
          defer { unlink(other) }
          let before = FileManager.default.contents(atPath: other)
          try #require(link(other, "\(copy)/\(file)") == 0)
          #expect(attempts(copy).contains { $0.0 == "open" && "\($0.1)".contains("\(copy)/\(file): it has other names") }, "\(file)")
          #expect(FileManager.default.contents(atPath: other) == before, "\(file)")
        }
      }
    }
  }

  @Test func `the owner of a vault is asked for at once, whatever stands there`() throws {
    try Home.run { home in
      try withCopy(home) { copy in
        for thing in Thing.allCases {
          try put(thing, at: copy + "/owner")
          let took = ContinuousClock().measure { #expect(Vault.owner(of: copy) == nil) }
          #expect(took < .seconds(5))
        }
      }
    }
  }

  @Test func `a segment of four tebibytes is damage, and no memory is taken for it`() throws {
    try Home.run { home in
      try plant(home.vault)
      try withCopy(home) { copy in
        let segment = try #require(try containers(copy, .segment).last)
        #expect(truncate(segment, 4 << 40) == 0)
        for (what, error) in attempts(copy) where what != "status" {
          #expect("\(error)".contains("journal/") && "\(error)".contains("4398046511104 bytes"), "\(what): \(error)")
        }
        let archive = segment.replacing(".log", with: ".ops")
        try FileManager.default.moveItem(atPath: segment, toPath: archive)
        #expect(attempts(copy).filter { "\($0.1)".contains("4398046511104 bytes") }.map(\.0) == ["open", "rebuild"])
      }
    }
  }

  @Test(arguments: ["packs", "journal"])
  func `a directory of the vault that is a symlink leads nowhere`(name: String) throws {
    try Home.run { home in
      try plant(home.vault)
      try home.close()
      let outside = home.directory + "/outside", directory = "\(home.path)/\(name)"
      try FileManager.default.moveItem(atPath: directory, toPath: outside)
      let before = try FileManager.default.contentsOfDirectory(atPath: outside).sorted()
      try #require(Glibc.symlink(outside, directory) == 0)
      for (what, error) in attempts(home.path) { #expect("\(error)".contains("\(directory) is a symlink"), "\(what): \(error)") }
      #expect(attempts(home.path).count == 3)
      #expect(try FileManager.default.contentsOfDirectory(atPath: outside).sorted() == before)
      // One that comes to be while the vault is in use, too.
      unlink(directory)
      try FileManager.default.copyItem(atPath: outside, toPath: directory)
      let disk = try RealDisk(path: home.path)
      try FileManager.default.removeItem(atPath: directory)
      try #require(Glibc.symlink(outside, directory) == 0)
      let file = "\(name)/\(before[0])"
      let calls: [(String, () throws -> Void)] = [
        ("open", { _ = try disk.open(file, .read) }), ("create", { _ = try disk.open("\(name)/new", .create) }), ("list", { _ = try disk.list(name) }),
        ("rename", { try disk.rename(file, to: "\(name)/other") }), ("rename into", { try disk.rename("vault", to: "\(name)/other") }),
        ("remove", { try disk.remove(file) }), ("sync", { try disk.syncDirectory(name) }),
      ]
      for (what, call) in calls { #expect("\(what)") { try call() } throws: { "\($0)".contains("\(directory) is a symlink") } }
      #expect(!disk.exists(file))
      #expect(try FileManager.default.contentsOfDirectory(atPath: outside).sorted() == before)
      // A directory of somebody else's is no better.
      unlink(directory)
      try FileManager.default.copyItem(atPath: outside, toPath: directory)
      try #require(chown(directory, 12_345, 12_345) == 0, "gives a directory away: run the tests as root")
      for (what, error) in attempts(home.path) { #expect("\(error)".contains("\(directory): it belongs to another user"), "\(what): \(error)") }
      try #require(chown(directory, geteuid(), getegid()) == 0)
      try home.open()
    }
  }
}
