// What others learn of the past, by the hidden directory and by fsctl: what the modes of then and of now let them, no more.

import Foundation
import Glibc
import Testing

struct PastUserTests {
  private let fsctl = MountedVault.fsctl
  private let bob = "setpriv --reuid=4002 --regid=4002 --clear-groups", mallory = "setpriv --reuid=4003 --regid=4003 --clear-groups"

  /// A mount on which each closing makes a version, however soon, in a directory where all may write.
  private func run(window: String = "0s", _ body: (MountedVault) throws -> Void) throws {
    try MountedVault.run { mounted in
      try succeed("\(fsctl) versions policy --window \(window) \(mounted.point); mkdir -m 1777 \(mounted.point)/pub")
      try body(mounted)
    }
  }

  @Test func `a name is listed with what had it, no longer than it had it`() throws {
    try run { mounted in
      let pub = "\(mounted.point)/pub", hidden = "\(mounted.point)/.vaultfs/versions/pub"
      // An editor that saves by renaming, and keeps a copy of before.
      try succeed("cd \(pub); echo 1 > ed; mv ed ed~; echo 2 > ed.new; mv ed.new ed; echo other >> ed~; echo 3 > ed.new; mv ed.new ed")
      for list in ["\(fsctl) versions list \(pub)/ed | cut -f 1", "ls \(hidden)/ed | sed s/.*~// | sort -rn"] {
        let ids = try succeed(list).split(separator: "\n")
        let texts = try ids.map { try succeed("\(fsctl) versions cat \(pub)/ed \($0)") }.filter { !$0.isEmpty }
        #expect(texts.first == "3\n" && texts.last == "1\n" && texts.contains("2\n") && !texts.joined().contains("other"), "\(list): \(texts)")
        #expect(try succeed("cat \(hidden)/ed/*").contains("3\n"))
      }
      #expect(try succeed("\(fsctl) versions list \(pub)/ed | grep -c present") == "1\n")
      #expect(try succeed("\(fsctl) versions list \(pub)/ed~ | wc -l") == succeed("ls \(hidden)/ed~ | wc -l"))
      try succeed("rm \(pub)/ed")
      #expect(try !succeed("ls \(hidden)").split(separator: "\n").contains("ed"), "no listing has what is gone")
      #expect(try succeed("\(fsctl) versions list \(pub)/ed | wc -l") == succeed("ls \(hidden)/ed | wc -l"))
      #expect(try succeed("cat \(hidden)/ed/*").contains("3\n"))
      try fails("\(mallory) ls \(hidden)/ed", code: 2, saying: "No such file")
    }
  }

  @Test func `what a directory held while others were kept out stays theirs who made it, however soon it was opened`() throws {
    try run(window: "60s") { mounted in
      let pub = "\(mounted.point)/pub", at = "\(mounted.point)/.vaultfs/at"
      // New and private; public for long and private for a moment; by mode, by owner, by an access list.
      let moment = try succeed("""
        cd \(pub); mkdir -m 755 old acl; mkdir -m 700 new owner
        chmod 700 old acl; for d in old new owner acl; do echo TOPSECRET > $d/f; done; sleep 1.1; date +@%s; sleep 1.1; rm */f
        chmod 755 old new; chown 4002 owner; setfacl -m u:4002:rwx acl
        """).split(separator: "\n").last!
      for directory in ["old", "new", "owner", "acl"] { try fails("\(bob) cat \(at)/\(moment)/pub/\(directory)/f", saying: "Permission denied") }
      #expect(try succeed("cat \(at)/\(moment)/pub/*/f") == "TOPSECRET\nTOPSECRET\nTOPSECRET\nTOPSECRET\n")
      // Making a directory and then setting its mode is one thing, while nothing was in it.
      try succeed("cd \(pub); mkdir -m 700 d; chmod 755 d; echo 1 > d/f; sleep 1.1")
      #expect(try succeed("\(bob) cat \(at)/$(date +@%s)/pub/d/f") == "1\n")
    }
  }

