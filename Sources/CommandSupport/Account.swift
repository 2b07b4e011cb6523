// Users and groups: by name, as getpwnam(3) has them, or by number.

import Glibc
import Printable
public import VaultClient

public enum Account {
  public static func user(_ text: String) throws -> UInt32 {
    if let number = number(text) { return number }
    guard let number = unsafe withName(text, { unsafe getpwnam($0)?.pointee.pw_uid }) else { throw unknown("user", text, "passwd") }
    return number
  }

  public static func group(_ text: String) throws -> UInt32 {
    if let number = number(text) { return number }
    guard let number = unsafe withName(text, { unsafe getgrnam($0)?.pointee.gr_gid }) else { throw unknown("group", text, "group") }
    return number
  }

  /// The name, or where there is none the number.
  public static func name(ofUser user: UInt32) -> String { unsafe getpwuid(user).map { unsafe text($0.pointee.pw_name) } ?? "\(user)" }
  public static func name(ofGroup group: UInt32) -> String { unsafe getgrgid(group).map { unsafe text($0.pointee.gr_name) } ?? "\(group)" }

  /// Whom a limit binds, in words.
  /// - Parameter path: of a directory.
  public static func words(_ kind: QuotaReport.Kind, _ id: UInt64?, _ path: String?) -> String {
    let number = UInt32(truncatingIfNeeded: id ?? 0)
    return switch kind {
    case .vault: "the vault"
    case .user: "user \(name(ofUser: number))"
    case .group: "group \(name(ofGroup: number))"
    case .tree: path ?? "a directory that is gone (node \(id ?? 0))"
    }
  }

  /// The last number is nobody's: system calls take it for "none".
  private static func number(_ text: String) -> UInt32? { UInt32(text).flatMap { $0 < .max && text.first != "+" ? $0 : nil } }

  private static func withName<R>(_ text: String, _ body: (UnsafePointer<CChar>) -> R) -> R {
    let name = Arguments.bytes(of: text).map { CChar(bitPattern: $0) } + [0]
    return unsafe name.withUnsafeBufferPointer { unsafe body($0.baseAddress!) }
  }
  private static func text(_ name: UnsafePointer<CChar>) -> String {
    unsafe printable(UnsafeBufferPointer(start: name, count: strlen(name)).map { UInt8(bitPattern: $0) })
  }
  private static func unknown(_ kind: String, _ text: String, _ table: String) -> Failure {
    Failure("there is no \(kind) `\(printable(Arguments.bytes(of: text)))` on this computer; `getent \(table)` lists them, and any \(kind) can be given by number", code: 2)
  }
}
