// What commands say: results to standard output, complaints to standard error, and when they end without having done
// their work, why.

import FoundationEssentials
import Glibc
import Synchronization

/// Why a command ends without having done its work: a sentence that names the object and the next step.
public struct Failure: Error, CustomStringConvertible {
  public var message: String
  /// 1 failed, 2 wrongly called.
  public var code: Int32
  public var description: String { message }
  public init(_ message: String, code: Int32 = 1) { (self.message, self.code) = (message, code) }

  /// That standard output takes no more, by the system's code. Whoever left in the middle (`… | head`) wants to hear of nothing:
  /// then it says nothing, and the exit code is the one that a shell shows of programs that such a pipe ended.
  public static func writing(_ code: Int32) -> Failure {
    code == EPIPE ? Failure("", code: 128 + SIGPIPE) : Failure("cannot write to standard output: \(systemWords(code))")
  }
}

/// The command that runs; set once, before anything is said.
enum Program {
  private static let current = Mutex("vaultfs")
  private static let output = Atomic<Bool>(true)
  /// Whether there was a standard output when it began.
  static var hasOutput: Bool {
    get { output.load(ordering: .relaxed) }
    set { output.store(newValue, ordering: .relaxed) }
  }
  static var name: String {
    get { current.withLock { $0 } }
    set { current.withLock { $0 = newValue } }
  }
}

/// A line for standard output, or text of several.
public func say(_ text: String, end: String = "\n") throws {
  if !Program.hasOutput { throw Failure.writing(EBADF) }
  var rest = Array("\(text)\(end)".utf8)[...]
  while !rest.isEmpty {
    let count = unsafe rest.withUnsafeBytes { unsafe write(1, $0.baseAddress, $0.count) }
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else { throw Failure.writing(errno) }
    rest = rest.dropFirst(count)
  }
}

/// Words for standard error, a line of their own unless said otherwise.
public func complain(_ message: String, prefix: String? = nil, end: String = "\n") {
  let bytes = Array("\(prefix ?? "\(Program.name): ")\(message)\(end)".utf8)
  _ = unsafe write(2, bytes, bytes.count)
}

public func systemWords(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }

/// One line.
public func asJSON(_ value: some Encodable) -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
}
