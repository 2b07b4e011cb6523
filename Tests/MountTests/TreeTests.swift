// Trees of real files, copied in by the programs people use, and compared in every detail.

import Foundation
import Glibc
import Testing

/// A tree of at least ten thousand files: what this computer has, and what it seldom has.
enum SourceTree {
  /// Made once for all tests of a run.
  static func make(at path: String) throws {
    try succeed("""
      set -e
      mkdir -p \(path)/real \(path)/made
      cd /usr
      # Real files: headers, scripts, documents; as many as there are, up to a number.
      find include share/doc share/perl share/perl5 share/zoneinfo share/locale share/man share/i18n lib/python3 share \\
        -xdev -type f -size -600k 2> /dev/null | head -n 9000 | sort -u > \(path)/../list
      tar -cf - -T \(path)/../list --no-recursion 2> /dev/null | tar -xpf - -C \(path)/real
      rm \(path)/../list
      cd \(path)/made
      i=0; while [ $i -lt 40 ]; do
        mkdir -p many/$i; j=0
        while [ $j -lt 80 ]; do echo "file $i $j" > many/$i/$j; j=$((j + 1)); done
        i=$((i + 1))
      done
      # Names.
      mkdir "names"; printf a > 'names/with space'; printf b > "$(printf 'names/new\\nline')"; printf c > 'names/back\\slash'; printf d > 'names/"quotes"'
      printf e > "$(printf 'names/\\377\\376')"; printf f > "$(printf 'names/\\303\\251')"; printf g > "$(printf 'names/e\\314\\201')"; printf h > 'names/-dash'
      printf i > "names/$(head -c 255 /dev/zero | tr '\\0' n)"
      # Links.
      mkdir links; echo content > links/one; ln links/one links/two; ln links/one names/three; ln -s one links/soft; ln -s /nowhere/at/all links/dangling
      ln -s "$(head -c 4000 /dev/zero | tr '\\0' t)" links/long
      # Things that are not files.
      mkdir special; mkfifo -m 640 special/fifo; mknod special/null c 1 3; mknod special/disk b 7 99; chmod 666 special/null
      # Modes and owners.
      mkdir modes; for m in 000 400 644 755 1777 2755 4711 6750; do echo $m > modes/$m; chown 1234:4321 modes/$m; chmod $m modes/$m; done
      mkdir -m 2770 modes/setgid; mkdir -m 1777 modes/sticky; chown 7:8 modes/setgid; chmod 2770 modes/setgid; chown -h 5:6 links/soft
      # Times.
      mkdir times; for t in 1901-12-14 1969-12-31T23:59:59.999999999Z 1970-01-01T00:00:00Z 2001-09-09T01:46:40.123456789Z 2037-12-31 2110-05-05T05:05:05.5Z; do touch -d $t times/$t; done
      touch -h -d 2002-02-02T02:02:02.222222222Z links/dangling
      # Attributes.
      mkdir xattrs; echo x > xattrs/file; setfattr -n user.plain -v value xattrs/file; setfattr -n user.bytes -v 0x00ff00 xattrs/file; setfattr -n trusted.t -v t xattrs/file
      setfattr -n user.dir -v d xattrs; setfacl -m u:1234:r,g:77:rwx xattrs/file; mkdir xattrs/acl; setfacl -m d:u:1234:rwx,d:g::r xattrs/acl
      # Sizes.
      mkdir sizes; for n in 0 1 4095 4096 4097 131071 131072 131073 300000; do head -c $n /dev/urandom > sizes/$n; done
      head -c 12000000 /dev/urandom > sizes/large; yes 'text that repeats' | head -c 9000000 > sizes/text
      truncate -s 50000000 sizes/sparse; printf middle | dd of=sizes/sparse bs=1 seek=25000000 conv=notrunc 2> /dev/null
      touch -d 2003-03-03T03:03:03.333333333Z modes times sizes links names many xattrs special .
      """, seconds: 200)
    let count = Int(try succeed("find \(path) | wc -l").trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
    try #require(count >= 10_000, "only \(count) files")
  }

  /// Every detail of a tree, one line a thing: type, mode, owner, size, time, links, target, attributes, content.
  static func describe(_ path: String) throws -> String {
    try succeed("""
      cd \(path) && export LC_ALL=C
      find . -not -type d -printf '%P %y %m %U %G %s %T@ %n %l\\0' | sort -z | tr '\\0' '\\n'
      find . -type d -printf '%P %y %m %U %G %T@\\0' | sort -z | tr '\\0' '\\n'
      echo hard links; find . -not -type d -links +1 -printf '%i %P\\n' | sort | awk '{ if ($1 != last) printf "\\n"; last = $1; $1 = ""; printf "%s", $0 } END { print "" }' | sort
      echo devices; find . -type b -o -type c | sort | xargs stat -c '%n %t %T'
      echo attributes; find made -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex 2> /dev/null | sed 's/^# file: //'
      echo contents; find . -type f -print0 | sort -z | xargs -0 cat | sha256sum
      find made -type f -print0 | sort -z | xargs -0 sha256sum
      """, seconds: 200)
  }

  static func expectSame(_ a: String, _ b: String, _ what: String, at location: SourceLocation = #_sourceLocation) throws {
    let first = try describe(a), second = try describe(b)
    guard first != second else { return }
    let lines = zip(first.split(separator: "\n", omittingEmptySubsequences: false), second.split(separator: "\n", omittingEmptySubsequences: false))
    let different = lines.filter { $0 != $1 }.prefix(8).map { "  - \($0)\n  + \($1)" }.joined(separator: "\n")
    Issue.record("\(what): \(a) and \(b) differ:\n\(different)", sourceLocation: location)
  }
}

extension MountTests {
  @Suite(.serialized) struct TreeTests {
    @Test func `ten thousand files come back from cp and rsync in every detail, and a second copy costs nothing`() throws {
      try MountedVault.run { home in
        let source = home.directory + "/source"
        try SourceTree.make(at: source)
        try succeed("cp -a \(source) \(home.point)/copied", seconds: 200)
        try SourceTree.expectSame(source, home.point + "/copied", "cp -a")
        try succeed("diff -r --no-dereference \(source)/real \(home.point)/copied/real", seconds: 200)
        try home.unmount()
        let stored = try home.number("storedBytes"), unique = try home.number("uniqueBytes")
        try home.mount()
        try SourceTree.expectSame(source, home.point + "/copied", "cp -a, and mounted again")

        try succeed("rsync -aHAX --exclude='*.sock' \(source)/ \(home.point)/synced/", seconds: 200)
        try SourceTree.expectSame(source, home.point + "/synced", "rsync -aHAX")
        // Nothing to do for the second run.
        #expect(try succeed("rsync -aHAX --itemize-changes \(source)/ \(home.point)/synced/", seconds: 200) == "")
        try home.unmount()
        let added = try home.number("uniqueBytes") - unique
        #expect(added * 200 <= unique, "a second copy adds \(added) bytes of content to \(unique)")
        let logical = try home.number("logicalBytes") / 2
        let grown = try home.number("storedBytes") - stored
        // Names, attributes and manifests are stored again; content is not.
        #expect(grown * 8 <= logical, "a second copy of \(logical) bytes, \(stored) stored, adds \(grown)")
        try home.mount()
        try SourceTree.expectSame(source, home.point + "/synced", "rsync, and mounted again")

        // And the way back, and away.
        try succeed("cp -a \(home.point)/synced \(home.directory)/back && rm -r \(home.point)/synced", seconds: 200)
        try SourceTree.expectSame(source, home.directory + "/back", "copied out again")
        try succeed("tar -C \(source) -cf - made | tar -C \(home.point) -xpf - --xattrs && mv \(home.point)/made \(home.point)/moved && rm -r \(home.point)/moved \(home.point)/copied", seconds: 200)
        #expect(try FileManager.default.contentsOfDirectory(atPath: home.point) == [])
        let status = try home.status()
        #expect(status["nodes"] as? Int == 1 && status["logicalBytes"] as? Int == 0, "\(status)")
        #expect(!home.log.contains("cannot") && !home.log.contains("damaged"), "\(home.log)")
      }
    }

    @Test func `a second identical copy of large files adds at most half a percent`() throws {
      try MountedVault.run { home in
        try succeed("head -c 150000000 /dev/urandom > \(home.directory)/large; cp \(home.directory)/large \(home.point)/first")
        try home.unmount()
        let before = try home.number("storedBytes")
        try home.mount()
        try succeed("cp \(home.directory)/large \(home.point)/second && cmp \(home.directory)/large \(home.point)/second && cmp \(home.point)/first \(home.directory)/large")
        try home.unmount()
        let added = try home.number("storedBytes") - before
        #expect(added * 200 <= before, "\(added) bytes were added to \(before)")
      }
    }
  }
}
