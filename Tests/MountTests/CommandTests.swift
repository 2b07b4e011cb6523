// The commands: what they say, how they end, who may use them.

import Foundation
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct CommandTests {
    private let vaultfs = MountedVault.program

    @Test func `every command has help, and wrong use ends with 2`() throws {
      for command in ["", "init", "mount", "unmount", "status", "rebuild"] {
        let help = try succeed("\(vaultfs) \(command) --help")
        #expect(help.contains("USAGE") && help.contains("vaultfs"), "\(command)")
      }
      #expect(try succeed("\(vaultfs) --version").contains("format"))
      for wrong in ["init", "mount", "mount one", "unmount", "rebuild", "init a b c", "status --nonsense", "mount --foreground"] {
        try fails("cd / && \(vaultfs) \(wrong)", code: 2, saying: "sage")
      }
    }

    @Test func `init refuses what is not an empty directory, and says what to do`() throws {
      try MountedVault.run(mounted: false) { home in
        try succeed("mkdir \(home.directory)/full && touch \(home.directory)/full/precious && touch \(home.directory)/file")
        try fails("\(vaultfs) init \(home.directory)/full", saying: "\(home.directory)/full", "not empty")
        try fails("\(vaultfs) init \(home.directory)/file", saying: "\(home.directory)/file", "not a directory")
        try fails("\(vaultfs) init \(home.directory)/no/such/place", saying: "\(home.directory)/no/such/place")
        #expect(try succeed("ls -A \(home.directory)/full") == "precious\n")
        try home.create()
        #expect(try succeed("stat -c %a \(home.vault)") == "700\n", "a vault is private")
        #expect(try succeed("ls -A \(home.vault)") == "journal\nmetadata.db\nowner\npacks\nvault\n")
        try fails("\(vaultfs) init \(home.vault)", saying: "vault already", "vaultfs mount")
        try succeed("mkdir \(home.directory)/empty && \(vaultfs) init \(home.directory)/empty/ --name 'my things' && \(vaultfs) status \(home.directory)/empty | grep -q 'my things'")
        try fails("\(vaultfs) init \(home.directory)/x --name \"$(printf 'two\\nlines')\"", code: 2, saying: "one line")
        #expect(access(home.directory + "/x", F_OK) != 0)
      }
    }

    @Test func `mount says what is wrong with a vault, and what with a directory`() throws {
      try MountedVault.run(mounted: false) { home in
        let d = home.directory
        try fails("\(vaultfs) mount \(d)/nowhere \(home.point)", saying: "\(d)/nowhere", "vaultfs init")
        try succeed("mkdir \(d)/other && touch \(d)/other/x \(d)/file")
        try fails("\(vaultfs) mount \(d)/other \(home.point)", saying: "\(d)/other", "not a vault")
        try fails("\(vaultfs) mount \(d)/file \(home.point)", saying: "\(d)/file")
        try home.create()
        try fails("\(vaultfs) mount \(home.vault) \(d)/nowhere", saying: "\(d)/nowhere")
        try fails("\(vaultfs) mount \(home.vault) \(d)/file", saying: "\(d)/file", "directory")
        try fails("\(vaultfs) mount \(home.vault) \(d)/other", saying: "\(d)/other", "not empty", "nonempty")
        try succeed("\(vaultfs) mount \(home.vault) \(d)/other -o nonempty && ! test -e \(d)/other/x && \(vaultfs) unmount \(d)/other && test -e \(d)/other/x")
        try fails("\(vaultfs) mount \(home.vault) \(home.point) -o nonsense=1", code: 2, saying: "nonsense")
        try succeed("cp -a \(home.vault) \(d)/newer && sed -i 's/^vaultfs 1$/vaultfs 7/' \(d)/newer/vault")
        try fails("\(vaultfs) mount \(d)/newer \(home.point)", saying: "\(d)/newer", "format 7", "newer")
        try fails("\(vaultfs) status \(d)/newer", saying: "format 7")
        try fails("\(vaultfs) rebuild \(d)/newer", saying: "format 7")
        try succeed("cp -a \(home.vault) \(d)/damaged && sed -i 's/^id ./id x/' \(d)/damaged/vault")
        try fails("\(vaultfs) mount \(d)/damaged \(home.point)", saying: "\(d)/damaged", "damaged")
        try succeed("cp -a \(home.vault) \(d)/bare && rm \(d)/bare/metadata.db*")
        try fails("\(vaultfs) mount \(d)/bare \(home.point)", saying: "metadata.db", "vaultfs rebuild")
        try succeed("\(vaultfs) rebuild \(d)/bare && \(vaultfs) mount \(d)/bare \(home.point) && \(vaultfs) unmount \(home.point)")
        try succeed("head -c 4096 /dev/urandom > \(d)/noise; cp -a \(home.vault) \(d)/scribbled && dd if=\(d)/noise of=\(d)/scribbled/metadata.db conv=notrunc 2> /dev/null; rm -f \(d)/scribbled/metadata.db-*")
        try fails("\(vaultfs) mount \(d)/scribbled \(home.point)", saying: "metadata.db", "vaultfs rebuild")
        try succeed("cp -a \(home.vault) \(d)/garbled && echo nonsense > \(d)/garbled/vault")
        try fails("\(vaultfs) mount \(d)/garbled \(home.point) > \(d)/said 2>&1; code=$?; cat \(d)/said; ! grep -q 'vaultfs init' \(d)/said && exit $code", saying: "\(d)/garbled", "damaged", "copy")
        #expect(!home.isMounted, "no refusal leaves a mount")
        try home.mount()
      }
    }

    @Test func `a second mount is refused by name of the first`() throws {
      try MountedVault.run { home in
        try succeed("mkdir \(home.directory)/second")
        let owner = try #require(home.owner)
        try fails("\(vaultfs) mount \(home.vault) \(home.directory)/second", saying: "process \(owner)", home.point)
        try fails("\(vaultfs) rebuild \(home.vault)", saying: "process \(owner)", home.point)
        try fails("\(vaultfs) mount \(home.vault) \(home.point)", saying: home.point, "in use")
        // A vault in a vault waits for itself.
        try fails("\(vaultfs) init \(home.point)/inner", saying: "inside")
        #expect(home.owner == owner, "a refusal does not touch the owner's name")
        try succeed("echo still works > \(home.point)/file && cat \(home.point)/file")
      }
    }

    @Test func `a mount on a directory with files hides them, and they come back`() throws {
      try MountedVault.run(mounted: false) { home in
        try succeed("touch \(home.point)/hidden")
        try home.create()
        let ran = try shell("\(vaultfs) mount \(home.vault) \(home.point)")
        if ran.status == 0 {
          #expect(try succeed("ls -A \(home.point)") == "")
          try home.unmount()
        } else { #expect(ran.output.contains("empty"), "\(ran.output)") }
        #expect(try succeed("ls -A \(home.point)") == "hidden\n")
      }
    }

    @Test func `what a killed owner left on the directory is cleaned by the next mount, at once`() throws {
      try MountedVault.run { home in
        try succeed("echo content > \(home.point)/file")
        try home.killOwner()
        #expect(home.isMounted)
        #expect(try shell("ls \(home.point)").status != 0, "a dead mount")
        let began = Date()
        let said = try succeed("\(vaultfs) mount \(home.vault) \(home.point) 2>&1")
        #expect(Date().timeIntervalSince(began) < 5)
        #expect(said.contains("left behind") && said.contains(home.point), "\(said)")
        #expect(try succeed("cat \(home.point)/file") == "content\n")
        #expect(try succeed("grep -c ' \(home.point) ' /proc/self/mountinfo") == "1\n", "the dead mount is gone")
        // And by unmount.
        try home.killOwner()
        try home.unmount()
        #expect(!home.isMounted)
      }
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT])
    func `a signal unmounts cleanly`(signal: Int32) throws {
      try MountedVault.run { home in
        try succeed("seq 100000 > \(home.point)/file")
        let open = try check(Glibc.open(home.point + "/open", O_CREAT | O_WRONLY, 0o644))
        try check(write(open, "unsaved", 7))
        try home.killOwner(with: signal)
        close(open)
        for _ in 0..<100 where home.isMounted { usleep(50_000) }
        #expect(!home.isMounted)
        #expect(home.log.contains("the vault is clean"), "\(home.log)")
        #expect(try home.status()["owner"] == nil)
        let said = try succeed("\(vaultfs) mount \(home.vault) \(home.point) 2>&1")
        #expect(said == "", "a clean vault is mounted without a word: \(said)")
        #expect(try succeed("seq 100000 | cmp - \(home.point)/file && cat \(home.point)/open") == "unsaved")
      }
    }

    @Test func `in the foreground it stays, speaks to the terminal, and ends with the mount`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        let process = Process(), said = Pipe()
        process.executableURL = URL(fileURLWithPath: vaultfs)
        process.arguments = ["mount", home.vault, home.point, "--foreground"]
        process.standardError = said
        try process.run()
        for _ in 0..<200 where !home.isMounted { usleep(50_000) }
        #expect(home.isMounted && process.isRunning)
        try succeed("echo x > \(home.point)/x && umount \(home.point)")
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        let text = String(decoding: said.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(text.contains("mounted on \(home.point)") && text.contains("clean"), "\(text)")
      }
    }

    @Test func `mount returns although its caller has other files open`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        for round in 0..<3 {
          let opens = (3..<(4 + round)).map { "exec \($0)< /dev/null" }.joined(separator: "; ")
          let ran = try shell("\(opens); \(vaultfs) mount \(home.vault) \(home.point)", seconds: 15)
          #expect(ran.status == 0, "with \(round + 1) more files open: exit code \(ran.status) (124: it never returned)")
          if home.isMounted { try home.unmount() }
        }
        // The owner keeps nothing of its caller's: a lock, a pipe, a socket would never be let go of.
        try succeed("exec 9> \(home.directory)/lock; flock 9; \(vaultfs) mount \(home.vault) \(home.point)", seconds: 15)
        #expect(try shell("flock -n \(home.directory)/lock true").status == 0, "the owner holds its caller's lock")
        try home.unmount()
      }
    }

    @Test func `unmount says what is in the way`() throws {
      try MountedVault.run { home in
        try fails("cd \(home.point) && \(vaultfs) unmount \(home.point)", saying: home.point, "in use")
        #expect(home.isMounted)
        try fails("\(vaultfs) unmount \(home.directory)", saying: home.directory, "no vault is mounted")
        try fails("\(vaultfs) unmount \(home.vault)", saying: home.point)
        try fails("\(vaultfs) unmount /nowhere/at/all", saying: "/nowhere/at/all")
        try home.unmount()
        try fails("\(vaultfs) unmount \(home.point)", saying: "no vault is mounted")
        // What is in the way is taken away by --lazy once it ends.
        try home.mount()
        try succeed("cd \(home.point) && \(vaultfs) unmount --lazy \(home.point)")
        #expect(!home.isMounted)
      }
    }

    @Test func `status tells the numbers of a vault, mounted or not, from inside and outside`() throws {
      try MountedVault.run { home in
        try succeed("head -c 3000000 /dev/urandom > \(home.point)/a && cp \(home.point)/a \(home.point)/b && mkdir \(home.point)/d && yes text | head -c 2000000 > \(home.point)/d/text")
        for path in [home.vault, home.point, home.point + "/d", home.point + "/d/text"] {
          let status = try home.status(path)
          func number(_ key: String) -> Int { (status[key] as? NSNumber)?.intValue ?? -1 }
          #expect(number("nodes") == 5, "\(path)")
          #expect(number("logicalBytes") == 8_000_000, "\(path)")
          #expect((3_000_000...5_000_000).contains(number("uniqueBytes")), "\(path)")
          #expect((3_000_000...3_300_000).contains(number("compressedBytes")), "\(path)")
          #expect(number("storedBytes") == number("packBytes") + number("journalBytes") + number("databaseBytes"), "\(path)")
          #expect((status["dedupRatio"] as? Double ?? 0) > 1.5 && (status["compressionRatio"] as? Double ?? 0) > 1, "\(path)")
          #expect((status["owner"] as? String)?.contains("process \(home.owner ?? 0)") == true, "\(path)")
          #expect(status["vault"] as? String == home.vault, "\(path)")
        }
        let text = try succeed("\(vaultfs) status \(home.point)")
        #expect(text.contains(home.point) && text.contains("MiB"))
        #expect(try succeed("\(vaultfs) status \(home.point) --bytes").contains("8000000"))
        #expect(try succeed("\(vaultfs) status").contains(home.point), "without an argument: what is mounted here")
        try home.unmount()
        let status = try home.status()
        #expect(status["nodes"] as? Int == 5 && status["logicalBytes"] as? Int == 8_000_000 && status["owner"] == nil)
        // What is stored is what the disk says.
        let stored = try #require(status["storedBytes"] as? Int), used = try #require(Int(try succeed("du -s --block-size=1 \(home.vault) | cut -f1").trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(abs(used - stored) < 100_000, "du says \(used), status \(stored)")
        try fails("\(vaultfs) status \(home.directory)", saying: home.directory, "not a vault")
        try fails("\(vaultfs) status \(home.directory)/nowhere", saying: "does not exist")
      }
    }

    @Test func `a read-only mount refuses every change`() throws {
      try MountedVault.run { home in
        try succeed("echo content > \(home.point)/file")
        try home.unmount()
        for option in ["--read-only", "-o ro"] {
          try home.mount(option)
          #expect(try succeed("cat \(home.point)/file") == "content\n")
          for change in ["echo x > file", "rm file", "mkdir d", "chmod 600 file", "ln file g", "mv file g", "touch file", "truncate -s 0 file"] {
            let ran = try shell("cd \(home.point) && \(change)")
            #expect(ran.status != 0 && ran.output.contains("ead-only"), "\(change): \(ran.output)")
          }
          try home.unmount()
        }
        try home.mount()
        #expect(try succeed("cat \(home.point)/file; ls \(home.point)") == "content\nfile\n")
      }
    }
  }
}
