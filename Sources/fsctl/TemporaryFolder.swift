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
