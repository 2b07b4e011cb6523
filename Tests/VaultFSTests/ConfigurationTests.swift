// The file `vault`: what says that a directory is a vault, and which.

import Testing
@testable import VaultFS

struct ConfigurationTests {
  private let configuration = VaultConfiguration(id: NodeID(high: 0x0123_4567_89AB_CDEF, low: 7), name: "photos of café 1", nameKey: (UInt64.max, 3), created: 1_763_000_000)
  private func decode(_ bytes: [UInt8]) throws(VaultError) -> VaultConfiguration {
    try VaultConfiguration(decoding: String(decoding: bytes, as: UTF8.self), path: "/some/vault")
  }

  @Test func `it comes back as it was written`() throws {
    let back = try decode(Array(configuration.encoded().utf8))
    #expect((back.id, back.name, back.created) == (configuration.id, configuration.name, configuration.created))
    #expect(back.nameKey == configuration.nameKey)
  }

  @Test func `a change of any byte is refused with words that name the file or its format`() {
    let bytes = Array(configuration.encoded().utf8)
    for place in bytes.indices {
      for flip in [1, 4, 32] as [UInt8] {
        var wounded = bytes
        wounded[place] ^= flip
        #expect("byte \(place)") { _ = try decode(wounded) } throws: { "\($0)".contains("/some/vault") }
      }
    }
  }

  @Test func `every loss at its end is refused`() {
    let bytes = Array(configuration.encoded().utf8)
    // The last byte is the newline after the checksum: without it nothing is lost.
    for length in 0..<bytes.count - 1 {
      #expect("\(length) bytes") { _ = try decode(Array(bytes[..<length])) } throws: { "\($0)".contains("/some/vault") }
    }
  }

  @Test(arguments: ["2", "10", "0", "1.1"])
  func `another format is refused by its version, with the way out`(version: String) {
    let text = configuration.encoded().replacing("vaultfs 1\n", with: "vaultfs \(version)\n")
    #expect { _ = try decode(Array(text.utf8)) } throws: { error in
      guard case VaultError.formatUnknown = error else { return false }
      return "\(error)".contains("format \(version)") && "\(error)".contains("newer")
    }
  }

  /// Whose vault it is decides what stands in it: an escape sequence, for one.
  @Test func `text of a foreign vault moves no cursor`() {
    let text = configuration.encoded().replacing("vaultfs 1\n", with: "vaultfs 2\u{1B}]0;owned\u{07}\u{9B}2J\u{2028}\n")
    let errors: [any Error] = [
      #expect(throws: VaultError.self) { _ = try decode(Array(text.utf8)) },
      VaultError.owned(path: "/v", by: "process 1\u{1B}[2J on host"),
      Database.error(1, system: 0, "malformed database schema (\u{1B}[2J)", "/v/metadata.db"),
      Database.error(10, system: 0, "\u{1B}[2J", "/v/metadata.db"),
    ].compactMap { $0 }
    #expect(errors.count == 4)
    for error in errors {
      #expect("\(error)".unicodeScalars.allSatisfy { ![.control, .lineSeparator].contains($0.properties.generalCategory) } && "\(error)".contains("\\x1b"), "\(error)")
    }
  }
}
