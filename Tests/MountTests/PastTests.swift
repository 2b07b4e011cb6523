// The hidden directory .vaultfs, as ordinary tools see it.

import Foundation
import Glibc
import Testing

struct PastTests {
  /// Files that were old enough for a version of their own when they were changed, and the moment before that.
  private func aged<R>(_ body: (MountedVault, _ moment: String) throws -> R) throws -> R {
    try MountedVault.run { mounted in
      try succeed("""
        set -e; cd \(mounted.point); mkdir -p d/e; echo one > d/f; ln -s f d/s; ln d/f d/l; setfattr -n user.k -v 1 d/f; seq 100000 > d/big
        chmod 640 d/f; touch -d 2001-02-03T04:05:06.123456789Z d/f d/big d; cp -a d \(mounted.directory)/before
        """)
      sleep(12)
      let moment = try succeed("date +%Y-%m-%dT%H:%M:%S").trimmingCharacters(in: .newlines)
      usleep(1_200_000)
      try succeed("set -e; cd \(mounted.point); echo two > d/f; seq 5 > d/big; mv d/e d/g; echo new > d/new; rm d/s; chmod 600 d/f")
      return try body(mounted, moment)
    }
  }

  @Test func `any moment can be named, walked, compared and copied`() throws {
    try aged { mounted, moment in
      let past = "\(mounted.point)/.vaultfs/at/\(moment)", before = "\(mounted.directory)/before", back = "\(mounted.directory)/back"
      try succeed("diff -r \(before) \(past)/d")
      for copy in ["cp -a \(past)/d \(back)", "rsync -aHX \(past)/d/ \(back)/", "tar -C \(past) --format=posix -cf - d | tar -C \(mounted.directory) -xf - --transform s/^d/back/"] {
        try succeed("rm -rf \(back); mkdir -p $(dirname \(back)); \(copy)")
        let list = "find . -printf '%p %y %m %U %G %s %T@ %l\\n' | grep -v '^\\. ' | sort"
        #expect(try succeed("cd \(back); \(list)") == succeed("cd \(before); \(list)"), "\(copy)")
        try succeed("diff -r \(before) \(back)")
      }
      #expect(try succeed("getfattr --absolute-names --only-values -n user.k \(past)/d/f") == "1")
      #expect(try succeed("stat -c %i \(past)/d/f") == succeed("stat -c %i \(past)/d/l"))
      // Inside the vault, too: no byte is stored again for it.
      try succeed("cp -a \(past)/d \(mounted.point)/again && diff -r \(before) \(mounted.point)/again")
    }
  }

  @Test func `what is read of the version under way does not stand for what it became`() throws {
    try MountedVault.run { mounted in
      let p = mounted.point
      try succeed("cd \(p); printf 'a%.0s' $(seq 40) > g; echo 'first  content' > f; sleep 1.3")
      let moment = try succeed("date -d '-1 sec' +%Y-%m-%dT%H:%M:%S").trimmingCharacters(in: .newlines)
      try succeed("cat \(p)/.vaultfs/at/\(moment)/g \(p)/.vaultfs/versions/f/*; sleep 1; cd \(p); printf 'b%.0s' $(seq 60) > g; echo 'second content!' > f")
      for _ in 0..<2 {
        let seen = try succeed("cat \(p)/.vaultfs/at/\(moment)/g")
        #expect([String(repeating: "a", count: 40), String(repeating: "b", count: 60)].contains(seen), "\(seen)")
        let version = try succeed("cd \(p)/.vaultfs/versions/f && cat * && stat -c %s *")
        #expect(version == "second content!\n16\n", "\(version)")
      }
    }
  }

  @Test(arguments: ["deleted", "shorter", "longer"]) func `an open file of a snapshot that is deleted reads as it was, whatever became of the file`(how: String) throws {
    try MountedVault.run { mounted in
      let change = ["deleted": "os.remove(f)", "shorter": "open(f, 'wb').write(b'y' * 100)", "longer": "open(f, 'ab').write(b'y' * 50000)"][how]!
      try succeed("""
        python3 - \(mounted.point) \(MountedVault.fsctl) <<'END'
        import os, subprocess, sys, time
        p, fsctl = sys.argv[1:]
        f, was = p + '/f', b'x' * 60000
        def run(*words): subprocess.run([fsctl, *words], check=True, stderr=subprocess.DEVNULL)
        run('versions', 'policy', p, '--no-keep')
        open(f, 'wb').write(was)
        run('snapshot', 'create', 's', p)
        held = os.open(p + '/.vaultfs/snapshots/s/f', os.O_RDONLY)
        run('snapshot', 'delete', 's', p)
        \(change)
        run('gc', p)
        for _ in range(2):
            assert os.fstat(held).st_size == 60000, os.fstat(held)
            assert os.pread(held, 200000, 0) == was, len(os.pread(held, 200000, 0))
            time.sleep(1.1)
        END
        """)
    }
  }

