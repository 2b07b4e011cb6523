// A scrub: reads every stored byte and verifies it, on threads of its own, while programs use the vault.
//
// What must stay true:
// 1. A chunk that was found bad is never referred to again by new content: it is noted as damaged in the view, once it was read
//    again from where the view says it is, and its place has not changed meanwhile.
// 2. Its threads take no lock of the vault: they may be set aside at any moment for whoever needs the computer.
// 3. The position that it leaves behind is before everything that was not verified.

import Glibc
import Synchronization

extension Vault {
  /// Verifies everything that is stored. Programs may go on using the vault.
  public func scrub(_ options: ScrubOptions = ScrubOptions()) throws(VaultError) -> ScrubReport {
    do { return try Scrub(self, options).run() } catch let error as VaultError { throw error } catch { throw .disk(operation: "scrub", path: path, code: EIO) }
  }

  /// Verifies the vault at `path`, which nobody owns.
  public static func scrub(at path: String, _ options: ScrubOptions = ScrubOptions(), log: @escaping @Sendable (String) -> Void = { _ in }) throws(VaultError) -> ScrubReport {
    let vault = try open(at: path, purpose: "scrubbing it", log: log)
    defer { try? vault.shutDown() }
    return try vault.scrub(options)
  }
}

final class Scrub {
  /// Files that are named.
  static let filesMax = 1000
  private static let tick: Duration = .milliseconds(100)
  private static let saveTicks = 50

  private let vault: Vault
  private let options: ScrubOptions
  private let shared: ScrubShared
  private let start = monotonicNanoseconds()
  private var position: ScrubPosition
  private var report = ScrubReport()
  private var total: UInt64 = 0

  init(_ vault: Vault, _ options: ScrubOptions) throws(VaultError) {
    (self.vault, self.options) = (vault, options)
    let missing = try DamageMarks.missing(from: vault)
    shared = ScrubShared(options, missing: missing)
    let saved = options.startsAnew || !options.decodes ? nil : ScrubPosition.read(vault.containers.disk, vault: vault.configuration.id)
    // (Where it is not known since when, all may have been written since.)
    position = saved.flatMap { $0.finished == 0 && $0.begun > 0 ? $0 : nil } ?? ScrubPosition()
    report.isResumed = position.next > 0
  }

  /// Where this goes on from is what it leaves behind until it has come further.
  private func begin() {
    guard options.decodes else { return }
    let disk = vault.containers.disk
    if report.isResumed {
      let changed = allNumbers.filter { number in
        guard number.value < position.next, let kind = vault.containers.kind(number) else { return false }
        return disk.changed(ContainerStore.path(number, kind)).map { $0 >= position.begun } ?? true
      }
      position.again = Set(position.again).union(changed.map(\.value)).sorted()
    }
    try? position.write(disk, vault: vault.configuration.id)
    position.begun = disk.changed(ScrubPosition.fileName) ?? 0
  }

  private var allNumbers: [ContainerNumber] { (vault.containers.numbers(.pack) + vault.containers.journal).sorted() }

  func run() throws -> ScrubReport {
    begin()
    let again = Set(position.again), distrusted = vault.distrusted
    let numbers = allNumbers.filter { $0.value >= position.next || again.contains($0.value) }
    for number in numbers { total += (try? vault.containers.file(number).size()) ?? 0 }
    total += vault.databaseBytes
    try scrubConfiguration()
    do {
      try DatabasePages.look(vault, { shared.found($0) }) { bytes in
        if options.cancellation.isCancelled { throw CheckCancelled() }
        shared.done(ScrubCounts(bytes: UInt64(bytes)))
      }
    } catch is CheckCancelled {}
    let queue = scrubContainers(numbers), marks = DamageMarks(vault, shared)
    report.marked = try marks.look()
    report.healed = try marks.heal()
    if options.decodes, !options.cancellation.isCancelled { try vault.trust(numbers.filter { distrusted.contains($0) && !shared.isDoubtful($0) }) }
    save(queue, numbers)
    report.files = try marks.files(atMost: Self.filesMax)
    return finish()
  }

  private func finish() -> ScrubReport {
    report.findings = shared.findings
    var read = position.read
    read += shared.state.withLock { $0.read }
    (report.bytes, report.frames, report.chunks) = (read.bytes, read.frames, read.chunks)
    report.seconds = Double(monotonicNanoseconds() - start) / 1e9
    report.isComplete = !options.cancellation.isCancelled
    tell()
    return report
  }

  private func scrubConfiguration() throws(VaultError) {
    do throws(VaultError) {
      if try Vault.readConfiguration(vault.path).id == vault.configuration.id { return }
      shared.found(Finding(.configuration, file: VaultConfiguration.fileName, "the configuration is another vault's"))
    } catch { shared.found(Finding(.configuration, file: VaultConfiguration.fileName, "\(error)")) }
  }

  // MARK: Containers, on threads

  private func scrubContainers(_ numbers: [ContainerNumber]) -> ScrubQueue {
    let queue = ScrubQueue(numbers, threads: max(options.threads, 1)), vault = vault, shared = shared, isGentle = options.isGentle
    let threads = (0..<max(options.threads, 1)).map { index in
      startThread("vault-scrub-\(index)") {
        if isGentle { Self.giveWay() }
        let scrub = ContainerScrub(vault, shared)
        while !shared.cancellation.isCancelled, let next = queue.take() {
          scrub.scrub(queue.numbers[next])
          // What was cancelled in the middle is not done.
          if !shared.cancellation.isCancelled { queue.done(next, scrub.read, isSound: !shared.isDoubtful(queue.numbers[next])) }
        }
        queue.threadEnds()
      }
    }
    var ticks = 0
    while queue.isRunning {
      usleep(20_000)
      ticks += 1
      if ticks % 10 == 0 { tell() }
      if ticks % (Self.saveTicks * 5) == 0 { save(queue, numbers) }
    }
    for thread in threads { pthread_join(thread, nil) }
    return queue
  }

  /// SCHED_IDLE: a macro of Linux that not every C library shows.
  private static let idlePolicy: Int32 = 5

  /// This thread runs when nobody else wants to; its reads wait for those of others, too.
  private static func giveWay() {
    var parameters = sched_param()
    _ = unsafe sched_setscheduler(0, idlePolicy, &parameters)
  }

  /// Where it cannot be kept, a restart begins earlier.
  private func save(_ queue: ScrubQueue, _ numbers: [ContainerNumber]) {
    guard options.decodes else { return }
    var now = position
    queue.advance(&now, to: (numbers.last?.value ?? 0) + 1)
    if !options.cancellation.isCancelled, !queue.isRunning { now.finished = UInt64(max(Timestamp.now.seconds, 1)) }
    try? now.write(vault.containers.disk, vault: vault.configuration.id)
  }

  private func tell() {
    let (done, findings) = shared.state.withLock { ($0.read.bytes, $0.findings.count) }
    let seconds = Double(monotonicNanoseconds() - start) / 1e9
    let left = done > 0 && seconds > 0.5 ? Double(total - min(done, total)) / (Double(done) / seconds) : nil
    options.progress(ScrubProgress(bytesDone: min(done, total), bytesTotal: total, secondsLeft: left, findings: findings))
  }
}
