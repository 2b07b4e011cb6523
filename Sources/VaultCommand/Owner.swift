// The process that owns a vault and serves its mount, until someone unmounts it or a signal ends it.

import ArgumentParser
import CommandSupport
import FuseBridge
import Glibc
import Printable
import Synchronization
import VaultClient
import VaultFS
import VaultMount

enum Owner {
  /// KiB; large sequential reads then come in requests of this size.
  private static let readAheadKiB = 1024

  /// - Parameter settings: asked once whoever waits can hear what is wrong with them.
  static func serve(_ ready: Ready, _ settings: () throws -> MountSettings) throws {
    // First of all: threads inherit what is blocked.
    let signals = SignalWatch([SIGTERM, SIGINT, SIGHUP, SIGQUIT])
    do {
      let settings = try settings()
      ready.leave()
      // The paths are resolved; where we were started is nobody's to keep.
      _ = unsafe chdir("/")
      try own(settings, signals, ready)
    } catch {
      ready.refuse("\(error)")
      Log.say("\(error)")
      throw ExitCode.failure
    }
  }

  private static func own(_ settings: MountSettings, _ signals: SignalWatch, _ ready: Ready) throws {
    raiseFileSizeLimit()
    let vault = try openVault(settings, ready)
    do { try mount(vault, settings, signals, ready) } catch {
      // The first reason is the one to hear.
      try? vault.shutDown()
      throw error
    }
    do { try vault.shutDown() } catch {
      throw Failure("unmounted from \(settings.directory), but the vault could not be put away cleanly: \(error)")
    }
    if let damage = vault.damageMet {
      return Log.say("unmounted from \(settings.directory); everything is on disk, but damage was met: \(damage)")
    }
    Log.say("unmounted from \(settings.directory); the vault is clean")
  }

  /// Whoever started us may have limited the files that programs write; ours are as large as they must be.
  private static func raiseFileSizeLimit() {
    // Beyond the limit a write shall fail, and not end us.
    signal(SIGXFSZ, SIG_IGN)
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
    guard limit.rlim_max != rlim_t.max else { return }
    Log.say("""
      this process may write no file beyond \(human(UInt64(limit.rlim_max))) (RLIMIT_FSIZE, `ulimit -H -f`): what does not fit into the vault's packs \
      and database then is refused; mount it from where there is no such limit
      """)
  }

  private static func mount(_ vault: Vault, _ settings: MountSettings, _ signals: SignalWatch, _ ready: Ready) throws {
    var options = settings.sessionOptions()
    unsafe vault.accessTimes = settings.accessTimes
    options.readAheadKiB = geteuid() == 0 ? readAheadKiB : nil
    let session = try Session(fileSystem: VaultFileSystem(vault, whenMounted: ready.announce), options: options)
    // The kernel's own attributes only: this waits for no page and no lock, so a handler may say it.
    unsafe vault.whenModeChanges = { [weak session] inode in try? session?.invalidate(node: NodeNumber(rawValue: inode.value), offset: -1, length: 0) }
    unsafe vault.whenContentChanges = { [weak session] inode, ranges in
      let node = NodeNumber(rawValue: inode.value)
      for range in ranges { try? session?.invalidate(node: node, offset: Int64(range.lowerBound), length: Int64(range.count)) }
      if ranges.isEmpty { try? session?.invalidate(node: node, offset: -1, length: 0) }
    }
    unsafe vault.whenNameChanges = { [weak session] name, parent in
      let parent = NodeNumber(rawValue: parent.value)
      try? session?.invalidate(name: FileName(name), in: parent)
      try? session?.invalidate(node: parent, offset: -1, length: 0)
    }
    defer { unsafe (vault.whenModeChanges, vault.whenContentChanges, vault.whenNameChanges) = (nil, nil, nil) }
    // Whatever can fail comes before the mount: nothing may stay mounted that nobody serves.
    let server = VaultServer(ServiceHost(vault) { MountActivity(of: session) })
    defer { server.close() }
    try server.listen(inVault: vault.path)
    try session.mount(at: settings.directory)
    defer { session.unmount() }
    if settings.allowOther, geteuid() == 0 { letOthersAsk(server, session) }
    signals.start { _ in session.stop() }
    Log.say("the vault `\(printable(vault.configuration.name.utf8))` is mounted on \(settings.directory)")
    try session.run()
  }

  /// The mount is of use without it.
  private static func letOthersAsk(_ server: VaultServer, _ session: Session) {
    guard let entry = session.mountEntry else { return Log.say("ordinary users cannot use `fsctl`: /proc/self/mountinfo does not show the mount") }
    do throws(ServiceError) { try server.listenForEveryone(device: entry.device, mountPoint: entry.point.bytes) } catch { Log.say("\(error)") }
  }

