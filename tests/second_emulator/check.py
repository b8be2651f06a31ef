"""Uses the pipeline on LocalStack as people do, and says of each use whether it went well.

The arguments are a directory of built functions, and one for what this run writes. The exit status is 1 if something
did not go well.
"""

import concurrent.futures
import pathlib
import sys
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from packages import package, read_signatures
from stack import KEY_NAME, Stack, emulator

AT_ONCE = 8


def main():
    functions, directory = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    with emulator(functions, directory) as port:
        stack = Stack(port)
        failures = [check for check in CHECKS if not passes(check, stack)]
    if failures:
        sys.exit(f"{len(failures)} of {len(CHECKS)} checks failed; {directory / 'log'} has what LocalStack says")


def passes(check, stack):
    began = time.monotonic()
    try:
        check(stack)
        problem = None
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    print(f"{'FAILED' if problem else 'ok':6}  {check.__doc__} ({time.monotonic() - began:.1f} s)", flush=True)
    if problem:
        print(f"        {problem}", flush=True)
    return problem is None


def upload(stack):
    """an uploaded package is listed"""
    stack.put("hello", package("hello", "Greets"))
    expect_success(stack.ended())
    expect(stack.listed(), {"hello": "Greets"})


def sign(stack):
    """the index is signed with the key"""
    signatures, signed = read_signatures(stack.index())
    public_key, algorithms = stack.key.public_key(), {"RSA": hashes.SHA1(), "RSA256": hashes.SHA256()}
    expect(sorted(signatures), sorted(f".SIGN.{algorithm}.{KEY_NAME}" for algorithm in algorithms))
    for algorithm, digest in algorithms.items():
        public_key.verify(signatures[f".SIGN.{algorithm}.{KEY_NAME}"], signed, padding.PKCS1v15(), digest)


def replace(stack):
    """a replaced package is listed as it is now"""
    stack.put("hello", package("hello", "Greets the world"))
    expect_success(stack.ended())
    expect(stack.listed(), {"hello": "Greets the world"})


def upload_several(stack):
    """packages uploaded at once are all listed, and executions wait for each other"""
    names = [f"one-of-{number}" for number in range(AT_ONCE)]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: stack.put(name, package(name, name)), names))
    executions = stack.ended(AT_ONCE)
    expect_success(executions, AT_ONCE)
    expect(stack.listed(), {"hello": "Greets the world"} | {name: name for name in names})
    waited = [execution for execution in executions if "WaitForOther" in stack.states(execution)]
    expect(len(waited) > 0, True)


def refuse(stack):
    """a broken package fails its execution, and is not listed"""
    content = package("broken", "Broken")
    stack.put("broken", content[: len(content) // 2])
    expect_refusal(stack.ended())
    expect("broken" in stack.listed(), False)


def refuse_replacement(stack):
    """a broken package in place of a listed one fails its execution, and neither is listed"""
    stack.put("hello", b"This is no package.")
    expect_refusal(stack.ended())
    expect("hello" in stack.listed(), False)


def delete(stack):
    """a deleted package is not listed"""
    stack.delete("one-of-0")
    expect_success(stack.ended())
    expect(sorted(stack.listed()), [f"one-of-{number}" for number in range(1, AT_ONCE)])


def overwrite_version(stack):
    """in a versioned bucket, a new version is listed"""
    for text in ("Greets", "Greets the world"):
        stack.put("hello", package("hello", text), "versions")
        expect_success(stack.ended())
        expect(stack.listed("versions"), {"hello": text})


def mark_as_deleted(stack):
    """in a versioned bucket, a package with a delete marker is not listed"""
    stack.marker = stack.delete("hello", "versions")
    expect(stack.marker["DeleteMarker"], True)
    expect_success(stack.ended())
    expect(stack.listed("versions"), {})


def restore(stack):
    """in a versioned bucket, a package whose delete marker is deleted is listed again"""
    stack.delete("hello", "versions", VersionId=stack.marker["VersionId"])
    expect_success(stack.ended())
    expect(stack.listed("versions"), {"hello": "Greets the world"})


CHECKS = [
    upload,
    sign,
    replace,
    upload_several,
    refuse,
    refuse_replacement,
    delete,
    overwrite_version,
    mark_as_deleted,
    restore,
]


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found} instead of {wanted}")


def expect_success(executions, count=1):
    expect([(one["status"], one.get("cause")) for one in executions], [("SUCCEEDED", None)] * count)


def expect_refusal(executions):
    expect([(one["status"], one.get("error")) for one in executions], [("FAILED", "Alpinist.PackageRefused")])


main()
