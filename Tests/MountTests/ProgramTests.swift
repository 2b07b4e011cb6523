// Programs at work inside a mount.

import Foundation
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct ProgramTests {
    @Test func `git clones, commits, packs and finds nothing wrong`() throws {
      try MountedVault.run { home in
        try succeed("""
          set -e
          export HOME=\(home.directory) GIT_CONFIG_NOSYSTEM=1
          git config --global user.name tester; git config --global user.email t@example.org; git config --global init.defaultBranch main
          git init -q \(home.directory)/origin && cd \(home.directory)/origin
          mkdir a b; i=0; while [ $i -lt 300 ]; do seq $i $((i + 200)) > a/$i; echo $i > b/$i; i=$((i + 1)); done
          git add . && git commit -q -m first && seq 5000 > a/5 && git commit -q -a -m second && git tag v1
          git clone -q \(home.directory)/origin \(home.point)/clone && cd \(home.point)/clone
          git checkout -q -b work && git mv a/7 c && seq 77 > new && git add . && git commit -q -m third && git rm -q -r b && git commit -q -m fourth
          git gc -q --aggressive && git fsck --full --strict && git status --porcelain
          git worktree add -q ../tree v1 && diff -r \(home.directory)/origin/a ../tree/a
          git push -q origin work && git -C \(home.directory)/origin fsck --full
          """, seconds: 180)
        try home.remount()
        try succeed("export HOME=\(home.directory); cd \(home.point)/clone && git fsck --full --strict && test -z \"$(git status --porcelain)\" && git log --oneline | grep -c . | grep -qx 4")
      }
    }

    @Test func `a program is compiled, linked and run`() throws {
      try MountedVault.run { home in
        try succeed("""
          set -e
          mkdir \(home.point)/project && cd \(home.point)/project
          i=0; while [ $i -lt 12 ]; do printf '#include "all.h"\\nint part_%d(int x) { return x + %d; }\\n' $i $i > part$i.c; i=$((i + 1)); done
          i=0; while [ $i -lt 12 ]; do echo "int part_$i(int);"; i=$((i + 1)); done > all.h
          { echo '#include <stdio.h>'; echo '#include "all.h"'; echo 'int main(void) { int s = 0;'; i=0; while [ $i -lt 12 ]; do echo "s = part_$i(s);"; i=$((i + 1)); done; echo 'return s != 66; }'; } > main.c
          printf 'OBJECTS = $(patsubst %%.c,%%.o,$(wildcard *.c))\\nCFLAGS = -O2 -g\\nprogram: libparts.a main.o\\n\\t$(CC) -o $@ main.o libparts.a\\nlibparts.a: $(filter-out main.o,$(OBJECTS))\\n\\tar rcs $@ $^\\n%%.o: %%.c all.h\\n\\t$(CC) $(CFLAGS) -c -o $@ $<\\n' > Makefile
          make -s -j4 && ./program && make -s -q
          touch all.h && ! make -s -q && make -s -j4 && ./program
          """)
      }
    }

    @Test(arguments: ["delete", "wal", "truncate"])
    func `what sqlite committed outlives a kill of the owner`(mode: String) throws {
      try MountedVault.run { home in
        let database = home.point + "/data.db"
        try succeed("sqlite3 \(database) 'PRAGMA journal_mode = \(mode); CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX i ON t (text);'")
        for round in 0..<4 {
          try succeed("""
            { echo 'PRAGMA synchronous = FULL; BEGIN;'; i=0; while [ $i -lt 500 ]; do echo "INSERT INTO t (text) VALUES ('round \(round) row $i');"; i=$((i + 1)); done; echo 'COMMIT;'
              echo "UPDATE t SET text = text || '!' WHERE id % 7 = \(round);"; } | sqlite3 \(database)
            """)
          try home.killOwner()
          try home.mount()
          #expect(try succeed("sqlite3 \(database) 'PRAGMA integrity_check; SELECT count(*) FROM t;'") == "ok\n\((round + 1) * 500)\n", "round \(round)")
          #expect(try succeed("sqlite3 \(database) \"SELECT count(*) FROM t WHERE text LIKE 'round \(round) row %' AND id % 7 = \(round) AND text NOT LIKE '%!'\"") == "0\n")
        }
      }
    }

    @Test func `a kill in the middle of a transaction leaves the one before it`() throws {
      try MountedVault.run { home in
        let database = home.point + "/data.db"
        try succeed("sqlite3 \(database) 'CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1);'")
        let writer = try start("{ echo 'PRAGMA cache_size = 10; BEGIN;'; while :; do echo 'INSERT INTO t SELECT n + 1 FROM t LIMIT 3000;'; done; } | sqlite3 \(database)", seconds: 20)
        defer {
          kill(writer, SIGTERM)
          waitpid(writer, nil, 0)
        }
        usleep(1_500_000)
        try home.killOwner()
        try home.mount()
        #expect(try succeed("sqlite3 \(database) 'PRAGMA integrity_check; SELECT count(*) FROM t;'") == "ok\n1\n")
      }
    }

    @Test func `editors' and packers' habits work: temporary files, renames, locks, appends`() throws {
      try MountedVault.run { home in
        try succeed("""
          set -e; cd \(home.point)
          echo old > document; chmod 640 document; echo new > .document.swp && mv .document.swp document && test "$(cat document)" = new
          seq 100000 > numbers; sed -i 's/^7/x/' numbers; test "$(grep -c ^x numbers)" = 11111
          sort -R numbers > shuffled; sort numbers > a; sort shuffled | cmp - a
          gzip -k numbers && gunzip -c numbers.gz | cmp - numbers
          tar -czf all.tar.gz numbers shuffled && tar -tzf all.tar.gz | wc -l | grep -qx 2
          i=0; while [ $i -lt 200 ]; do echo "line $i" >> log; i=$((i + 1)); done; test "$(wc -l < log)" = 200
          ( for w in 1 2 3 4; do ( i=0; while [ $i -lt 250 ]; do echo "writer $w line $i" >> shared; i=$((i + 1)); done ) & done; wait )
          test "$(wc -l < shared)" = 1000 && test "$(sort -u shared | wc -l)" = 1000
          ( flock -n 9 && sh -c 'flock -n 9' 9> lock && exit 1; true ) 9> lock
          cp --reflink=always numbers cloned && cmp numbers cloned
          find . -newer document -name 'num*' | grep -q numbers; du -s . > /dev/null; df . > /dev/null
          """)
      }
    }
  }
}
