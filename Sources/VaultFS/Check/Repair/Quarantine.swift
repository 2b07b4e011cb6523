// Where repair puts what it takes out: the folder `quarantine` of the vault. Nothing reads it; it is for people.
//
// What must stay true: what goes there is durable before it goes from where it was.

struct Quarantine {
  static let directory = "quarantine"
  private let disk: any Disk
  private let day: String

  init(_ disk: any Disk) {
    self.disk = disk
    day = String(When.text(of: Timestamp.now.seconds).prefix { $0 != "T" })
  }

  /// The name of the directory, in the root of the tree, for nodes that have lost theirs.
  var lostAndFound: String { "lost+found-\(day)" }

  private func prepare() throws(VaultError) {
    if disk.exists(Self.directory) { return }
    try disk.makeDirectory(Self.directory)
    try disk.syncDirectory(".")
  }

  /// Keeps an entry, with all its bytes, as a line of text.
  func keep(_ entry: Metadata.EntryRow, of parent: InodeNumber) throws(VaultError) {
    let digits = entry.name.map { String(hex(UInt64($0)).suffix(2)) }.joined()
    try append("parent \(parent.value) cookie \(entry.cookie) inode \(entry.inode.value) type \(String(entry.type, radix: 8)) born \(entry.born.value) name-hex \(digits) name \(displayed(entry.name))\n",
               to: "\(Self.directory)/entries-\(day).txt")
  }

  private func append(_ text: String, to path: String) throws(VaultError) {
    try prepare()
    let isNew = !disk.exists(path)
    let file = try disk.open(path, isNew ? .create : .update)
    try writeAll(Array(text.utf8), to: file, at: try file.size())
    try file.sync()
    if isNew { try disk.syncDirectory(Self.directory) }
  }

  /// Sets the database aside, with its log.
  func takeDatabase() throws(VaultError) {
    try prepare()
    let name = Vault.databaseName
    var number = 1
    while disk.exists("\(Self.directory)/\(day)-\(number)-\(name)") { number += 1 }
    for suffix in ["-wal", ""] where disk.exists(name + suffix) { try disk.rename(name + suffix, to: "\(Self.directory)/\(day)-\(number)-\(name)\(suffix)") }
    try disk.syncDirectory(Self.directory)
    try disk.syncDirectory(".")
  }
}
