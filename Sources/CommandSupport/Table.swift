// Rows of words under each other.

public struct Table {
  private var rows: [[String]]
  private let left: Set<Int>

  /// - Parameter left: the columns that are aligned to the left; the others, numbers, are to the right.
  public init(_ header: [String], left: Set<Int> = [0]) { (rows, self.left) = ([header], left) }

  public mutating func add(_ row: [String]) { rows.append(row) }

  public var text: String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let line = row.enumerated().map { column, word in
        let space = String(repeating: " ", count: widths[column] - word.count)
        return left.contains(column) ? word + space : space + word
      }.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }.joined(separator: "\n")
  }
}
