# What scripts/setup and scripts/test share; sourced by both, not a command.

# What the build needs, and what it takes to mount: Debian's package names.
build_packages=(git pkg-config fuse3 libfuse3-dev libsqlite3-dev liblz4-dev libzstd-dev libdeflate-dev)

# One configuration for everything, so that nothing is compiled twice. `-enable-testing` lets tests see internals; what a target
# imports, it depends on.
build_flags=(-c release -Xswiftc -enable-testing --explicit-target-dependency-import-check error)

say() { printf '%s: %s\n' "$me" "$*"; }
fail() { printf '%s: %s\n' "$me" "$*" >&2; exit 1; }

# Runs a command as root: directly, or through sudo. The caller has said what for.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo > /dev/null; then sudo "$@"
  else fail "this needs root, and there is no sudo; run as root: $*"
  fi
}

# Installs those of the packages named that are missing. Asks apt for nothing where none is.
need_packages() {
  local package missing=()
  command -v dpkg-query > /dev/null || fail "this is not a Debian system; install what these packages hold, then run the two commands of the README's chapter 'By hand': $*"
  for package in "$@"; do
    # A package may stand for another (pkg-config is pkgconf on newer Debians): its command is as good.
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2> /dev/null || true)" = installed ] && continue
    case $package in
      git | pkg-config | rsync | tar | sqlite3 | make | gcc) command -v "$package" > /dev/null && continue ;;
    esac
    missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then return; fi
  say "installing ${missing[*]} (with apt-get)"
  as_root apt-get -q -o DPkg::Lock::Timeout=300 update < /dev/null
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" < /dev/null
}

need_swift() {
  command -v swift > /dev/null || fail "the command 'swift' is not in PATH; install the Swift toolchain (6.2 or newer) and add its usr/bin to PATH"
}

# Mounting is what all this is for: found out before the build, not after it.
need_fuse() {
  if [ ! -e /dev/fuse ] && [ "$(id -u)" = 0 ]; then modprobe fuse 2> /dev/null || true; fi
  [ -e /dev/fuse ] || fail "/dev/fuse is missing, so nothing can be mounted; as root, run 'modprobe fuse' (in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN)"
  (exec 9<> /dev/fuse) 2> /dev/null || fail "/dev/fuse cannot be opened by $(id -un); as root, run 'chmod 666 /dev/fuse'"
}
