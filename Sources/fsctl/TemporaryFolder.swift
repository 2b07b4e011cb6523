// A folder of a command's own for as long as it runs; and writing spans to descriptors.

import CommandSupport
import Glibc

struct TemporaryFolder {
  let path: String

  init() throws {
    let place = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
    var template = Array("\(place)/fsctl-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw Failure("cannot make a folder in \(place): \(systemWords(errno))") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  func write(_ name: String, _ body: (_ take: @escaping (RawSpan) throws -> Void) throws -> Void) throws {
    let descriptor = unsafe open("\(path)/\(name)", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw Failure("cannot write to \(path): \(systemWords(errno))") }
    defer { close(descriptor) }
    try body { try writeAll($0, to: descriptor) }
  }

  /// What of the files `a` and `b` is not text, as diff(1) takes it, has a NUL near its beginning.
  private static let headBytes = 32 << 10

  /// Of binary files: their sizes, and the first byte in which they differ, if any; nil where both are text.
  func difference() throws -> (sizes: [UInt64], first: UInt64?)? {
    let files = try ["a", "b"].map { name in
      let descriptor = unsafe open("\(path)/\(name)", O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw Failure("cannot read \(path): \(systemWords(errno))") }
      return descriptor
    }
    defer { for file in files { close(file) } }
    var sizes: [UInt64] = [0, 0], first: UInt64?, parts: [[UInt8]] = [], isBinary = false
    repeat {
      parts = try files.map { try Self.part(of: $0) }
      if sizes == [0, 0] { isBinary = parts.contains { $0.contains(0) } }
      guard isBinary else { return nil }
      if first == nil, parts[0] != parts[1] { first = sizes[0] + UInt64(zip(parts[0], parts[1]).prefix { $0 == $1 }.count) }
      for index in 0..<2 { sizes[index] += UInt64(parts[index].count) }
    } while parts.contains { !$0.isEmpty }
    return (sizes, first)
  }

  /// As much as there is, and no more than `headBytes`.
  private static func part(of descriptor: Int32) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: headBytes), count = 0
    while count < bytes.count {
      let got = unsafe bytes.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress! + count, $0.count - count) }
      if got < 0, errno == EINTR { continue }
      guard got >= 0 else { throw Failure("cannot read a version: \(systemWords(errno))") }
      if got == 0 { break }
      count += got
    }
    return Array(bytes.prefix(count))
  }

  func remove() {
    for name in ["a", "b"] { unsafe unlink("\(path)/\(name)") }
    unsafe rmdir(path)
  }
}

func writeAll(_ bytes: RawSpan, to descriptor: Int32) throws {
  try unsafe bytes.withUnsafeBytes { raw in
    var done = 0
    while done < raw.count {
      let count = unsafe write(descriptor, raw.baseAddress! + done, raw.count - done)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw descriptor == 1 ? Failure.writing(errno) : Failure("cannot write: \(systemWords(errno))") }
      done += count
    }
  }
}
