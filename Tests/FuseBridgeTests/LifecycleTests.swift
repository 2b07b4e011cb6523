// How mounts begin and end: by signal, by umount, by a crash, and by mistake.

import FuseBridge
import Foundation
import Glibc
import Testing

@Suite(.serialized) struct LifecycleTests {
  @Test(arguments: [SIGTERM, SIGINT])
  func `a signal unmounts cleanly, even while a file is open`(signal: Int32) throws {
    try MountedProgram.run { mount in
      let descriptor = try check(open(mount.path + "/file", O_RDWR | O_CREAT, 0o644))
      defer { close(descriptor) }
      kill(mount.process.processIdentifier, signal)
      #expect(mount.waitForEnd(seconds: 3) == 0)
      #expect(!mount.isMounted)
      #expect(write(descriptor, "x", 1) == -1)
      #expect(mount.saidSoFar() == "")
    }
  }

  @Test func `umount ends the program, with nothing to complain about`() throws {
    try MountedProgram.run { mount in
      try mount.write("x", to: "file")
      #expect(try shell("fusermount3 -u \(mount.path)").status == 0)
      #expect(mount.waitForEnd(seconds: 3) == 0)
      #expect(mount.saidSoFar() == "")
    }
  }

  @Test func `a killed program leaves ENOTCONN, which the next mount names with the way out`() throws {
    try MountedProgram.run { mount in
      try mount.write("x", to: "file")
      kill(mount.process.processIdentifier, SIGKILL)
      #expect(mount.waitForEnd(seconds: 3) != nil)
      #expect(throws: Failure(code: ENOTCONN)) { try mount.read("file") }
      let (status, output) = try shell("\(MountedProgram.executable.path) \(mount.path)")
      #expect(status == 1)
      #expect(output.contains("fusermount3 -uz \(mount.path)"))
      #expect(try shell("fusermount3 -uz \(mount.path)").status == 0)
      #expect(!mount.isMounted)
    }
  }

  @Test func `a mount point that will not do is named, with what to do`() throws {
    let session = try Session(fileSystem: EmptyFS(), options: SessionOptions(name: "test", subtype: "test"))
    #expect { try session.mount(at: "/nonexistent/place") } throws: { "\($0)".contains("`mkdir /nonexistent/place`") }
    #expect { try session.mount(at: "/etc/passwd") } throws: { "\($0)".contains("not a directory") }
    #expect { try session.mount(at: Path([0x2f, 0xff])) } throws: { "\($0)".contains(#"/\xff"#) }
    #expect { try session.run() } throws: { "\($0)".contains("call mount(at:)") }
  }

  @Test(arguments: ["auto_unmount", "nonsense", "allow_other,suid", "fd=3"])
  func `options that cannot be used are refused by name`(option: String) {
    var options = SessionOptions(name: "test", subtype: "test")
    options.mountOptions = [option]
    #expect { try Session(fileSystem: EmptyFS(), options: options) } throws: { "\($0)".contains("`\(option)`") }
  }

  @Test func `a name with commas and backslashes reaches the mount table whole`() throws {
    try InProcessMount.run(EmptyFS(), name: #"a,b\c d"#) { mount in
      let line = try shell("grep ' \(mount.path) ' /proc/self/mountinfo").output
      #expect(line.contains(#" fuse.test a,b\134c\040d "#))
      #expect(line.contains("nosuid") && line.contains("nodev") && line.contains("default_permissions"))
    }
  }

  @Test func `read-ahead is as asked`() throws {
    try #require(getuid() == 0, "only root may set it")
    try InProcessMount.run(EmptyFS(), configure: { $0.readAheadKiB = 512 }) { mount in
      var status = stat()
      try check(stat(mount.path, &status))
      let file = "/sys/class/bdi/\(status.st_dev >> 8):\(status.st_dev & 0xff)/read_ahead_kb"
      for _ in 0..<100 where (try? String(contentsOfFile: file, encoding: .utf8)) != "512\n" { usleep(10_000) }
      #expect(try String(contentsOfFile: file, encoding: .utf8) == "512\n")
    }
  }
}
