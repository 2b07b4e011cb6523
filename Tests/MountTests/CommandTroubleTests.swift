// The commands in trouble: full and read-only disks, owners that are stopped, callers that are gone.

import Foundation
import Glibc
import Testing
@testable import VaultCommand

extension MountTests {
  @Suite(.serialized) struct CommandTroubleTests {
    private let vaultfs = MountedVault.program

    /// Mounts a tmpfs of `size` on `name` in the test's directory.
    private func withVolume(_ home: MountedVault, size: String, _ body: (String) throws -> Void) throws {
      let volume = home.directory + "/volume"
      try succeed("mkdir -p \(volume) && mount -t tmpfs -o size=\(size) none \(volume)")
      defer {
        if home.isMounted { _ = try? shell("\(vaultfs) unmount \(home.point) || umount -l \(home.point)") }
        umount2(volume, Int32(MNT_DETACH))
      }
      try body(volume)
    }

    @Test func `the pipe to the caller is written once, and never again what has its number`() throws {
      var ends: [Int32] = [0, 0]
      try check(pipe(&ends))
      defer { close(ends[0]) }
      // A number that nothing else in this process comes to have.
      let number = try check(fcntl(ends[1], F_DUPFD, 800))
      close(ends[1])
      let ready = Ready(number)
      ready.announce()
      #expect(fcntl(number, F_GETFD) == -1, "its number is free")
      // Whatever is opened next has that number: in an owner, a pack.
      var template = Array("\(temporaryPlace)/vaultfs-pack-XXXXXX".utf8CString)
      let pack = try check(mkstemp(&template))
      try check(dup2(pack, number))
      defer {
        for descriptor in [pack, number] { close(descriptor) }
        unlink(template)
      }
      ready.refuse("too late")
      ready.announce()
      #expect(fcntl(number, F_GETFD) >= 0 && lseek(pack, 0, SEEK_END) == 0)
      var said = [UInt8](repeating: 0, count: 64)
      let count = try check(read(ends[0], &said, said.count))
      #expect(Array(said.prefix(count)) == Ready.word)
    }

