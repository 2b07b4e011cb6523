// `fsctl check` and `fsctl scrub` on real vaults, mounted and not, sound and damaged.

import Foundation
import Glibc
import Testing
import VaultFS

extension MountTests {
  @Suite(.serialized) struct CheckCommandTests {
    private let fsctl = MountedVault.fsctl

    /// A mounted vault with some packs, each of one file's content: what is unmounted is packed.
    private func run(files: Int, _ body: (MountedVault) throws -> Void) throws {
      try MountedVault.run { home in
        for index in 0..<files {
          try succeed("mkdir -p \(home.point)/d && head -c 6000000 /dev/urandom > \(home.point)/d/f\(index)")
          try home.remount()
        }
        try body(home)
      }
    }
    private func packs(_ home: MountedVault) throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: home.vault + "/packs").filter { $0.hasSuffix(".pack") }.sorted().map { "\(home.vault)/packs/\($0)" } }

    @Test func `a sound vault is sound, mounted and not, and in use`() throws {
      try run(files: 1) { home in
        let enough = home.directory + "/enough"
        let busy = try start("cd \(home.point) && i=0; while [ ! -e \(enough) ]; do i=$((i + 1)); mkdir w$i; echo $i > w$i/f; mv w$i/f w$i/g; ln w$i/g l$i; [ $((i % 3)) = 0 ] || rm -r w$i l$i; done", seconds: 60)
        do {
          defer {
            _ = try? shell("touch \(enough)")
            waitpid(busy, nil, 0)
          }
          for _ in 0..<5 { try succeed("\(fsctl) check \(home.point)") }
          #expect(try json("\(fsctl) check --vault \(home.vault) --json --compare-journal")["isClean"] as? Bool == true)
          #expect(try json("\(fsctl) scrub --json \(home.point)")["isClean"] as? Bool == true)
        }
        // Quiet in a pipe.
        let text = try succeed("\(fsctl) check \(home.point) && \(fsctl) scrub \(home.point)")
        #expect(text.contains("nothing wrong was found") && text.contains("names") && text.contains("chunks verified") && !text.contains("\r") && !text.contains("%"), "\(text)")
        #expect(try succeed("\(fsctl) stats \(home.point)").contains("scrubbed     20"))
        try fails("\(fsctl) check \(home.vault)", saying: "in the folder of a vault", "--vault")
        try home.unmount()
        for command in ["check", "check --repair", "check --compare-journal", "scrub"] { try succeed("\(fsctl) \(command) --vault \(home.vault)") }
        try fails("\(fsctl) check --vault \(home.directory)", saying: "not a vault")
        for wrong in ["check a b", "scrub --rate x", "scrub --rate 0", "scrub --rate 1", "scrub --rate 4095", "scrub --threads 0", "scrub --threads 1000", "check --vault ''"] { try fails("\(fsctl) \(wrong)", code: 2) }
      }
    }

    @Test func `the memory that a check takes does not grow with the vault`() throws {
      func kibibytes(_ files: Int) throws -> Int {
        try MountedVault.run(mounted: false) { home in
          try home.create()
          let vault = try Vault.open(at: home.vault, purpose: "filled by a test", log: { _ in })
          var directory = InodeNumber.root
          let root = Requester(user: 0, group: 0, umask: 0)
          for index in 0..<files {
            if index % 1000 == 0 { directory = try vault.create(Array("d\(index)".utf8), in: .root, mode: S_IFDIR | 0o755, by: root).inode }
            _ = try vault.create(Array("f\(index)".utf8), in: directory, mode: S_IFREG | 0o644, by: root)
          }
          try vault.shutDown()
          let said = try succeed("""
            python3 -c 'import resource, subprocess, sys
            subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
            print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' \(fsctl) check --vault \(home.vault)
            """)
          return try #require(Int(said.trimmingCharacters(in: .whitespacesAndNewlines)))
        }
      }
      let (few, many) = (try kibibytes(1000), try kibibytes(100_000))
      #expect(many - few < 100 << 10, "\(few) KiB for 1,000 files, \(many) KiB for 100,000")
    }

    @Test func `a flipped byte of content is found by a scrub, which names the file, and the content heals it`() throws {
      try run(files: 2) { home in
        try succeed("cp \(home.point)/d/f0 \(home.directory)/copy && cp \(home.point)/d/f1 \(home.directory)/other")
        try home.unmount()
        try flip(try packs(home)[0], at: 3_000_000)
        let report = try json("\(fsctl) scrub --vault \(home.vault) --json", code: 1)
        let files = try #require(report["files"] as? [[String: Any]]), findings = try #require(report["findings"] as? [[String: Any]])
        #expect(report["isClean"] as? Bool == false && report["isComplete"] as? Bool == true && report["marked"] as? Int == 1)
        #expect(files.map { $0["path"] as? String } == ["/d/f0"] && files[0]["pathBytes"] as? String == Data("/d/f0".utf8).base64EncodedString() && findings.contains { $0["kind"] as? String == "frame-damaged" && $0["repair"] != nil }, "\(findings)")
        try home.mount()
        try fails("\(fsctl) scrub \(home.point)", saying: "damaged: /d/f0", "holds damage", "frame-damaged")
        try fails("\(fsctl) check \(home.point)", saying: "nothing new was found", "known to be damaged: 1 chunk;", "is sound, but for 1 chunk")
        try fails("cat \(home.point)/d/f0 > /dev/null", saying: "rror")
        try succeed("cp \(home.directory)/copy \(home.point)/d/again && cmp \(home.point)/d/again \(home.directory)/copy && cmp \(home.point)/d/f0 \(home.directory)/copy && cmp \(home.point)/d/f1 \(home.directory)/other")
        #expect(!(try shell("\(fsctl) scrub \(home.point)").output.contains("damaged: /")), "no file holds any of it now")
        try fails("\(MountedVault.program) unmount \(home.point)", saying: "damage was met", "d/f0")
      }
    }

    @Test func `a frame that is not where it should be is found by a check, told with its remedy, and repaired`() throws {
      try run(files: 1) { home in
        try home.unmount()
        // In the header of the first frame, behind the pack's own.
        try flip(try packs(home)[0], at: 36 + 9)
        try fails("\(fsctl) check --vault \(home.vault)", saying: "is not sound", "packs/", "repair: ", "fsctl scrub", "fsctl check --repair")
        let found = try json("\(fsctl) check --vault \(home.vault) --json", code: 1)
        #expect(found["isClean"] as? Bool == false && !(found["findings"] as? [[String: Any]] ?? []).isEmpty)
        // All is in its order again, and the content is lost.
        try fails("\(fsctl) check --repair --vault \(home.vault)", saying: "done: ", "afterwards: nothing wrong was found", "known to be damaged")
        try fails("\(fsctl) check --vault \(home.vault)", saying: "nothing new was found", "is sound, but for")
        #expect(try json("\(fsctl) check --vault \(home.vault) --json", code: 1)["isClean"] as? Bool == false)
      }
    }

    @Test func `a damaged database is made anew from the journal by a repair, and nothing is lost`() throws {
      try run(files: 1) { home in
        try succeed("cp -r /usr/include/linux \(home.point)/tree && cp -r /usr/include/linux \(home.directory)/before && \(fsctl) quota set --tree \(home.point)/tree --bytes 1G")
        try home.unmount()
        let database = home.vault + "/metadata.db", size = try #require(try FileManager.default.attributesOfItem(atPath: database)[.size] as? Int)
        for place in [5000, size / 2, size - 1000] { try flip(database, at: place) }
        try fails("\(MountedVault.program) mount \(home.vault) \(home.point)", saying: "damaged")
        try fails("\(fsctl) check --vault \(home.vault)", saying: "database-", "made anew from the journal")
        let report = try json("\(fsctl) check --repair --vault \(home.vault) --json")
        #expect(report["isClean"] as? Bool == true && (report["afterwards"] as? [String: Any])?["isClean"] as? Bool == true && !(report["actions"] as? [Any] ?? []).isEmpty)
        #expect(access(home.vault + "/quarantine", F_OK) == 0, "the old one is kept")
        try succeed("\(fsctl) check --compare-journal --vault \(home.vault)")
        try home.mount()
        try succeed("diff -r \(home.directory)/before \(home.point)/tree")
        #expect(try succeed("\(fsctl) quota list \(home.point)").contains("/tree\t"))
      }
    }

    @Test(arguments: [true, false]) func `a scrub that is interrupted says so at once, and the next goes on from there`(isMounted: Bool) throws {
      try run(files: 3) { home in
        if !isMounted { try home.unmount() }
        let place = isMounted ? home.point : "--vault \(home.vault)"
        let ran = try shell("timeout -s INT 6 \(fsctl) scrub --rate 2M --threads 1 \(place); echo code $?")
        #expect(ran.output.contains("interrupted; the next `fsctl scrub` goes on from there") && !ran.output.contains("\r"), "\(ran.output)")
        let next = try json("\(fsctl) scrub --json \(place)")
        #expect(next["isResumed"] as? Bool == true && next["isClean"] as? Bool == true && (next["bytes"] as? Int ?? 0) > 18_000_000)
        #expect(try json("\(fsctl) scrub --json --fast --restart \(place)")["isResumed"] as? Bool == false)
        if !isMounted { return }
        // Killed at once, and the mount taken away in the middle: neither leaves anything behind.
        try succeed("timeout -s KILL 1 \(fsctl) scrub --rate 1M \(place); \(fsctl) scrub \(place)")
        let running = try start("\(fsctl) scrub --rate 100k --restart \(place)", seconds: 60)
        usleep(500_000)
        let began = ContinuousClock.now
        try home.unmount()
        #expect(ContinuousClock.now - began < .seconds(8))
        var status: Int32 = 0
        waitpid(running, &status, 0)
        #expect(status >> 8 & 0xFF == 1)
        try succeed("\(fsctl) scrub --vault \(home.vault) && \(fsctl) check --vault \(home.vault)")
      }
    }

    @Test func `on a terminal a scrub shows how far it is`() throws {
      try run(files: 1) { home in
        let said = try succeed("script -qec '\(fsctl) scrub --rate 2M \(home.point)' /dev/null < /dev/null")
        #expect(said.contains("\rscrubbing: reading, ") && said.contains(" % of ") && said.contains(" left") && said.contains("\u{1B}[K"), "\(said)")
      }
    }
  }
}
