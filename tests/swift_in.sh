#!/usr/bin/env bash
# swift_in.sh ROOT SOURCES BUILD COMMAND...: runs COMMAND in the system at ROOT (see swift_tools.sh), with SOURCES at /src
# and BUILD at /build. Its mounts are its own and end with it.
set -euo pipefail
root=$1 sources=$2 build=$3
shift 3
user=()
[ "$(id -u)" = 0 ] || user=(--map-root-user)
exec unshare "${user[@]}" --mount -- bash -euc '
    root=$0
    mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --bind "$1" "$root/src"
    mount --bind "$2" "$root/build"
    shift 2
    exec chroot "$root" /usr/bin/env -i PATH=/usr/libexec/swift/bin:/usr/bin:/bin HOME=/build LANG=C.UTF-8 "$@"
' "$root" "$sources" "$build" "$@"
