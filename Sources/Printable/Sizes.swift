// Numbers as people read them.

import Glibc

/// Bytes for people, in binary units.
public func human(_ bytes: UInt64) -> String {
  var value = Double(bytes), unit = 0
  let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
  while value >= 1024, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
  return unit == 0 ? "\(bytes) B" : "\(decimal(value, places: value < 10 ? 2 : 1)) \(units[unit])"
}

/// A positive number with so many digits behind the point.
public func decimal(_ value: Double, places: Int) -> String {
  var digits = String(UInt64((value * pow(10, Double(places))).rounded()))
  digits = String(repeating: "0", count: max(places + 1 - digits.count, 0)) + digits
  return "\(digits.dropLast(places)).\(digits.suffix(places))"
}
