// The examples that are scripts do what they say, and leave nothing behind.

import Foundation
import Testing

extension MountTests {
  @Suite(.serialized) struct ExampleTests {
    @Test func `a first vault`() throws {
      try MountedVault.run(mounted: false) { home in
        let said = try succeed("TMPDIR=\(home.directory) \(repository)/Examples/first-vault/run \(MountedVault.program)")
        #expect(said.contains("first-vault: done"))
        #expect(try succeed("find \(home.directory) -mindepth 1 -name 'first-vault*'") == "")
      }
    }

    @Test func `a vault for three users with limits, snapshots and retention`() throws {
      try MountedVault.run(mounted: false) { home in
        // Other users pass through it.
        try succeed("chmod 755 \(home.directory)")
        let said = try succeed("TMPDIR=\(home.directory) VAULTFS=\(MountedVault.program) FSCTL=\(MountedVault.fsctl) \(repository)/Examples/home-with-quotas/run --demo")
        #expect(said.contains("home-with-quotas: done"))
        #expect(try succeed("find \(home.directory) -mindepth 1 -name 'home-with-quotas*'") == "")
      }
    }

    private var repository: String { MountedVault.program.components(separatedBy: "/.build/")[0] }
  }
}
