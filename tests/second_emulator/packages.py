"""Makes small packages, format v2, and reads indexes."""

import gzip
import hashlib
import io
import tarfile
import zlib


def package(name, text):
    """Returns version 1.0-r0 of a package, with this text for a description and in its one file."""
    content = text.encode()
    data = gzip.compress(files(f"usr/share/{name}", content), mtime=0)
    described = {
        "pkgname": name,
        "pkgver": "1.0-r0",
        "pkgdesc": text,
        "url": "https://example.com/",
        "arch": "x86_64",
        "license": "MIT",
        "size": len(content),
        "datahash": hashlib.sha256(data).hexdigest(),
    }
    lines = "".join(f"{key} = {value}\n" for key, value in described.items())
    # Without an end of archive, so that the tar continues in the data section.
    return gzip.compress(entry(".PKGINFO", lines.encode()), mtime=0) + data


def files(path, content):
    """Returns a tar with a file and the directories above it."""
    directories = [path.rsplit("/", count)[0] for count in range(path.count("/"), 0, -1)]
    archive = b"".join(entry(directory, None) for directory in directories)
    checksum = {"APK-TOOLS.checksum.SHA1": hashlib.sha1(content).hexdigest()}
    return archive + entry(path, content, checksum) + bytes(2 * tarfile.BLOCKSIZE)


def entry(path, content, headers=()):
    """Returns a file as a tar has it, or a directory if there is no content."""
    info = tarfile.TarInfo(path)
    info.pax_headers = dict(headers)
    if content is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        return info.tobuf(tarfile.PAX_FORMAT)
    info.size = len(content)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def read_index(content):
    """Returns the entries of an index by name, each a dictionary of its lines."""
    text = read_tar(gzip.decompress(content))["APKINDEX"].decode()
    entries = [dict(line.split(":", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]
    return {entry["P"]: entry for entry in entries}


def read_signatures(content):
    """Returns the signatures of an index by name, and what they sign: what follows their gzip member."""
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    return read_tar(member.decompress(content)), member.unused_data


def read_tar(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}
