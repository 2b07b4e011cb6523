// The commands and a vault that is damaged: each says what is wrong, with which file, and what to do.

import Foundation
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct CommandDamageTests {
    private let vaultfs = MountedVault.program

    private func lastSegment(_ home: MountedVault) throws -> String { home.vault + "/journal/" + (try succeed("ls \(home.vault)/journal | grep 'log$' | tail -1").trimmingCharacters(in: .newlines)) }
    private func size(_ file: String) throws -> Int { try #require(try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int) }

    @Test func `a file that cannot be read is named in the log, by status and by unmount, which ends with 1`() throws {
      try MountedVault.run { home in
        try succeed("mkdir \(home.point)/d && head -c 300000 /dev/urandom > \(home.point)/d/file && echo sound > \(home.point)/sound")
        try home.remount()
        #expect(try home.status()["damage"] == nil && !succeed("\(vaultfs) status \(home.point)").contains("damage"))
        let pack = home.vault + "/packs/" + (try succeed("ls \(home.vault)/packs").trimmingCharacters(in: .newlines))
        try flip(pack, at: 5000)
        #expect(try shell("cat \(home.point)/d/file > /dev/null").output.contains("Input/output error"))
        #expect(try succeed("cat \(home.point)/sound") == "sound\n")
        #expect(home.log.split(separator: "\n").filter { $0.contains("cannot read") }.count == 1 && home.log.contains("`d/file`"), "\(home.log)")
        #expect((try home.status()["damage"] as? String)?.contains("`d/file`") == true)
        #expect(try succeed("\(vaultfs) status \(home.point)").contains("damage       cannot read bytes"))
        try fails("\(vaultfs) unmount \(home.point)", saying: home.vault, "damage was met", "`d/file`")
        #expect(!home.isMounted && !home.log.contains("the vault is clean\n\n"))
      }
    }

    @Test func `a damaged page of the database is told by status and unmount, and a rebuild heals it`() throws {
      try MountedVault.run { home in
        try succeed("cd \(home.point) && for i in $(seq 3000); do : > a-name-that-is-found-$i; done")
        try home.unmount()
        let places = try succeed("grep -abo a-name-that-is-found-7 \(home.vault)/metadata.db | head -1 | cut -d: -f1").split(separator: "\n")
        try flip(home.vault + "/metadata.db", at: try #require(places.first.flatMap { Int($0) }))
        try home.mount()
        #expect(try shell("ls -l \(home.point) > /dev/null").status != 0)
        #expect((try home.status()["damage"] as? String)?.contains("vaultfs rebuild \(home.vault)") == true)
        try fails("\(vaultfs) unmount \(home.point)", saying: "vaultfs rebuild \(home.vault)")
        #expect(!home.log.contains("the computer stopped"), "\(home.log)")
        try succeed("\(vaultfs) rebuild \(home.vault)")
        try home.mount()
        #expect(try succeed("ls \(home.point) | wc -l") == "3000\n")
      }
    }

    @Test func `an empty database is an error for every command but a rebuild`() throws {
      try MountedVault.run { home in
        try succeed("echo x > \(home.point)/x")
        try home.unmount()
        try succeed(": > \(home.vault)/metadata.db")
        for command in ["status \(home.vault)", "mount \(home.vault) \(home.point)", "status \(home.vault) --json", "mount \(home.vault) \(home.point)"] {
          try fails("\(vaultfs) \(command)", saying: "\(home.vault)/metadata.db", "empty", "vaultfs rebuild \(home.vault)")
        }
        #expect(!home.log.contains("the computer stopped"), "\(home.log)")
        try succeed("\(vaultfs) rebuild \(home.vault)")
        try home.mount()
      }
    }

    @Test func `a journal that was cut short keeps mount and rebuild from going on, and what there is can be copied out`() throws {
      try MountedVault.run { home in
        // So much that it goes into a pack.
        let sum = try succeed("head -c 300000 /dev/urandom > \(home.point)/precious; cksum < \(home.point)/precious")
        try home.unmount()
        let segment = try lastSegment(home), all = try Data(contentsOf: URL(fileURLWithPath: segment))
        try check(truncate(segment, 60))
        for command in ["mount \(home.vault) \(home.point)", "rebuild \(home.vault)"] {
          try fails("\(vaultfs) \(command)", saying: "\(home.vault)/journal", "untouched", "mount --read-only \(home.vault)", "copy of the vault")
        }
        #expect(try succeed("ls \(home.vault)").contains("metadata.db\n") && !succeed("ls \(home.vault)").contains(".new"))
        let said = try succeed("\(vaultfs) mount --read-only \(home.vault) \(home.point) 2>&1")
        #expect(said.contains("warning") && said.contains("nothing is written"), "\(said)")
        #expect(try succeed("cksum < \(home.point)/precious") == sum)
        #expect(try shell("touch \(home.point)/new").output.contains("ead-only"))
        try fails("\(vaultfs) unmount \(home.point)", saying: "\(home.vault)/journal")
        try all.write(to: URL(fileURLWithPath: segment))
        try home.mount()
        #expect(try succeed("cksum < \(home.point)/precious") == sum)
      }
    }

    @Test func `what is cut off the journal is said where a person reads it`() throws {
      try MountedVault.run { home in
        try succeed("echo kept > \(home.point)/kept && sync \(home.point)/kept && touch \(home.point)/torn")
        try home.killOwner()
        try succeed("umount -l \(home.point)")
        let segment = try lastSegment(home)
        // The last record, and it alone, is not whole.
        try check(truncate(segment, try size(segment) - 12))
        let said = try shell("\(vaultfs) mount \(home.vault) \(home.point)")
        // Where the view has seen that record, it is missed, and that is right, too.
        if said.status == 0 {
          #expect(said.output.contains("cut off") && said.output.contains("behind operation") && said.output.contains("\(segment)."), "\(said.output)")
          #expect(try succeed("ls \(home.vault)/journal").contains(".cut"))
        } else { #expect(said.output.contains("its database has seen"), "\(said.output)") }
      }
    }

    @Test func `a rebuild says what is lost with a pack, and ends with 0`() throws {
      try MountedVault.run { home in
        try succeed("mkdir \(home.point)/d && head -c 300000 /dev/urandom > \(home.point)/d/file")
        try home.unmount()
        let pack = try succeed("ls \(home.vault)/packs").trimmingCharacters(in: .newlines)
        try succeed("rm \(home.vault)/packs/\(pack)")
        let said = try succeed("\(vaultfs) rebuild \(home.vault) 2>&1 > /dev/null")
        #expect(said.contains("warning") && said.contains("packs/\(pack) is missing") && said.contains("`d/file`"), "\(said)")
        try home.mount()
        #expect(try shell("cat \(home.point)/d/file").output.contains("Input/output error"))
        #expect((try home.status()["damage"] as? String)?.contains("not stored any more") == true)
        // It is known however long ago it was met.
        for command in ["\(vaultfs) status", "\(MountedVault.fsctl) stats"] {
          #expect(try succeed("\(command) \(home.point)").split(separator: "\n").contains { $0.hasPrefix("damaged ") && $0.contains("chunks cannot be read; `fsctl scrub`") }, "\(command)")
        }
        #expect(try home.status()["damagedChunks"] as? Int ?? 0 > 0)
        _ = try? shell("\(vaultfs) unmount \(home.point)")
      }
    }
  }
}
