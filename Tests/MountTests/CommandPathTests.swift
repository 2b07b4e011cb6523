// The paths that commands take: bytes, in any form, from anywhere; and places where no mount can be.

import FuseBridge
import Foundation
import Glibc
import Testing
@testable import CommandSupport
@testable import VaultCommand

extension MountTests {
  @Suite(.serialized) struct CommandPathTests {
    private let vaultfs = MountedVault.program

    @Test func `arguments keep every byte, and are text in between`() {
      var all: [[UInt8]] = [Array(0x01...0xFF), Array("é\u{301} \u{10FF41}\u{10FFFF}🙂".utf8), [0xC3], [0xED, 0xA0, 0x80], [0xF4, 0x8F, 0xBD, 0x81]]
      for length in 0..<200 { all.append((0..<length).map { _ in UInt8.random(in: 1...255) }) }
      for bytes in all { #expect(Arguments.bytes(of: Arguments.text(of: bytes)) == bytes) }
      #expect(Arguments.text(of: "--name=plain é".utf8) == "--name=plain é")
      #expect(Path([0x2F, 0x1B, 0xFF, 0xC3, 0xA9]).description == #"/\x1b\xffé"#)
      // What turns the direction of text around could pass one name off as another; what only marks it is a part of names.
      #expect(Path(Array("a\u{202E}txt.exe\u{2066}\u{200F}".utf8)).description == #"a\xe2\x80\xaetxt.exe\xe2\x81\xa6"# + "\u{200F}")
    }

    @Test func `a mount that would hide the vault from its owner is refused`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        try succeed("mkdir \(home.vault)/inside && ln -s vault \(home.directory)/link")
        for place in [home.vault, home.vault + "/inside", home.directory, "/", home.directory + "/m/..", home.directory + "/link/inside"] {
          try fails("timeout 20 \(vaultfs) mount \(home.vault) \(place)", saying: home.vault, "choose")
        }
        try fails("cd \(home.vault) && timeout 20 \(vaultfs) mount . .", saying: home.vault)
        // Not every name that begins alike.
        try succeed("mkdir \(home.vault)2 && \(vaultfs) mount \(home.vault) \(home.vault)2 && \(vaultfs) unmount \(home.vault)2")
      }
    }

    @Test func `mount points are told apart by their bytes`() throws {
      try MountedVault.run(mounted: false) { home in
        let composed = home.directory + "/\u{E9}", decomposed = home.directory + "/e\u{301}"
        try home.create()
        try succeed("cp -a \(home.vault) \(home.vault)2 && mkdir \(composed) \(decomposed)")
        defer { for point in [composed, decomposed] { umount2(point, Int32(MNT_DETACH)) } }
        try succeed("\(vaultfs) mount \(home.vault) \(composed) && \(vaultfs) mount \(home.vault)2 \(decomposed)")
        try succeed("\(vaultfs) unmount \(composed)")
        #expect(!MountedVault.isMounted(composed) && MountedVault.isMounted(decomposed))
        try succeed("\(vaultfs) unmount \(decomposed)")
        // Not UTF-8: as a mount point like any other; as a vault refused, and nothing is made by a similar name.
        try succeed("cd \(home.directory) && odd=$(printf 'm\\377') && mkdir \"$odd\" && \(vaultfs) mount vault \"$odd\" && echo x > \"$odd/file\" && \(vaultfs) status \"$odd\" && \(vaultfs) status \"$odd/file\" && \(vaultfs) unmount \"$odd\" && rmdir \"$odd\"")
        try fails("cd \(home.directory) && \(vaultfs) init \"$(printf 'b\\377')\"", code: 2, saying: #"b\xff"#, "UTF-8")
        try fails("cd \(home.directory) && \(vaultfs) init \"$(printf 'two\\nlines')\"", code: 2, saying: #"two\x0alines"#)
        #expect(try succeed("ls \(home.directory)") == "e\u{301}\nm\nvault\nvault2\n\u{E9}\n")
      }
    }

    @Test func `a path may be empty by mistake, long, a symlink, or end in a slash`() throws {
      try MountedVault.run(mounted: false) { home in
        for command in ["init ''", "mount '' \(home.point)", "mount \(home.vault) ''", "unmount ''", "status ''", "rebuild ''"] {
          try fails("cd \(home.directory) && \(vaultfs) \(command)", code: 2, saying: "empty")
        }
        #expect(try succeed("ls -A \(home.directory)") == "m\n")
        let long = home.directory + "/" + [String](repeating: String(repeating: "x", count: 120), count: 3).joined(separator: "/")
        try succeed("mkdir -p \(long) && ln -s m \(home.directory)/link && \(vaultfs) init \(long)/v && cd \(home.directory) && \(vaultfs) mount \(long)/v link")
        defer { umount2(home.point, Int32(MNT_DETACH)) }
        for path in ["m", "m/", "m/.", "link", "link/", "m/../link/.", "\(long)/v/"] {
          #expect(try succeed("cd \(home.directory) && \(vaultfs) status \(path)").contains(home.point), "\(path)")
        }
        try succeed("cd \(home.directory) && \(vaultfs) unmount link/")
        #expect(!home.isMounted)
        try fails("\(vaultfs) init \(long)/\(String(repeating: "y", count: 200))", code: 2, saying: "480 bytes")
        try succeed("touch \(home.directory)/file")
        try fails("\(vaultfs) init \(home.directory)/file/v", saying: "\(home.directory)/file/v", "is a file", "give a directory")
        try succeed("\(vaultfs) mount \(long)/v \(home.point) && mkdir \(home.point)/below")
        try fails("\(vaultfs) unmount \(home.point)/below", saying: "inside the vault mounted on \(home.point)", "`vaultfs unmount \(home.point)`")
        try home.unmount()
      }
    }

    @Test func `what a vault is called cannot drive a terminal`() throws {
      try MountedVault.run(mounted: false) { home in
        try succeed("\(vaultfs) init \(home.vault) --name \"$(printf 'a\\033[31mb')\"")
        let said = try succeed("\(vaultfs) status \(home.vault)")
        #expect(said.contains(#"a\x1b[31mb"#) && !said.contains("\u{1B}"))
      }
    }
  }
}
