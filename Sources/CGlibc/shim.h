// What Glibc's module does not show: extended attributes, giving memory back, and room in a file that leaves its length.
#include <linux/falloc.h>
#include <malloc.h>
#include <sys/types.h>
#include <sys/xattr.h>

// fallocate(2); <fcntl.h> has it for _GNU_SOURCE only.
int fallocate(int descriptor, int mode, off_t offset, off_t length);
