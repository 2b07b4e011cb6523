// What each user and each group owns.
//
// What must stay true: an account is the sum over all nodes of its owner, those without a name included, of their
// allocated bytes and of one node each; who owns nothing has none.
// Part of the view's state: in memory as a whole (there are few owners beside the nodes), written with every commit.

struct Accounts {
  private var usages: [QuotaSubject: Usage] = [:]
  private var changed: Set<QuotaSubject> = []

  init() {}

  init(_ database: Database) throws(VaultError) {
    let select = try database.prepare("SELECT kind, id, bytes, nodes FROM account")
    while try select.step() {
      guard let owner = QuotaSubject(kind: select.unsigned(0), id: select.unsigned(1)) else { throw .databaseDamaged(detail: "the account of an unknown owner") }
      usages[owner] = Usage(bytes: select.unsigned(2), nodes: select.unsigned(3))
    }
  }

  var all: [QuotaSubject: Usage] { usages }
  func usage(of owner: QuotaSubject) -> Usage { usages[owner] ?? Usage() }

  mutating func add(_ change: Usage, to owner: QuotaSubject) {
    let usage = usages[owner, default: Usage()] &+ change
    usages[owner] = usage == Usage() ? nil : usage
    changed.insert(owner)
  }

  /// What was counted anew.
  mutating func become(_ counted: [QuotaSubject: Usage]) {
    changed.formUnion(usages.keys)
    changed.formUnion(counted.keys)
    usages = counted
  }

  mutating func write(_ statements: Statements) throws(VaultError) {
    for owner in changed {
      let (kind, id) = owner.row
      let statement = usages[owner] == nil ? statements.deleteAccount : statements.writeAccount
      statement.bind(1, kind)
      statement.bind(2, id)
      if let usage = usages[owner] {
        statement.bind(3, usage.bytes)
        statement.bind(4, usage.nodes)
      }
      try statement.run()
    }
    changed.removeAll(keepingCapacity: true)
  }
}

extension QuotaSubject {
  /// As rows and operations name it.
  var row: (kind: UInt64, id: UInt64) {
    switch self {
    case .vault: (0, 0)
    case .user(let id): (1, UInt64(id))
    case .group(let id): (2, UInt64(id))
    case .tree(let inode): (3, inode.value)
    }
  }
  init?(kind: UInt64, id: UInt64) {
    switch kind {
    case 0 where id == 0: self = .vault
    case 1 where id <= UInt64(UInt32.max): self = .user(UInt32(id))
    case 2 where id <= UInt64(UInt32.max): self = .group(UInt32(id))
    // What SQLite can hold, with room for one more.
    case 3 where id > 0 && id < UInt64(Int64.max): self = .tree(InodeNumber(id))
    default: return nil
    }
  }
}
