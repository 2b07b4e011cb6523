// The commands as others call them: mount(8), ordinary users, and root where a vault is not root's.

import Foundation
import Glibc
import Testing

extension MountTests {
  @Suite(.serialized) struct CommandUserTests {
    private let vaultfs = MountedVault.program

    @Test func `mount(8) and fstab mount it by its helper`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        let d = home.directory
        // All of /sbin by symlinks, and the helper with them.
        let space = try PrivateNamespace(in: d, setUp: """
          mkdir \(d)/sbin \(d)/sbin.real
          mount --bind "$(readlink -f /sbin)" \(d)/sbin.real
          cp -as \(d)/sbin.real/. \(d)/sbin
          ln -sf \(vaultfs) \(d)/sbin/mount.vaultfs
          mount --bind \(d)/sbin "$(readlink -f /sbin)"
          """)
        defer { space.end(unmounting: home.point, d + "/sbin.real") }
        let mount = "\(space.enter) mount", umount = "\(space.enter) umount \(home.point)"
        try succeed("\(mount) -t vaultfs \(home.vault) \(home.point) -o defaults,allow_other,nofail,noatime")
        #expect(try succeed("\(space.enter) findmnt -n -o FSTYPE,SOURCE \(home.point)").contains(home.vault))
        try succeed("\(space.enter) sh -c 'echo x > \(home.point)/file' && \(umount)")
        try succeed("\(mount) -t vaultfs -r \(home.vault) \(home.point)")
        #expect(try shell("\(space.enter) touch \(home.point)/file").status != 0)
        try succeed(umount)
        try succeed("echo '\(home.vault) \(home.point) vaultfs defaults,noauto 0 0' > \(d)/fstab && \(mount) -T \(d)/fstab \(home.point) && \(space.enter) cat \(home.point)/file && \(umount)")
        try fails("\(mount) -t vaultfs \(d)/nowhere \(home.point)", code: 32, saying: "nowhere")
        // Its disk is not there: at boot that may be so.
        try succeed("echo '\(d)/nowhere \(home.point) vaultfs nofail 0 0' > \(d)/fstab")
        let missing = try shell("\(mount) -a -T \(d)/fstab")
        #expect(missing.status == 0 && missing.output.contains("\(d)/nowhere does not exist") && !space.isMounted(home.point), "\(missing)")
        // Fake: everything is checked, nothing is mounted.
        for flags in ["-f", "-fv"] {
          try succeed("\(space.enter) /sbin/mount.vaultfs \(home.vault) \(home.point) \(flags) -o rw")
          #expect(!space.isMounted(home.point))
          try fails("\(space.enter) /sbin/mount.vaultfs \(d)/nowhere \(home.point) \(flags)", code: 32, saying: "nowhere")
        }
        // As mount.fuse3 calls it, for `-t fuse.vaultfs`.
        for _ in 0..<100 where home.owner != nil { usleep(50_000) }
        try succeed("\(space.enter) \(vaultfs) \(home.vault) \(home.point) -o rw,noexec && \(space.enter) findmnt -n -o OPTIONS \(home.point) | grep noexec && \(umount)")
        try fails("\(space.enter) \(vaultfs) \(d)/nowhere \(home.point) -o rw", code: 32, saying: "nowhere")
        try fails("\(space.enter) \(vaultfs) nowhere \(home.point) -o rw", code: 32, saying: "nowhere")
        for _ in 0..<100 where home.owner != nil { usleep(50_000) }
      }
    }

    @Test func `an ordinary user has a vault of their own`() throws {
      try MountedVault.run(mounted: false) { home in
        try #require(access("/usr/bin/fusermount3", X_OK) == 0, "package fuse3 must be there")
        let d = home.directory, vaultfs = "\(d)/vaultfs", point = d + "/home/m"
        // /dev/fuse is open to all where udev runs; here perhaps not.
        let space = try PrivateNamespace(in: d, setUp: "mkdir \(d)/dev && mount -t tmpfs -o mode=755 none \(d)/dev && mknod -m 666 \(d)/dev/fuse c 10 229 && mount --bind \(d)/dev/fuse /dev/fuse")
        defer { space.end(unmounting: point, d + "/dev") }
        try succeed("cp \(MountedVault.program) \(vaultfs) && chmod 755 \(vaultfs) && mkdir \(d)/home && chown 65534:65534 \(d)/home")
        let asUser = "\(space.enter) setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=\(d)/home sh -c"
        try succeed("\(asUser) 'cd ~ && mkdir m && \(vaultfs) init v && \(vaultfs) mount v m && echo mine > m/file && cat m/file && stat -c %u:%a m/file && \(vaultfs) status m'")
        #expect(space.isMounted(point))
        #expect(try shell("\(space.enter) cat \(point)/file").status != 0, "not even root enters without --allow-other")
        try fails("\(asUser) 'cd ~ && \(vaultfs) init other && \(vaultfs) mount other /usr'", saying: "you may not mount on /usr")
        // Root may ask its owner, and leaves nothing in a vault that has none.
        try succeed("\(space.enter) \(vaultfs) status \(d)/home/v && \(space.enter) \(MountedVault.fsctl) stats --vault \(d)/home/v")
        let refused = try shell("\(space.enter) \(vaultfs) rebuild \(d)/home/v")
        #expect(refused.status == 1 && refused.output.contains("is in use") && !refused.output.contains("chown"), "\(refused)")
        try succeed("\(asUser) 'cd ~ && env PATH=/nonexistent \(vaultfs) unmount m'")
        #expect(!space.isMounted(point))
        try fails("\(vaultfs) status \(d)/home/v", saying: "\(d)/home/v", "belongs to")
        try fails("\(vaultfs) mount \(d)/home/v \(home.point)", saying: "\(d)/home/v", "belongs to", "chown")
        try fails("\(vaultfs) rebuild \(d)/home/v", saying: "\(d)/home/v", "belongs to")
        #expect(try succeed("find \(d)/home/v -user root") == "")
        // Without user_allow_other in /etc/fuse.conf that is refused, with the way out.
        let conf = (try? String(contentsOfFile: "/etc/fuse.conf", encoding: .utf8)) ?? ""
        if !conf.split(separator: "\n").contains(where: { $0.trimmingCharacters(in: .whitespaces) == "user_allow_other" }) {
          try fails("\(asUser) 'cd ~ && \(vaultfs) mount v m --allow-other'", saying: "user_allow_other")
        }
        // fusermount3's own reason, where it has one.
        try fails("\(asUser) 'cd ~ && \(vaultfs) mount v m -o context=nonsense'", saying: "fusermount3: ")
        #expect(!space.isMounted(point))
        // A user without a name, as in many a container.
        let nameless = asUser.replacingOccurrences(of: "65534", with: "54321")
        try succeed("install -d -o 54321 \(d)/nameless")
        try fails("\(nameless) 'cd \(d)/nameless && mkdir m && \(vaultfs) init v && \(vaultfs) mount v m'", saying: "user 54321 has no name", "useradd")
        // A vault that is somebody else's, and a mount.
        try home.create()
        try fails("\(asUser) 'cd ~ && \(vaultfs) mount \(home.vault) m'", saying: home.vault, "belongs to root")
        // A folder that its owner may not write to, and one that everybody may.
        try fails("\(asUser) 'cd ~ && chmod 500 v && \(vaultfs) mount v m'", saying: "\(d)/home/v", "mode 0500", "chmod 700")
        let open = try shell("\(asUser) 'cd ~ && chmod 777 v && \(vaultfs) mount v m && \(vaultfs) unmount m && chmod 700 v'")
        #expect(open.status == 0 && open.output.contains("warning: others may write to the folder \(d)/home/v") && open.output.contains("chmod go-w"), "\(open)")
        try succeed("\(space.enter) \(vaultfs) mount \(home.vault) \(home.point)")
        try fails("\(asUser) 'cd ~ && \(vaultfs) unmount \(home.point)'", saying: home.point, "mounted by root", "run this as root")
        try succeed("\(space.enter) \(vaultfs) unmount \(home.point)")
        try succeed("\(asUser) 'cd ~ && \(vaultfs) mount v m && kill -9 $(cut -d\" \" -f2 v/owner) && \(vaultfs) mount v m && cat m/file && \(vaultfs) unmount m'")
      }
    }

    @Test func `what a symlink in a vault leads to is never written`() throws {
      try MountedVault.run(mounted: false) { home in
        try home.create()
        try succeed("echo precious > \(home.directory)/precious")
        for name in ["log", "boot", "owner"] {
          try succeed("rm -f \(home.vault)/\(name) && ln -s ../precious \(home.vault)/\(name)")
          try fails("\(vaultfs) mount \(home.vault) \(home.point)", saying: name)
          try succeed("rm \(home.vault)/\(name)")
        }
        #expect(try succeed("cat \(home.directory)/precious") == "precious\n")
        try home.mount()
      }
    }
  }
}
