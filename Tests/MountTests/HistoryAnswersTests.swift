// What the commands of history answer: where things come, of which directory a snapshot is, what programs read, what is
// said of mistakes.

import Foundation
import FuseBridge
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct HistoryAnswersTests {
    private let vaultfs = MountedVault.program
    private let fsctl = MountedVault.fsctl

    private func run(_ body: (MountedVault) throws -> Void) throws { try MountedVault.runWithEachVersion(body) }

    /// What a command says, an object of JSON a line.
    private func lines(_ command: String) throws -> [[String: Any]] {
      try succeed(command).split(separator: "\n").map { try #require(JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]) }
    }

    private func bytes(_ value: Any?) -> [UInt8]? { (value as? String).flatMap { Data(base64Encoded: $0) }.map(Array.init) }

    @Test func `what is taken back stays in its vault`() throws {
      try run { home in
        let p = home.point, other = home.directory + "/n"
        try succeed("\(vaultfs) init \(home.vault)2 && mkdir \(other) && \(vaultfs) mount \(home.vault)2 \(other)")
        defer { _ = try? shell("\(vaultfs) unmount \(other)") }
        try succeed("echo 1 > \(p)/f; echo 2 > \(p)/f; echo 3 > \(p)/g; \(fsctl) snapshot create s \(p); rm \(p)/g")
        for command in ["versions restore \(p)/f now", "snapshot restore s \(p)/f", "trash restore \(p)/g"] {
          try fails("\(fsctl) \(command) --to \(other)/f", saying: "\(other)/f is in another vault", "\(home.vault)2", "copy")
          try fails("\(fsctl) \(command) --to \(home.directory)/f", saying: "\(home.directory)/f is not inside the vault \(home.vault)")
        }
        #expect(try succeed("ls -A \(other); ls -A \(p)") == "f\n")
        try fails("\(fsctl) versions restore \(p)/f now --to \(p)/f", saying: "\(p)/f exists already", "give another PATH with --to")
        try fails("cd \(p); echo new > g; \(fsctl) trash restore g", saying: "g exists already", "say where it shall come with --to PATH")
        let back = try lines("cd \(p); \(fsctl) trash restore g --to h --json")
        #expect(back[0]["path"] as? String == "/h" && bytes(back[0]["pathBytes"]) == Array("/h".utf8))
        // A vault that is not mounted has paths from its root.
        try succeed("rm \(p)/h")
        try home.unmount()
        let id = try #require(try lines("\(fsctl) trash list --vault \(home.vault) --json").first?["id"] as? Int)
        try succeed("\(fsctl) trash restore \(id) --vault \(home.vault) --to /i")
        try fails("\(fsctl) trash restore \(id) --vault \(home.vault) --to ../i", code: 2, saying: "no path from a vault's root")
        try home.mount()
        #expect(try succeed("cat \(p)/i") == "3\n")
      }
    }

    @Test func `a place in a vault that is not mounted is a path from its root`() throws {
      try run { home in
        let p = home.point, v = "--vault \(home.vault)"
        try succeed("mkdir \(p)/d; echo one > \(p)/d/f; echo two > \(p)/d/f; echo 1 > \(p)/g; rm \(p)/g")
        // While it is mounted, too; and a path inside the mount is still that.
        for place in ["d/f", "/d/f", "\(p)/d/f"] { #expect(try lines("\(fsctl) versions list \(place) \(v) --json").first?["size"] as? Int == 4, "\(place)") }
        try home.unmount()
        let versions = try lines("\(fsctl) versions list d/f \(v) --json"), first = try #require(versions.first { $0["size"] as? Int == 4 && $0["isPresent"] as? Bool == false }?["id"] as? Int)
        #expect(try succeed("\(fsctl) versions cat d/f \(first) \(v)") == "one\n" && succeed("\(fsctl) versions diff d/f \(first) \(v) | tail -2") == "-one\n+two\n")
        #expect(try succeed("\(fsctl) versions show d/f \(first) \(v)").contains("until"))
        try succeed("\(fsctl) versions pin d/f \(first) \(v) && \(fsctl) versions unpin d/f \(first) \(v)")
        try succeed("\(fsctl) versions restore d/f \(first) \(v) && \(fsctl) trash restore /g \(v) && \(fsctl) snapshot create s d \(v)")
        try fails("\(fsctl) trash restore /g \(v)", saying: "nothing in the trash was at /g")
        #expect(try succeed("\(fsctl) snapshot list \(v) | cut -f 3") == "/d\n" && succeed("\(fsctl) stats d \(v)").contains("/d"))
        // A policy is tried before it is set.
        let gone = try lines("\(fsctl) versions policy --no-keep --dry-run --json \(v)")[0]
        #expect(gone["nodes"] as? Int ?? 0 > 1 && gone["names"] as? Int ?? 0 > 0, "\(gone)")
        #expect(try succeed("\(fsctl) versions policy \(v)").contains("everything   for a day") && succeed("\(fsctl) versions policy --dry-run \(v)") == "0 versions and 0 former names would be forgotten at once\n")
        try home.mount()
        #expect(try succeed("cat \(p)/d/f \(p)/g") == "one\n1\n")
      }
    }

    @Test func `taking back a tree tells how much came, and what is not kept`() throws {
      try run { home in
        let p = home.point
        try succeed("mkdir \(p)/d; echo 1 > \(p)/d/f; echo 2 > \(p)/d/g")
        let moment = try #require(try lines("\(fsctl) versions list \(p)/d/g --json").first?["id"] as? Int)
        let whole = try lines("\(fsctl) versions restore \(p)/d \(moment) --to \(p)/whole --json")[0]
        #expect(whole["nodes"] as? Int == 3 && whole["missing"] as? Int == 0)
        try succeed("rm \(p)/d/f && \(fsctl) versions prune \(p)/d/f")
        try fails("\(fsctl) versions restore \(p)/d \(moment)", saying: "\(p)/d is back, but for 1 of the names in it, of which nothing is kept any more: `f`")
        #expect(try succeed("ls \(p)/d; cat \(p)/d/g") == "g\n2\n")
      }
    }

    @Test func `a snapshot of a directory that is gone brings back that one and no other`() throws {
      try run { home in
        let p = home.point
        try succeed("mkdir \(p)/d; echo 1 > \(p)/d/f; \(fsctl) snapshot create s \(p)/d; rm -r \(p)/d; echo new > \(p)/other")
        // (The mount point says no more than which vault.)
        for place in [p, "\(p)/d"] {
          try succeed("\(fsctl) snapshot restore s \(place)")
          #expect(try succeed("cat \(p)/d/f; cat \(p)/other") == "1\nnew\n")
          try succeed("rm -r \(p)/d")
        }
        try succeed("\(fsctl) snapshot restore s --vault \(home.vault)")
        // It is of what was made of the directory, too.
        try succeed("echo 2 > \(p)/d/f; cd \(p); \(fsctl) snapshot restore s")
        #expect(try succeed("cat \(p)/d/f") == "1\n")
        try fails("\(fsctl) trash empty \(p)/d", code: 2, saying: "all of the vault's trash")
        #expect(try succeed("\(fsctl) man-page").replacingOccurrences(of: "\\fI", with: "").contains("VERSION"))
      }
    }

    @Test func `a snapshot of a directory says which, and restores that, whatever it is called now`() throws {
      try run { home in
        let p = home.point
        try succeed("mkdir -p \(p)/dir/sub \(p)/other; echo 1 > \(p)/dir/sub/f; echo 1 > \(p)/other/g")
        #expect(try lines("\(fsctl) snapshot create s \(p)/dir --json")[0]["path"] as? String == "/dir")
        try succeed("\(fsctl) snapshot create all \(p); echo 2 > \(p)/dir/sub/f; echo 2 > \(p)/other/g; touch \(p)/dir/new")
        #expect(try succeed("\(fsctl) snapshot list \(p) | cut -f 2,3") == "s\t/dir\nall\t/\n")
        let shown = try succeed("\(fsctl) snapshot show s \(p)"), made = try #require(shown.split(separator: "\n").first { $0.hasPrefix("made") })
        #expect(shown.contains("of        /dir\n") && made.contains("T") && made.count == "made      2026-11-28T10:16:04".count, "\(shown)")
        // Wherever one stands: that only says which vault.
        try succeed("cd \(p)/other; \(fsctl) snapshot restore s")
        #expect(try succeed("cat \(p)/dir/sub/f \(p)/other/g; ls \(p)/dir") == "1\n2\nsub\n")
        try fails("\(fsctl) snapshot restore s \(p)/other", saying: "the snapshot `s` is of /dir; \(p)/other is outside of it")
        // Its directory moves: all of it, a file in it.
        try succeed("mv \(p)/dir \(p)/other/moved")
        for place in ["", "\(p)/other/moved/sub/f"] {
          try succeed("echo 3 > \(p)/other/moved/sub/f; cd \(p); \(fsctl) snapshot restore s \(place)")
          #expect(try succeed("cat \(p)/other/moved/sub/f") == "1\n", "\(place)")
        }
        #expect(try succeed("\(fsctl) snapshot list \(p) | cut -f 3") == "/other/moved\n/\n")
        #expect(try succeed("\(fsctl) snapshot delete s \(p) --dry-run").contains("`s` of /other/moved") && succeed("\(fsctl) snapshot list \(p) | wc -l") == "2\n")
        // Gone, it comes back by the path that it had.
        try succeed("rm -r \(p)/other/moved")
        #expect(try succeed("\(fsctl) snapshot show s \(p)").contains("of        /dir, which is gone\n"))
        try succeed("cd \(p); \(fsctl) snapshot restore s")
        #expect(try succeed("cat \(p)/dir/sub/f") == "1\n")
      }
    }

    @Test func `programs read names as text and as bytes, and times as text`() throws {
      try run { home in
        let p = home.point, odd: [UInt8] = [0x6F, 0xFF], path = Array("/d/".utf8) + odd
        try succeed("mkdir \(p)/d; cd \(p)/d; f=$(printf 'o\\377'); echo 1 > \"$f\"; echo 2 > \"$f\"; rm \"$f\"; \(fsctl) snapshot create \"$f\" .; echo 1 > g; echo 22 > g; \(fsctl) sync . --json")
        let item = try lines("\(fsctl) trash list \(p) --json")[0]
        #expect(item["name"] as? String == #"o\xff"# && item["path"] as? String == #"/d/o\xff"# && bytes(item["nameBytes"]) == odd && bytes(item["pathBytes"]) == path, "\(item)")
        #expect(item["isDirectory"] as? Bool == false && (item["deleted"] as? String)?.hasSuffix("Z") == true)
        let snapshot = try lines("\(fsctl) snapshot list \(p) --json")[0]
        #expect(snapshot["name"] as? String == #"o\xff"# && bytes(snapshot["nameBytes"]) == odd && snapshot["path"] as? String == "/d", "\(snapshot)")
        let versions = try lines("\(fsctl) versions list \(p)/d/g --json")
        #expect(versions[0]["isPresent"] as? Bool == true && versions[0]["until"] == nil && versions[1]["isPresent"] as? Bool == false, "\(versions)")
        let times = try ["since", "until"].map { try #require(ISO8601DateFormatter().date(from: versions[1][$0] as? String ?? "")) }
        #expect(times[0] <= times[1] && times[1].timeIntervalSinceNow > -60 && Int(times[0].timeIntervalSince1970) == versions[1]["second"] as? Int)
        let shown = try succeed("\(fsctl) versions show \(p)/d/g \(try #require(versions[1]["id"] as? Int))")
        #expect(shown.contains("until     20") && shown.contains("owner     user root"), "\(shown)")
        #expect(try lines("\(fsctl) versions prune \(p)/d/g --dry-run --json")[0]["versions"] is Int && lines("\(fsctl) trash empty \(p) --dry-run --json")[0]["items"] is Int)
      }
    }

    @Test func `the trash lists what was deleted below a path, as many as are wanted`() throws {
      try run { home in
        let p = home.point
        try succeed("cd \(p); mkdir a ab; touch a/1 a/2 ab/3 4; rm a/1; rm a/2; rm ab/3; rm 4")
        func listed(_ arguments: String) throws -> String { try succeed("\(fsctl) trash list \(arguments) | cut -f 4") }
        #expect(try listed("\(p)/a") == "/a/2\n/a/1\n" && listed("\(p)/a/1") == "/a/1\n" && listed("\(p)/a --limit 1") == "/a/2\n")
        #expect(try succeed("cd \(p)/a; \(fsctl) trash list | wc -l") == "4\n" && listed("--vault \(home.vault) --limit 2") == "/4\n/ab/3\n")
        try fails("\(fsctl) trash list \(p) --limit 0", code: 2, saying: "at least 1")
        // Where a symlink leads, from inside and from outside of the vault.
        try succeed("cd \(p); ln -s a inside; ln -s \(p)/a \(home.directory)/outside")
        for link in ["\(p)/inside", "\(home.directory)/outside"] {
          #expect(try listed(link) == "/a/2\n/a/1\n" && listed("\(link)/1") == "/a/1\n", "\(link)")
        }
        try succeed("cd \(p)/ab; \(fsctl) trash restore ../inside/1; test -e ../a/1; rm ../inside; \(fsctl) trash restore \(p)/inside; test -L ../inside")
        // On a terminal, aligned below a header.
        let table = try succeed("script -qec '\(fsctl) trash list \(p)' /dev/null").replacingOccurrences(of: "\r", with: "").split(separator: "\n")
        #expect(table.count == 4 && table[0].hasPrefix("NUMBER  DELETED") && !table.joined().contains("\t"), "\(table)")
        let columns = table.map { line in line.firstIndex(of: line.contains("PATH") ? "P" : "/").map { line.distance(from: line.startIndex, to: $0) } }
        #expect(Set(columns).count == 1, "\(table)")
      }
    }

    @Test func `a reader that leaves is no error, and a full disk is`() throws {
      try run { home in
        let file = "\(home.point)/f", piped = "bash -c 'set -o pipefail;"
        try succeed("seq 100000 > \(file); seq 200000 > \(file)")
        let id = try succeed("\(fsctl) versions list \(file) | cut -f 1").split(separator: "\n").first { try succeed("\(fsctl) versions cat \(file) \($0) | wc -l") == "100000\n" }
        for (command, reader) in [("versions cat \(file) now", "head -n 1"), ("versions diff \(file) \(try #require(id))", "head -n 1"), ("versions list \(file)", "true"), ("--help", "true")] {
          let ran = try shell("\(piped) (sleep 0.2; \(fsctl) \(command)) | \(reader)'")
          #expect(ran.status == 141 && !ran.output.contains("fsctl:") && !ran.output.contains("diff:"), "\(command): \(ran)")
        }
        for command in ["versions cat \(file) now", "versions list \(file)", "--help"] { try fails("\(fsctl) \(command) > /dev/full", saying: "cannot write to standard output: No space left") }
      }
    }

    @Test func `what is wrong is named as it was typed`() throws {
      try run { home in
        let p = home.point
        try succeed("mkdir \(p)/doc; touch \(p)/doc/f")
        try fails("cd \(p); \(fsctl) versions list doc/no", saying: "fsctl: doc/no: nothing is known")
        try fails("cd \(p)/doc; \(fsctl) versions list .", saying: "fsctl: \(p)/doc is a directory")
        try fails("cd \(p); \(fsctl) versions list doc/nodir/f", saying: "fsctl: doc/nodir/f: nothing is known of its directory")
        try fails("cd \(p); \(fsctl) stats doc/nodir", saying: "fsctl: doc/nodir: no such file")
        try fails("cd \(p); \(fsctl) versions restore doc/f now --to nodir/f", saying: "fsctl: nodir/f: its directory is not there")
        try fails("\(fsctl) versions cat \(p)/doc/f 1999-12-31", saying: "1999-12-31T23:59:59 UTC is before the vault was made")
        let bound = home.directory + "/bound"
        try succeed("mkdir \(bound) && mount --bind \(p)/doc \(bound)")
        defer { umount2(bound, Int32(MNT_DETACH)) }
        try fails("\(fsctl) versions list \(bound)/nodir/f", saying: "fsctl: \(bound)/nodir/f: nothing is known of its directory")
      }
    }

    @Test func `what is mistyped, or meant for a part of a vault, changes nothing`() throws {
      try run { home in
        let p = home.point, before = try succeed("\(fsctl) versions policy \(p)")
        try succeed("cd \(p); mkdir d; echo 1 > d/f; mkfifo fifo; ln -s f link; rm fifo link")
        for command in ["gc", "sync", "check", "snapshot list", "versions policy", "top --once", "quota list"] {
          try fails("\(fsctl) \(command) \(p)/nope", saying: "\(p)/nope does not exist", "its mount point, \(p)")
        }
        for place in ["d", "d/f"] { try fails("\(fsctl) versions policy --limit 1M \(p)/\(place)", code: 2, saying: "the policy is one for all of the vault", "mount point") }
        try fails("\(fsctl) versions policy --window 1y \(p)", code: 2, saying: "a window of 365 days", "a day at most")
        #expect(try succeed("\(fsctl) versions policy \(p)/d") == before)
        #expect(try succeed("\(fsctl) trash list \(p) | cut -f 3,4 | sort") == "fifo\t/fifo\nsymlink\t/link\n")
      }
    }

    @Test func `what a limit of history would let go of is said before, and so it goes`() throws {
      try run { home in
        let p = home.point
        try succeed("\(fsctl) versions policy --window 0s \(p); cd \(p); for i in 1 2 3 4; do head -c 1000000 /dev/urandom > f; sync f; done")
        let told = try #require(try lines("\(fsctl) versions policy --limit 2500000 --dry-run --json \(p)").first), excess = try #require(told["excess"] as? [String: Any])
        #expect(excess["needed"] as? Int == 3_000_000 && excess["forgotten"] as? Int == 1_000_000 && (excess["until"] as? Int).map { abs($0 - time(nil)) < 60 } == true, "\(told)")
        #expect(try succeed("\(fsctl) versions policy --limit 2500000 --dry-run \(p)").contains("would be forgotten, too, 976"))
        #expect(try succeed("\(fsctl) versions policy --limit 3500000 --dry-run --json \(p)").contains("excess") == false)
        #expect(try lines("\(fsctl) versions list --json \(p)/f").count == 5)
        #expect(try succeed("\(fsctl) versions policy --limit 2500000 \(p) 2>&1").contains("is forgotten, 976"))
        try succeed("\(fsctl) gc \(p)")
        #expect(try lines("\(fsctl) versions list --json \(p)/f").filter { $0["size"] as? Int == 1_000_000 }.count == 3)
      }
    }

    @Test func `what is no directory as it is now is said to be none`() throws {
      try run { home in
        let p = home.point
        try succeed("cd \(p); mkdir d; echo 1 > d/f; \(fsctl) snapshot create s")
        for (command, words) in [("snapshot create s \(p)", "there is a snapshot `s` already; choose another name"), ("snapshot create a/b \(p)", "`a/b` is not valid as a snapshot's name"),
                                 ("snapshot create t \(p)/d/f", "is no directory"), ("stats \(p)/d/f", "\(p)/d/f: it is no directory"),
                                 ("stats \(p)/.vaultfs/snapshots/s/d", "it shows what was"), ("snapshot create t \(p)/.vaultfs/snapshots/s/d", "shows what was, and cannot be changed"),
                                 ("quota set --tree \(p)/.vaultfs/snapshots/s/d --bytes 1G", "shows what was"), ("stats \(home.directory)", "\(home.directory) is not inside a mounted vault"),
                                 ("quota set --tree \(p)/d --bytes 1G --soft-bytes 2G", "/d: the soft limit of")] {
          try fails("\(fsctl) \(command)", saying: words)
        }
        #expect(try succeed("cd \(p)/.vaultfs/at/now/d; \(fsctl) stats").contains("it shows what was"))
        try fails("\(fsctl) quota set --vault --bytes 99999999T \(p)", code: 2, saying: "too large")
      }
    }

    @Test func `a policy that keeps nothing is warned of, and done`() throws {
      try run { home in
        let p = home.point
        for (arguments, words) in [("--all 0s", ["between two moments", "not kept"]), ("--no-keep", ["nothing of the past is kept"]), ("--keep --all 1h --hourly 30m", ["--hourly is shorter", "everything is kept for an hour"]),
                                   ("--all 0s --hourly none --daily 0s --weekly 0", ["nothing of the past is kept"])] {
          let ran = try shell("\(fsctl) versions policy \(arguments) \(p) 2>&1")
          #expect(ran.status == 0 && ran.output.contains("warning: ") && words.allSatisfy(ran.output.contains) && !ran.output.contains("0 seconds"), "\(ran)")
        }
        #expect(try !succeed("\(fsctl) versions policy --all 1d12h --hourly 7d --daily 31d --weekly 1y \(p) 2>&1").contains("warning"))
        #expect(try !succeed("\(fsctl) versions policy \(p) 2>&1").contains("warning"))
      }
    }
  }
}
