// Bytes for a terminal: names and paths are bytes everywhere, and text only where a person reads them.
//
// What must stay true: nothing that is shown can move a cursor. What is shown is never read back as a name.

/// What a name is, read as UTF-8: characters, and the bytes between them that are none.
public func scalars(of bytes: some Sequence<UInt8>) -> [(scalar: Unicode.Scalar?, bytes: ArraySlice<UInt8>)] {
  var found: [(scalar: Unicode.Scalar?, bytes: ArraySlice<UInt8>)] = []
  var rest = Array(bytes)[...]
  while !rest.isEmpty {
    let length = (1...4).first { $0 <= rest.count && String(validating: rest.prefix($0), as: UTF8.self) != nil }
    let part = rest.prefix(length ?? 1)
    found.append((length == nil ? nil : String(decoding: part, as: UTF8.self).unicodeScalars.first, part))
    rest = rest.dropFirst(part.count)
  }
  return found
}

extension Unicode.Scalar {
  /// Whether it is shown, and changes nothing of how what follows it is. (The bidirectional controls would let `gpj.exe` look like
  /// `exe.jpg`; those that only mark a direction do no harm, and languages need them.)
  fileprivate var isShown: Bool {
    switch value {
    case 0x202A...0x202E, 0x2066...0x2069: false
    default: ![.control, .lineSeparator, .paragraphSeparator].contains(properties.generalCategory)
    }
  }
}

/// Text for a terminal: as it is where it can be shown; `\xNN` for each byte that is not UTF-8 or would move a cursor.
public func printable(_ bytes: some Sequence<UInt8>) -> String {
  var text = String.UnicodeScalarView()
  for (scalar, bytes) in scalars(of: bytes) {
    if let scalar, scalar.isShown {
      text.append(scalar)
    } else {
      for byte in bytes { text += ("\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)).unicodeScalars }
    }
  }
  return String(text)
}

/// One word of a shell command: as it is where that needs no quotes.
public func shellQuoted(_ text: String) -> String {
  let isPlain = !text.isEmpty && text.utf8.allSatisfy { byte in
    byte >= 0x80 || "/._-+,:=@%".utf8.contains(byte) || Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber
  }
  return isPlain ? text : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
}
