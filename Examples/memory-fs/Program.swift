// memory-fs [--plain] [-o OPTION]… DIRECTORY: mounts a MemoryFS and stays until it is unmounted or
// gets SIGINT or SIGTERM. SIGUSR1 prints how many requests the kernel has sent.

import FuseBridge
import Glibc

@main
struct Program {
  static func main() {
    var options = SessionOptions(name: "memory", subtype: "memory-fs")
    options.posixACL = false  // we keep ACLs as bytes only, and do not apply them
    var places: [String] = []
    var arguments = CommandLine.arguments.dropFirst()
    while let argument = arguments.popFirst() {
      switch argument {
      case "--plain": options.completesHandshake = false
      case "-o": options.mountOptions += arguments.popFirst().map { [$0] } ?? []
      default: places.append(argument)
      }
    }
    guard places.count == 1, !places[0].hasPrefix("-") else {
      complain("usage: memory-fs [--plain] [-o OPTION]… DIRECTORY")
      exit(2)
    }

    // Signals are blocked before any thread starts, so that all threads inherit that; one thread waits for them.
    let signals = SignalWatch([SIGINT, SIGTERM, SIGUSR1])
    do {
      let session = try Session(fileSystem: MemoryFS(), options: options)
      try session.mount(at: places[0])
      defer { session.unmount() }
      signals.start { signal in
        if signal == SIGUSR1 { report(session.requestCounts) } else { session.stop() }
      }
      try session.run()
    } catch {
      complain("memory-fs: \(error)")
      exit(1)
    }
  }

  static func report(_ counts: RequestCounts) {
    for kind in RequestKind.allCases where counts[kind] > 0 { complain("\(kind) \(counts[kind])") }
    complain(".")
  }

  static func complain(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
  }
}
