// What the commands say of directories that are no vaults, of vaults that lack something, and of words nobody knows.

import Foundation
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct CommandWordsTests {
    private let vaultfs = MountedVault.program
    private let fsctl = MountedVault.fsctl

    @Test func `a directory that is gone is not taken for the root`() throws {
      try MountedVault.run(mounted: false) { home in
        for command in ["init vaultfs-test-of-nowhere", "status .", "mount a b", "unmount m", "rebuild v"] {
          try fails("mkdir \(home.directory)/here && cd \(home.directory)/here && rmdir ../here && \(vaultfs) \(command)", saying: "current directory does not exist")
        }
        #expect(access("/vaultfs-test-of-nowhere", F_OK) != 0)
      }
    }

    @Test func `what is somebody else's is never asked for unless it is a vault`() throws {
      try MountedVault.run(mounted: false) { home in
        let d = home.directory
        try home.create()
        try succeed("mkdir \(d)/theirs \(d)/named && touch \(d)/theirs/x \(d)/named/vault && cp -a \(home.vault) \(d)/v && chown -R 65534 \(d)/theirs \(d)/named \(d)/v")
        let theirs = "\(d)/theirs", named = "\(d)/named"
        for (command, word) in [("init \(theirs)", "place of your own"), ("init \(named)", "place of your own"), ("mount \(theirs) \(home.point)", "not a vault"),
                                ("status \(named)", "not a vault"), ("rebuild \(theirs)", "not a vault"), ("init \(d)/v", "place of your own")] {
          let ran = try shell("\(vaultfs) \(command)")
          #expect(ran.status == 1 && ran.output.contains(word) && !ran.output.contains("chown"), "\(command): \(ran.output)")
        }
        try fails("\(vaultfs) mount \(d)/v \(home.point)", saying: "\(d)/v", "chown -R 0 \(d)/v`")
        try fails("setpriv --reuid 65534 --regid 65534 --clear-groups \(vaultfs) status \(home.vault) 2>&1 || (cp \(vaultfs) \(d)/program; setpriv --reuid 65534 --regid 65534 --clear-groups \(d)/program status \(home.vault))",
                  saying: home.vault, "run this as root")
      }
    }

    @Test func `init says what is in its way, and a vault what it lacks`() throws {
      try MountedVault.run(mounted: false) { home in
        let d = home.directory
        try home.create()
        for place in [home.vault + "/inner", home.vault + "/packs/inner"] { try fails("\(vaultfs) init \(place)", saying: "inside", home.vault) }
        try fails("\(vaultfs) init \(d)/no/such", saying: "\(d)/no/such", "does not exist")
        try fails("\(vaultfs) init \(d)/x --name ''", code: 2, saying: "name")
        try succeed("cp -a \(home.vault) \(d)/garbled && echo rubbish > \(d)/garbled/vault && mkdir \(d)/other && echo rubbish > \(d)/other/vault")
        try fails("\(vaultfs) init \(d)/garbled", saying: "damaged")
        try fails("\(vaultfs) init \(d)/other", saying: "not empty")
        for part in ["packs", "journal"] {
          try succeed("rm -rf \(d)/part && cp -a \(home.vault) \(d)/part && rm -r \(d)/part/\(part)")
          for command in ["mount \(d)/part \(home.point)", "status \(d)/part", "rebuild \(d)/part"] {
            try fails("\(vaultfs) \(command)", saying: "\(d)/part", "`\(part)` is missing", "copy")
          }
        }
        #expect(try succeed("\(vaultfs) init '\(d)/with space'").contains("vaultfs mount '\(d)/with space' DIR"))
        try fails("\(vaultfs) mount '\(d)/with space' '\(d)/not there'", saying: "`mkdir '\(d)/not there'`")
      }
    }

    @Test func `rebuild never replaces a database by one that knows less`() throws {
      try MountedVault.run { home in
        for round in 0..<2 {
          try succeed("echo \(round) > \(home.point)/\(round)")
          try home.remount()
        }
        try home.unmount()
        let copy = home.directory + "/copy", segments = try succeed("ls \(home.vault)/journal").split(separator: "\n")
        for segment in segments {
          try succeed("rm -rf \(copy) && cp -a \(home.vault) \(copy) && rm \(copy)/journal/\(segment)")
          let before = try succeed("cksum < \(copy)/metadata.db"), ran = try shell("\(vaultfs) rebuild \(copy)")
          // A segment without operations is no loss.
          if ran.status == 0 {
            #expect(try home.status(copy)["operations"] as? Int == home.number("operations"), "without \(segment)")
          } else {
            #expect(ran.output.contains("\(copy)") && ran.output.contains("present database is untouched"), "\(ran.output)")
            #expect(try succeed("cksum < \(copy)/metadata.db") == before)
          }
        }
        try fails("\(vaultfs) rebuild \(copy)", saying: "\(copy)/journal/\(segments.last!)")
      }
    }

    @Test func `init and rebuild say the true reason for refusing a path`() throws {
      try MountedVault.run { home in
        let d = home.directory, long = String(repeating: "n", count: 256)
        try fails("\(vaultfs) init \(d)/\(long)", code: 2, saying: "256 bytes", "at most 255")
        try fails("\(vaultfs) init \(d)/\(long)/v --name short", code: 2, saying: "256 bytes")
        try succeed("ln -s \(d)/nowhere \(d)/link")
        try fails("\(vaultfs) init \(d)/link", saying: "\(d)/link is a symlink to \(d)/nowhere", "does not exist")
        #expect(access(d + "/nowhere", F_OK) != 0)
        try succeed("mkdir \(d)/nowhere && \(vaultfs) init \(d)/link")
        for path in [home.point, home.point + "/inside"] {
          try fails("\(vaultfs) rebuild \(path)", saying: "the mount of the vault \(home.vault)", "vaultfs unmount \(home.point) && vaultfs rebuild \(home.vault)")
        }
      }
    }

    @Test func `an init that was killed is simply run again`() throws {
      try MountedVault.run(mounted: false) { home in
        for delay in ["0.002", "0.005", "0.01", "0.02", "0.04"] {
          try succeed("rm -rf \(home.vault); timeout -s KILL \(delay) \(vaultfs) init \(home.vault) > /dev/null 2>&1; test -e \(home.vault)/vault || \(vaultfs) init \(home.vault)")
          try succeed("\(vaultfs) mount \(home.vault) \(home.point) && \(vaultfs) unmount \(home.point)")
        }
      }
    }

    @Test func `words nobody knows are wrong use, with a hint`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        try fails("\(vaultfs) help nonsense", code: 2, saying: "nonsense", "unmount")
        try succeed("\(vaultfs) help mount")
        try fails("\(vaultfs) umount \(home.point)", code: 2, saying: "vaultfs unmount")
        try fails("\(vaultfs) unmuont \(home.point)", code: 2, saying: "no command `vaultfs unmuont`", "did you mean `vaultfs unmount`?")
        try fails("\(fsctl) versions lst a", code: 2, saying: "no command `fsctl versions lst`", "did you mean `fsctl versions list`?")
        try fails("\(vaultfs) status \(home.vault) >&-", saying: "standard output")
        try fails("\(fsctl) help snapshot nonsense", code: 2, saying: "nonsense", "restore")
        try fails("\(vaultfs) mount \(home.vault) \(home.point) -o nonsense", code: 2, saying: "`nonsense`", "strictatime", "nofail", "noexec", "context=", "x-")
        try fails("\(vaultfs) mount \(home.vault) \(home.point) -o remount,ro", saying: "remount", "unmount")
      }
    }

    @Test func `status tells what df tells, explains what deleting left, and init warns of a small disk`() throws {
      try MountedVault.run { home in
        try succeed("head -c 1000000 /dev/urandom > \(home.point)/a && sync \(home.point)/a && rm \(home.point)/a")
        let said = try succeed("\(vaultfs) status \(home.point)")
        #expect(said.contains("files deleted since") && !said.contains(", 0."), "\(said)")
        let volume = home.directory + "/volume", small = home.directory + "/small"
        try succeed("mkdir \(volume) \(small) && mount -t tmpfs -o size=90m none \(volume)")
        defer { for place in [small, volume] { umount2(place, Int32(MNT_DETACH)) } }
        #expect(try !succeed("\(vaultfs) init \(volume)/v 2>&1").contains("warning"))
        try succeed("\(vaultfs) mount \(volume)/v \(small)")
        let free = try #require(Int(try succeed("df --output=avail -B1 \(small) | tail -n 1").trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(try home.status(small)["availableBytes"] as? Int == free)
        try succeed("\(vaultfs) unmount \(small)")
        let closed = try #require(try home.status(volume + "/v")["availableBytes"] as? Int)
        #expect(abs(closed - free) < 1 << 20)
        try succeed("umount \(volume) && mount -t tmpfs -o size=40m none \(volume)")
        let warned = try succeed("\(vaultfs) init \(volume)/v 2>&1")
        #expect(warned.contains("48.0 MiB") && warned.contains("kept back"), "\(warned)")
        try succeed("\(vaultfs) mount \(volume)/v \(small)")
        #expect(try home.status(small)["availableBytes"] as? Int == 0)
        try succeed("\(vaultfs) unmount \(small)")
      }
    }
  }
}
