// The account of each user and of each group is the sum of what they own.

enum UsageOwners: Invariant {
  static let kind = Finding.Kind.usageOwner

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    var found: [QuotaSubject: Usage] = [:]
    try copy.each("SELECT user, team, allocated FROM shape", work: work) { row in
      let own = Usage(bytes: row.unsigned(2), nodes: 1)
      for owner in [QuotaSubject.user(UInt32(truncatingIfNeeded: row.unsigned(0))), .group(UInt32(truncatingIfNeeded: row.unsigned(1)))] {
        found[owner, default: Usage()] = found[owner, default: Usage()] &+ own
      }
    }
    let said = copy.state.accounts.all
    for owner in Set(said.keys).union(found.keys).sorted(by: { $0.row < $1.row }) where said[owner] != found[owner] {
      let a = said[owner] ?? Usage(), b = found[owner] ?? Usage()
      work.found(Finding(kind, table: "account", key: [owner.row.kind, owner.row.id],
                         "\(owner) is said to have \(a.nodes) nodes with \(a.bytes) bytes, and has \(b.nodes) with \(b.bytes)"))
    }
  }
}
