// Extended attributes, which Glibc's module does not show.
#include <sys/types.h>
#include <sys/xattr.h>
