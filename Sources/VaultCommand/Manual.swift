// What the manual of `vaultfs` says beside what the definitions of its arguments say.

import CommandSupport

extension Vaultfs {
  static let chapters = [
    ManualChapter(
      "WHEN MOUNT(8) CALLS IT", """
        Linked as /sbin/mount.vaultfs, it is what mount(8) and fstab(5) call for the type vaultfs. Then it ends as mount(8) does:
        """,
      items: [("0", "Mounted."), ("1", "Wrongly called."), ("32", "The mount failed.")]),
    ManualChapter("MOUNT OPTIONS", "After -o, comma-separated:", items: MountSettings.described),
    ManualChapter(
      "FILES",
      items: [
        ("VAULT/log", "What the owner of a vault has met."),
        ("VAULT/socket", "Where its owner is asked, by root and by the user the vault belongs to."),
        ("/run/vaultfs", "Where others ask, where root mounted with --allow-other."),
        ("/etc/fstab", "What is mounted at boot: VAULT DIR vaultfs defaults,allow_other,nofail 0 0"),
        ("/etc/fuse.conf", "The line user_allow_other lets ordinary users mount with --allow-other."),
        ("/sbin/mount.vaultfs", "A link to vaultfs."),
      ]),
    ManualChapter("SEE ALSO", "fsctl(1), mount(8), umount(8), fstab(5), fusermount3(1)"),
  ]
}
