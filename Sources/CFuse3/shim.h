// Glibc's own module first: types such as `timespec` and `stat` then belong to it, instead of being
// declared a second time here, where a client of FuseBridge could not name them.
#pragma clang module import SwiftGlibc
// The literal 314 picks libfuse's 3.14 API; Swift cannot import it through a computed macro.
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
// The wire format itself: INIT flags and structures that libfuse 3.14 does not hand on.
#include <linux/fuse.h>
#include <sys/xattr.h>
