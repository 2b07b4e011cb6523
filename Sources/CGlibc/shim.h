// What Glibc's module does not show: extended attributes, and giving memory back.
#include <malloc.h>
#include <sys/types.h>
#include <sys/xattr.h>
