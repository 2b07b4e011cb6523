// What programs see of a file system behind the bridge: memory-fs, really mounted.

import Foundation
import Glibc
import Synchronization
import Testing

@Suite(.serialized) struct MountedTests {
  @Test(arguments: [[], ["--plain"]])
  func `files keep what is written, appended, cut and overwritten`(arguments: [String]) throws {
    try MountedProgram.run(arguments) { mount in
      try mount.write("hello", to: "file")
      #expect(try mount.read("file") == "hello")
      try mount.write(Array(" world".utf8), to: Array("file".utf8), flags: O_WRONLY | O_APPEND)
      #expect(try mount.read("file") == "hello world")
      try check(truncate(mount.path + "/file", 4))
      try check(truncate(mount.path + "/file", 6))
      #expect(try mount.read("file") == "hell\0\0")
      try mount.write("new", to: "file")
      #expect(try mount.read("file") == "new")

      let large = (0..<5_000_001).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
      try mount.write(large, to: Array("large".utf8))
      #expect(try mount.read(Array("large".utf8)) == large)
    }
  }

  @Test func `names are bytes: invalid UTF-8 and both forms of é are three files`() throws {
    try MountedProgram.run { mount in
      let names: [[UInt8]] = [[0xff, 0xfe, 0x80], [0xc3, 0xa9], [0x65, 0xcc, 0x81], [0x0a], [0x5c], Array("a b".utf8)]
      for (number, name) in names.enumerated() { try mount.write([UInt8(number)], to: name) }
      for (number, name) in names.enumerated() { #expect(try mount.read(name) == [UInt8(number)]) }
      #expect(Set(try mount.list()) == Set(names + [[46], [46, 46]]))
    }
  }

  @Test func `255 bytes are a name, 256 are too many`() throws {
    try MountedProgram.run { mount in
      let longest = [UInt8](repeating: 120, count: 255)
      try mount.write([1], to: longest)
      #expect(try mount.read(longest) == [1])
      #expect(throws: Failure(code: ENAMETOOLONG)) { try mount.write([1], to: longest + [120]) }
      #expect(throws: Failure(code: ENAMETOOLONG)) { try check(mount.withPath(longest + [120]) { mkdir($0, 0o755) }) }
      #expect(throws: Failure(code: ENAMETOOLONG)) { try mount.rename(String(repeating: "x", count: 255), to: String(repeating: "y", count: 256)) }
    }
  }

  @Test func `rename replaces, refuses to replace, exchanges, and refuses what it does not know`() throws {
    try MountedProgram.run { mount in
      try mount.write("1", to: "a")
      try mount.write("2", to: "b")
      #expect(throws: Failure(code: EEXIST)) { try mount.rename("a", to: "b", flags: 1) }
      try mount.rename("a", to: "b", flags: 2)
      #expect(try mount.read("a") == "2")
      #expect(try mount.read("b") == "1")
      try mount.rename("a", to: "b")
      #expect(try mount.read("b") == "2")
      #expect(throws: Failure(code: ENOENT)) { try mount.read("a") }
      #expect(throws: Failure(code: EINVAL)) { try mount.rename("b", to: "c", flags: 4) }

      try mount.makeDirectory("d")
      try mount.makeDirectory("e")
      try mount.write("3", to: "e/inside")
      #expect(throws: Failure(code: ENOTEMPTY)) { try mount.rename("d", to: "e") }
      #expect(throws: Failure(code: EINVAL)) { try mount.rename("e", to: "e/f") }
      #expect(throws: Failure(code: ENOTEMPTY)) { try check(rmdir(mount.path + "/e")) }
      try mount.rename("e", to: "d/e")
      #expect(try mount.read("d/e/inside") == "3")
      #expect(try mount.status("d").st_nlink == 3)
      #expect(try mount.status(".").st_nlink == 3)
    }
  }

  @Test func `links, symlinks, nodes and open files without a name behave as on disk`() throws {
    try MountedProgram.run { mount in
      try mount.write("x", to: "one")
      try check(link(mount.path + "/one", mount.path + "/two"))
      #expect(try mount.status("two").st_nlink == 2)
      #expect(try mount.status("two").st_ino == mount.status("one").st_ino)
      #expect(throws: Failure(code: EEXIST)) { try check(link(mount.path + "/one", mount.path + "/two")) }
      try check(symlink("one", mount.path + "/sym"))
      #expect(try mount.read("sym") == "x")
      try check(mkfifo(mount.path + "/fifo", 0o600))
      #expect(try mount.status("fifo").st_mode & S_IFMT == S_IFIFO)

      let descriptor = try check(open(mount.path + "/one", O_RDWR))
      defer { close(descriptor) }
      try check(unlink(mount.path + "/one"))
      try check(unlink(mount.path + "/two"))
      var byte: UInt8 = 0
      #expect(pread(descriptor, &byte, 1, 0) == 1)
      #expect(byte == UInt8(ascii: "x"))
      var status = stat()
      try check(fstat(descriptor, &status))
      #expect(status.st_nlink == 0)
    }
  }

  @Test func `a directory of 10000 entries lists each exactly once`() throws {
    try MountedProgram.run { mount in
      try mount.makeDirectory("many")
      let names = (0..<10_000).map { "many/entry-\($0)" }
      for name in names { try check(close(check(mount.withPath(Array(name.utf8)) { open($0, O_CREAT | O_WRONLY, 0o644) }))) }
      for _ in 0..<2 {
        let listed = try mount.list("many")
        #expect(listed.count == 10_002)
        #expect(Set(listed).count == 10_002)
      }
      let (status, output) = try shell("ls -l \(mount.path)/many | wc -l; rm -r \(mount.path)/many && ls -A \(mount.path)")
      #expect(status == 0)
      #expect(output == "10001\n")
    }
  }

  @Test func `xattrs are set, replaced, listed and removed as asked`() throws {
    try MountedProgram.run { mount in
      try mount.write("x", to: "file")
      let (status, output) = try shell("""
        cd \(mount.path) && setfattr -n user.a -v 1 file && setfattr -n user.b -v 22 file && getfattr --only-values -n user.b file
        setfattr -x user.a file; getfattr file 2>&1 | tail -n +2; getfattr -n user.a file 2>&1 | grep -o 'No such attribute'
        """)
      #expect(status == 0)
      #expect(output == "22user.b\n\nNo such attribute\n")
    }
  }

  @Test(arguments: [[], ["--plain"]])
  func `writing to a set-uid file takes the bit away, whoever is in charge of it`(arguments: [String]) throws {
    try #require(getuid() == 0, "needs root, to write as somebody else")
    try MountedProgram.run(arguments + ["-o", "suid", "-o", "allow_other"]) { mount in
      for (name, action) in [("write", "printf x >> file"), ("truncate", "truncate -s 1 file"), ("open", ": > file")] {
        try mount.write("content", to: "file")
        try shell("chown 65534:65534 \(mount.path)/file")
        try check(chmod(mount.path + "/file", 0o6777))
        #expect(try mount.status("file").st_mode & 0o7777 == 0o6777)
        let (status, output) = try shell("cd \(mount.path) && setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '\(action)'")
        #expect(status == 0, "\(output)")
        #expect(try mount.status("file").st_mode & 0o7777 == 0o777, "after \(name)")
        try check(unlink(mount.path + "/file"))
      }
      // Root may keep them when it writes; a change of owner takes them from everyone.
      try mount.write("content", to: "file")
      try check(chmod(mount.path + "/file", 0o6777))
      try check(chown(mount.path + "/file", 65534, 65534))
      #expect(try mount.status("file").st_mode & 0o7777 == 0o777)
    }
  }

  @Test func `the completed handshake saves the xattr request before each write`() throws {
    func requestsForWrites(_ arguments: [String]) throws -> Int {
      try MountedProgram.run(arguments) { mount in
        let descriptor = try check(open(mount.path + "/file", O_WRONLY | O_CREAT, 0o644))
        defer { close(descriptor) }
        let block = [UInt8](repeating: 1, count: 4096)
        for _ in 0..<200 { try check(write(descriptor, block, block.count)) }
        let counts = try mount.requestCounts()
        #expect(counts["write"] == 200)
        return counts["xattr", default: 0]
      }
    }
    #expect(try requestsForWrites([]) <= 1)
    #expect(try requestsForWrites(["--plain"]) >= 199, "if this fails, the kernel has found another way, and the patch may go")
  }

  @Test func `eight writers at once lose nothing`() throws {
    try MountedProgram.run { mount in
      let failures = Mutex<[String]>([])
      DispatchQueue.concurrentPerform(iterations: 8) { worker in
        do {
          try mount.makeDirectory("w\(worker)")
          for round in 0..<50 {
            try mount.write("\(worker) \(round)", to: "w\(worker)/temporary")
            try mount.rename("w\(worker)/temporary", to: "w\(worker)/\(round)")
            try mount.write("\(worker)", to: "shared-\(worker)-\(round)")
          }
        } catch { failures.withLock { $0.append("\(worker): \(error)") } }
      }
      #expect(failures.withLock { $0 } == [])
      let names = try mount.list()
      #expect(names.count == 2 + 8 + 400)
      for worker in 0..<8 {
        for round in 0..<50 { #expect(try mount.read("w\(worker)/\(round)") == "\(worker) \(round)") }
      }
    }
  }
}
