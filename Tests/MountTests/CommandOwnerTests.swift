// The commands where an owner is stopped, dead, or has lost its vault; and where one mount is at more than one place.

import Foundation
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct CommandOwnerTests {
    private let vaultfs = MountedVault.program
    private let fsctl = MountedVault.fsctl

    @Test func `unmount names an owner that is stopped, and says how to go on`() throws {
      try MountedVault.run { home in
        let owner = try #require(home.owner), began = Date()
        kill(owner, SIGSTOP)
        defer { kill(owner, SIGCONT) }
        try fails("timeout 30 \(vaultfs) unmount \(home.point)", saying: "process \(owner)", "does not answer", "kill -CONT \(owner)", "kill -KILL \(owner)")
        #expect(Date().timeIntervalSince(began) < 15)
        for command in ["status \(home.point)", "mount \(home.vault) \(home.directory)/other", "rebuild \(home.vault)", "init \(home.vault)"] {
          try fails("mkdir -p \(home.directory)/other; timeout 30 \(vaultfs) \(command)", saying: "kill -CONT \(owner)")
        }
        #expect(home.isMounted)
        kill(owner, SIGCONT)
        try home.unmount()
      }
    }

    @Test func `of one mount at two places, each is unmounted by itself`() throws {
      try MountedVault.run { home in
        let bound = home.directory + "/bound"
        try succeed("mkdir \(bound) && mount --bind \(home.point) \(bound)")
        defer { umount2(bound, Int32(MNT_DETACH)) }
        #expect(try succeed("\(vaultfs) unmount \(bound)", seconds: 10).contains("still mounted on \(home.point)"))
        #expect(home.isMounted && !MountedVault.isMounted(bound))
        // The first may go first.
        try succeed("mount --bind \(home.point) \(bound) && \(vaultfs) unmount \(home.point) && \(vaultfs) status \(bound) && \(vaultfs) unmount \(bound)", seconds: 20)
        #expect(home.owner == nil)
      }
    }

    @Test func `what is mounted inside is named`() throws {
      try MountedVault.run { home in
        let inner = home.point + "/inner"
        try succeed("mkdir \(inner) && mount -t tmpfs none \(inner)")
        defer { umount2(inner, Int32(MNT_DETACH)) }
        try fails("\(vaultfs) unmount \(home.point)", saying: "\(inner) is mounted inside", "umount \(inner)")
        try succeed("umount \(inner)")
      }
    }

    @Test func `a vault that was moved while mounted is told where it is`() throws {
      try MountedVault.run { home in
        let moved = home.directory + "/moved"
        try succeed("echo kept > \(home.point)/kept && mv \(home.vault) \(moved) && echo later > \(home.point)/later")
        for command in ["status \(home.point)", "status \(home.vault)", "init \(home.vault)", "mount \(home.vault) \(home.point)"] {
          let ran = try shell("\(vaultfs) \(command)", seconds: 30)
          #expect(ran.status == 1 && ran.output.contains("is \(moved) now") && !ran.output.contains("vaultfs init"), "\(command): \(ran.output)")
        }
        // Where it is now, too.
        for command in ["\(vaultfs) status", "\(vaultfs) rebuild", "\(vaultfs) init", "\(fsctl) stats --vault", "\(fsctl) check --vault"] {
          try fails("\(command) \(moved)", saying: "is \(moved) now", "vaultfs unmount \(home.point)")
        }
        try fails("mkdir \(home.directory)/other && \(vaultfs) mount \(moved) \(home.directory)/other", saying: "is \(moved) now")
        try fails("\(vaultfs) unmount \(moved)", saying: "vaultfs unmount \(home.point)")
        #expect(try succeed("\(vaultfs) unmount \(home.point)").contains(moved))
        try succeed("mv \(moved) \(home.vault)")
        try home.mount()
        #expect(try succeed("cat \(home.point)/kept \(home.point)/later") == "kept\nlater\n")
      }
    }

    @Test func `a vault that was deleted while mounted is not said to be well`() throws {
      try MountedVault.run { home in
        let owner = try #require(home.owner)
        try succeed("cp -a \(home.vault) \(home.directory)/copy && rm -rf \(home.vault)")
        for command in ["status \(home.point)", "status \(home.vault)", "init \(home.vault)", "unmount \(home.point)"] {
          let ran = try shell("\(vaultfs) \(command)", seconds: 30)
          #expect(ran.status == 1 && ran.output.contains("\(home.vault)") && ran.output.contains("deleted") && !ran.output.contains("vaultfs init"), "\(command): \(ran.output)")
        }
        #expect(!home.isMounted)
        for _ in 0..<100 where kill(owner, 0) == 0 { usleep(50_000) }
        try succeed("mv \(home.directory)/copy \(home.vault)")
      }
    }

    @Test func `where the owner's socket is removed, unmounting is the advice, and no killing`() throws {
      try MountedVault.run { home in
        try succeed("rm \(home.vault)/socket")
        for command in ["\(vaultfs) status \(home.vault)", "\(vaultfs) mount \(home.vault) \(home.point)", "\(fsctl) stats \(home.point)", "\(fsctl) stats --vault \(home.vault)"] {
          let ran = try shell(command, seconds: 30)
          #expect(ran.status == 1 && ran.output.contains("\(home.vault)/socket") && ran.output.contains("vaultfs unmount \(home.point)") && !ran.output.contains("kill"), "\(command): \(ran.output)")
        }
        try succeed("\(vaultfs) unmount \(home.point)")
        try home.mount()
        try succeed("\(fsctl) stats \(home.point)")
      }
    }

    @Test func `a mount whose owner was killed is shown as dead`() throws {
      try MountedVault.run { home in
        let mount = { try home.status() }
        #expect(try mount()["live"] as? Bool == true && mount()["mount"] as? String == home.point)
        #expect(try mount()["pid"] as? Int == home.owner.map(Int.init))
        #expect(try succeed("\(vaultfs) status --json").contains(#""live":true,"mount":"\#(home.point)""#))
        let open = try check(Glibc.open(home.point, O_RDONLY))
        defer { close(open) }
        try home.killOwner()
        for arguments in ["", home.vault, home.point] {
          let ran = try shell("\(vaultfs) status \(arguments)")
          #expect(ran.status == 1 && ran.output.contains("dead: its owner ended") && ran.output.contains("vaultfs unmount \(home.point)"), "\(ran)")
        }
        for arguments in ["", home.vault] {
          let ran = try shell("\(vaultfs) status --json \(arguments)")
          #expect(ran.status == 1 && ran.output.contains(#""live":false"#) && ran.output.contains(#""mount":"\#(home.point)""#), "\(ran)")
        }
        #expect(try succeed("\(vaultfs) unmount \(home.point)").contains("its owner had been killed") && !home.isMounted, "whatever is open there")
      }
    }

    @Test func `a mount whose owner was killed is dead also when the vault is mounted elsewhere`() throws {
      try MountedVault.run { home in
        let elsewhere = home.directory + "/elsewhere"
        try succeed("mkdir \(elsewhere)")
        try home.killOwner()
        try succeed("\(vaultfs) mount \(home.vault) \(elsewhere)")
        defer { _ = try? succeed("\(vaultfs) unmount \(elsewhere)") }
        let list = try shell("\(vaultfs) status").output.split(separator: "\n")
        #expect(list.contains { $0.hasPrefix(home.point + " ") && $0.contains("dead") })
        #expect(list.contains { $0.hasPrefix(elsewhere + " ") && !$0.contains("dead") })
        try fails("\(fsctl) stats \(home.point)", saying: "\(home.point) is dead")
        try succeed("timeout 4 \(vaultfs) unmount \(home.point)")
        try succeed("\(fsctl) stats \(elsewhere)")
      }
    }

    @Test func `a mount that was detached goes on as long as files are open, and mount says so`() throws {
      try MountedVault.run { home in
        let open = try check(Glibc.open(home.point + "/open", O_CREAT | O_RDWR, 0o644)), owner = try #require(home.owner), began = Date()
        #expect(try succeed("\(vaultfs) unmount --lazy \(home.point)").contains("Detached"))
        #expect(Date().timeIntervalSince(began) < 3)
        #expect(write(open, "works", 5) == 5)
        try fails("\(vaultfs) mount \(home.vault) \(home.point)", saying: "detached", "kill \(owner)")
        close(open)
        try home.mount()
        #expect(try succeed("cat \(home.point)/open") == "works")
      }
    }

    @Test func `a vault that another mount namespace has still is not said to be put away`() throws {
      try MountedVault.run { home in
        let space = try PrivateNamespace(in: home.directory, setUp: "true")
        try fails("\(vaultfs) unmount \(home.point) 2>&1 > /dev/null", saying: "unmounted here", "another mount namespace", "mountinfo")
        #expect(!home.isMounted && space.isMounted(home.point) && home.owner != nil)
        space.end(unmounting: home.point)
        for _ in 0..<100 where home.owner != nil { usleep(50_000) }
        #expect(home.owner == nil)
      }
    }

    @Test func `a signal ends an owner with files open, which fail from then on`() throws {
      try MountedVault.run { home in
        let open = try check(Glibc.open(home.point + "/open", O_CREAT | O_RDWR, 0o644))
        try check(write(open, "saved", 5))
        try home.killOwner(with: SIGQUIT)
        for _ in 0..<100 where home.isMounted { usleep(50_000) }
        #expect(write(open, "x", 1) == -1)
        close(open)
        #expect(home.log.contains("the vault is clean") && !home.log.contains("crash") && !home.log.contains("Backtrace"), "\(home.log)")
        try home.mount()
        #expect(try succeed("cat \(home.point)/open") == "saved")
      }
    }
  }
}