    @Test func `an owner does without its caller's descriptors and directory, and ends where nobody waits`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        try succeed("mkdir \(home.directory)/here && cd \(home.directory)/here && \(vaultfs) mount ../vault ../m <&- >&-", seconds: 15)
        #expect(try succeed("readlink /proc/\(try #require(home.owner))/cwd") == "/\n")
        try home.unmount()
        // Whoever read what it says is gone.
        try succeed("(\(vaultfs) mount \(home.vault) \(home.point) --foreground 2>&1 | true) & until grep -q ' \(home.point) ' /proc/self/mountinfo; do sleep 0.1; done; echo x > \(home.point)/x && \(vaultfs) unmount \(home.point) && wait", seconds: 15)
        // The caller is gone before the mount is usable.
        try succeed("(sleep 0.3; \(vaultfs) mount \(home.vault) \(home.point) --foreground --ready-descriptor 3 3>&1 > /dev/null) | true; sleep 0.5", seconds: 15)
        for _ in 0..<100 where home.isMounted || home.owner != nil { usleep(50_000) }
        #expect(!home.isMounted && home.owner == nil)
        #expect(home.log.isEmpty || home.log.contains("clean"), "\(home.log)")
      }
    }

    @Test func `what cannot be said is an error`() throws {
      for command in ["status", "status --json", "--help", "--version"] { try fails("\(vaultfs) \(command) > /dev/full", saying: "standard output") }
    }

    @Test func `an owner that is stopped is named, not waited for`() throws {
      try MountedVault.run { home in
        let owner = try #require(home.owner)
        kill(owner, SIGSTOP)
        defer { kill(owner, SIGCONT) }
        let commands = ["status \(home.point)/d/x", "mount \(home.vault) \(home.point)", "mount \(home.vault) \(home.point)/d"]
        let script = commands.enumerated().map { "(timeout 20 \(vaultfs) \($1) > \(home.directory)/said\($0) 2>&1; echo \"ended $?\" >> \(home.directory)/said\($0)) &" }
        try succeed(script.joined(separator: " ") + " wait")
        for (index, command) in commands.enumerated() {
          let said = try String(contentsOfFile: "\(home.directory)/said\(index)", encoding: .utf8)
          #expect(said.contains("does not answer") && said.contains("ended 1"), "\(command): \(said)")
        }
      }
    }

    @Test func `an owner without descriptors to spare answers again when it has some`() throws {
      try MountedVault.run { home in
        let owner = try #require(home.owner)
        try succeed("prlimit --pid \(owner) --nofile=4:4096 && (sleep 1; prlimit --pid \(owner) --nofile=4096:4096) & \(vaultfs) status \(home.vault); wait; \(vaultfs) status \(home.vault)")
      }
    }

    @Test func `a file system mounted over a vault stays, whoever ends`() throws {
      try MountedVault.run { home in
        let owner = try #require(home.owner)
        try succeed("mount -t tmpfs cover \(home.point) && touch \(home.point)/theirs")
        defer { _ = try? shell("umount \(home.point)/ 2> /dev/null; true") }
        try fails("\(vaultfs) unmount \(home.point)", saying: home.point, "tmpfs")
        kill(owner, SIGTERM)
        for _ in 0..<100 where home.owner != nil { usleep(50_000) }
        #expect(home.owner == nil && home.log.contains("clean"))
        #expect(try succeed("ls \(home.point)") == "theirs\n")
        try succeed("umount \(home.point)")
        // What lay beneath is dead, and cleared away as such.
        try home.mount()
        #expect(try succeed("ls \(home.point); grep -c ' \(home.point) ' /proc/self/mountinfo") == "1\n")
      }
    }

    @Test func `a full disk is named; what could not be put away is said, and init leaves nothing`() throws {
      try MountedVault.run(mounted: false) { home in
        try withVolume(home, size: "40k") { volume in
          try fails("\(vaultfs) init \(volume)/v", saying: "\(volume)/v", "full")
          try succeed("mkdir \(volume)/w")
          try fails("\(vaultfs) init \(volume)/w", saying: "\(volume)/w", "full")
          #expect(try succeed("cd \(volume) && find .") == ".\n./w\n")
        }
        try withVolume(home, size: "60m") { volume in
          let fill = "dd if=/dev/zero of=\(volume)/fill bs=4k 2> /dev/null"
          try succeed("\(vaultfs) init \(volume)/v && ! \(fill)")
          try fails("\(vaultfs) mount \(volume)/v \(home.point)", saying: "\(volume)/v", "full", "delete")
          try succeed("rm \(volume)/fill && \(vaultfs) mount \(volume)/v \(home.point) && echo x > \(home.point)/kept && sync \(home.point)/kept && ! \(fill)")
          _ = try? shell("echo lost > \(home.point)/lost")
          let ran = try shell("\(vaultfs) unmount \(home.point)"), isClean = access("\(volume)/v/boot", F_OK) != 0
          #expect(ran.status == (isClean ? 0 : 1) && (isClean || ran.output.contains("\(volume)/v/log")), "\(ran.output)")
          #expect(try succeed("tail -n 1 \(volume)/v/log").contains("the vault is clean") == isClean)
          try succeed("rm \(volume)/fill && \(vaultfs) mount \(volume)/v \(home.point) && cat \(home.point)/kept && \(vaultfs) unmount \(home.point)")
        }
      }
    }

    @Test func `a vault on a read-only disk is refused as that`() throws {
      try MountedVault.run(mounted: false) { home in
        try withVolume(home, size: "10m") { volume in
          try succeed("\(vaultfs) init \(volume)/v && mount -o remount,ro \(volume)")
          for command in ["mount \(volume)/v \(home.point)", "mount --read-only \(volume)/v \(home.point)", "mount --foreground \(volume)/v \(home.point)",
                          "status \(volume)/v", "rebuild \(volume)/v"] {
            try fails("\(vaultfs) \(command)", saying: "\(volume)/v", "read-only file system", "copy")
          }
        }
      }
    }

    @Test func `many may ask for the status of a vault at once, and write nothing but what SQLite needs`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        try succeed("rm \(home.vault)/owner")
        for _ in 0..<20 { try succeed("cd \(home.directory); for i in 1 2 3 4 5 6 7 8 9 10 11 12; do (\(vaultfs) status vault > /dev/null 2>> said || echo failed >> said) & done; wait; ! grep . said") }
        #expect(access(home.vault + "/owner", F_OK) != 0)
        try succeed("cd \(home.directory); \(vaultfs) mount vault m & for i in 1 2 3 4 5 6; do \(vaultfs) status vault > /dev/null 2>&1 & done; wait; \(vaultfs) unmount m")
      }
    }

    @Test func `a pipe in the place of a vault's file is named, and waited for by no command`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        let copy = home.directory + "/copy", commands = ["mount \(copy) \(home.point)", "mount --foreground \(copy) \(home.point)", "status \(copy)"]
        for name in ["vault", "owner", "metadata.db", "$(cd \(home.vault); ls journal/*.log)", "log"] {
          try succeed("rm -rf \(copy); cp -a \(home.vault) \(copy) && cd \(copy) && rm -f \(name) && mkfifo \(name)")
          for command in commands where !(name == "log" && command != commands[0]) && !(name.contains("journal") && command.hasPrefix("status")) {
            try fails("timeout 20 \(vaultfs) \(command)", saying: name.contains("journal") ? "\(copy)/journal/" : "\(copy)/\(name)")
          }
        }
        // Somebody reads it: then it can be opened.
        try fails("(timeout 5 cat \(copy)/log > /dev/null &) ; timeout 20 \(vaultfs) \(commands[0])", saying: "\(copy)/log is not a plain file")
        try fails("rm -rf \(copy); cp -a \(home.vault) \(copy) && mv \(copy)/packs \(home.directory)/elsewhere && ln -s \(home.directory)/elsewhere \(copy)/packs && \(vaultfs) mount \(copy) \(home.point)",
                  saying: "\(copy)/packs is a symlink")
        #expect(!home.isMounted)
      }
    }

    @Test func `an owner writes files as large as it may, whatever whoever started it was bound to`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        let write = "head -c 3000000 /dev/urandom > \(home.directory)/content && cp \(home.directory)/content \(home.point)/f && sync \(home.point)/f && cmp \(home.directory)/content \(home.point)/f"
        try succeed("ulimit -S -f 100; \(vaultfs) mount \(home.vault) \(home.point)")
        try succeed(write)
        #expect(!home.log.contains("RLIMIT_FSIZE"), "\(home.log)")
        try home.unmount()
        // What nobody can raise is said, and met as an error.
        try succeed("ulimit -f 4000; \(vaultfs) mount \(home.vault) \(home.point)")
        #expect(home.log.contains("beyond 1.95 MiB (RLIMIT_FSIZE"), "\(home.log)")
        #expect(try shell(write).status != 0)
        #expect(home.owner != nil, "a write beyond the limit is no reason to end: \(home.log)")
        _ = try? shell("\(vaultfs) unmount \(home.point)")
        try succeed("\(vaultfs) mount \(home.vault) \(home.point) && \(write) && \(vaultfs) unmount \(home.point)")
      }
    }

    @Test func `no thread of an owner keeps the signals of a failure from being told`() throws {
      try MountedVault.run { home in
        try succeed("head -c 5000000 /dev/urandom > \(home.point)/f")
        let owner = try #require(home.owner), failures = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV].reduce(UInt64(0)) { $0 | 1 << UInt64($1 - 1) }
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(owner)/task")
        #expect(threads.count > 6)
        for thread in threads {
          func blocked() throws -> UInt64 {
            let status = try String(contentsOfFile: "/proc/\(owner)/task/\(thread)/status", encoding: .utf8).split(separator: "\n").map { $0.split(separator: "\t").map(String.init) }
            return try #require(status.first { $0[0] == "SigBlk:" }.flatMap { UInt64($0[1], radix: 16) }) & failures
          }
          // The C library blocks all of them while it makes a thread or ends one.
          for _ in 0..<100 where try blocked() != 0 { usleep(20_000) }
          #expect(try blocked() == 0, "thread \(thread)")
        }
      }
    }
  }
}