  /// An owner that is just ending is waited for: `umount` and `mount` often follow each other at once.
  private static func openVault(_ settings: MountSettings, _ ready: Ready) throws -> Vault {
    var attempts = 0
    while true {
      do throws(VaultError) {
        return try Vault.open(at: settings.vaultText, purpose: "mounted on \(settings.directory)", readOnly: settings.readOnly, log: Log.say, tell: ready.add)
      } catch {
        if case .diskFull = error { throw Failure("cannot mount \(settings.vault): \(error)") }
        if case .journalDamaged(let detail) = error { throw Failure(damagedJournal(settings, detail)) }
        attempts += 1
        guard case .owned(_, let owner) = error, attempts <= 100, !MountTable.read().contains(where: { $0.isVault && $0.source == settings.vault }) else { throw error }
        // It serves a mount that is not here: it will not end soon. (One that has just begun is here in a moment.)
        if attempts > 10, RemoteService(vault: settings.vault.bytes).answers { throw Failure(elsewhere(settings.vault, owner)) }
        usleep(100_000)
      }
    }
  }
}

extension MountActivity {
  fileprivate init(of session: Session) {
    let counts = session.requestCounts, latencies = session.requestLatencies
    self.init(
      requests: Dictionary(uniqueKeysWithValues: RequestKind.allCases.map { ("\($0)", counts[$0]) }.filter { $0.1 > 0 }),
      latencies: Dictionary(uniqueKeysWithValues: latencies.kinds.map { ("\($0)", LatencyHistogram(buckets: latencies.buckets($0), nanoseconds: latencies.nanoseconds($0))) }),
      inFlight: Dictionary(grouping: latencies.inFlight) { "\($0.kind)" }.mapValues { $0.map(\.nanoseconds) },
      bytesRead: counts.bytesRead, bytesWritten: counts.bytesWritten)
  }
}

extension Owner {
  private static func damagedJournal(_ settings: MountSettings, _ detail: String) -> String {
    let vault = settings.vault
    return """
      cannot mount \(vault), because its journal is damaged: \(detail). Nothing was cut off or thrown away. Put what is missing or damaged in \
      \(vault)/journal back from a copy of the vault; or run `vaultfs mount --read-only \(vault.quoted) \(settings.directory.quoted)`, which shows what is known, \
      and copy it out
      """
  }

  private static func elsewhere(_ vault: Path, _ words: String) -> String {
    let owner = OwnerProcess(words: words, folder: vault), process = owner.id.map { "\($0)" } ?? "PROCESS"
    return """
      \(vault) is in use by \(printable(words.utf8)); that mount was detached (or is in another mount namespace), and waits for the files that \
      are open there: close them, or end the process with `kill \(process)`
      """
  }
}

/// The pipe to the command that waits for the mount. It gets one word, or one reason; then its number is let go of,
/// because the next file that is opened will have it.
final class Ready: Sendable {
  static let word = Array("ready".utf8)
  /// What whoever waits should hear, too; a line each, after the word.
  private let notes = Mutex<[String]>([])
  private static let none: Int32 = -1
  private let descriptor: Atomic<Int32>

  init(_ descriptor: Int32?) {
    self.descriptor = Atomic(descriptor ?? Self.none)
    if let descriptor { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
  }

  /// The mount is usable. Where nobody waits for it any more, we end as by a signal.
  @Sendable func announce() {
    if !tell(Self.word + notes.withLock { Array($0.map { "\n\($0)" }.joined().utf8) }) { kill(getpid(), SIGTERM) }
  }

  func add(_ note: String) { notes.withLock { $0.append(note) } }

  /// What went wrong goes to whoever waits; the log has it too.
  func refuse(_ message: String) { _ = tell(Array(message.utf8)) }

  /// - Returns: false where somebody should have heard it and did not.
  private func tell(_ bytes: [UInt8]) -> Bool {
    let descriptor = descriptor.exchange(Self.none, ordering: .acquiringAndReleasing)
    guard descriptor >= 0 else { return true }
    defer { close(descriptor) }
    return unsafe write(descriptor, bytes, bytes.count) == bytes.count
  }

  /// Away from whoever started us, if they wait: a session of our own, and none of the descriptors they may wait on the
  /// end of.
  func leave() {
    let kept = descriptor.load(ordering: .acquiring)
    guard kept >= 0 else { return }
    setsid()
    guard let directory = unsafe opendir("/proc/self/fd") else { return }
    var inherited: [Int32] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if let number = Int32(name), number > 2, number != kept, unsafe number != dirfd(directory) { inherited.append(number) }
    }
    unsafe closedir(directory)
    for number in inherited { close(number) }
  }
}

/// Lines for standard error: the vault's `log`, or the terminal with --foreground.
enum Log {
  @Sendable static func say(_ message: String) {
    var now = time(nil), parts = unsafe tm(), text = [CChar](repeating: 0, count: 40)
    unsafe gmtime_r(&now, &parts)
    unsafe strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    let stamp = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    complain(message, prefix: "\(stamp) vaultfs[\(getpid())]: ")
  }
}
