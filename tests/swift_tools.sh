#!/usr/bin/env bash
# What compiles the Swift package and checks the iOS app: Debian's Swift and what it links with, from where the machine's
# own apt gets its packages, unpacked into the folder given. Installs nothing on the machine. Where something cannot be
# had it says so, and those tests are skipped. 530 MB to fetch, 1.8 GB unpacked.
set -euo pipefail
SUITE=trixie # Swift 6.0.3
mkdir -p "$1"
cd "$1"
here=$PWD

skipped() {
    echo "note: $1: the tests of the Swift package and of the iOS app will be skipped" >&2
    exit 0
}

[ ! -e "swift-$SUITE" ] || exit 0
command -v apt-get > /dev/null && command -v dpkg > /dev/null || skipped "there is no apt-get to get Swift with"
[ "$(dpkg --print-architecture)" = amd64 ] || skipped "this is no x86-64 machine"
user=()
[ "$(id -u)" = 0 ] || user=(--map-root-user)
unshare "${user[@]}" --mount true 2> /dev/null ||
    skipped "'unshare --mount' is not allowed, and Swift needs mounts of its own"
mirror=$(apt-get --print-uris update | sed -n "/\/debian\/dists/{s/^'//; s/\/dists.*//p; q}") || true
[ -n "$mirror" ] || skipped "apt-get has no Debian packages"

# An apt of its own: it knows of no installed package, so that it fetches all that Swift needs.
mkdir -p swift.apt/lists/partial swift.apt/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $SUITE main" > swift.apt/sources
: > swift.apt/status
apt=(
    apt-get -qq -o "Dir::State=$here/swift.apt" -o "Dir::State::status=$here/swift.apt/status"
    -o "Dir::Cache=$here/swift.apt"
    -o "Dir::Etc::SourceList=$here/swift.apt/sources" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Debug::NoLocking=1
)
packages=(base-files bash coreutils swiftlang libc6-dev libstdc++-14-dev)
# autoclean: what an interrupted call fetched may be out of date
{ "${apt[@]}" update && "${apt[@]}" autoclean && "${apt[@]}" install --yes --download-only --no-install-recommends \
    "${packages[@]}"; } > swift.log 2>&1 || skipped "apt-get cannot get Swift (see $1/swift.log)"

rm -rf swift.partial
mkdir swift.partial
dpkg -x swift.apt/archives/base-files_*.deb swift.partial # the links from /bin and /lib into /usr, which tar must keep
for package in swift.apt/archives/*.deb; do
    dpkg --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C swift.partial \
        --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*' \
        --exclude '*/swift_static/*' --exclude '*lldb*' --exclude '*/docc' --exclude '*/clangd' \
        --exclude '*/sourcekit-lsp' --exclude '*/swift-format'
done
mkdir -p swift.partial/{proc,dev,tmp,src,build}
rm -rf swift.apt
mv swift.partial "swift-$SUITE"
