// One reused megabyte for each thread that answers requests.
//
// What must stay true: its bytes belong to the request being answered in this thread, and to none
// after it. (A fresh 1 MiB allocation per read would fault in 256 pages each time.)

import Glibc

enum WorkerBuffer {
  /// Bytes; the largest reply. libfuse's own buffer limits requests to 256 pages.
  static let capacity = 1 << 20

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let failure = unsafe pthread_key_create(&key) { unsafe free($0) }
    precondition(failure == 0, "no pthread key left")
    return key
  }()

  /// The first `count` bytes of this thread's buffer, with what the last request left in them.
  static func bytes(_ count: Int) -> UnsafeMutableRawBufferPointer {
    precondition(count <= capacity, "a request larger than libfuse can carry")
    if let known = unsafe pthread_getspecific(key) { return unsafe UnsafeMutableRawBufferPointer(start: known, count: count) }
    guard let fresh = unsafe aligned_alloc(4096, capacity) else { fatalError("no memory for a 1 MiB reply buffer") }
    unsafe pthread_setspecific(key, fresh)
    return unsafe UnsafeMutableRawBufferPointer(start: fresh, count: count)
  }
}
