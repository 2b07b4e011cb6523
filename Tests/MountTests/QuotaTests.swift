// Limits as programs meet them, through the kernel. They are set with the vault not mounted: the engine itself does it.

import Foundation
import Glibc
import Testing
import VaultFS

extension MountTests {
  @Suite(.serialized) struct QuotaTests {
    /// Makes the directory `tree` in the vault, has `body` set limits, and mounts it.
    private func run(_ set: (Vault, InodeNumber) throws -> Void, _ body: (MountedVault) throws -> Void) throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        try limit(home.vault, set)
        try home.mount()
        try body(home)
        try home.unmount()
      }
    }

    /// Nothing of the vault is left when it returns: its database has one owner.
    private func limit(_ path: String, _ set: (Vault, InodeNumber) throws -> Void) throws {
      let vault = try Vault.open(at: path, purpose: "limited by a test", log: { _ in })
      defer { try? vault.shutDown() }
      try set(vault, try vault.create(Array("tree".utf8), in: .root, mode: S_IFDIR | 0o777, by: Requester(user: 0, group: 0, umask: 0)).inode)
    }

    /// What the kernel is told of all files in a directory, bytes.
    private func bytes(in directory: String) throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: directory).reduce(0) { sum, name in
        var info = stat()
        try check(lstat("\(directory)/\(name)", &info))
        return sum + Int(info.st_blocks) * 512
      }
    }

    @Test func `sixteen processes that write at once share a tree's limit to the last request, and none gets more`() throws {
      let limit = 40 << 20
      try run({ vault, tree in try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: UInt64(limit))), for: .tree(tree)) }) { home in
        let tree = home.point + "/tree"
        let said = try shell("""
          cd \(tree) || exit 9
          i=0; while [ $i -lt 16 ]; do { LC_ALL=C dd if=/dev/urandom of=f$i bs=128k count=64 2>&1; } & i=$((i + 1)); done; wait
          """, seconds: 120)
        #expect(said.output.contains("Disk quota exceeded"), "\(said.output)")
        let used = try bytes(in: tree)
        #expect(used <= limit && used > limit - (128 << 10), "\(used) of \(limit)")
        // What was accepted is there, also after the kernel has forgotten it.
        let sums = try succeed("cd \(tree) && sha256sum *")
        try home.remount()
        #expect(try succeed("cd \(tree) && sha256sum *") == sums)
        #expect(try bytes(in: tree) == used)
        try fails("LC_ALL=C dd if=/dev/urandom of=\(tree)/more bs=128k count=1", saying: "Disk quota exceeded")
        // Outside there is no limit, and deleting makes room.
        try succeed("head -c 200000 /dev/urandom > \(home.point)/outside && rm \(tree)/f1 && head -c 200000 /dev/urandom > \(tree)/again")
      }
    }

    @Test func `a copy into a tree that is full stops with EDQUOT, and df shows the tree's limit`() throws {
      try run({ vault, tree in
        try vault.setQuota(QuotaLimits(bytes: QuotaLimit(soft: 32 << 20, hard: 64 << 20), nodes: QuotaLimit(hard: 10)), for: .tree(tree))
      }) { home in
        let tree = home.point + "/tree"
        func df(_ column: String) throws -> Int { try #require(Int(try succeed("df -B1 --output=\(column) \(tree) | tail -n 1").trimmingCharacters(in: .whitespacesAndNewlines))) }
        #expect(try df("size") == 64 << 20 && df("used") == 0 && df("itotal") == 10)
        try succeed("head -c 100000000 /dev/urandom > \(home.directory)/large")
        try fails("LC_ALL=C cp \(home.directory)/large \(tree)/", saying: "Disk quota exceeded")
        let used = try bytes(in: tree)
        #expect(used <= 64 << 20 && used > 62 << 20, "\(used)")
        #expect(try abs(df("used") - used) <= 4096 && df("avail") < 2 << 20 && df("iused") == 1)
        #expect(try Int(succeed("df -B1 --output=size \(home.point) | tail -n 1").trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0 > 64 << 20, "beside the tree df shows the disk")
        // Where it was crossed once, that is told once.
        #expect(home.log.components(separatedBy: "quota of /tree").count == 2, "\(home.log)")
        let warnings = try #require(try home.status()["quotaWarnings"] as? [[String: Any]])
        #expect(warnings.count == 1 && warnings[0]["path"] as? String == "/tree" && warnings[0]["pathBytes"] as? String == Data("/tree".utf8).base64EncodedString() && warnings[0]["kind"] as? String == "tree", "\(warnings)")
        #expect(try succeed("\(MountedVault.program) status \(home.point)").contains("quota        /tree: "))
        // By reference too, and not by a rename; a hole costs nothing.
        try succeed("head -c 5000000 /dev/urandom > \(home.point)/more && truncate -s 1T \(tree)/hole")
        try fails("LC_ALL=C cp \(home.point)/more \(tree)/", saying: "Disk quota exceeded")
        try fails("LC_ALL=C mv \(home.point)/more \(tree)/moved", saying: "Disk quota exceeded")
        try fails("LC_ALL=C fallocate -l 5000000 \(tree)/hole", saying: "Disk quota exceeded")
        try succeed("rm \(tree)/* && cp \(home.point)/more \(tree)/")
        // Nodes: eleven are one too many.
        try fails("cd \(tree) && LC_ALL=C mkdir 1 2 3 4 5 6 7 8 9 10", saying: "Disk quota exceeded")
        #expect(try df("iavail") == 0)
        for command in ["ln -s x y", "mkfifo y", "touch y", "mkdir y"] { try fails("cd \(tree) && LC_ALL=C \(command)", saying: "Disk quota exceeded") }
        try succeed("cd \(tree) && ln more 1/name && rm more")
        try fails("cd \(tree) && LC_ALL=C mkdir y", saying: "Disk quota exceeded")
        try succeed("cd \(tree) && rm 1/name && mkdir y")
      }
    }

    @Test func `above a soft limit df shows what there is`() throws {
      try run({ vault, tree in try vault.setQuota(QuotaLimits(bytes: QuotaLimit(soft: 1 << 20), nodes: QuotaLimit(soft: 1)), for: .tree(tree)) }) { home in
        try succeed("cd \(home.point)/tree && head -c 3145728 /dev/urandom > f && touch g && sync f")
        #expect(try succeed("df -B1 --output=size,used,avail,iused,iavail \(home.point)/tree | tail -n 1").split(whereSeparator: \.isWhitespace) == ["3145728", "3145728", "0", "2", "0"])
      }
    }

    @Test func `what a memory mapping writes beyond a limit is ENOSPC at the msync, and said in the log`() throws {
      try run({ vault, tree in try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: 1 << 20)), for: .tree(tree)) }) { home in
        try succeed("""
          python3 - \(home.point)/tree/mapped <<'END'
          import errno, mmap, os, sys
          file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
          os.ftruncate(file, 4 << 20)
          pages = mmap.mmap(file, 4 << 20)
          pages[:1000] = b"a" * 1000
          pages.flush()
          pages[:] = os.urandom(4 << 20)
          try:
              pages.flush()
              sys.exit("nothing was said")
          except OSError as error:
              if error.errno != errno.ENOSPC: raise
          END
          """)
        #expect(try bytes(in: home.point + "/tree") <= 1 << 20)
        #expect(home.log.components(separatedBy: "memory mapping of `tree/mapped`").count == 2, "\(home.log)")
        // Names do not cross the limit's border one by one, in either direction: ln says so, and cp copies, and mv.
        try succeed("rm \(home.point)/tree/mapped && head -c 1000 /dev/urandom > \(home.point)/outside")
        try fails("LC_ALL=C ln \(home.point)/outside \(home.point)/tree/in", saying: "cross-device")
        try succeed("cp \(home.point)/outside \(home.point)/tree/in && ln \(home.point)/tree/in \(home.point)/tree/in2")
        try fails("LC_ALL=C ln \(home.point)/tree/in \(home.point)/out", saying: "cross-device")
        try succeed("cd \(home.point) && mv tree/in out && cmp out tree/in2 && test $(stat -c %h tree/in2) = 1 && test $(stat -c %h out) = 1")
      }
    }

    @Test func `a user's limit holds for what the user owns, whoever writes or gives it away`() throws {
      try run({ vault, _ in
        try vault.setQuota(QuotaLimits(bytes: QuotaLimit(hard: 1 << 20)), for: .user(1234))
        try vault.setQuota(QuotaLimits(nodes: QuotaLimit(hard: 2)), for: .group(4321))
      }) { home in
        try succeed("cd \(home.point) && head -c 900000 /dev/urandom > mine && chown 1234 mine && head -c 900000 /dev/urandom > other")
        try fails("cd \(home.point) && LC_ALL=C chown 1234 other", saying: "Disk quota exceeded")
        try fails("cd \(home.point) && head -c 900000 /dev/urandom | LC_ALL=C dd of=mine bs=900000 iflag=fullblock oflag=append conv=notrunc", saying: "Disk quota exceeded")
        try succeed("cd \(home.point) && chgrp 4321 mine other && touch third")
        try fails("cd \(home.point) && LC_ALL=C chgrp 4321 third", saying: "Disk quota exceeded")
        try succeed("cd \(home.point) && rm mine && chown 1234 other && chgrp 4321 third")
      }
    }
  }
}