  @Test func `whoever opens a directory does not show what its files were before`() throws {
    try run { mounted in
      let pub = "\(mounted.point)/pub"
      try succeed("cd \(pub); mkdir -m 700 d d/below; for f in d/f d/below/f; do echo SECRET > $f; echo clean > $f; done; chmod 755 d d/below; for f in d/f d/below/f; do echo open > $f; done")
      for file in ["d/f", "d/below/f"] {
        let shown = try succeed("\(bob) \(fsctl) versions list \(pub)/\(file) | cut -f 1").split(separator: "\n")
        let texts = try shown.map { try succeed("\(bob) \(fsctl) versions cat \(pub)/\(file) \($0)") }
        #expect(texts.contains("open\n") && texts.contains("clean\n") && !texts.contains("SECRET\n"), "\(texts)")
        #expect(try succeed("\(bob) cat \(mounted.point)/.vaultfs/versions/pub/\(file)/* 2> /dev/null | grep -c SECRET; true") == "0\n")
        #expect(try succeed("cat \(mounted.point)/.vaultfs/versions/pub/\(file)/*").contains("SECRET"))
      }
    }
  }

  @Test func `where something was deleted is told to whoever might have come there then`() throws {
    try run { mounted in
      let pub = "\(mounted.point)/pub", inPub = "cd \(pub);"
      try succeed("\(inPub) mkdir -m 755 above; mkdir -m 777 above/d; \(bob) sh -c 'echo 1 > above/d/open; echo 2 > above/d/closed; echo 3 > above/d/later'")
      try succeed("\(inPub) \(bob) rm above/d/open; touch above/d/a; chmod 700 above; rm above/d/closed; touch above/d/b; chmod 755 above; \(bob) rm above/d/later; touch above/d/c; rm -r above")
      let list = try succeed("\(bob) \(fsctl) trash list \(mounted.point)")
      #expect(list.contains("/pub/above/d/open") && list.contains("/pub/above/d/later") && list.contains("closed") && !list.contains("/above/d/closed"), "\(list)")
      #expect(try succeed("\(fsctl) trash list \(mounted.point)").contains("/pub/above/d/closed"))
    }
  }

  @Test func `a group is given to by its members only, and what is hidden is not listed`() throws {
    try run { mounted in
      let pub = "\(mounted.point)/pub", member = "setpriv --reuid=4002 --regid=4002 --groups=7000"
      try succeed("\(member) sh -c 'cd \(pub); echo 1 > f; chgrp 7000 f; echo 2 >> f; chgrp 4002 f; echo 3 >> f; mkdir d; chgrp 7000 d; chmod 2775 d; touch d/g; rm -r d'")
      // The oldest with this content was of the group.
      let version = try #require(try succeed("\(fsctl) versions list \(pub)/f | cut -f 1").split(separator: "\n").last { try succeed("\(fsctl) versions cat \(pub)/f \($0)") == "1\n2\n" })
      try fails("\(bob) \(fsctl) versions restore \(pub)/f \(version) --to \(pub)/copy", saying: "group 7000", "no member")
      try fails("\(bob) \(fsctl) trash restore \(pub)/d", saying: "group 7000")
      try succeed("\(member) \(fsctl) trash restore \(pub)/d; \(member) \(fsctl) versions restore \(pub)/f \(version) --to \(pub)/copy; test $(stat -c %g \(pub)/copy) = 7000")
      // What stays in its group is no gift.
      try succeed("chgrp 7000 \(pub)/f; \(bob) \(fsctl) versions restore \(pub)/f \(version)")
      try succeed("mkdir -m 700 \(mounted.point)/private; mkdir \(mounted.point)/private/x; \(fsctl) snapshot create layoffs \(mounted.point)/private/x; \(fsctl) snapshot create open \(pub)")
      #expect(try succeed("\(bob) \(fsctl) snapshot list \(mounted.point) | cut -f 2") == "open\n" && succeed("\(fsctl) snapshot list \(mounted.point) | wc -l") == "2\n")
    }
  }

