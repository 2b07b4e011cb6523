// Every bound of the owner's socket, by name: what a peer can name is checked against these before anything is
// allocated or waited for.

public enum WireLimits {
  /// A request's JSON, bytes: room for a path of `pathBytesMax` in base64, and for what goes with it.
  static let requestBytesMax = 256 << 10
  /// The JSON of an item or of an answer's end, bytes.
  static let itemBytesMax = 1 << 20
  static let progressBytesMax = 4 << 10
  static let errorBytesMax = 64 << 10
  /// Raw bytes in one frame. Larger frames do not fit the processors' caches any more.
  public static let bulkBytesMax = 256 << 10
  /// Small frames wait for each other until they are this many bytes.
  static let gatherBytes = 32 << 10

  /// A path inside a vault, bytes; its names have at most `Limits.nameBytesMax`.
  public static let pathBytesMax = 64 << 10
  /// Symlinks followed on the way to one node (as the kernel, MAXSYMLINKS).
  static let symlinksMax = 40

  /// Connections at once, each with a thread of its own. The last ones are kept for administrators.
  static let clientsMax = 64
  static let ordinaryClientsMax = 48
  /// Connections of one ordinary user.
  static let clientsPerUserMax = 16
  /// Connections that wait to be accepted.
  static let backlog: Int32 = 64

  /// A frame that has begun to come, or to go, is complete within this; else its peer is given up.
  static let frameTime: Duration = .seconds(10)
  /// A connection without a request is closed after this.
  static let idleTime: Duration = .seconds(60)
  /// A client lets go of a connection before the owner does: it never sends a request into one that is being closed.
  static let keptTime: Duration = .seconds(20)
  static let keptConnectionsMax = 4
  /// How long the owner may say nothing before it is asked whether it is there; and how long it may take to say so.
  static let patience: Duration = .seconds(5)
  /// How long the end of the owner waits for requests that are being answered.
  static let farewell: Duration = .seconds(5)
}
