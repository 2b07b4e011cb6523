// Sizes and counts as people write them.

public enum Amount {
  private static let powers = ["": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6]

  /// Bytes, such as 4096, 10G, 1.5T, 512MiB: in powers of 1024.
  /// - Returns: nil where it is none, or does not fit.
  public static func bytes(_ text: String) -> UInt64? {
    var word = text.lowercased()
    for end in ["ib", "b"] where word.hasSuffix(end) {
      word.removeLast(end.count)
      break
    }
    return amount(word, unit: 1024)
  }

  /// A count, such as 5000, 100k, 1M: in thousands.
  public static func count(_ text: String) -> UInt64? { amount(text.lowercased(), unit: 1000) }

  private static func amount(_ word: String, unit: UInt64) -> UInt64? {
    let digits = word.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard digits.first?.isNumber == true, digits.last?.isNumber == true, let power = powers[String(word.dropFirst(digits.count))] else { return nil }
    let scale = (0..<power).reduce(UInt64(1)) { scale, _ in scale * unit }
    if let whole = UInt64(digits) {
      let (value, overflows) = whole.multipliedReportingOverflow(by: scale)
      return overflows ? nil : value
    }
    guard power > 0, let part = Double(digits) else { return nil }
    return UInt64(exactly: (part * Double(scale)).rounded())
  }
}
