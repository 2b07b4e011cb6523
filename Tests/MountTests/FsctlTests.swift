// `fsctl` on real mounts: as root, as other users, on vaults that are mounted, closed, dead, stopped.

import Foundation
import FuseBridge
import Glibc
import TestSupport
import Testing
import VaultClient

extension MountTests {
  @Suite(.serialized) struct FsctlTests {
    private let vaultfs = MountedVault.program
    private let fsctl = MountedVault.fsctl

    /// The program where others may run it, and a way to do so.
    private func asOther(_ home: MountedVault) throws -> String {
      try succeed("cp \(fsctl) \(home.directory)/fsctl && chmod 755 \(home.directory)/fsctl")
      return "setpriv --reuid 65534 --regid 65534 --clear-groups \(home.directory)/fsctl"
    }

    private func publicSocket(_ home: MountedVault) throws -> String {
      "/run/vaultfs/\(try #require(MountTable.read().top(at: Path(home.point))).device)"
    }

    @Test func `every command has help, and wrong use ends with 2`() throws {
      for command in ["", "sync", "stats", "top", "quota", "quota set", "quota show", "quota list", "quota remove", "check", "scrub"] { #expect(try succeed("\(fsctl) \(command) --help").contains("USAGE: fsctl"), "\(command)") }
      #expect(try succeed("\(fsctl) --version").contains("fsctl") && !succeed("\(fsctl) --help").contains("man-page"))
      for wrong in ["sync a b", "sync a --vault b", "gc a --vault b", "top --interval 0", "top --interval x", "stats ''", "stats --vault ''"] { try fails("cd / && \(fsctl) \(wrong)", code: 2, saying: "sage") }
      try fails("\(fsctl) help nonsense", code: 2, saying: "nonsense", "stats")
    }

    @Test func `stats tells the same from inside, through the folder, and of a closed vault`() throws {
      try MountedVault.run { home in
        try succeed("mkdir \(home.point)/d && head -c 3000000 /dev/urandom > \(home.point)/a && cp \(home.point)/a \(home.point)/d/b && \(fsctl) sync \(home.point)/d")
        let commands = ["\(fsctl) stats \(home.point)", "\(fsctl) stats \(home.point)/d", "cd \(home.point)/d && \(fsctl) stats", "\(fsctl) stats --vault \(home.vault)"]
        func check(_ command: String) throws {
          let stats = try json("\(command) --json")
          #expect(stats["nodes"] as? Int == 4 && stats["logicalBytes"] as? Int == 6_000_000 && stats["vault"] as? String == home.vault, "\(command)")
          #expect(((stats["uniqueBytes"] as? Int ?? 0) / 100_000) == 30 && (stats["dedupRatio"] as? Double ?? 0) > 1.9, "\(command)")
        }
        for command in commands { try check(command) }
        let text = try succeed("\(fsctl) stats \(home.point)")
        #expect(text.contains("logical      5.72 MiB") && text.contains("deduplication 2.0 : 1") && text.contains("stored"), "\(text)")
        #expect(try succeed("\(fsctl) stats \(home.point) --bytes").contains("logical      6000000 "))
        try home.unmount()
        try check(commands[3])
        #expect(home.owner == nil && access(home.vault + "/boot", F_OK) != 0, "it is put away again")
        try fails(commands[0], saying: home.point, "not inside a mounted vault", "--vault")
        try fails("\(fsctl) stats \(home.vault)", saying: "not mounted", "--vault \(home.vault)", "vaultfs mount")
        try fails("\(fsctl) top --vault \(home.vault)", saying: home.vault, "not mounted", "vaultfs mount")
        try fails("\(fsctl) stats --vault \(home.directory)", saying: home.directory, "not a vault")
        try fails("\(fsctl) stats --vault \(home.directory)/nowhere", saying: "does not exist")
      }
    }

    @Test func `sync makes what an open file holds safe from a power cut`() throws {
      try MountedVault.run { home in
        let open = try check(Glibc.open(home.point + "/open", O_CREAT | O_WRONLY, 0o644))
        defer { close(open) }
        try check(write(open, "unsaved", 7))
        // Without it, what was written in the last second would go with the owner.
        try succeed("\(fsctl) sync \(home.point)")
        try home.killOwner()
        try succeed("\(fsctl) sync --vault \(home.vault)")
        try succeed("\(vaultfs) mount \(home.vault) \(home.point) && grep -q unsaved \(home.point)/open")
      }
    }

    @Test func `top counts what is done, how long it takes and how much`() throws {
      try MountedVault.run { home in
        try succeed("(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do head -c 1000000 /dev/urandom > \(home.point)/f$i; sleep 0.1; done) & \(fsctl) top \(home.point) --once --json > \(home.directory)/said; wait")
        let sample = try json("cat \(home.directory)/said"), kinds = try #require(sample["kinds"] as? [[String: Any]])
        let written = try #require(kinds.first { $0["kind"] as? String == "write" })
        #expect((written["perSecond"] as? Double ?? 0) > 0 && (written["total"] as? Int ?? 0) > 0)
        let times = ["p50", "p90", "p99"].map { written[$0] as? Double ?? -1 }
        #expect(times == times.sorted() && times[0] > 0 && times[2] < 10, "\(times)")
        #expect((sample["bytesWrittenPerSecond"] as? Double ?? 0) > 1_000_000 && (sample["operationsPerSecond"] as? Double ?? 0) > 1)
        let text = try succeed("\(fsctl) top \(home.point) --once --interval 0.1")
        #expect(text.contains("in flight: "))
        #expect(text.contains("MEDIAN") && text.contains("write") && !text.contains("\u{1B}"))
        #expect(try succeed("timeout 1 \(fsctl) top \(home.point) --interval 0.2 --json; true").split(separator: "\n").count >= 2)
      }
    }

    @Test func `another user may ask for what df shows, and not for what others do or store`() throws {
      try MountedVault.run { home in
        try succeed("head -c 100000 /dev/urandom > \(home.point)/a")
        let other = try asOther(home)
        try succeed("\(other) sync \(home.point)")
        let stats = try json("\(other) stats \(home.point) --json")
        #expect(stats["nodes"] as? Int == 2 && stats["uniqueBytes"] == nil && stats["storedBytes"] == nil && stats["vault"] == nil)
        #expect(try succeed("\(other) stats \(home.point)").contains("root and the vault's owner"))
        try succeed("mkdir -m 700 \(home.point)/shut && mkdir \(home.point)/open")
        try fails("\(other) stats \(home.point)/shut", saying: "\(home.point)/shut: you may not read it")
        #expect(try succeed("\(other) stats \(home.point)/open").contains("below /open: 0 B"))
        try succeed("cp \(vaultfs) \(home.directory)/program && chmod 755 \(home.directory)/program")
        try fails("cd \(home.point) && \(other.replacingOccurrences(of: "/fsctl", with: "/program")) status .", saying: "for root to know", "`fsctl stats .`")
        try fails("\(other) top \(home.point) --once", saying: "`fsctl top` is for root")
        try fails("\(other) stats --vault \(home.vault)", saying: home.vault)
        let socket = try publicSocket(home)
        #expect(try succeed("stat -c %a:%u \(socket) /run/vaultfs \(home.vault)/socket") == "666:0\n755:0\n600:0\n")
        try home.unmount()
        #expect(access(socket, F_OK) != 0)
        // Where others may not enter, they may not ask.
        try home.mount("")
        #expect(access(try publicSocket(home), F_OK) != 0)
        try fails("\(other) stats \(home.point)", saying: home.point, "--allow-other")
        try succeed("\(fsctl) stats \(home.point)")
      }
    }

    @Test func `whoever may read through the mount may read over the socket, and nobody else`() throws {
      try MountedVault.run { home in
        let p = home.point, user: UInt32 = 4001, group: UInt32 = 5001
        try succeed("""
          cd \(p) && mkdir open shut group acl && chmod 755 open && chmod 700 shut && chgrp \(group) group && chmod 750 group && chmod 700 acl && setfacl -m u:\(user):x acl
          for d in open shut group acl; do for m in 644 640 600 000 604 404; do echo x > $d/$m; chmod $m $d/$m; done
            for m in 640 604 044; do echo x > $d/g$m; chgrp \(group) $d/g$m; chmod $m $d/g$m; done
            for m in 400 044; do echo x > $d/o$m; chown \(user) $d/o$m; chmod $m $d/o$m; done
            for e in u:\(user):r u:\(user):- g:\(group):r g:\(group):-,o::r u:\(user):r,m::- u:\(user):r,m::-,o::r; do echo x > $d/a$e; chmod 600 $d/a$e; setfacl -m $e $d/a$e; done
          done
          ln -s open/644 link; ln -s shut/644 away
          """)
        let device = try #require(MountTable.read().top(at: Path(p))).device
        let paths = try succeed("cd \(p) && find . -type f -o -type l").split(separator: "\n").map { String($0.dropFirst(2)) }
        #expect(paths.count > 60)
        for groups in [[4001], [4001, group]] as [[UInt32]] {
          let differ = try asUser(user, groups: groups) { () throws -> [String] in
            let service = RemoteService(device: device)
            return paths.filter { path in
              let descriptor = Glibc.open("\(p)/\(path)", O_RDONLY)
              if descriptor >= 0 { close(descriptor) }
              let asked = (try? service.read(.path(VaultPath(path.utf8)!)) { _ in }) != nil
              return (descriptor >= 0) != asked
            }
          }
          #expect(differ == [], "with the groups \(groups)")
        }
      }
    }

    @Test func `an owner that is dead, stopped or moved is said to be, at once`() throws {
      try MountedVault.run { home in
        let owner = try #require(home.owner), socket = try publicSocket(home), other = try asOther(home)
        kill(owner, SIGSTOP)
        for command in ["\(fsctl) stats \(home.point)/d", "\(fsctl) sync --vault \(home.vault)"] { try fails("timeout 20 \(command)", saying: "stopped", "kill -CONT \(owner)") }
        try fails("timeout 20 \(other) stats \(home.point)", saying: "does not answer")
        try fails("\(vaultfs) status", saying: "stopped", "kill -CONT \(owner)")
        kill(owner, SIGCONT)
        // From inside: what the kernel knew of the working directory is a second old at most.
        try fails("cd \(home.point) && ls && kill -STOP \(owner) && sleep 2 && timeout -s KILL 10 \(fsctl) stats .", saying: "stopped", "kill -CONT \(owner)")
        kill(owner, SIGCONT)
        try succeed("\(fsctl) stats \(home.point)")
        try home.killOwner()
        for command in ["stats \(home.point)", "top \(home.point)/d", "sync \(home.point)"] { try fails("timeout 20 \(fsctl) \(command)", saying: home.point, "dead", "vaultfs mount") }
        try fails("timeout 20 \(other) stats \(home.point)", saying: home.point)
        // What it left behind is replaced.
        #expect(access(socket, F_OK) == 0)
        try home.mount()
        try succeed("\(other) stats \(home.point) && \(fsctl) stats \(home.point)")
        unlink(socket)
      }
    }

    @Test func `a directory that is bound elsewhere is still inside the vault`() throws {
      try MountedVault.run { home in
        let bound = home.directory + "/bound"
        try succeed("mkdir -p \(home.point)/a/b \(bound) && mount --bind \(home.point)/a/b \(bound)")
        defer { umount2(bound, Int32(MNT_DETACH)) }
        #expect(try json("cd \(bound) && \(fsctl) stats --json")["vault"] as? String == home.vault)
        try succeed("umount \(bound)")
      }
    }

    @Test func `completions and manual pages come from the commands themselves`() throws {
      try MountedVault.run(mounted: false) { home in
        let root = home.directory + "/root", target = root + "/usr/local/share", scripts = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../scripts").path
        let build = URL(fileURLWithPath: vaultfs).deletingLastPathComponent().path
        try succeed("\(scripts)/documents \(build) \(root)")
        for command in ["vaultfs", "fsctl"] {
          try succeed("bash -n \(target)/bash-completion/completions/\(command)")
          #expect(try succeed("cat \(target)/zsh/site-functions/_\(command)").hasPrefix("#compdef \(command)"))
          #expect(try succeed("cat \(root)/etc/fish/completions/\(command).fish").contains("complete"))
          let page = try succeed("groff -K utf8 -man -Tutf8 -ww -z \(target)/man/man1/\(command).1 2>&1; groff -K utf8 -man -Tutf8 -P-cbou \(target)/man/man1/\(command).1")
          #expect(!page.contains("warning") && page.contains("SYNOPSIS") && page.contains("EXIT STATUS"), "\(page)")
          for word in command == "fsctl" ? ["fsctl stats", "fsctl top", "fsctl sync", "--vault VAULT", "--interval", "fsctl quota set", "fsctl quota list", "--soft-bytes", "fsctl check", "--compare-journal", "fsctl scrub", "--rate"] : ["vaultfs init", "vaultfs mount", "--allow-other", "vaultfs rebuild", "MOUNT OPTIONS", "strictatime", "32     The mount failed", "FILES", "SEE ALSO"] {
            #expect(page.contains(word), "\(word) in \(page)")
          }
          #expect(!page.contains("man-page "), "hidden commands stay hidden")
          // What bash would offer.
          func offered(_ words: String) throws -> [Substring] {
            let count = words.split(separator: " ").count
            return try succeed("bash -c 'source \(target)/bash-completion/completions/\(command); COMP_WORDS=(\(command) \(words)); COMP_CWORD=\(count); COMP_LINE=\"\(command) \(words)\"; COMP_POINT=${#COMP_LINE}; _\(command) \(command) \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf \"%s\\n\" \"${COMPREPLY[@]}\"'").split(separator: "\n")
          }
          #expect(try offered("st").contains(command == "fsctl" ? "stats" : "status"))
          for words in command == "fsctl" ? ["versions list", "versions restore x 5 --to"] : ["mount", "mount v", "unmount", "status", "rebuild", "init"] {
            #expect(try offered("\(words) \(home.directory)/roo") == ["\(root)"], "\(command) \(words)")
          }
        }
        #expect(try succeed("cat \(target)/man/man8/mount.vaultfs.8") == ".so man1/vaultfs.1\n")
      }
    }
  }
}
