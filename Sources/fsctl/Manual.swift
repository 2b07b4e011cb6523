// What the manual of `fsctl` says beside what the definitions of its arguments say.

import CommandSupport

extension Fsctl {
  static let chapters = [
    ManualChapter(
      "MOMENTS", "A VERSION may be a number of `fsctl versions list`, or a moment at which it stood:",
      items: [
        ("2026-11-21, yesterday, \"Nov 28\"", "The end of that day."),
        ("2026-11-21T10:00:30, \"yesterday 10:00\", 10:00", "A time of a day, or of today. Without a zone (Z, +02:00) it is the computer's."),
        ("\"2h ago\", \"1 hour 5 min ago\", 1h30m", "So long before now."),
        ("@1795828648", "A second since 1970."),
      ]),
    ManualChapter(
      "FILES",
      items: [
        ("DIR/.vaultfs", "At the root of a mount, in no listing: snapshots/NAME, at/TIME, trash, versions/PATH; read-only."),
        ("VAULT/socket", "Where the owner of a vault is asked, by root and by the user the vault belongs to."),
        ("/run/vaultfs", "Where others ask, where root mounted with --allow-other."),
      ]),
    ManualChapter("SEE ALSO", "vaultfs(1), quota(1), setfacl(1)"),
  ]
}
