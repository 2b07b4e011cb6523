// The files of a vault as tests look at them, and harm them.

import Foundation
import Glibc
import Testing
@testable import VaultFS

/// The bytes of a file of a vault that nobody has open.
func stored(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }
func store(_ bytes: [UInt8], _ path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
func flip(_ path: String, at place: Int, bit: UInt8 = 0) throws {
  var all = try stored(path)
  all[place] ^= 1 << bit
  try store(all, path)
}
/// In the file as it is, also where a vault has it open.
func flipInPlace(_ path: String, at place: Int, bit: UInt8 = 3) throws {
  let descriptor = Glibc.open(path, O_RDWR)
  try #require(descriptor >= 0)
  defer { Glibc.close(descriptor) }
  var byte: UInt8 = 0
  try #require(pread(descriptor, &byte, 1, place) == 1)
  byte ^= 1 << bit
  try #require(pwrite(descriptor, &byte, 1, place) == 1)
}
func containers(_ vault: String, _ kind: ContainerStore.Kind) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: "\(vault)/\(kind.directory)").filter { $0.hasSuffix(kind.suffix) }.sorted().map { "\(vault)/\(kind.directory)/\($0)" }
}

/// A record of a segment, and where it is.
struct Placed {
  var offset: Int
  var header: RecordHeader
}
func records(_ segment: String) throws -> [Placed] {
  try stored(segment).withUnsafeBytes { raw throws in
    let header = try SegmentHeader(decoding: raw)
    var all: [Placed] = [], at = SegmentHeader.length
    while at < raw.count, let record = try? RecordHeader(decoding: UnsafeRawBufferPointer(rebasing: raw[at...]), seed: header.seed) {
      all.append(Placed(offset: at, header: record))
      at += record.paddedLength
    }
    return all
  }
}

/// A tree with something of everything.
func plant(_ vault: Vault, directory name: String? = nil, seed: UInt64 = 1) throws {
  var random = Random(seed: seed)
  let place = try name.map { try vault.makeDirectory($0) } ?? .root
  let directory = try vault.makeDirectory("directory", in: place)
  for index in 0..<30 { try vault.makeFile("small-\(index)", in: directory, random.bytes(1 + random.below(5000))) }
  try vault.makeFile("medium", in: place, random.bytes(100_000))
  try vault.makeFile("large", in: place, random.bytes(3_000_000))
  let file = try vault.makeFile("linked", in: place, [UInt8]("linked"))
  _ = try vault.link(file, as: [UInt8]("again"), in: directory)
  try vault.setXattr([UInt8]("user.x"), of: file, to: [1, 2, 3], mode: .set, by: root)
  try vault.make("symlink", in: place, S_IFLNK | 0o777, target: "medium")
}
