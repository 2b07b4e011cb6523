// What is found of the past by a path: under which names, of which directories, whatever was forgotten around it.

import Foundation
import FuseBridge
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct HistoryPlacesTests {
    private let vaultfs = MountedVault.program
    private let fsctl = MountedVault.fsctl

    private func run(_ body: (MountedVault) throws -> Void) throws { try MountedVault.runWithEachVersion(body) }

    /// The number of a file's newest version.
    private func newest(_ path: String) throws -> String { try succeed("\(fsctl) versions list \(path) | head -n 1 | cut -f 1").trimmingCharacters(in: .whitespacesAndNewlines) }

    @Test func `a version that is kept comes back, though its directory's past is forgotten`() throws {
      try run { home in
        let p = home.point
        try succeed("mkdir \(p)/d; echo A > \(p)/d/f; \(fsctl) versions pin \(p)/d/f now; echo T > \(p)/top; \(fsctl) versions pin \(p)/top now")
        let file = try newest("\(p)/d/f"), top = try newest("\(p)/top")
        try succeed("echo B > \(p)/d/f; echo B > \(p)/top; touch \(p)/d/other \(p)/another; sleep 1.1; touch \(p)/d/more \(p)/more")
        try succeed("\(fsctl) versions policy --no-keep \(p) 2> /dev/null; \(fsctl) gc \(p)")
        try succeed("\(fsctl) versions restore \(p)/d/f \(file) && \(fsctl) versions restore \(p)/top \(top) && \(fsctl) versions restore \(p)/d/f \(file) --to \(p)/copy")
        #expect(try succeed("cat \(p)/d/f \(p)/top \(p)/copy") == "A\nT\nA\n")
        // What is pinned is found by its name also when it is gone.
        try succeed("rm \(p)/top && \(fsctl) gc \(p)")
        #expect(try succeed("\(fsctl) versions list \(p)/top | cut -f 1").contains(top))
        try succeed("\(fsctl) versions restore \(p)/top \(top)")
        #expect(try succeed("cat \(p)/top") == "T\n")
      }
    }

    @Test func `files are found in a directory that was made anew, or is another one now`() throws {
      try run { home in
        let p = home.point
        try succeed("mkdir -p \(p)/a/b; echo 1 > \(p)/a/b/f; echo old > \(p)/a/b/g; echo 2 > \(p)/a/b/f; rm -r \(p)/a; mkdir -p \(p)/a/b; echo new > \(p)/a/b/g")
        func contents(_ path: String) throws -> String {
          try succeed("for n in $(\(fsctl) versions list \(path) | cut -f 1); do \(fsctl) versions cat \(path) $n; done")
        }
        #expect(try contents("\(p)/a/b/f").contains("2\n1\n") && contents("\(p)/a/b/g").hasPrefix("new\n") && contents("\(p)/a/b/g").contains("old\n"))
        #expect(try succeed("ls \(p)/.vaultfs/versions/a/b/f | wc -l") != "0\n")
        let old = try newest("\(p)/a/b/f")
        try succeed("\(fsctl) versions restore \(p)/a/b/f \(old)")
        #expect(try succeed("cat \(p)/a/b/f") == "2\n")
        // What was in a directory that has another name now is found by both; and stays when one is pruned.
        try succeed("mkdir \(p)/c; echo 1 > \(p)/c/f; echo 2 > \(p)/c/f; mv \(p)/c \(p)/c.old; mkdir \(p)/c; echo 3 > \(p)/c/f; echo 4 > \(p)/c/f")
        #expect(try contents("\(p)/c/f").contains("1\n") && contents("\(p)/c.old/f").contains("1\n") && !contents("\(p)/c.old/f").contains("3\n"))
        try succeed("\(fsctl) versions prune \(p)/c/f")
        #expect(try !contents("\(p)/c/f").contains("3\n") && contents("\(p)/c.old/f").contains("1\n"))
        // A directory may have a file's name.
        try succeed("echo file > \(p)/x; rm \(p)/x; mkdir \(p)/x")
        #expect(try contents("\(p)/x").contains("file\n"))
        try fails("\(fsctl) versions list \(p)/c", saying: "is a directory; versions are of files")
        try succeed("ln -s c/f \(p)/link")
        try fails("\(fsctl) versions list \(p)/link", saying: "is a symlink")
        try fails("mkdir \(p)/young; \(fsctl) versions restore \(p)/young 1", saying: "\(p)/young was no directory then")
      }
    }

    @Test func `a copy of what a snapshot is of is not what it is of`() throws {
      try run { home in
        let p = home.point
        func directory() throws -> String { try succeed("\(fsctl) snapshot list \(p) | cut -f 3").trimmingCharacters(in: .whitespacesAndNewlines) }
        try succeed("mkdir \(p)/d; echo 1 > \(p)/d/a; \(fsctl) snapshot create s \(p)/d; \(fsctl) snapshot restore s \(p) --to \(p)/copy 2> /dev/null || \(fsctl) snapshot restore s --to \(p)/copy \(p)/d; echo mine > \(p)/copy/mine; rm -r \(p)/d")
        #expect(try directory() == "/d, which is gone")
        try succeed("cd \(p); \(fsctl) snapshot restore s")
        #expect(try succeed("cat \(p)/d/a \(p)/copy/mine") == "1\nmine\n" && directory() == "/d")
        // Nor when it is gone.
        try succeed("rm -r \(p)/d; \(fsctl) snapshot restore s \(p)/d --to \(p)/other")
        #expect(try directory() == "/d, which is gone")
        try succeed("\(fsctl) snapshot restore s \(p)/d")
        #expect(try succeed("cat \(p)/d/a \(p)/other/a") == "1\n1\n" && directory() == "/d")
        try succeed("\(fsctl) snapshot restore s \(p)/d --to \(p)/d/inside")
        #expect(try directory() == "/d")
      }
    }

    @Test func `emptying the trash tells what a snapshot holds`() throws {
      try run { home in
        let p = home.point
        try succeed("mkdir \(p)/d; echo 1 > \(p)/d/a; echo 2 > \(p)/b; \(fsctl) snapshot create s \(p)/d; rm \(p)/d/a; echo 3 > \(p)/c; rm \(p)/b \(p)/c")
        #expect(try succeed("\(fsctl) trash empty \(p) --dry-run") == "1 file or directory would be forgotten; 2 left: snapshots or pins hold them (`fsctl snapshot restore`, `fsctl versions restore`), or they have another name\n")
        #expect(try succeed("\(fsctl) trash empty \(p)") == "1 file or directory forgotten; 2 left: snapshots or pins hold them (`fsctl snapshot restore`, `fsctl versions restore`), or they have another name\n")
        #expect(try succeed("\(fsctl) trash empty \(p)") == "0 files and directories forgotten; 2 left: snapshots or pins hold them (`fsctl snapshot restore`, `fsctl versions restore`), or they have another name\n" && succeed("\(fsctl) trash list \(p) | wc -l") == "2\n")
        try succeed("\(fsctl) snapshot delete s \(p)")
        #expect(try succeed("\(fsctl) trash empty \(p)") == "2 files and directories forgotten\n")
      }
    }

    @Test func `a copy takes nothing back, and what had gone from a directory before that went is told by itself`() throws {
      try run { home in
        let p = home.point
        func trash() throws -> [String] { try succeed("\(fsctl) trash list \(p)").split(separator: "\n").map { String($0.split(separator: "\t").last ?? "") } }
        try succeed("cd \(p); mkdir d; echo 1 > d/f; echo 2 > d/f")
        let old = try succeed("\(fsctl) versions list \(p)/d/f | tail -n 1 | cut -f 1").trimmingCharacters(in: .newlines)
        // Something else changes in it, so it was still whole then.
        try succeed("cd \(p); rm d/f; echo 3 > d/g; \(fsctl) versions restore d/f \(old) --to copy")
        #expect(try trash() == ["\(p)/d/f"] || trash() == ["/d/f"])
        try succeed("cd \(p); rm -r d; \(fsctl) snapshot create s .")
        #expect(try Set(trash()) == ["/d", "/d/f"])
        try fails("\(fsctl) trash restore \(p)/d/f", saying: "its directory is not there", "--to PATH")
        try succeed("cd \(p); \(fsctl) trash restore d/f --to f && \(fsctl) trash restore d")
        #expect(try succeed("cd \(p); cat f; ls d") == "2\ng\n" && trash().isEmpty)
        try fails("\(fsctl) trash list \(p)/nothing", saying: "\(p)/nothing: nothing is there")
        // In directories of directories.
        try succeed("cd \(p); mkdir -p D/E; echo x > D/E/x; rm D/E/x; touch D/y; rm -r D")
        #expect(try Set(trash()) == ["/D", "/D/E/x"])
        try succeed("cd \(p); \(fsctl) trash restore D; \(fsctl) trash restore D/E/x; rm -r D; \(fsctl) trash empty .")
        // A tree, too: nor does it take its limit.
        try succeed("cd \(p); \(fsctl) quota set --tree d --bytes 1G; \(fsctl) snapshot create t d; rm -r d; \(fsctl) snapshot restore t d --to e; ls e/g")
        #expect(try trash() == ["/d"])
        #expect(try succeed("cd \(p); \(fsctl) quota list .; \(fsctl) trash restore d; \(fsctl) quota list .").components(separatedBy: "/e").count == 1)
        #expect(try succeed("cd \(p); \(fsctl) quota list .").contains("/d"))
        // It has no past but its own: letting go of that takes nothing from the trash.
        try succeed("cd \(p); echo 1 > h; echo 2 > h")
        let first = try succeed("\(fsctl) versions list \(p)/h | tail -n 1 | cut -f 1").trimmingCharacters(in: .newlines)
        try succeed("cd \(p); rm h; \(fsctl) versions restore h \(first) --to h2; echo 3 > h2; \(fsctl) versions prune h2")
        #expect(try trash().contains("/h") && succeed("\(fsctl) versions list \(p)/h2 | wc -l") == "1\n")
        try succeed("cd \(p); \(fsctl) trash restore h; \(fsctl) versions restore h \(first)")
        #expect(try succeed("cat \(p)/h2") == "3\n")
      }
    }

    @Test func `versions that a name had before something else got it are pruned, and what stays is told`() throws {
      try run { home in
        let p = home.point
        // As editors save that keep a backup.
        try succeed("cd \(p); for i in 1 2 3 4; do [ ! -e a ] || mv a a~; echo $i > a; done")
        let count = try succeed("\(fsctl) versions list \(p)/a | wc -l").trimmingCharacters(in: .whitespacesAndNewlines)
        #expect(Int(count)! >= 4)
        let planned = try succeed("\(fsctl) versions prune --dry-run \(p)/a"), done = try succeed("\(fsctl) versions prune \(p)/a")
        #expect(planned.prefix { $0.isNumber } == done.prefix { $0.isNumber }, "\(planned)\(done)")
        let left = try #require(Int(try succeed("\(fsctl) versions list \(p)/a | wc -l").trimmingCharacters(in: .whitespacesAndNewlines)))
        let told = done.split(separator: " ").firstIndex(of: "left:").map { Int(done.split(separator: " ")[$0 - 1]) ?? 0 } ?? 0
        // Those of the one that is `a~` now.
        #expect(left == 1 + told && told < Int(count)! - 2, "\(count) \(left): \(done)")
        #expect(try succeed("cat \(p)/a \(p)/a~") == "4\n3\n")
        // What went on elsewhere is not counted: a version that began shortly before it got another name, and ended with that.
        try succeed("\(fsctl) versions policy --window 1s \(p); cd \(p); echo 1 > b; sleep 2.1; echo 2 > b; mv b c; sleep 2.1")
        let later = try #require(Int(try succeed("date +%s").trimmingCharacters(in: .newlines)))
        try succeed("cd \(p); echo 3 > c; rm c; echo 4 > b")
        #expect(try succeed("cat \(p)/.vaultfs/versions/b/*").contains("2\n"))
        let ends = try succeed("\(fsctl) versions list --json \(p)/b | grep -o '\"untilSecond\":[0-9]*' | cut -d : -f 2").split(separator: "\n").map { Int($0)! }
        #expect(ends.count >= 2 && ends.allSatisfy { $0 < later }, "\(ends) \(later)")
        try succeed("sleep 2.1; echo 5 > \(p)/b")
        let counted = try succeed("\(fsctl) versions prune --dry-run \(p)/b"), gone = try succeed("\(fsctl) versions prune \(p)/b")
        #expect(counted.prefix { $0.isNumber } == gone.prefix { $0.isNumber }, "\(counted)\(gone)")
        #expect(try !succeed("grep forgotten \(home.vault)/log | grep -c /b:").isEmpty)
        // Nor what a snapshot holds, though the name leads nowhere any more.
        try succeed("cd \(p); echo 1 > q; \(fsctl) snapshot create held .; echo 2 > q; rm q")
        let numbers = try ["--dry-run", ""].map { try succeed("\(fsctl) versions prune \($0) \(p)/q").split { !$0.isNumber }.map(String.init) }
        #expect(numbers[0] == numbers[1] && numbers[0].count == 2, "\(numbers)")
      }
    }

    @Test func `a directory as of a moment that is not kept is that of the last one before that is, and takes nothing away`() throws {
      try run { home in
        let p = home.point
        try succeed("\(fsctl) versions policy --window 0s \(p); cd \(p); mkdir g; echo 1 > g/f; \(fsctl) snapshot create s g; sleep 1.1; echo 2 > g/f; sleep 1.1")
        let then = try succeed("date +@%s; sleep 1.1").split(separator: "\n")[0]
        try succeed("cd \(p); echo 3 > g/f; echo new > g/new; echo 1 > pruned; \(fsctl) versions policy --no-keep \(p)")
        #expect(try succeed("cat \(p)/.vaultfs/at/\(then)/g/f") == "1\n")
        #expect(try succeed("cd \(p); \(fsctl) versions restore g \(then) --dry-run 2>&1").contains("not everything is kept"))
        let said = try json("\(fsctl) versions restore \(p)/g \(then) --json")
        #expect(said["asOf"] is String && said["missing"] as? Int == 0)
        #expect(try succeed("cd \(p)/g; ls; cat f") == "f\n1\n")
        #expect(try succeed("cd \(p); \(fsctl) versions restore g \(then) 2>&1").contains("nothing changed: \(p)/g is what it was"))
        try succeed("\(fsctl) snapshot delete s \(p)")
        try fails("\(fsctl) versions restore \(p)/g \(then)", saying: "not kept any more")
        try fails("ls \(p)/.vaultfs/at/\(then)/g", code: 2, saying: "No such file")
        // By a number as by a time; and a file that was none before is what it was.
        try succeed("cd \(p); \(fsctl) versions policy --keep .; mkdir x; echo 1 > x/f; \(fsctl) snapshot create t .; sleep 1.1; rm -r x; echo 2 > x; sleep 1.1")
        let number = try succeed("\(fsctl) versions list \(p)/x | head -n 1 | cut -f 1").trimmingCharacters(in: .newlines)
        try succeed("cd \(p); \(fsctl) versions pin x \(number); sleep 1.1; echo 3 > x; echo 4 > g/later; \(fsctl) versions policy --no-keep .")
        #expect(try succeed("\(fsctl) versions restore \(p)/x \(number); cat \(p)/x").hasSuffix("is back\n2\n"))
        #expect(try succeed("\(fsctl) versions restore \(p)/g \(number) --dry-run 2>&1").contains("not everything is kept"))
        try succeed("\(fsctl) snapshot delete t \(p); \(fsctl) versions policy --keep \(p); mkdir \(p)/h; echo 1 > \(p)/h/f; sleep 1.1")
        let later = try succeed("date +@%s; sleep 1.1").split(separator: "\n")[0]
        try succeed("echo 2 > \(p)/h/f; \(fsctl) versions prune \(p)/h/f")
        try fails("\(fsctl) versions restore \(p)/h \(later) --dry-run", saying: "nothing would change\n", "would come back but for 1 of the names", "`f`", "stays there")
        try fails("\(fsctl) versions restore \(p)/h \(later)", saying: "is back, but for 1 of the names", "`f`", "left there")
        #expect(try succeed("cat \(p)/h/f") == "2\n")
      }
    }

    @Test func `a snapshot of what is gone comes back by the vault's mount point, and a file of what is one now is found`() throws {
      try run { home in
        let p = home.point
        try succeed("cd \(p); mkdir -p s q/d; echo 1 > s/f; echo 2 > q/d/f; \(fsctl) snapshot create s s; sleep 2; rm -r s q/d; echo 3 > q/d")
        try succeed("\(fsctl) snapshot restore s \(p)")
        #expect(try succeed("cat \(p)/s/f; \(fsctl) versions list \(p)/q/d/f | head -n 1 | cut -f 3") == "1\n2 B\n")
        try fails("\(fsctl) versions list \(p)/q/d/never", saying: "nothing is known of a file")
        try fails("\(fsctl) versions list \(p)/s/f/never", saying: "what it is in is a file")
      }
    }

    @Test func `of what was deleted, that has another name stays in the trash, and that is told`() throws {
      try run { home in
        let p = home.point
        try succeed("cd \(p); echo 1 > a; ln a b; echo 2 > c; rm b c")
        #expect(try succeed("\(fsctl) trash empty \(p)") == "1 file or directory forgotten; 1 left: snapshots or pins hold them (`fsctl snapshot restore`, `fsctl versions restore`), or they have another name\n")
        #expect(try succeed("\(fsctl) trash list \(p) | cut -f 4") == "/b\n")
        try succeed("ln \(p)/a \(p)/b")
        #expect(try succeed("\(fsctl) trash list \(p)") == "", "it has that name again")
        #expect(try succeed("\(fsctl) trash empty --dry-run \(p)") == "0 files and directories would be forgotten\n")
        try succeed("rm \(p)/b")
        #expect(try succeed("\(fsctl) trash list \(p) | cut -f 4 | sort -u") == "/b\n")
        try succeed("rm \(p)/a")
        #expect(try succeed("\(fsctl) trash empty \(p); \(fsctl) trash list \(p)") == "1 file or directory forgotten\n")
      }
    }

    @Test func `a file whose directory was renamed is found by the path it had, by those who may go there now`() throws {
      try run { home in
        let p = home.point, bob = "setpriv --reuid=4002 --regid=4002 --clear-groups"
        try succeed("cd \(p); mkdir -p r/x/y; echo 1 > r/x/y/a; echo 2 > r/x/y/a; mv r/x r/z")
        #expect(try succeed("\(fsctl) versions list \(p)/r/x/y/a") == succeed("\(fsctl) versions list \(p)/r/z/y/a"))
        let all = try succeed("cat \(p)/.vaultfs/versions/r/x/y/a/*")
        #expect(all.contains("1\n") && all.contains("2\n"), "\(all)")
        #expect(try succeed("\(bob) \(fsctl) versions list \(p)/r/x/y/a | wc -l") != "0\n")
        try succeed("chmod 600 \(p)/r/z/y/a")
        try fails("\(bob) \(fsctl) versions list \(p)/r/x/y/a", saying: "you may not read it")
        try succeed("chmod 644 \(p)/r/z/y/a; chmod 700 \(p)/r/z")
        try fails("\(bob) \(fsctl) versions list \(p)/r/x/y/a", saying: "nothing is known of its directory")
        try fails("\(fsctl) versions restore \(p)/r/z/y/a 1 --to \(p)/.vaultfs/a", saying: "no version")
        let version = try newest("\(p)/r/z/y/a")
        try fails("\(fsctl) versions restore \(p)/r/z/y/a \(version) --to \(p)/.vaultfs/a", saying: "the hidden directory shows what was")
      }
    }

    @Test func `a tree that is being taken back when somebody interrupts is back or is not, as is said`() throws {
      try run { home in
        let p = home.point, d = "\(p)/d"
        func write(_ text: String) throws { try succeed("cd \(d); python3 -c 'for i in range(3000): open(str(i), \"w\").write(\"\(text)\")'") }
        func count(_ text: String) throws -> Int { try #require(Int(succeed("cat \(d)/* | tr -cd \(text) | wc -c").trimmingCharacters(in: .whitespacesAndNewlines))) }
        try succeed("mkdir \(d)")
        try write("a")
        try succeed("\(fsctl) snapshot create s \(d)")
        for delay in ["0.1", "0.3", "0.6", "1", "1.5"] {
          try write("b")
          let ran = try shell("timeout -s INT \(delay) \(fsctl) snapshot restore s \(d) 2>&1"), isBack = !ran.output.contains("nothing of it is back")
          for _ in 0..<2 {
            #expect(try count(isBack ? "a" : "b") == 3000, "\(delay): \(ran.output)")
            usleep(500_000)
          }
          #expect(isBack || ran.output.hasSuffix("interrupted: nothing of it is back\n"), "\(ran.output)")
        }
      }
    }

    @Test func `what is that already is not taken back, and what begins with a dash is no option`() throws {
      try run { home in
        let p = home.point
        try succeed("echo 1 > \(p)/f")
        let before = try succeed("\(fsctl) versions list \(p)/f")
        try succeed("\(fsctl) versions restore \(p)/f now; \(fsctl) versions restore \(p)/f now")
        #expect(try succeed("\(fsctl) versions list \(p)/f") == before)
        for command in ["\(vaultfs) mount -dash \(home.directory)/x", "\(vaultfs) unmount -dash", "\(fsctl) versions cat \(p)/f -51"] { try fails(command, code: 2, saying: "there is no option `-", "./-…") }
      }
    }
  }
}
