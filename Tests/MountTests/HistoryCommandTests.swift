// `fsctl versions`, `snapshot`, `trash`, `gc` on a real mount, as people type them.

import Foundation
import Glibc
import Testing

struct HistoryCommandTests {
  private let fsctl = MountedVault.fsctl

  /// A mount on which each closing makes a version, however soon.
  private func run(_ body: (MountedVault) throws -> Void) throws {
    try MountedVault.run { mounted in
      try succeed("\(fsctl) versions policy --window 0s \(mounted.point)")
      try body(mounted)
    }
  }

  @Test func `a file that was edited twenty times is taken back at any of them`() throws {
    try run { mounted in
      let file = "\(mounted.point)/d/f"
      try succeed("mkdir \(mounted.point)/d; for i in $(seq 20); do seq $i > \(file); done")
      let ids = try succeed("\(fsctl) versions list \(file) | awk '$3 != \"0\" {print $1}'").split(separator: "\n").map(String.init)
      #expect(ids.count == 20)
      // An operation that began no version of it.
      try succeed("mkdir \(mounted.point)/d/e")
      try fails("\(fsctl) versions restore \(file) $((\(ids[0]) + 1))", saying: "no version", "is kept")
      for (index, id) in ids.enumerated() { #expect(try succeed("\(fsctl) versions cat \(file) \(id) | tail -n 1") == "\(20 - index)\n") }
      #expect(try succeed("\(fsctl) versions diff \(file) \(ids[1])").contains("+20"))
      #expect(try succeed("\(fsctl) versions restore --dry-run \(file) \(ids[15])") == "changes\t\(file)\n")
      #expect(try succeed("\(fsctl) versions restore --dry-run \(file) \(ids[15]) --to \(mounted.point)/other") == "comes back\t\(mounted.point)/other\n")
      #expect(try succeed("tail -n 1 \(file)") == "20\n", "nothing was changed")
      try succeed("cat \(file); \(fsctl) versions restore \(file) \(ids[15])")
      #expect(try succeed("\(fsctl) versions restore --dry-run \(file) \(ids[15])").contains("nothing would change"))
      #expect(try succeed("cat \(file)") == "1\n2\n3\n4\n5\n", "the kernel's pages are those of before no longer")
      try succeed("\(fsctl) versions restore \(file) \(ids[0])")
      #expect(try succeed("tail -n 1 \(file)") == "20\n", "that was a change like any other")
      try succeed("ls \(mounted.point)/other 2> /dev/null; \(fsctl) versions restore \(file) \(ids[17]) --to \(mounted.point)/other")
      #expect(try succeed("cat \(mounted.point)/other") == "1\n2\n3\n")
      try fails("\(fsctl) versions restore \(file) \(ids[17]) --to \(mounted.point)/other", saying: "exists already", "nothing was changed")
      try fails("\(fsctl) versions cat \(file) 999999", saying: "no version 999999")
      try fails("\(fsctl) versions cat \(file) 1971-01-01", saying: "before the vault was made")
      try fails("\(fsctl) versions cat \(file) soon", code: 2, saying: "neither a version's number nor a moment")
      try fails("\(fsctl) versions list \(mounted.directory)", saying: "not inside a mounted vault")
      try fails("\(fsctl) versions list \(mounted.point)/d", saying: "is a directory")
      try succeed("\(fsctl) versions pin \(file) \(ids[9])")
      let going = try succeed("\(fsctl) versions prune --dry-run \(file)"), gone = try succeed("\(fsctl) versions prune \(file)")
      #expect(going.prefix { $0.isNumber } == gone.prefix { $0.isNumber } && gone.contains(" are gone"))
      #expect(try succeed("\(fsctl) versions list \(file) | wc -l") == "2\n", "the present one and the pinned one")
    }
  }

  @Test func `of versions that are no text a comparison tells the sizes and where they differ first`() throws {
    try run { mounted in
      let file = "\(mounted.point)/picture"
      try succeed("head -c 2048 /dev/zero > \(file); { head -c 2000 /dev/zero; printf x; head -c 1071 /dev/zero; } | cat > \(file)")
      let ids = try succeed("\(fsctl) versions list \(file) | awk '$3 != \"0\" {print $1}'").split(separator: "\n").map(String.init)
      try #require(ids.count == 2)
      #expect(try succeed("\(fsctl) versions diff \(file) \(ids[1])") == "Binary files a/picture (\(ids[1])) of 2.00 KiB and b/picture (now) of 3.00 KiB differ, first at offset 2000\n")
      #expect(try succeed("\(fsctl) versions diff \(file) \(ids[0])") == "" && succeed("\(fsctl) versions diff \(file) \(ids[0]) present") == "")
      try succeed("rm \(file)")
      try fails("\(fsctl) versions diff \(file) \(ids[1])", saying: "is not there now", "versions list")
      #expect(try succeed("\(fsctl) versions diff \(file) \(ids[0]) \(ids[1])").contains("of 3.00 KiB and b/picture (\(ids[1])) of 2.00 KiB differ"))
    }
  }

  @Test func `what the kernel has of much that was taken back is read by nobody, whoever has it open or opens it next`() throws {
    try run { mounted in
      let file = "\(mounted.point)/file", tree = "\(mounted.point)/tree", kept = mounted.directory
      try succeed("yes short | head -c 20000000 > \(kept)/short; yes longer | head -c 50000000 > \(kept)/longer; mkdir \(tree)")
      try succeed("for which in short longer; do cat \(kept)/$which > \(file); done; cp \(kept)/short \(tree)/in; \(fsctl) snapshot create then --vault \(mounted.vault)")
      let ids = try succeed("\(fsctl) versions list \(file) | awk '$3 != \"0\" {print $1}'").split(separator: "\n").map(String.init)
      try #require(ids.count == 2)
      func restore(_ id: String) throws { try succeed("\(fsctl) versions restore \(file) \(id)") }
      // Whoever has nothing open; once, and again before anybody has looked.
      try succeed("cmp \(file) \(kept)/longer")
      try restore(ids[1])
      try succeed("cmp \(file) \(kept)/short")
      for id in [ids[0], ids[1], ids[0]] { try restore(id) }
      try succeed("truncate -s 49999999 \(file); truncate -s 50000000 \(file); head -c 49999999 \(kept)/longer | cmp -n 49999999 - \(file)")
      try restore(ids[0])
      // Two openings, of which the first is closed before the other reads.
      try restore(ids[1])
      let first = try check(open(file, O_RDONLY)), second = try check(open(file, O_RDONLY))
      close(first)
      let short = try #require(FileManager.default.contents(atPath: "\(kept)/short")), longer = try #require(FileManager.default.contents(atPath: "\(kept)/longer"))
      let handle = FileHandle(fileDescriptor: second)
      #expect(try handle.readToEnd() == short)
      // Whoever has it open, and mapped.
      let map = try #require(mmap(nil, short.count, PROT_READ, MAP_SHARED, second, 0))
      try restore(ids[0])
      try handle.seek(toOffset: 0)
      #expect(try handle.readToEnd() == longer)
      #expect(Data(bytesNoCopy: map, count: short.count, deallocator: .none) == longer.prefix(short.count))
      munmap(map, short.count)
      close(second)
      // In a tree.
      try succeed("cat \(kept)/longer > \(tree)/in; cmp \(kept)/longer \(tree)/in; \(fsctl) snapshot restore then \(tree); cmp \(kept)/short \(tree)/in")
    }
  }

  @Test func `a tree that was deleted comes back, and so does what a snapshot shows`() throws {
    try run { mounted in
      let point = mounted.point
      try succeed("cp -r /usr/include/linux \(point)/tree; cp -r /usr/include/linux \(mounted.directory)/before; \(fsctl) snapshot create first \(point)")
      try fails("\(fsctl) snapshot create first \(point)", saying: "a snapshot `first` already")
      try fails("\(fsctl) snapshot create a/b \(point)", saying: "`a/b` is not valid")
      try fails("\(fsctl) snapshot create .. \(point)", saying: "`..` is not valid", "`.` or `..`")
      try succeed("rm -r \(point)/tree; ls \(point)/tree 2> /dev/null; true")
      let number = try succeed("\(fsctl) trash list \(point) | awk '/tree/ {print $1}'").trimmingCharacters(in: .newlines)
      try succeed("\(fsctl) trash restore \(number) \(point); diff -r \(mounted.directory)/before \(point)/tree")
      try succeed("cd \(point)/tree; rm -r can; echo x > wireless.h; mkdir new")
      let planned = try succeed("cd \(point); \(fsctl) snapshot restore --dry-run first .")
      #expect(Set(planned.split(separator: "\n")) == ["changes\t\(point)/", "comes back\t\(point)/tree/can/", "goes\t\(point)/tree/new/", "changes\t\(point)/tree/wireless.h"])
      #expect(try succeed("\(fsctl) snapshot restore --dry-run first \(point) --json | head -n 1").contains(#""change":"#))
      try succeed("cd \(point); ls -d tree/new && \(fsctl) snapshot restore first .; diff -r \(mounted.directory)/before tree")
      try succeed("\(fsctl) snapshot restore first \(point)/tree/can --to \(point)/can; diff -r \(mounted.directory)/before/can \(point)/can")
      #expect(try succeed("\(fsctl) snapshot list --json \(point)").contains("\"moment\":"))
      try succeed("\(fsctl) snapshot delete first \(point)")
      try fails("\(fsctl) snapshot delete first \(point)", saying: "no snapshot `first`")
      try mounted.remount()
      try succeed("diff -r \(mounted.directory)/before \(point)/tree")
    }
  }

  @Test func `what was deleted comes back by its path, the newest that had it`() throws {
    try run { mounted in
      let point = mounted.point
      try succeed("cd \(point) && echo 1 > f && rm f && echo 2 > f && rm f && mkdir d && echo 3 > d/g && rm -r d")
      try succeed("cd \(point) && \(fsctl) trash restore f && \(fsctl) trash restore \(point)/d --to \(point)/e")
      #expect(try succeed("cat \(point)/f \(point)/e/g") == "2\n3\n")
      try fails("\(fsctl) trash restore \(point)/f", saying: "exists already")
      // As the list tells it, in the vault that the working directory, or a path, is in.
      try succeed("cd \(point) && rm f && \(fsctl) trash restore /f && rm f && cd / && \(fsctl) trash restore /f \(point) && test -e \(point)/f")
      try fails("cd / && \(fsctl) trash restore /f", saying: "/f is not inside a mounted vault")
      try fails("\(fsctl) trash restore \(point)/never", saying: "nothing in the trash was at")
      try fails("\(fsctl) trash restore 99999 \(point)", saying: "99999")
      try fails("\(fsctl) trash restore \(point)/f \(point)", code: 2, saying: "alone")
    }
  }

  @Test func `what was in a directory that is gone is known by its path, and comes back, also over one made anew`() throws {
    try run { mounted in
      let point = mounted.point, nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
      try succeed("\(fsctl) versions policy --window 0s \(point)")
      try succeed("cd \(point) && mkdir -p d/e && echo 1 > d/e/f && sleep 1.1 && echo 2 > d/e/f && echo g > d/g && mkdir -m 700 d/closed && echo s > d/closed/s && \(fsctl) snapshot create then d && rm -r d")
      #expect(try succeed("\(fsctl) versions list \(point)/d/e/f | wc -l; cat \(point)/.vaultfs/versions/d/e/f/*") == "3\n1\n2\n")
      #expect(try succeed("ls -A \(point)/.vaultfs/versions/d/e") == "")
      try fails("\(fsctl) versions list \(point)/d", saying: "d was a directory", "fsctl versions restore")
      try fails("\(fsctl) trash list \(point)/d/e", saying: "listed with that")
      try fails("\(nobody) \(fsctl) versions list \(point)/d/e/f", saying: "nothing is known of a file")
      try fails("\(nobody) \(fsctl) versions list \(point)/d/closed/s", saying: "you may not search")
      try fails("\(nobody) ls \(point)/.vaultfs/versions/d/closed/s", code: 2, saying: "Permission denied")
      try fails("\(fsctl) versions list \(point)/never/f", saying: "nothing is known of its directory")
      let number = try succeed("\(fsctl) versions list \(point)/d/e/f | cut -f1 | head -1").trimmingCharacters(in: .newlines)
      try fails("\(fsctl) versions restore \(point)/d/e/f \(number)", saying: "its directory is not there", "--to PATH")
      #expect(try succeed("\(fsctl) snapshot list \(point)").contains("/d, which is gone"))
      try succeed("cd \(point) && mkdir -p d/e && echo other > d/e/f && echo h > d/h && \(fsctl) snapshot restore then")
      #expect(try succeed("cd \(point)/d && cat e/f g && ls") == "2\ng\nclosed\ne\ng\n")
      #expect(try succeed("\(fsctl) trash list \(point)").contains("/d/h"))
    }
  }

  @Test func `history has a limit of its own: the oldest goes, and its space comes back`() throws {
    try run { mounted in
      let point = mounted.point
      try fails("\(fsctl) versions policy --limit much \(point)", code: 2, saying: "no size")
      #expect(try succeed("\(fsctl) versions policy --window 0s --limit 20M \(point)").contains("20.0 MiB"))
      try succeed("cd \(point) && for i in 1 2 3 4 5; do head -c 10000000 /dev/urandom > f; sync f; done; \(fsctl) gc .")
      let stats = try json("\(fsctl) stats --json \(point)")
      let history = try #require(stats["historyBytes"] as? Int)
      let reclaimable = try #require(stats["reclaimableBytes"] as? Int), stored = try #require(stats["storedBytes"] as? Int)
      // Where the machine is slow, a file is saved while it is written, and its last chunk then cut anew; a pack with less
      // than a twentieth of such stays.
      #expect(history > 9_000_000 && history <= 20 << 20 && reclaimable < stored / 20, "\(stats)")
      #expect(try #require(Int(try succeed("du -sm \(mounted.vault) | cut -f1").trimmingCharacters(in: .newlines))) < 35)
      // Less than there is: what that costs is said at once.
      #expect(try succeed("\(fsctl) versions policy --limit 1M \(point) 2>&1").contains("warning: beside what snapshots, pins and open files hold, the past needs "))
      #expect(try !succeed("\(fsctl) versions policy --limit none \(point) 2>&1 | grep -v 'limit  *none'").contains("warning"))
    }
  }

  @Test func `space comes back when nothing is kept any more`() throws {
    try run { mounted in
      try succeed("head -c 60000000 /dev/urandom > \(mounted.point)/large; \(fsctl) sync \(mounted.point); rm \(mounted.point)/large")
      // Where the machine is slow, the file was saved while it was written, and its last chunk then cut anew.
      let chunks = try #require(Int(try succeed("\(fsctl) gc \(mounted.point)").prefix { $0.isNumber }))
      #expect(chunks < 20, "it is in the trash")
      try succeed("\(fsctl) trash empty \(mounted.point); \(fsctl) gc \(mounted.point)")
      #expect(try #require(Int(try succeed("du -sm \(mounted.vault) | cut -f1").trimmingCharacters(in: .newlines))) < 5)
    }
  }

  @Test func `others see what their modes let them, and change nothing that is not theirs`() throws {
    try run { mounted in
      let point = mounted.point, nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
      try succeed("echo open > \(point)/open; echo closed > \(point)/closed; chmod 600 \(point)/closed; mkdir -m 777 \(point)/all; \(nobody) sh -c 'echo mine > \(point)/all/mine; echo more > \(point)/all/mine'")
      #expect(try succeed("\(nobody) \(fsctl) versions list \(point)/open | grep -c present") == "1\n")
      try fails("\(nobody) \(fsctl) versions list \(point)/closed", saying: "may not read it")
      try fails("\(nobody) \(fsctl) versions restore \(point)/open now", saying: "for its owner")
      for command in ["snapshot create x", "trash empty", "gc", "versions policy"] {
        try fails("\(nobody) \(fsctl) \(command) \(point)", saying: "`fsctl \(command == "snapshot create x" ? "snapshot create" : command)` is for root and for the user the vault belongs to")
      }
      let id = try succeed("\(nobody) \(fsctl) versions list \(point)/all/mine | tail -n 1 | cut -f 1").trimmingCharacters(in: .newlines)
      try succeed("\(nobody) \(fsctl) versions restore \(point)/all/mine \(id); rm \(point)/closed; \(nobody) rm \(point)/all/mine")
      #expect(try succeed("\(nobody) \(fsctl) trash list \(point) | cut -f 4") == "/all/mine\n")
    }
  }
}
