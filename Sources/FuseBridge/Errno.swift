// Why a request failed, as the kernel and the caller's errno will see it.

import Glibc

/// An error number of errno(3), under a name that says what it means.
public struct Errno: Error, RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  /// The number; positive.
  public let rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The C library's sentence and the number, such as `No such file or directory (2)`.
  public var description: String { unsafe "\(String(cString: strerror(rawValue))) (\(rawValue))" }

  /// What the C library's last failing call in this thread left behind.
  static var current: Errno { Errno(rawValue: errno) }
}

// MARK: names and nodes

extension Errno {
  /// No such name or node: ENOENT.
  public static let noEntry = Errno(rawValue: ENOENT)
  /// The name is taken: EEXIST.
  public static let exists = Errno(rawValue: EEXIST)
  /// A directory is needed here: ENOTDIR.
  public static let notDirectory = Errno(rawValue: ENOTDIR)
  /// A directory will not do here: EISDIR.
  public static let isDirectory = Errno(rawValue: EISDIR)
  /// The directory has entries: ENOTEMPTY.
  public static let notEmpty = Errno(rawValue: ENOTEMPTY)
  /// A name longer than 255 bytes, or a symlink's target that is too long: ENAMETOOLONG.
  public static let nameTooLong = Errno(rawValue: ENAMETOOLONG)
  /// More hard links than the file system counts: EMLINK.
  public static let tooManyLinks = Errno(rawValue: EMLINK)
  /// A link or rename between file systems: EXDEV.
  public static let crossDevice = Errno(rawValue: EXDEV)
  /// Symlinks that lead in a circle: ELOOP.
  public static let loop = Errno(rawValue: ELOOP)
  /// The kernel names a node that is no more: ESTALE.
  public static let stale = Errno(rawValue: ESTALE)
}

// MARK: permission

extension Errno {
  /// Only the owner or a privileged caller may: EPERM.
  public static let permission = Errno(rawValue: EPERM)
  /// The mode or an ACL forbids it: EACCES.
  public static let accessDenied = Errno(rawValue: EACCES)
  /// Mounted or stored read-only: EROFS.
  public static let readOnlyFileSystem = Errno(rawValue: EROFS)
}

// MARK: space and limits

extension Errno {
  /// The file system is full: ENOSPC.
  public static let noSpace = Errno(rawValue: ENOSPC)
  /// The user, group or tree is at its quota: EDQUOT.
  public static let quota = Errno(rawValue: EDQUOT)
  /// A file larger than the file system allows: EFBIG.
  public static let tooBig = Errno(rawValue: EFBIG)
  /// A value larger than the file system stores, such as an xattr's: E2BIG.
  public static let argumentTooBig = Errno(rawValue: E2BIG)
  /// A number that does not fit its field: EOVERFLOW.
  public static let overflow = Errno(rawValue: EOVERFLOW)
  /// The caller's buffer is too small for an xattr: ERANGE.
  public static let range = Errno(rawValue: ERANGE)
  /// No memory: ENOMEM.
  public static let noMemory = Errno(rawValue: ENOMEM)
  /// This process has no descriptor left: EMFILE.
  public static let tooManyOpenFiles = Errno(rawValue: EMFILE)
  /// The computer has no descriptor left: ENFILE.
  public static let tooManyOpenFilesInSystem = Errno(rawValue: ENFILE)
}

// MARK: requests

extension Errno {
  /// An argument makes no sense: EINVAL.
  public static let invalidArgument = Errno(rawValue: EINVAL)
  /// There is no such xattr: ENODATA.
  public static let noAttribute = Errno(rawValue: ENODATA)
  /// A seek past the last data; a device that is not there: ENXIO.
  public static let noDevice = Errno(rawValue: ENXIO)
  /// The handle does not allow this use: EBADF.
  public static let badHandle = Errno(rawValue: EBADF)
  /// This file system does not do that, for these arguments: EOPNOTSUPP.
  public static let notSupported = Errno(rawValue: EOPNOTSUPP)
  /// This file system never does that: ENOSYS. The kernel remembers it for most operations and
  /// does not ask again as long as the mount lives.
  public static let notImplemented = Errno(rawValue: ENOSYS)
  /// Not an ioctl of this file: ENOTTY.
  public static let noSuchControl = Errno(rawValue: ENOTTY)
}

// MARK: trouble

extension Errno {
  /// The data cannot be read or stored, or failed its check: EIO.
  public static let io = Errno(rawValue: EIO)
  /// In use: EBUSY.
  public static let busy = Errno(rawValue: EBUSY)
  /// Try again later: EAGAIN.
  public static let tryAgain = Errno(rawValue: EAGAIN)
  /// A signal came first: EINTR.
  public static let interrupted = Errno(rawValue: EINTR)
  /// The mount has lost its file system: ENOTCONN.
  public static let notConnected = Errno(rawValue: ENOTCONN)
  /// It took too long: ETIMEDOUT.
  public static let timedOut = Errno(rawValue: ETIMEDOUT)
}
