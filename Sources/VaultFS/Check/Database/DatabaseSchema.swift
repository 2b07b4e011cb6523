// The tables of the database are those that this program makes.

enum DatabaseSchema: Invariant {
  static let kind = Finding.Kind.databaseSchema

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let model = try Database(path: ":memory:")
    try Schema.prepare(model)
    let expected = try statements(model), found = try statements(copy.database)
    for name in Set(expected.keys).union(found.keys).sorted() where expected[name] != found[name] {
      let what = found[name] == nil ? "is missing" : expected[name] == nil ? "is not known" : "is another than it should be"
      work.found(Finding(kind, file: Vault.databaseName, table: name, "the table or index \(name) of the database \(what)"))
    }
  }

  private static func statements(_ database: Database) throws -> [String: String] {
    var all: [String: String] = [:]
    let select = try database.prepare("SELECT name, ifnull(sql, '') FROM sqlite_schema")
    while try select.step() { all[String(decoding: select.bytes(0), as: UTF8.self)] = String(decoding: select.bytes(1), as: UTF8.self) }
    return all
  }
}
