// When things were is known in order: a later second begins with a later operation, none after the last.

enum PastMoment: Invariant {
  static let kind = Finding.Kind.pastMoment

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    let applied = copy.state.applied.value, second = UInt64(bitPattern: copy.state.second)
    try copy.each(
      "SELECT second, lsn FROM (SELECT second, lsn, lag(lsn) OVER (ORDER BY second) AS before FROM moment) WHERE lsn <= before OR lsn < 0 OR lsn >= ?1 OR second > ?2",
      applied, second, work: work) { row in
      work.found(Finding(kind, table: "moment", key: [row.unsigned(0)],
                         "the second \(row.integer(0)) is said to begin after operation \(row.integer(1)), out of order; the last operation is \(applied)"))
    }
  }
}
