// `fsctl scrub`: every stored byte read and verified.

import ArgumentParser
import CommandSupport
import FoundationEssentials
import FuseBridge
import Printable
import VaultClient
import VaultFS

struct ScrubCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scrub", abstract: "Read and verify every stored byte, while the vault is in use or not.",
    discussion: """
      Names each file that holds something damaged. What is damaged is noted: reading it gives an I/O error, and the same content, written again, \
      heals it; so does the vault's file, put back from a copy of the vault while nobody has it mounted, and another scrub. A scrub that was interrupted (Ctrl-C, or the end of the mount) goes on where it was the next time. It gives way to everything else \
      on the computer unless --fast is given.

      With --checksums nothing is decoded: the checksums of what is stored are looked at, which finds what a disk did to it, as fast as it can be \
      read. Without, each piece of content is also proved to be what was written (by its SHA-256), as far as the processor allows. One with --checksums begins at the \
      beginning, and counts as no scrub where the last one is told.

      Ends with 0 where all is as it should be, and with 1 where it is not or was not read to the end; --json tells which: `isClean`, `isComplete`; \
      one that is interrupted says nothing but that. \
      For root and the vault's owner.
      """)

  @OptionGroup var address: VaultAddress
  @Option(help: "Read at most so much a second, such as 50M; by default as fast as can be.") var rate: String?
  @Option(help: "Threads that read and verify.") var threads = 2
  @Flag(help: "Do not give way to others.") var fast = false
  @Flag(help: "From the beginning, though an earlier scrub was interrupted.") var restart = false
  @Flag(help: "Decode nothing: only the checksums of what is stored.") var checksums = false
  @OptionGroup var sizes: SizeOption
  @Flag(help: "One JSON object.") var json = false

  func validate() throws {
    guard (1...ScrubRequest.threadsMax).contains(threads) else { throw ValidationError("from 1 to \(ScrubRequest.threadsMax) threads") }
  }

  func run() throws {
    let bytesPerSecond = try rate.map { text in
      guard let rate = Amount.bytes(text), rate >= ScrubRequest.rateMin else { throw Failure("`\(printable(text.utf8))` is no rate, or one that would take for ever; rates are such as 500k, 50M, 1G bytes a second, from 4k", code: 2) }
      return rate
    }
    Interruption.hear()
    var findings: [Finding] = [], files: [DamagedFile] = []
    let line = ProgressLine("scrubbing")
    defer { line.end() }
    let receiver: Receiver<ScrubRequest.Item> = line.receiver(interrupted: checksums ? "interrupted" : "interrupted; the next `fsctl scrub` goes on from there, --restart begins anew") { item in
      switch item {
      case .found(let finding): findings.append(finding)
      case .file(let file): files.append(file)
      }
    }
    let request = ScrubRequest(bytesPerSecond: bytesPerSecond, threads: threads, isGentle: !fast, startsAnew: restart, decodes: !checksums)
    let (answer, folder) = try address.ask(request, receiver)
    line.end()
    if json { try say(asJSON(ScrubLine(folder, answer, findings, files))) } else {
      try say(Findings.text(findings, nil, withRepair: true, isNew: !files.isEmpty))
      for file in files { try say("damaged: \(Self.name(file))") }
      if answer.marked > 0 { try say("noted as damaged: \(Findings.count(answer.marked, "chunk"))") }
      if answer.healed > 0 { try say("whole again: \(Findings.count(answer.healed, "chunk"))") }
      let speed = answer.seconds > 0.01 && !answer.isResumed ? ", \(sizes.text(UInt64(Double(answer.bytes) / answer.seconds)))/s" : ""
      try say("\(folder): \(sizes.text(answer.bytes)) read\(speed), \(answer.frames) frames and \(answer.chunks) chunks \(checksums ? "looked at" : "verified")\(answer.isResumed ? ", with those of the scrub that was interrupted" : "")")
    }
    if answer.isClean { return }
    guard answer.isComplete else { throw Failure("the scrub of \(folder) did not come to its end; run it again\(checksums ? "" : ", it goes on from there")") }
    let what = "\(folder) holds damage: \(Findings.count(findings.count, "finding")), \(Findings.count(files.count, "damaged file"))"
    if files.isEmpty { throw Failure("\(what); `fsctl check` looks at all that is no content") }
    throw Failure("\(what); write what is damaged anew from a copy (content that comes again heals every version that has it), or put the vault's damaged files back from a copy of it and scrub again, or take back an earlier version, and see `fsctl check`")
  }

  static func name(_ file: DamagedFile) -> String {
    let name = file.path.map { printable($0.utf8) } ?? "node \(file.inode)"
    return file.until.map { "\(name), as it was before \(When.text(of: $0))" } ?? name
  }
}

/// As JSON.
private struct ScrubLine: Encodable {
  var vault: String
  var isClean: Bool
  var isComplete: Bool
  var isResumed: Bool
  var bytes: UInt64
  var frames: UInt64
  var chunks: UInt64
  var marked: Int
  var healed: Int
  var seconds: Double
  var findings: [FindingLine]
  var files: [FileLine]

  struct FileLine: Encodable {
    var inode: UInt64
    /// To be shown, and its bytes.
    var path: String?
    var pathBytes: Data?
    var until: Int64?
  }

  init(_ folder: Path, _ answer: ScrubRequest.Answer, _ findings: [Finding], _ files: [DamagedFile]) {
    (vault, isClean, isComplete, isResumed) = ("\(folder)", answer.isClean, answer.isComplete, answer.isResumed)
    (bytes, frames, chunks, marked, healed, seconds) = (answer.bytes, answer.frames, answer.chunks, answer.marked, answer.healed, answer.seconds)
    self.findings = findings.map(FindingLine.init)
    self.files = files.map { FileLine(inode: $0.inode, path: $0.path, pathBytes: $0.pathBytes.map { Data($0) }, until: $0.until) }
  }
}
