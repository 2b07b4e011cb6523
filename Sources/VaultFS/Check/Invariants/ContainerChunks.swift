// A container counts the chunks that are read from it: one that none is read from may go.

enum ContainerChunks: Invariant {
  static let kind = Finding.Kind.containerChunks

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    try copy.database.execute("CREATE TABLE use AS SELECT container AS number, count(*) AS chunks, max(frame + frame_length) AS end FROM chunk GROUP BY container; CREATE UNIQUE INDEX use_number ON use (number)")
    try copy.each(
      """
      SELECT u.number, u.chunks, ifnull(c.chunks, 0) AS counted FROM use AS u LEFT JOIN container AS c ON c.number = u.number WHERE counted <> u.chunks
      UNION ALL SELECT c.number, 0, c.chunks FROM container AS c WHERE c.chunks <> 0 AND NOT EXISTS (SELECT 1 FROM use AS u WHERE u.number = c.number)
      """, work: work) { row in
      let number = row.unsigned(0)
      work.found(Finding(kind, table: "container", key: [number], "container \(number) counts \(row.integer(2)) chunks that are read from it, and \(row.integer(1)) are"))
    }
  }
}
