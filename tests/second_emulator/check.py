"""Checks the pipeline on LocalStack, and prints one line for each check.

The arguments are a directory of built functions, and a directory for everything that this run writes. The exit status
is 1 if a check failed.
"""

import concurrent.futures
import pathlib
import sys
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from packages import package, read_signatures
from stack import KEY_NAME, Stack, emulator

UPLOADS_AT_ONCE = 8


def main():
    functions, directory = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    with emulator(functions, directory) as port:
        stack = Stack(port)
        failures = [check for check in CHECKS if not passes(check, stack)]
    if failures:
        sys.exit(f"{len(failures)} of {len(CHECKS)} checks failed; see {directory / 'log'}")


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
    expect_success(stack.finished_executions())
    expect(stack.listed(), {"hello": "Greets"})


def sign(stack):
    """the index is signed with the key"""
    signatures, signed = read_signatures(stack.index())
    algorithms = {f".SIGN.RSA.{KEY_NAME}": hashes.SHA1(), f".SIGN.RSA256.{KEY_NAME}": hashes.SHA256()}
    expect(sorted(signatures), sorted(algorithms))
    for name, signature in signatures.items():
        stack.key.public_key().verify(signature, signed, padding.PKCS1v15(), algorithms[name])


def replace(stack):
    """a replaced package is listed anew"""
    stack.put("hello", package("hello", "Greets the world"))
    expect_success(stack.finished_executions())
    expect(stack.listed(), {"hello": "Greets the world"})


def upload_at_once(stack):
    """packages uploaded at once are all listed, and executions wait for each other"""
    names = [f"one-of-{number}" for number in range(UPLOADS_AT_ONCE)]
    with concurrent.futures.ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        list(pool.map(lambda name: stack.put(name, package(name, name)), names))
    executions = stack.finished_executions(UPLOADS_AT_ONCE)
    expect_success(executions, UPLOADS_AT_ONCE)
    expect(stack.listed(), {"hello": "Greets the world"} | {name: name for name in names})
    if not any("WaitForOther" in stack.states(execution) for execution in executions):
        raise AssertionError("no execution entered WaitForOther")


def reject(stack):
    """a broken package fails its execution, and is not listed"""
    content = package("broken", "Broken")
    stack.put("broken", content[: len(content) // 2])
    expect_rejection(stack.finished_executions())
    expect("broken" in stack.listed(), False)


def reject_replacement(stack):
    """a broken package in place of a listed one fails its execution, and the listed one is removed"""
    stack.put("hello", b"This is no package.")
    expect_rejection(stack.finished_executions())
    expect("hello" in stack.listed(), False)


def delete(stack):
    """a deleted package is removed"""
    stack.delete("one-of-0")
    expect_success(stack.finished_executions())
    expect(sorted(stack.listed()), [f"one-of-{number}" for number in range(1, UPLOADS_AT_ONCE)])


def overwrite_version(stack):
    """in a versioned bucket, the new version of a package is listed"""
    for text in ("Greets", "Greets the world"):
        stack.put("hello", package("hello", text), "versions")
        expect_success(stack.finished_executions())
        expect(stack.listed("versions"), {"hello": text})


def delete_version(stack):
    """in a versioned bucket, a package with a delete marker is removed"""
    stack.marker = stack.delete("hello", "versions")
    expect(stack.marker["DeleteMarker"], True)
    expect_success(stack.finished_executions())
    expect(stack.listed("versions"), {})


def restore_version(stack):
    """in a versioned bucket, a package is listed again after its delete marker is deleted"""
    stack.delete("hello", "versions", VersionId=stack.marker["VersionId"])
    expect_success(stack.finished_executions())
    expect(stack.listed("versions"), {"hello": "Greets the world"})


CHECKS = [
    upload,
    sign,
    replace,
    upload_at_once,
    reject,
    reject_replacement,
    delete,
    overwrite_version,
    delete_version,
    restore_version,
]


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found} instead of {wanted}")


def expect_success(executions, count=1):
    found = [(execution["status"], execution.get("cause")) for execution in executions]
    expect(found, [("SUCCEEDED", None)] * count)


def expect_rejection(executions):
    found = [(execution["status"], execution.get("error")) for execution in executions]
    expect(found, [("FAILED", "Alpinist.PackageRejected")])


main()
