// A vault from its making to its end.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct LifeTests {
  @Test func `what was put into a vault is there when it is opened again`() throws {
    try Home.run { home in
      var random = Random(seed: 1)
      let large = random.bytes(3_000_000)
      let directory = try home.vault.makeDirectory("d")
      try home.vault.makeFile("small", in: directory, [UInt8]("hello"))
      try home.vault.makeFile("large", large)
      try home.vault.make("link", S_IFLNK | 0o777, target: "d/small")
      try home.vault.make("fifo", S_IFIFO | 0o600)
      _ = try home.vault.create([UInt8]("null"), in: .root, mode: S_IFCHR | 0o666, device: 0x103, by: root)
      let before = try tree(of: home.vault)
      for _ in 0..<3 {
        try home.reopen()
        #expect(try tree(of: home.vault) == before)
      }
      #expect(try home.vault.contents(of: try #require(try home.vault.find("large")).inode) == large)
      #expect(home.messages.all.isEmpty, "a clean vault opens without a word: \(home.messages.all)")
    }
  }

  @Test func `inode numbers are never used twice, not even after a reopening`() throws {
    try Home.run { home in
      var seen: Set<InodeNumber> = []
      for round in 0..<6 {
        for index in 0..<10 {
          #expect(seen.insert(try home.vault.make("f\(index)").inode).inserted, "round \(round)")
          try home.vault.unlink([UInt8]("f\(index)"), in: .root)
        }
        try home.reopen()
      }
    }
  }

  @Test func `a vault is made in an empty directory or a new one, and nowhere else`() throws {
    let place = try temporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: place) }
    try Vault.create(at: place, name: "in an empty one")
    #expect { try Vault.create(at: place, name: "again") } throws: { error in
      guard case VaultError.directoryInUse(let path, let detail) = error else { return false }
      return path == place && detail.contains("a vault already")
    }
    try Vault.create(at: place + "/new", name: "a directory that was not there")
    #expect(try Vault.readConfiguration(place + "/new").name == "a directory that was not there")
    mkdir(place + "/foreign", 0o755)
    try Data().write(to: URL(fileURLWithPath: place + "/foreign/precious"))
    #expect { try Vault.create(at: place + "/foreign", name: "x") } throws: { "\($0)".contains("not empty") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: place + "/foreign") == ["precious"], "nothing is left behind by a refusal")
    #expect { try Vault.create(at: place + "/foreign/precious", name: "x") } throws: { "\($0)".contains("not a directory") }
    #expect { try Vault.create(at: place + "/a/b/c", name: "x") } throws: { "\($0)".contains("\(place)/a/b/c") }
  }

  /// At several moments of its work.
  @Test(arguments: [[], ["journal", "packs"], ["journal/000000000001.log", "packs", "vault.new"], ["journal/000000000001.log", "packs", "vault.new", "metadata.db.new", "metadata.db.new-wal"],
                    ["journal/000000000001.log", "packs", "vault.new", "metadata.db"]])
  func `what a killed making of a vault left gives way to the next`(files: [String]) throws {
    let place = try temporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: place) }
    func leave(in path: String, owner: String) throws {
      for file in files {
        let name = "\(path)/\(file)"
        if !file.contains(".") { try FileManager.default.createDirectory(atPath: name, withIntermediateDirectories: true) } else {
          try FileManager.default.createDirectory(atPath: name.split(separator: "/").dropLast().map { "/\($0)" }.joined(), withIntermediateDirectories: true)
          try store([UInt8]("unfinished"), name)
        }
      }
      try store([UInt8](owner), path + "/owner")
    }
    try leave(in: place, owner: files.isEmpty ? "" : "process 99 on here, making it\n")
    try Vault.create(at: place, name: "again")
    try opening(place) { vault throws in try expectSound(vault) }
    // Whatever does not say so of itself is somebody's.
    for (other, owner) in [("file", "process 99 on here, making it\n"), (nil, "mine")] {
      let theirs = place + "/theirs"
      try FileManager.default.createDirectory(atPath: theirs, withIntermediateDirectories: true)
      try leave(in: theirs, owner: owner)
      if let other { try store([1], "\(theirs)/\(other)") }
      let before = try FileManager.default.subpathsOfDirectory(atPath: theirs).sorted()
      #expect { try Vault.create(at: theirs, name: "x") } throws: { "\($0)".contains("not empty") }
      #expect(try FileManager.default.subpathsOfDirectory(atPath: theirs).sorted() == before)
      try FileManager.default.removeItem(atPath: theirs)
    }
  }

  @Test func `a vault that lost its configuration is not taken for an unfinished one`() throws {
    try Home.run { home in
      try plant(home.vault)
      let copy = try home.copy()
      try FileManager.default.removeItem(atPath: copy + "/vault")
      #expect { try Vault.create(at: copy, name: "x") } throws: { "\($0)".contains("not empty") }
      #expect(try !containers(copy, .pack).isEmpty)
    }
  }

  @Test func `a second owner is refused by name of the first, and let in when it is gone`() throws {
    try Home.run { home in
      #expect { _ = try Vault.open(at: home.path, purpose: "second", log: { _ in }) } throws: { error in
        guard case VaultError.owned(let path, let owner) = error else { return false }
        return path == home.path && owner.contains("process \(getpid())") && owner.contains("tested")
      }
      #expect { try Vault.rebuild(at: home.path) { _ in } } throws: { if case VaultError.owned = $0 { true } else { false } }
      #expect(Vault.owner(of: home.path)?.contains("process \(getpid())") == true)
      try home.close()
      #expect(Vault.owner(of: home.path) == nil)
      try home.open()
    }
  }

  /// A refusal that closed its descriptor twice would close, or empty, a file that another thread has just opened.
  @Test func `being refused touches nothing that others have open`() throws {
    try Home.run { home in
      let done = Atomic<Bool>(false), wounds = Mutex<[String]>([]), file = home.directory + "/bystander"
      let bystander = startThread("test-bystander") {
        while !done.load(ordering: .relaxed) {
          let descriptor = Glibc.open(file, O_CREAT | O_RDWR | O_TRUNC, 0o600)
          var info = stat()
          if write(descriptor, "content", 7) != 7 || fstat(descriptor, &info) != 0 || info.st_size != 7 { wounds.withLock { $0.append("lost its bytes: \(systemMessage(errno))") } }
          if Glibc.close(descriptor) != 0 { wounds.withLock { $0.append("was closed by somebody else") } }
        }
      }
      for _ in 0..<20_000 { #expect(throws: VaultError.self) { _ = try OwnerLock(vault: home.path, purpose: "refused") } }
      done.store(true, ordering: .relaxed)
      pthread_join(bystander, nil)
      #expect(wounds.withLock { $0 } == [])
      #expect(Vault.owner(of: home.path)?.contains("tested") == true, "the owner's name stands")
    }
  }

  @Test func `what is not a vault is refused by what is missing`() throws {
    let place = try temporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: place) }
    #expect { try opening(place + "/nowhere") { _ in } } throws: { if case VaultError.vaultMissing(let path) = $0 { path == place + "/nowhere" } else { false } }
    #expect { try opening(place) { _ in } } throws: { if case VaultError.notAVault(let path, _) = $0 { path == place } else { false } }
    try Vault.create(at: place + "/v", name: "v")
    let file = place + "/v/vault"
    let newer = try String(contentsOfFile: file, encoding: .utf8).replacing("vaultfs 1\n", with: "vaultfs 9\n")
    try newer.write(toFile: file, atomically: true, encoding: .utf8)
    func names() throws -> Set<String> { Set(try FileManager.default.contentsOfDirectory(atPath: place + "/v")) }
    let before = try names()
    #expect { try opening(place + "/v") { _ in } } throws: { "\($0)".contains("format 9") }
    #expect(try names() == before, "an unknown format is refused before anything is touched")
  }

  @Test func `nobody else comes in where the owner's file is gone, nor after a check`() throws {
    try Home.run { home in
      #expect(try home.vault.check().isClean)
      #expect(try Scrub(home.vault, ScrubOptions()).run().isClean)
      var info = stat()
      #expect(stat(home.path + "/metadata.db", &info) == 0)
      let locks = try String(contentsOfFile: "/proc/locks", encoding: .utf8).split(separator: "\n")
      #expect(locks.contains { $0.contains("POSIX") && $0.contains(" \(getpid()) ") && $0.contains(":\(info.st_ino) ") }, "SQLite has its lock still")
      #expect(unlink(home.path + "/owner") == 0)
      #expect { _ = try Vault.open(at: home.path, purpose: "too many", log: { _ in }) } throws: { "\($0)".contains("in use by another process") }
      try home.vault.make("after")
    }
  }

  @Test func `a database of a newer schema is refused and left alone`() throws {
    try Home.run { home in
      try home.close()
      func setVersion(_ version: Int) throws {
        let database = try Database(path: home.path + "/metadata.db")
        try database.execute("PRAGMA user_version = \(version)")
        try database.checkpoint()
      }
      let version = Int(try #require(try Database(path: home.path + "/metadata.db").integer("PRAGMA user_version")))
      try setVersion(99)
      #expect { try home.open() } throws: { "\($0)".contains("version 99") && "\($0)".contains("newer") }
      try setVersion(version)
      try home.open()
    }
  }

  @Test func `a database of an earlier schema is made anew`() throws {
    try Home.run { home in
      try plant(home.vault)
      try home.vault.syncAll()
      let before = try tree(of: home.vault)
      try home.close()
      func makeOld() throws {
        let database = try Database(path: home.path + "/metadata.db")
        try database.execute("DROP TABLE container; PRAGMA user_version = 1")
        try database.checkpoint()
      }
      try makeOld()
      #expect { try Vault.status(at: home.path) } throws: { "\($0)".contains("mounting the vault makes it anew") }
      try home.open()
      #expect(home.messages.contain("making it anew"))
      #expect(try tree(of: home.vault) == before)
    }
  }

  @Test func `a vault that is opened read-only shows everything and changes nothing`() throws {
    try Home.run { home in
      let inode = try home.vault.makeFile("file", [UInt8]("content"))
      let before = try tree(of: home.vault)
      try home.reopen(readOnly: true)
      #expect(try tree(of: home.vault) == before)
      func isReadOnly(_ body: () throws -> Void, at location: SourceLocation = #_sourceLocation) {
        #expect(sourceLocation: location) { try body() } throws: { if case VaultError.readOnly = $0 { true } else { false } }
      }
      isReadOnly { try home.vault.make("new") }
      isReadOnly { try home.vault.unlink([UInt8]("file"), in: .root) }
      isReadOnly { try home.vault.rename([UInt8]("file"), in: .root, to: [UInt8]("b"), in: .root, mode: .replace) }
      isReadOnly { try home.vault.put([1], in: inode) }
      isReadOnly { try home.vault.truncate(inode, to: 0, clearsPrivileges: false) }
      isReadOnly { _ = try home.vault.change(inode, AttributeChange()) }
      isReadOnly { try home.vault.setXattr([UInt8]("user.a"), of: inode, to: [1], mode: .set, by: root) }
      #expect(try tree(of: home.vault) == before)
      try home.reopen()
      #expect(try tree(of: home.vault) == before)
    }
  }

  @Test func `a vault at rest costs no disk traffic`() throws {
    try Home.run { home in
      try home.vault.makeFile("file", [UInt8]("content"))
      func state() throws -> [String: Date] {
        var all: [String: Date] = [:]
        for name in try FileManager.default.subpathsOfDirectory(atPath: home.path) {
          all[name] = (try? FileManager.default.attributesOfItem(atPath: "\(home.path)/\(name)"))?[.modificationDate] as? Date
        }
        return all
      }
      // It may work for a while after the last change: sync, commit, checkpoint, make itself smaller.
      var last = try state(), calm = 0
      for _ in 0..<200 where calm < 20 {
        usleep(100_000)
        let now = try state()
        calm = now == last ? calm + 1 : 0
        last = now
      }
      #expect(calm >= 20, "still writing after 20 s")
      #expect(home.vault.logPages == 0, "the database's log is empty")
    }
  }

  @Test func `what the optimiser wrote is not read again after a kill`() throws {
    try Home.run { home in
      let text = Array((0..<200_000).map { "line \($0 * 31 % 99_991) of many\n" }.joined().utf8)
      try home.vault.makeFile("file", text)
      let before = home.vault.containers.numbers(.pack)
      try home.optimise()
      try home.vault.lock.withLock {
        try home.vault.metadata.begin()
        try home.vault.commit()
        let packs = home.vault.containers.numbers(.pack)
        #expect(packs != before && home.vault.metadata.state.pack > packs[packs.count - 1])
      }
      // What is written then is found.
      try home.vault.makeFile("other", text.reversed())
      try home.kill(isPowerCut: false)
      #expect(try home.vault.contents(of: #require(try home.vault.find("other")).inode) == text.reversed())
      #expect(try home.vault.contents(of: #require(try home.vault.find("file")).inode) == text)
    }
  }

  @Test func `a session that stores nothing new does not make the next one read all packs again`() throws {
    try Home.run { home in
      var random = Random(seed: 2)
      try home.vault.makeFile("file", random.bytes(3_000_000))
      try home.close()
      func settled() throws -> (UInt64, UInt64) {
        let state = try Metadata.readState(try Database(path: home.path + "/metadata.db"))
        return (state.pack.value, state.packOffset)
      }
      let first = try settled()
      #expect(try first.0 > #require(ContainerStore(disk: try RealDisk(path: home.path)).numbers(.pack).last).value)
      try home.open()
      try home.vault.makeDirectory("d")
      try home.close()
      let second = try settled()
      #expect(second >= first, "what is settled, (container, offset), went from \(first) back to \(second)")
      try home.open()
    }
  }
}
