// `fsctl quota` on a real mount, as people type it: root, ordinary users, a vault that nobody owns.

import Foundation
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct QuotaCommandTests {
    private let fsctl = MountedVault.fsctl

    private func asOther(_ home: MountedVault, _ user: Int = 65534) throws -> String {
      try succeed("cp \(fsctl) \(home.directory)/fsctl && chmod 755 \(home.directory)/fsctl")
      return "setpriv --reuid \(user) --regid \(user) --clear-groups \(home.directory)/fsctl"
    }
    @Test func `a limit that is set stops cp, shows in df, and goes again`() throws {
      try MountedVault.run { home in
        let tree = home.point + "/tree", large = home.directory + "/large"
        try succeed("mkdir \(tree) && head -c 30000000 /dev/urandom > \(large) && \(fsctl) quota set --tree \(tree) --bytes 20M --soft-bytes 10M --inodes 10 --grace 2d")
        try fails("LC_ALL=C cp \(large) \(tree)/", saying: "Disk quota exceeded")
        #expect(try succeed("df -B1 --output=size \(tree) | tail -n 1").trimmingCharacters(in: .whitespacesAndNewlines) == "\(20 << 20)")
        #expect(try succeed("df --output=itotal \(tree) | tail -n 1").trimmingCharacters(in: .whitespacesAndNewlines) == "10")
        let text = try succeed("cd \(tree) && \(fsctl) quota show")
        for word in ["/tree\n", "USED", "10.0 MiB", "20.0 MiB", " d ", " left", "inodes"] { #expect(text.contains(word), "\(word): \(text)") }
        let line = try json("\(fsctl) quota show --tree \(tree) --json"), bytes = try #require(line["bytes"] as? [String: Any])
        #expect(line["path"] as? String == "/tree" && line["kind"] as? String == "tree" && bytes["hard"] as? Int == 20 << 20)
        #expect((bytes["used"] as? Int ?? 0) > 19 << 20 && (bytes["percent"] as? Double ?? 0) > 95 && (bytes["graceLeft"] as? Int ?? 0) > 170_000)
        // More room: what is not named stays.
        try succeed("\(fsctl) quota set --tree \(tree) --bytes 40M && cp \(large) \(tree)/")
        #expect(try json("\(fsctl) quota show --tree \(tree) --json")["graceSeconds"] as? Int == 172_800)
        try fails("cd \(tree) && LC_ALL=C touch 1 2 3 4 5 6 7 8 9 10", saying: "Disk quota exceeded")
        // Below what is there: allowed, and said.
        #expect(try succeed("\(fsctl) quota set --tree \(tree) --bytes 1M --soft-bytes none").contains("nothing can be added"))
        try succeed("\(fsctl) quota remove --tree \(tree) --dry-run && test $(\(fsctl) quota list \(home.point) | wc -l) = 1")
        try succeed("\(fsctl) quota remove --tree \(tree) && cp \(large) \(tree)/more && touch \(tree)/11")
        try fails("\(fsctl) quota remove --tree \(tree)", saying: "/tree", "fsctl quota list")
      }
    }

    @Test func `the list has users, groups, directories with odd names and the vault, and is the same of a closed vault`() throws {
      try MountedVault.run { home in
        try succeed("""
          cd \(home.point) && mkdir "$(printf 'a\\nb\\377')" plain && chown 65534:65534 plain && \(fsctl) quota set --vault --inodes 1M && \(fsctl) quota set --user 65534 --bytes 1G --soft 512M .
          \(fsctl) quota set --group root --inodes 5k --soft-inodes 4k && for d in *; do \(fsctl) quota set --tree "$d" --bytes 1.5G > \(home.directory)/said || exit 1; done
          """)
        let list = try succeed("\(fsctl) quota list \(home.point)"), lines = list.split(separator: "\n")
        #expect(lines.count == 5 && list.contains("/a\\x0ab\\xff\t") && list.contains("/plain\t") && list.contains("the vault\t") && list.contains("group root\t"), "\(list)")
        #expect(list.contains("1.50 GiB") && list.contains("1000000") && list.contains("7 d"), "\(list)")
        #expect(try succeed("\(fsctl) quota list --bytes \(home.point)").contains("\(512 << 20)"))
        let asJSON = try succeed("\(fsctl) quota list --json \(home.point)")
        #expect(asJSON.split(separator: "\n").count == 5 && asJSON.contains("\"path\":\"/a\\\\x0ab\\\\xff\"") && asJSON.contains("\"pathBytes\":\"L2EKYv8=\""), "\(asJSON)")
        #expect(try succeed("\(fsctl) quota list --vault \(home.vault)") == list)
        try home.unmount()
        #expect(try succeed("\(fsctl) quota list --vault \(home.vault)") == list)
        #expect(try succeed("\(fsctl) quota show --vault \(home.vault) --tree /plain").contains("/plain"))
        try succeed("\(fsctl) quota set --vault \(home.vault) --tree plain --inodes 3 && \(fsctl) quota set --vault \(home.vault) --bytes 2G && \(fsctl) quota remove --vault \(home.vault) --user 65534")
        let vault = try json("\(fsctl) quota show --vault \(home.vault) --json")
        #expect(vault["kind"] as? String == "vault" && (vault["bytes"] as? [String: Any])?["hard"] as? Int == 2 << 30 && (vault["inodes"] as? [String: Any])?["hard"] as? Int == 1_000_000)
        // What binds you at a path of a vault that is not mounted.
        let there = try succeed("\(fsctl) quota show /plain/below --vault \(home.vault)"), elsewhere = try succeed("\(fsctl) quota show other --vault \(home.vault)")
        #expect(there.contains("/plain\n") && there.contains("the vault") && elsewhere.contains("the vault") && !elsewhere.contains("/plain"), "\(there)\(elsewhere)")
        try fails("\(fsctl) quota set --bytes 1G plain --vault \(home.vault)", code: 2, saying: "say whose limit")
        try home.mount()
        let mounted = try succeed("\(fsctl) quota show plain --vault \(home.vault)")
        #expect(mounted == there, "\(mounted)\(there)")
        try fails("cd \(home.point)/plain && LC_ALL=C touch 1 2 3 4", saying: "Disk quota exceeded")
        #expect(try succeed("\(fsctl) quota show --vault \(home.point)").contains("2.00 GiB"), "a path in the mount does as well")
      }
    }

    @Test func `an ordinary user sees what binds them, and sets nothing`() throws {
      try MountedVault.run { home in
        let p = home.point, other = try asOther(home)
        try succeed("""
          mkdir \(p)/open \(p)/shut && chmod 777 \(p)/open && chmod 700 \(p)/shut && for d in open shut; do \(fsctl) quota set --tree \(p)/$d --bytes 1G; done
          \(fsctl) quota set --user 65534 --bytes 3M \(p) && \(fsctl) quota set --user 1234 --bytes 1M \(p)
          """)
        #expect(try shell("head -c 5000000 /dev/urandom > \(home.directory)/f; chmod 644 \(home.directory)/f; setpriv --reuid 65534 --regid 65534 --clear-groups cp \(home.directory)/f \(p)/open/").output.contains("quota exceeded"))
        let shown = try succeed("\(other) quota show \(p)/open")
        #expect(shown.contains("3.00 MiB") && shown.contains("/open\n") && !shown.contains("1234"), "\(shown)")
        #expect(!(try succeed("\(other) quota show \(p)")).contains("/open"), "only directories that PATH is in")
        let list = try succeed("\(other) quota list \(p)")
        #expect(list.split(separator: "\n").count == 2 && !list.contains("/shut") && !list.contains("1234"), "\(list)")
        for command in ["show --user 1234", "show --user root", "show --group root"] { try fails("cd \(p) && \(other) quota \(command)", saying: "root", "owner", "fsctl quota show") }
        for command in ["set --user 65534 --bytes 1G", "remove --user 65534"] { try fails("cd \(p) && \(other) quota \(command)", saying: "root", "the vault belongs to") }
        try fails("\(other) quota show --tree \(p)/shut", saying: "/shut", "may not read", "chmod")
        for command in ["check", "check --repair", "scrub"] { try fails("\(other) \(command) \(p)", saying: "`fsctl \(command.prefix(5))", "root") }
        let stats = try json("\(other) stats \(p)/open --user 65534 --json")
        #expect((stats["tree"] as? [String: Any])?["nodes"] as? Int == 1 && (stats["user"] as? [String: Any])?["nodes"] as? Int == 1 && stats["lastScrub"] == nil)
        try fails("\(other) stats \(p) --user root", saying: "root")
        #expect(try succeed("\(fsctl) stats \(p)/open --user 65534").contains("below /open: "))
        #expect(try json("\(fsctl) quota show --user 65534 \(p) --json")["name"] as? String == (try succeed("id -nu 65534").trimmingCharacters(in: .newlines)))
      }
    }

    @Test func `wrong use ends with 2 and words, and nothing is set`() throws {
      try MountedVault.run { home in
        let p = home.point
        try succeed("touch \(p)/file")
        for (wrong, words) in [
          ("set --bytes 1G", "--tree PATH"), ("set --user root", "--bytes"), ("set --user nosuchuser --bytes 1G", "getent passwd"), ("set --group nosuchgroup --bytes 1G", "getent group"),
          ("set --user root --bytes 1Q", "no size"), ("set --user root --bytes -1", "Missing value"), ("set --user root --bytes 99999999T", "no size"), ("set --user root --bytes 0", "none"), ("set --user root --inodes 1.5", "no count"),
          ("set --user root --grace soon --bytes 1", "no time"), ("set --user 4294967295 --bytes 1", "no user"), ("set --user root --group root --bytes 1", "one of"), ("set --user '' --bytes 1", "no user"),
          ("set --tree a --vault --bytes 1", "one of"), ("set --tree a b --bytes 1", "no other PATH"), ("remove", "--tree PATH"), ("list a --vault b", "not both"), ("nonsense", "nonsense"),
        ] { try fails("cd \(p) && \(fsctl) quota \(wrong)", code: 2, saying: words) }
        try fails("cd \(p) && \(fsctl) quota set --tree file --bytes 1", saying: "fsctl: file is no directory")
        try fails("cd \(p) && \(fsctl) quota set --tree nowhere --bytes 1", saying: "fsctl: nowhere: no such file")
        try fails("cd \(p) && \(fsctl) quota set --user root --bytes 1 --soft-bytes 2", saying: "above the hard one", "Nothing was changed")
        try fails("\(fsctl) quota set --tree \(home.directory) --bytes 1", saying: "not inside a mounted vault")
        try fails("cd \(p) && \(fsctl) stats nowhere", saying: "fsctl: nowhere: ")
        #expect(try succeed("\(fsctl) quota list \(p)").isEmpty)
        #expect(try succeed("\(fsctl) quota show \(p)").contains("no limit binds you"))
      }
    }
  }
}
