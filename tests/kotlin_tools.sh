#!/usr/bin/env bash
# What compiles the Android app and tests its core, unpacked into the folder given: the compiler from npm, which comes
# with coroutines and Compose's plug-in, JUnit and org.json from Debian. Installs nothing on the machine. Where something
# cannot be had it says so, and those tests are skipped.
set -euo pipefail
KOTLIN=2.4.20
mkdir -p "$1"
cd "$1"

skipped() {
    echo "note: $1: the tests of the Android app and its core will be skipped" >&2
    exit 0
}

if [ "$(cat kotlin-version 2>/dev/null)" != "$KOTLIN" ]; then
    command -v npm > /dev/null || skipped "there is no npm to get the Kotlin compiler with"
    npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix . "kotlin-compiler@$KOTLIN" > npm.log 2>&1 ||
        skipped "npm cannot get kotlin-compiler $KOTLIN (see $1/npm.log)"
    echo "$KOTLIN" > kotlin-version
fi

if [ ! -e debian/usr/share/java/junit4.jar ]; then
    command -v apt-get > /dev/null || skipped "there is no apt-get to get JUnit with"
    packages=(junit4 libhamcrest-java libandroid-json-org-java)
    download() { apt-get -qq download "${packages[@]}" > apt.log 2>&1; }
    # a fresh machine knows of no package until it has been told, which only root can do
    download || { apt-get -qq update >> apt.log 2>&1 && download; } || skipped "apt-get cannot get JUnit (see $1/apt.log)"
    rm -rf debian.partial
    for package in *.deb; do dpkg -x "$package" debian.partial; done
    rm -- *.deb
    mv debian.partial debian
fi