  @Test func `nothing that was can be changed, and no walk meets it`() throws {
    try aged { mounted, moment in
      let past = "\(mounted.point)/.vaultfs/at/\(moment)"
      for change in ["touch \(past)/d/f", "echo x > \(past)/d/f", "rm -f \(past)/d/f", "mkdir \(past)/x", "mv \(past)/d/f \(mounted.point)/f", "ln \(past)/d/f \(mounted.point)/f",
        "chmod 777 \(past)/d/f", "setfattr -n user.a -v b \(past)/d/f", "truncate -s 0 \(past)/d/big", "touch \(mounted.point)/.vaultfs/x"] {
        let ran = try shell("\(change) 2>&1")
        #expect(ran.status != 0 && ran.output.contains("Read-only file system"), "\(change): \(ran.output)")
      }
      try fails("mkdir \(mounted.point)/.vaultfs", saying: "File exists")
      for change in ["rmdir .vaultfs", "mv .vaultfs other"] { try fails("cd \(mounted.point); LC_ALL=C \(change)", saying: "Read-only file system") }
      #expect(try succeed("ls -A \(mounted.point)") == "d\n")
      #expect(try succeed("find \(mounted.point) | grep -c vaultfs/at || true") == "0\n")
      #expect(try succeed("cat \(mounted.point)/d/f") == "two\n")
      try fails("ls \(mounted.point)/.vaultfs/at/nonsense", code: 2, saying: "No such file")
      try fails("ls \(mounted.point)/.vaultfs/snapshots/none", code: 2, saying: "No such file")
    }
  }

  @Test func `a file's versions and what was deleted are there, to whoever may see them`() throws {
    try aged { mounted, _ in
      let hidden = "\(mounted.point)/.vaultfs"
      #expect(try succeed("cat \(hidden)/versions/d/f/*") == "one\ntwo\n")
      #expect(try succeed("cat $(ls -d \(hidden)/versions/d/big/* | head -n 1) | wc -l") == "100000\n")
      try succeed("rm -r \(mounted.point)/d")
      #expect(try succeed("cd \(hidden)/trash/d && find . | sort") == ".\n./big\n./f\n./g\n./l\n./new\n./s\n", "with what went just before")
      #expect(try succeed("cat \(hidden)/trash/d/l") == "two\n")
      #expect(try succeed("ls \(hidden)/trash; setpriv --reuid=65534 --regid=65534 --clear-groups ls \(hidden)/trash") == "d\n", "others do not see what root deleted")
      try fails("setpriv --reuid=65534 --regid=65534 --clear-groups ls \(hidden)/trash/d", code: 2, saying: "No such file")
      try mounted.remount()
      #expect(try succeed("cat \(hidden)/trash/d/l") == "two\n")
    }
  }

  @Test func `a listing ends although nothing in it can be read, and shows what follows what it does not show`() throws {
    try MountedVault.run { mounted in
      let point = mounted.point, fsctl = MountedVault.fsctl
      // The name is kept, what it led to is not.
      let moment = try succeed("""
        cd \(point); mkdir d; echo 1 > d/f; sleep 1.1; date +@%s; sleep 1.1; rm d/f; \(fsctl) versions prune d/f
        """).split(separator: "\n").first!
      let then = "\(point)/.vaultfs/at/\(moment)/d"
      let ran = try shell("for i in 1 2 3 4 5 6; do timeout -s KILL 10 ls \(then) & done; wait; timeout -s KILL 10 ls \(point)", seconds: 60)
      #expect(ran.status == 0 && ran.output == String(repeating: "f\n", count: 6) + "d\n", "\(ran)")
      // It is none that was not there: whoever copies, or deletes what a copy should not have, learns of it.
      try fails("cat \(then)/f", saying: "No data available")
      try fails("cp -r \(then) \(mounted.directory)/copy", saying: "No data available")
      try succeed("echo mine > \(mounted.directory)/copy/f")
      try fails("rsync -a --delete \(then)/ \(mounted.directory)/copy", code: 23, saying: "No data available")
      #expect(try succeed("cat \(mounted.directory)/copy/f; ls \(then)/g 2> /dev/null || echo never") == "mine\nnever\n")
      try succeed("mkdir \(point)/links; cd \(point)/links; for i in $(seq 300); do ln -s x l$i; done; echo x > file")
      #expect(try succeed("ls \(point)/.vaultfs/versions/links") == "file\n")
    }
  }

  @Test func `a file that was just written and then replaced is in the past as it was`() throws {
    try MountedVault.run { mounted in
      let point = mounted.point, fsctl = MountedVault.fsctl
      // The name is old enough to be kept when its file is replaced, the file's last version is not.
      let moment = try succeed("""
        \(fsctl) versions policy --window 8s \(point) > /dev/null; cd \(point); mkdir d; echo 1 > d/f; sleep 9; echo 2 >> d/f; sleep 1.1
        date +@%s; sleep 1.1; echo 3 > d/t; mv d/t d/f
        """).split(separator: "\n").last!
      #expect(try succeed("cat \(point)/.vaultfs/at/\(moment)/d/f") == "1\n2\n")
    }
  }

  @Test func `a long trash is listed in the time that it takes to read it`() throws {
    try MountedVault.run { mounted in
      let point = mounted.point
      try succeed("mkdir \(point)/d; cd \(point)/d; seq 4000 | xargs touch; seq 4000 | xargs rm", seconds: 60)
      #expect(try succeed("ls -l \(point)/.vaultfs/trash | wc -l", seconds: 30) == "4001\n")
      #expect(try succeed("find \(point)/.vaultfs/trash/ -type f | wc -l", seconds: 30) == "4000\n")
    }
  }
}
