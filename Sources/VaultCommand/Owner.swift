// The process that owns a vault and serves its mount, until someone unmounts it or a signal ends it.

import FuseBridge
import Glibc
import VaultFS
import VaultMount

enum Owner {
  static let readyWord = Array("ready".utf8)
  /// KiB; large sequential reads then come in requests of this size.
  private static let readAheadKiB = 1024

  static func serve(_ settings: MountSettings, _ readyDescriptor: Int32?) throws {
    // First of all: threads inherit what is blocked.
    let signals = SignalWatch([SIGTERM, SIGINT, SIGHUP])
    if let readyDescriptor { leave(keeping: readyDescriptor) }
    let ready = Ready(readyDescriptor)
    do {
      try serve(settings, signals, ready)
    } catch let error as SessionError {
      throw ready.refuse("\(error)")
    } catch let error as VaultError {
      throw ready.refuse("\(error)")
    }
  }

  /// Away from whoever started us: a session of our own, and none of the descriptors they may wait on the end of.
  private static func leave(keeping ready: Int32) {
    setsid()
    guard let directory = opendir("/proc/self/fd") else { return }
    var inherited: [Int32] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if let number = Int32(name), number > 2, number != ready, number != dirfd(directory) { inherited.append(number) }
    }
    closedir(directory)
    for number in inherited { close(number) }
  }

  private static func serve(_ settings: MountSettings, _ signals: SignalWatch, _ ready: Ready) throws {
    let vault = try openVault(settings)
    do {
      var options = SessionOptions(name: settings.vault, subtype: "vaultfs")
      options.allowOther = settings.allowOther
      options.readOnly = settings.readOnly
      options.mountOptions = settings.mountOptions
      options.exportable = true
      vault.ignoresAccess = settings.mountOptions.contains("noatime")
      options.readAheadKiB = geteuid() == 0 ? readAheadKiB : nil
      let session = try Session(fileSystem: VaultFileSystem(vault, whenMounted: ready.announce), options: options)
      // The kernel's own attributes only: this waits for no page and no lock, so a handler may say it.
      vault.whenModeChanges = { [weak session] inode in try? session?.invalidate(node: NodeNumber(rawValue: inode.value), offset: -1, length: 0) }
      defer { vault.whenModeChanges = nil }
      try session.mount(at: settings.directory)
      signals.start { _ in session.stop() }
      let control = try ControlSocket(vault) {
        let counts = session.requestCounts
        return Dictionary(uniqueKeysWithValues: RequestKind.allCases.map { ("\($0)", counts[$0]) }.filter { $0.1 > 0 })
      }
      defer { control.close() }
      Log.say("the vault `\(vault.configuration.name)` is mounted on \(settings.directory)")
      defer { session.unmount() }
      try session.run()
    } catch {
      try? vault.shutDown()
      throw error
    }
    try vault.shutDown()
    Log.say("unmounted from \(settings.directory); the vault is clean")
  }

  /// An owner that is just ending is waited for: `umount` and `mount` often follow each other at once.
  private static func openVault(_ settings: MountSettings) throws(VaultError) -> Vault {
    var attempts = 0
    while true {
      do throws(VaultError) {
        return try Vault.open(at: settings.vault, purpose: "mounted on \(settings.directory)", readOnly: settings.readOnly, log: Log.say)
      } catch {
        attempts += 1
        guard case .owned = error, attempts <= 100, !Mounts.all.contains(where: { $0.isVault && $0.source == settings.vault }) else { throw error }
        usleep(100_000)
      }
    }
  }
}

/// The pipe to the command that waits for the mount.
final class Ready: Sendable {
  private let descriptor: Int32?
  init(_ descriptor: Int32?) {
    self.descriptor = descriptor
    if let descriptor { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
  }

  @Sendable func announce() {
    guard let descriptor else { return }
    _ = write(descriptor, Owner.readyWord, Owner.readyWord.count)
    close(descriptor)
  }

  /// What went wrong goes to whoever waits; the log has it too.
  func refuse(_ message: String) -> Failure {
    if let descriptor {
      let bytes = Array(message.utf8)
      _ = write(descriptor, bytes, bytes.count)
      close(descriptor)
    }
    return Failure(message)
  }
}

/// Lines for standard error: the vault's `log`, or the terminal with --foreground.
enum Log {
  @Sendable static func say(_ message: String) {
    var now = time(nil), parts = tm(), text = [CChar](repeating: 0, count: 40)
    gmtime_r(&now, &parts)
    strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    let stamp = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    complain(message, prefix: "\(stamp) vaultfs[\(getpid())]: ")
  }
}
