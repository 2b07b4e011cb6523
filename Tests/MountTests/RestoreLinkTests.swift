// What is no directory and no file comes back, too; and what comes back damaged is told.

import Foundation
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct RestoreLinkTests {
    private let fsctl = MountedVault.fsctl
    private func run(_ body: (MountedVault) throws -> Void) throws { try MountedVault.runWithEachVersion(body) }

    /// What the present moment is called: the next one is another second.
    private func now() throws -> String { "@" + (try succeed("date +%s; sleep 1.1").trimmingCharacters(in: .whitespacesAndNewlines)) }

    @Test func `a symlink that was overwritten comes back as of a moment, from a snapshot, elsewhere, and can be undone`() throws {
      try run { home in
        let p = home.point
        try succeed("ln -s one \(p)/link && echo text > \(p)/file && \(fsctl) snapshot create s \(p)")
        let then = try now()
        try succeed("ln -sfn two \(p)/link && rm \(p)/file && ln -s elsewhere \(p)/file")
        let later = try now()
        #expect(try succeed("\(fsctl) versions restore \(p)/link \(then) --dry-run").hasPrefix("changes"))
        #expect(try succeed("\(fsctl) versions restore \(p)/link \(then) && readlink \(p)/link") == "\(p)/link is back\none\n")
        #expect(try succeed("\(fsctl) versions restore \(p)/link \(then)").contains("nothing changed"))
        #expect(try succeed("\(fsctl) versions restore \(p)/link \(later) && readlink \(p)/link").hasSuffix("two\n"))
        #expect(try succeed("\(fsctl) snapshot restore s \(p)/link && readlink \(p)/link").hasSuffix("one\n"))
        #expect(try succeed("\(fsctl) versions restore \(p)/link \(later) --to \(p)/copy && readlink \(p)/copy").hasSuffix("two\n"))
        try fails("\(fsctl) versions restore \(p)/link \(later) --to \(p)/copy", saying: "\(p)/copy exists already; nothing was changed")
        // A file that has become a symlink, and back.
        #expect(try succeed("\(fsctl) versions restore \(p)/file \(then) && cat \(p)/file").hasSuffix("text\n"))
        #expect(try succeed("\(fsctl) versions restore \(p)/file \(later) && readlink \(p)/file").hasSuffix("elsewhere\n"))
        try fails("\(fsctl) versions list \(p)/link", saying: "is a symlink", "versions restore")
        // A directory stays.
        try succeed("rm \(p)/link && mkdir \(p)/link")
        try fails("\(fsctl) versions restore \(p)/link \(then)", saying: "\(p)/link is a directory now; nothing was changed; say where it shall come with --to PATH")
        try succeed("rmdir \(p)/link && \(fsctl) versions restore \(p)/link \(then) && test $(readlink \(p)/link) = one")
        try succeed("\(fsctl) check --compare-journal \(p)")
      }
    }

    @Test func `an ordinary user takes back a symlink of their own, and no other's`() throws {
      try run { home in
        let p = home.point, bob = "setpriv --reuid=4002 --regid=4002 --clear-groups"
        try succeed("cp \(fsctl) \(home.directory)/fsctl && chmod 755 \(home.directory)/fsctl && mkdir -m 1777 \(p)/pub && ln -s root \(p)/pub/roots && \(bob) ln -s one \(p)/pub/bobs && \(bob) ln -s one \(p)/pub/taken")
        let then = try now(), ask = "\(bob) \(home.directory)/fsctl"
        try succeed("\(bob) ln -sfn two \(p)/pub/bobs && ln -sfn toor \(p)/pub/roots && rm \(p)/pub/taken && ln -s mine \(p)/pub/taken")
        #expect(try succeed("\(ask) versions restore \(p)/pub/bobs \(then) && readlink \(p)/pub/bobs").hasSuffix("one\n"))
        try fails("\(ask) versions restore \(p)/pub/roots \(then)", saying: "root")
        try fails("\(ask) versions restore \(p)/pub/taken \(then)", saying: "its owner")
        #expect(try succeed("readlink \(p)/pub/roots \(p)/pub/taken") == "toor\nmine\n")
        // A copy of what they may see is their own.
        #expect(try succeed("\(ask) versions restore \(p)/pub/roots \(then) --to \(p)/pub/mine && readlink \(p)/pub/mine && stat -c %u \(p)/pub/mine").hasSuffix("root\n4002\n"))
        try fails("\(ask) versions restore \(p)/pub/bobs \(then) --to \(p)/mine", saying: "\(p)/mine: you may not write in its directory")
      }
    }

    @Test func `what comes back damaged is told, with its name`() throws {
      try run { home in
        let p = home.point
        try succeed("mkdir \(p)/d && head -c 5000000 /dev/urandom > \(p)/d/bad && echo whole > \(p)/d/good && sync -f \(p)")
        let then = try now()
        try home.unmount()
        let pack = try succeed("ls -S \(home.vault)/packs/* | head -n 1").trimmingCharacters(in: .whitespacesAndNewlines)
        try flip(pack, at: 3_000_000)
        try fails("\(fsctl) scrub --vault \(home.vault)", saying: "damaged: /d/bad")
        try home.mount()
        try succeed("echo new > \(p)/d/bad && echo new > \(p)/d/good")
        let file = try json("\(fsctl) versions restore \(p)/d/bad \(then) --json", code: 1)
        #expect(file["damaged"] as? Int == 1 && file["nodes"] as? Int == 1)
        try succeed("echo newer > \(p)/d/bad")
        #expect(try succeed("\(fsctl) versions restore \(p)/d/good \(then)") == "\(p)/d/good is back\n")
        try succeed("rm -r \(p)/d")
        let ran = try shell("\(fsctl) versions restore \(p)/d \(then)")
        #expect(ran.status == 1 && ran.output.contains("\(p)/d is back, but a file in it, as stored, cannot be read in part: `bad`. An earlier"), "\(ran)")
        #expect(try succeed("cat \(p)/d/good") == "whole\n")
        try succeed("rm -r \(p)/d")
        try fails("\(fsctl) trash restore \(p)/d", saying: "`bad`")
      }
    }
  }
}