  @Test func `what somebody may read comes back as a copy of their own, and in place where they may write`() throws {
    try run { mounted in
      let pub = "\(mounted.point)/pub", member = "setpriv --reuid=4002 --regid=4002 --groups=7000"
      try succeed("cd \(pub); echo 1 > doc; chgrp 7000 doc; chmod 664 doc; echo 2 > doc; echo s > secret; chmod 600 secret; mkdir -m 777 own; cp /bin/true suid; chmod 4755 suid; touch suid")
      let version = try #require(try succeed("\(fsctl) versions list \(pub)/doc | cut -f 1").split(separator: "\n").last { try succeed("\(fsctl) versions cat \(pub)/doc \($0)") == "1\n" })
      // One who may only read it.
      try fails("\(bob) \(fsctl) versions restore \(pub)/doc \(version)", saying: "was another's then", "--to PATH")
      try succeed("\(bob) \(fsctl) versions restore \(pub)/doc \(version) --to \(pub)/own/copy; \(bob) \(fsctl) versions restore \(pub)/suid now --to \(pub)/own/suid")
      #expect(try succeed("cat \(pub)/own/copy; stat -c '%u %g %a' \(pub)/own/copy \(pub)/own/suid") == "1\n4002 4002 644\n4002 4002 755\n")
      try fails("\(bob) \(fsctl) versions restore \(pub)/secret now --to \(pub)/own/secret", saying: "you may not read it")
      // One who may write to it.
      try succeed("\(member) \(fsctl) versions restore \(pub)/doc \(version)")
      #expect(try succeed("cat \(pub)/doc; stat -c '%u %g %a' \(pub)/doc") == "1\n0 7000 664\n")
      // An access list would come with it: that is for its owner.
      try succeed("echo 3 > \(pub)/doc; setfacl -m u:4003:rw \(pub)/doc")
      try fails("\(member) \(fsctl) versions restore \(pub)/doc \(version)", saying: "was another's then")
    }
  }

  @Test func `what was deleted so deep that its path is not told comes back where somebody says`() throws {
    try run { mounted in
      let p = mounted.point
      func deep(_ script: String) throws { try succeed("cd \(p); python3 -c 'import os, shutil\nn = \"0\" * 250\n\(script)'") }
      try deep("for _ in range(40): os.mkdir(n); os.chdir(n)\nopen(\"lost\", \"w\").write(\"deep\")\nos.remove(\"lost\")")
      let number = try succeed("\(fsctl) trash list \(p) | grep lost | cut -f 1").trimmingCharacters(in: .newlines)
      try fails("\(fsctl) trash restore \(number) \(p)", saying: "say where it shall come with --to")
      #expect(try succeed("ls \(p)").split(separator: "\n").contains("lost") == false)
      try succeed("\(fsctl) trash restore \(number) \(p) --to \(p)/lost; grep deep \(p)/lost; rm -r \(p)/0*")
    }
  }

  @Test func `what a file became elsewhere is not shown under the name it had`() throws {
    try run(window: "4s") { mounted in
      let pub = "\(mounted.point)/pub"
      try succeed("mkdir -m 700 \(mounted.point)/bobs; chown 4002:4002 \(mounted.point)/bobs; \(bob) sh -c 'echo open > \(pub)/X'; sleep 5")
      // Written soon after the version began, and somewhere else: that is a version of its own.
      try succeed("\(bob) sh -c 'cd \(pub); echo draft > X; mv X ../bobs/X; echo secret >> ../bobs/X'; sleep 5; \(bob) sh -c 'echo later > \(mounted.point)/bobs/X'; \(mallory) touch \(pub)/X")
      func all(_ user: String) throws -> String {
        let ids = try succeed("\(user) \(fsctl) versions list \(pub)/X | cut -f 1").split(separator: "\n")
        #expect(try succeed("\(user) sh -c 'ls \(mounted.point)/.vaultfs/versions/pub/X' | wc -l") == "\(ids.count)\n")
        return try ids.map { try succeed("\(user) \(fsctl) versions cat \(pub)/X \($0)") }.joined() + succeed("\(user) sh -c 'cat \(mounted.point)/.vaultfs/versions/pub/X/*'")
      }
      let mallorys = try all(mallory), bobs = try all(bob)
      #expect(mallorys.contains("open\n") && !mallorys.contains("secret") && !mallorys.contains("later"), "\(mallorys)")
      for seen in [bobs, try all("setpriv")] { #expect(seen.contains("draft\n") && !seen.contains("secret") && !seen.contains("later"), "\(seen)") }
      #expect(try succeed("\(fsctl) versions list \(mounted.point)/bobs/X | cut -f 1 | while read id; do \(fsctl) versions cat \(mounted.point)/bobs/X $id; done").contains("draft\nsecret\n"))
      #expect(try all(mallory) == mallorys, "the kernel remembers nothing of what it was told for others")
    }
  }

  @Test func `a snapshot is open to those who might go down to it, access lists hold in versions`() throws {
    try run { mounted in
      let point = mounted.point
      try succeed("mkdir -m 700 \(point)/private; mkdir \(point)/private/project; echo plan > \(point)/private/project/plan; \(fsctl) snapshot create s \(point)/private/project; \(fsctl) snapshot create all \(point)")
      try succeed("cat \(point)/.vaultfs/snapshots/s/plan")
      for path in ["s/plan", "all/private/project/plan"] { #expect(try shell("\(mallory) cat \(point)/.vaultfs/snapshots/\(path)").status != 0, "\(path)") }
      #expect(try succeed("\(mallory) ls \(point)/.vaultfs/snapshots; ls \(point)/.vaultfs/snapshots") == "all\nall\ns\n")
      try succeed("chmod 755 \(point)/private")
      #expect(try shell("\(mallory) cat \(point)/.vaultfs/snapshots/s/plan").status != 0, "it was closed then")
      try succeed("\(fsctl) snapshot create t \(point)/private/project; \(mallory) cat \(point)/.vaultfs/snapshots/t/plan")

      try succeed("cd \(point)/pub; echo x > f; mkdir d; echo y > d/g; setfacl -m u:4003:--- f d; echo z > h; chmod 640 h; setfacl -m u:4003:r-- h; echo zz > h")
      for path in ["f", "d"] { #expect(try shell("\(mallory) ls \(point)/.vaultfs/versions/pub/\(path)").status != 0, "\(path)") }
      try succeed("\(bob) ls \(point)/.vaultfs/versions/pub/f; \(mallory) ls \(point)/.vaultfs/versions/pub/h")
      #expect(try succeed("\(mallory) \(fsctl) versions list \(point)/pub/h | wc -l") == succeed("\(mallory) ls \(point)/.vaultfs/versions/pub/h | wc -l"))
    }
  }

  @Test func `what is not a user's does not come back by them, nor set-uid bits`() throws {
    try run { mounted in
      let pub = "\(mounted.point)/pub"
      try succeed("\(bob) mkdir -m 777 \(pub)/d; echo roots > \(pub)/d/tool; chmod 6755 \(pub)/d/tool; \(bob) rm -rf \(pub)/d")
      let number = try succeed("\(bob) \(fsctl) trash list \(mounted.point) | awk '/d$/ {print $1}'").trimmingCharacters(in: .newlines)
      try fails("\(bob) \(fsctl) trash restore \(number) \(mounted.point)", saying: "others' files are in it")
      #expect(access("\(pub)/d", F_OK) != 0)
      try succeed("\(fsctl) trash restore \(number) \(mounted.point)")
      #expect(try succeed("stat -c %a \(pub)/d/tool") == "6755\n")
      try succeed("\(bob) sh -c 'mkdir \(pub)/e; echo mine > \(pub)/e/tool; chmod 6755 \(pub)/e/tool; rm -r \(pub)/e; cd \(mounted.point); \(fsctl) trash restore pub/e'")
      #expect(try succeed("stat -c %a:%u \(pub)/e/tool") == "755:4002\n")
      let id = try succeed("\(bob) sh -c 'cd \(pub); echo 1 > s; chmod 6755 s; \(fsctl) versions list s | head -n 1 | cut -f 1'").trimmingCharacters(in: .newlines)
      try succeed("\(bob) sh -c 'cd \(pub); chmod 644 s; echo 2 > s; \(fsctl) versions restore s \(id); \(fsctl) versions restore s \(id) --to t'")
      #expect(try succeed("cd \(pub); stat -c %a s t") == "755\n755\n")
    }
  }

  @Test func `a user takes back a directory of which all is theirs`() throws {
    try run { mounted in
      let pub = "\(mounted.point)/pub"
      try succeed("\(bob) sh -c 'mkdir -p -m 777 \(pub)/own/in; cd \(pub)/own; echo 1 > f; echo 1 > in/g; echo 1 > tool; chmod 4755 tool'")
      let then = try succeed("sleep 1.1; date +@%s; sleep 1.1").trimmingCharacters(in: .newlines)
      try succeed("\(bob) sh -c 'cd \(pub)/own; echo 2 > f; rm -r in; echo 2 > new; chmod 700 tool'")
      try fails("\(mallory) \(fsctl) versions restore \(pub)/own \(then)", saying: "others' files are in it")
      try succeed("\(bob) \(fsctl) versions restore \(pub)/own \(then); \(bob) \(fsctl) versions restore \(pub)/own \(then) --to \(pub)/copy")
      for place in ["own", "copy"] { #expect(try succeed("cd \(pub)/\(place); cat f in/g; ls; stat -c %a:%u tool") == "1\n1\nf\nin\ntool\n755:4002\n") }
      // Nobody waits for a user's many names.
      try succeed("\(bob) sh -c 'mkdir \(pub)/many; cd \(pub)/many; seq 5001 | xargs touch'")
      try fails("\(bob) \(fsctl) versions restore \(pub)/many now", saying: "more than 5000 names")
      // What is others' is not replaced, nor brought back.
      try succeed("\(mallory) sh -c 'echo x > \(pub)/own/in/theirs'")
      try fails("\(bob) \(fsctl) versions restore \(pub)/own \(then)", saying: "others' files are in it")
      #expect(try succeed("cat \(pub)/own/in/theirs") == "x\n")
      let with = try succeed("sleep 1.1; date +@%s; sleep 1.1; rm \(pub)/own/in/theirs").trimmingCharacters(in: .newlines)
      for target in ["", "--to \(pub)/more"] { try fails("\(bob) \(fsctl) versions restore \(pub)/own \(with) \(target)", saying: "others' files are in it") }
      try succeed("\(fsctl) versions restore \(pub)/own \(with)")
    }
  }

  @Test func `what only root can give does not come back by users`() throws {
    try run { mounted in
      let point = mounted.point, pub = "\(mounted.point)/pub"
      let id = try succeed("cd \(pub); echo 1 > f; chown 4002 f; setfattr -n trusted.x -v 1 f; sleep 1.1; \(fsctl) versions list f | head -n 1 | cut -f 1").trimmingCharacters(in: .newlines)
      try succeed("cd \(pub); setfattr -x trusted.x f; mknod dev c 1 3; chown 4002 dev; rm dev")
      for target in ["", "--to \(pub)/g"] { try fails("\(bob) \(fsctl) versions restore \(pub)/f \(id) \(target)", saying: "only root can give") }
      try fails("\(bob) sh -c 'cd \(point); \(fsctl) trash restore pub/dev'", saying: "only root can give")
      #expect(try succeed("cd \(pub); ls; getfattr -m - f") == "f\n")
      try succeed("\(fsctl) versions restore \(pub)/f \(id); getfattr -n trusted.x \(pub)/f")
    }
  }

  @Test func `no answer tells of where one may not look`() throws {
    try run { mounted in
      let point = mounted.point, pub = "\(mounted.point)/pub"
      try succeed("mkdir -m 700 \(point)/private; mkdir \(point)/private/there; \(bob) mkdir -m 777 \(pub)/moved; \(mallory) sh -c 'echo x > \(pub)/moved/x; rm \(pub)/moved/x'; mv \(pub)/moved \(point)/private/plans")
      let said = try ["there", "nowhere"].map { try shell("\(mallory) \(fsctl) versions restore \(point)/private/\($0) now --to \(pub)/x 2>&1").output.replacingOccurrences(of: $0, with: "") }
      #expect(said[0] == said[1] && said[0].contains("may not search"))
      let list = try succeed("\(mallory) \(fsctl) trash list \(point)")
      #expect(list.contains("/x") && !list.contains("plans"))
      #expect(try succeed("\(fsctl) trash list \(point)").contains("/private/plans/x"))
      let number = list.split(separator: "\t")[0]
      try fails("\(mallory) \(fsctl) trash restore \(number) \(point)", saying: "--to PATH")
      try succeed("\(mallory) mkdir -m 600 \(pub)/noentry")
      try fails("\(mallory) \(fsctl) trash restore \(number) \(point) --to \(pub)/noentry/x", saying: "may not write")
      try succeed("\(mallory) \(fsctl) trash restore \(number) \(point) --to \(pub)/x")

      try succeed("\(bob) sh -c 'cd \(pub); echo 1 > p; echo 2 > p; chmod 600 p; echo 3 > p'; chown 4003 \(pub)/p; \(mallory) sh -c 'echo 4 > \(pub)/p'")
      let count = try succeed("\(fsctl) versions list \(pub)/p | wc -l")
      #expect(try shell("\(mallory) \(fsctl) versions prune \(pub)/p").status != 0)
      #expect(try succeed("\(fsctl) versions list \(pub)/p | wc -l") == count)
      try succeed("\(fsctl) versions prune \(pub)/p")
      #expect(try succeed("\(fsctl) versions list \(pub)/p | wc -l") == "1\n")
    }
  }

  @Test func `the future is not the present, and a number that names no version is named`() throws {
    try run { mounted in
      let file = "\(mounted.point)/f"
      try succeed("echo 1 > \(file)")
      try fails("\(fsctl) versions cat \(file) 2090-01-01", saying: "in the future")
      try fails("\(fsctl) versions cat \(file) 1", saying: "no version 1 of it")
      try fails("ls \(mounted.point)/.vaultfs/at/2090-01-01", code: 2, saying: "No such file")
      try succeed("sleep 1.1; \(fsctl) versions cat \(file) $(date +%Y-%m-%d); ls \(mounted.point)/.vaultfs/at/$(date +%Y-%m-%d)/f")
    }
  }

  @Test func `nothing else gets the hidden directory's name`() throws {
    try run { mounted in
      let point = mounted.point
      try succeed("cd \(point); mkdir d; echo x > f; mkdir pub/.vaultfs; rmdir pub/.vaultfs")
      try fails("mv -T \(point)/d \(point)/.vaultfs", saying: "busy")
      for command in ["mkdir", "ln -s x", "ln \(point)/f", "mkfifo"] { #expect(try shell("\(command) -- \(point)/.vaultfs").status != 0 || command.hasPrefix("ln"), "\(command)") }
      try fails("\(fsctl) versions restore \(point)/f now --to \(point)/.vaultfs", saying: "hidden directory")
      #expect(try succeed("ls -A \(point)") == "d\nf\npub\n")
    }
  }
}
