#!/usr/bin/env bash
# Shows on a real AWS account what the local emulator cannot show. Takes half an hour and costs less
# than a dollar.
#
# It creates a stack of its own with a bucket of its own, and deletes both afterwards, even after a
# failure or Ctrl-C. Results go to standard output, one line for each check; everything else goes to
# standard error.

set -euo pipefail

usage() {
    cat <<'END'
Usage: tests/smoke/aws.sh [OPTION]...

Checks Alpinist on a real AWS account, and removes everything it made.

  --yes                  do not ask for confirmation
  --large                also check a package of 5 GiB (ten minutes more; 24 to 32 MiB are uploaded, S3 copies the rest)
  --functions DIRECTORY  where target/lambda/NAME/bootstrap are (default: this repository, or $ALPINIST_FUNCTIONS)
  --emulator ENDPOINT    run against an emulator, such as that of `cargo local up`
  --clean-up NAME        remove what an earlier run called NAME has left, and do nothing else
  --help                 print this

Each line of the result begins with `ok`, `WRONG` or `not shown`. Exit status: 0 if nothing is wrong, 1 if something
is, 2 if the checks could not be run, 129, 130 or 143 if they were interrupted.

Credentials and region are those of the AWS CLI (AWS_PROFILE, AWS_REGION, …).
END
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
is_confirmed=false
is_large=false
functions=${ALPINIST_FUNCTIONS:-$root}
emulator=
name=
cleans_up_only=false

say() { printf '%s\n' "$*" >&2; }

give_up() {
    say "aws.sh: $*"
    exit 2
}

while (($# > 0)); do
    case $1 in
        --yes) is_confirmed=true ;;
        --large) is_large=true ;;
        --functions | --emulator | --clean-up)
            (($# > 1)) || give_up "$1 needs a value"
            case $1 in
                --functions) functions=$2 ;;
                --emulator) emulator=${2%/} ;;
                --clean-up) name=$2 cleans_up_only=true ;;
            esac
            shift
            ;;
        --help | -h)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done

# --------------------------------------------------------------------------------------------------
# Programs and settings
# --------------------------------------------------------------------------------------------------

for program in aws openssl python3; do
    command -v "$program" >/dev/null || give_up "$program is missing"
done
[[ $name == "" || $name =~ ^alpinist-smoke-[0-9a-f]{8}$ ]] || give_up "--clean-up takes a name such as alpinist-smoke-0123abcd"

if [[ $emulator != "" ]]; then
    [[ $emulator =~ ^http://[^/@]+$ && $emulator != *amazonaws* ]] || give_up "--emulator takes an address such as http://127.0.0.1:4700"
    for variable in "${!AWS_@}"; do
        unset "$variable"
    done
    export AWS_ENDPOINT_URL=$emulator AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-central-1
    export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
    # The emulator has one host name, and the CLI adds prefixes to it.
    export AWS_DISABLE_HOST_PREFIX_INJECTION=true
fi
export AWS_PAGER='' AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=6
# An emulator that does not answer has ended.
[[ $emulator == "" ]] || export AWS_MAX_ATTEMPTS=2

# For SQS, some versions of the CLI use the address of the queue rather than AWS_ENDPOINT_URL.
aws() { command aws ${emulator:+--endpoint-url "$emulator"} "$@"; }

region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[[ $region != "" ]] || give_up "no region: set AWS_REGION"
export AWS_DEFAULT_REGION=$region

if ! identity=$(aws sts get-caller-identity --query '[Account, Arn]' --output text); then
    give_up "no credentials that work: see the message of the AWS CLI above"
fi
account=${identity%%$'\t'*}
caller=${identity##*$'\t'}
partition=$(printf '%s' "$caller" | cut -d: -f2)

scratch=$(mktemp -d "${TMPDIR:-/tmp}/alpinist-smoke.XXXXXX")
: "${name:=alpinist-smoke-$(openssl rand -hex 4)}"
stack=$name
bucket=$name
artifacts=$name-artifacts
queue=$name-failures
private_key_parameter=/$name/rsa
key_name_parameter=/$name/key
key_name=smoke@example.com-${name##*-}.rsa.pub

export SMOKE_EMULATOR=$emulator SMOKE_REGION=$region SMOKE_ACCOUNT=$account SMOKE_PARTITION=$partition
export SMOKE_ROOT=$root SMOKE_STACK=$stack
SMOKE_AWS=$(type -P aws)
export SMOKE_AWS

# --------------------------------------------------------------------------------------------------
# What needs more than a shell
# --------------------------------------------------------------------------------------------------

cat >"$scratch/helper.py" <<'PYTHON'
"""The part of the smoke test that is no work for a shell: packages, indexes, states, and loops over many objects."""

import concurrent.futures
import datetime
import gzip
import hashlib
import io
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib

# The one that the shell found; some wrappers of Python change the path.
AWS = os.environ["SMOKE_AWS"]
EMULATOR = os.environ["SMOKE_EMULATOR"]
REGION, ACCOUNT, PARTITION = (os.environ["SMOKE_" + it] for it in ("REGION", "ACCOUNT", "PARTITION"))
ENDPOINT = ["--endpoint-url", EMULATOR] if EMULATOR else []


class Failed(Exception):
    """What the AWS CLI said."""


def aws(*arguments):
    """Runs the AWS CLI and returns its answer, from JSON."""
    command = [AWS, *ENDPOINT, *arguments, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed(" ".join(done.stderr.split()))
    return json.loads(done.stdout) if done.stdout.strip() else {}


# --- packages and indexes -------------------------------------------------------------------------


def tar_entry(path, content=b"", **headers):
    entry = tarfile.TarInfo(path)
    entry.mtime, entry.uname, entry.gname = 1704067200, "root", "root"
    if path.endswith("/"):
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    else:
        entry.size, entry.pax_headers = headers.pop("size", len(content)), headers
    padding = bytes(-len(content) % 512)
    return entry.tobuf(tarfile.PAX_FORMAT) + content + padding


def control_section(name, version, size, data_hash):
    """The tar archive of a control section has no end; stored, its size does not depend on the hash."""
    lines = {
        "pkgname": name, "pkgver": version, "pkgdesc": "For a smoke test", "url": "https://example.com",
        "builddate": 1704067200, "size": size, "arch": "x86_64", "license": "MIT", "datahash": data_hash,
    }
    text = "".join(f"{key} = {value}\n" for key, value in lines.items())
    return gzip.compress(tar_entry(".PKGINFO", text.encode()), 0, mtime=0)


def file_head(name, size, checksum):
    directories = ["usr/", "usr/share/", f"usr/share/{name}/"]
    file = tar_entry(f"usr/share/{name}/content", size=size, **{"APK-TOOLS.checksum.SHA1": checksum})
    return b"".join(map(tar_entry, directories)) + file


def package(name, version, path):
    """Writes a package with one file."""
    content = f"{name} {version}\n".encode()
    head = file_head(name, len(content), hashlib.sha1(content).hexdigest())
    data = gzip.compress(head + content + bytes(-len(content) % 512 + 1024), mtime=0)
    control = control_section(name, version, len(content), hashlib.sha256(data).hexdigest())
    with open(path, "wb") as file:
        file.write(control + data)


BLOCK = 65535
ZEROS = b"\0" + struct.pack("<HH", BLOCK, 0) + bytes(BLOCK)


class Large:
    """A package of a given size whose file is zeros, in deflate's stored blocks, so that nearly all of it repeats."""

    def __init__(self, name, version, total):
        # The numbers of digits do not depend on the size of the file as long as that is near
        # `total`.
        placeholder = len(control_section(name, version, total - 10**6, "0" * 64))
        head_length = len(file_head(name, total - 10**6, "0" * 40))
        rest = total - placeholder - 10 - 5 - head_length - 8
        # An empty block has five bytes; so many of them make the rest a whole number of tar's
        # blocks.
        self.empty = next(it for it in range(512) if self.zeros_in(rest - 5 * it) % 512 == 0)
        self.zeros = self.zeros_in(rest - 5 * self.empty)
        size = self.zeros - 1024
        sha1, crc, sha256 = hashlib.sha1(), 0, hashlib.sha256()
        mebibyte = bytes(1 << 20)
        for piece in self.pieces(size, mebibyte):
            sha1.update(piece)
        head = file_head(name, size, sha1.hexdigest())
        assert len(head) == head_length
        crc = zlib.crc32(head)
        for piece in self.pieces(self.zeros, mebibyte):
            crc = zlib.crc32(piece, crc)
        begin = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        begin += b"\0" + struct.pack("<HH", len(head), len(head) ^ 0xFFFF) + head
        begin += (b"\0" + struct.pack("<HH", 0, 0xFFFF)) * self.empty
        self.blocks, last = divmod(self.zeros, BLOCK)
        end = b"\1" + struct.pack("<HH", last, last ^ 0xFFFF) + bytes(last)
        end += struct.pack("<II", crc, (len(head) + self.zeros) & 0xFFFFFFFF)
        sha256.update(begin)
        for _ in range(self.blocks):
            sha256.update(ZEROS)
        sha256.update(end)
        control = control_section(name, version, size, sha256.hexdigest())
        assert len(control) == placeholder
        self.begin, self.end = control + begin, end
        self.total = len(self.begin) + self.blocks * len(ZEROS) + len(self.end)
        assert self.total == total, (self.total, total)

    @staticmethod
    def zeros_in(rest):
        """How many zeros fit into `rest` bytes of full blocks and a last one."""
        blocks, last = divmod(rest - 5, len(ZEROS))
        return blocks * BLOCK + min(last, BLOCK)

    @staticmethod
    def pieces(size, piece):
        for _ in range(size // len(piece)):
            yield piece
        yield piece[: size % len(piece)]

    def read(self, offset, length):
        parts, end = [], offset + length
        middle = len(self.begin) + self.blocks * len(ZEROS)
        parts.append(self.begin[offset:end])
        low, high = max(offset, len(self.begin)), min(end, middle)
        if low < high:
            phase = (low - len(self.begin)) % len(ZEROS)
            count = (high - low) // len(ZEROS) + 2
            parts.append((ZEROS * count)[phase : phase + high - low])
        if end > middle:
            parts.append(self.end[max(0, offset - middle) : end - middle])
        return b"".join(parts)


def large(bucket, key, name, version, total):
    """Puts a large package together in S3, of parts as `alpinist push` has them, and tells how long the end took."""
    made, part = Large(name, version, int(total)), 8 << 20
    source = ".alpinist/reindex/smoke-source"
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "part")

        def put(operation, content, *others):
            with open(path, "wb") as file:
                file.write(content)
            return aws("s3api", operation, "--bucket", bucket, "--body", path, *others)

        put("put-object", ZEROS * (part // len(ZEROS) + 2), "--key", source)
        upload = aws("s3api", "create-multipart-upload", "--bucket", bucket, "--key", key)["UploadId"]
        where = ["--key", key, "--upload-id", upload]

        def copy(number):
            offset = (number - 1) * part
            length = min(part, made.total - offset)
            phase = (offset - len(made.begin)) % len(ZEROS)
            is_plain = offset >= len(made.begin) and offset + length <= made.total - len(made.end)
            if not is_plain:
                return None
            answer = aws(
                "s3api", "upload-part-copy", "--bucket", bucket, *where, "--part-number", str(number),
                "--copy-source", f"{bucket}/{source}", "--copy-source-range", f"bytes={phase}-{phase + length - 1}",
            )
            return answer["CopyPartResult"]["ETag"]

        numbers = range(1, -(-made.total // part) + 1)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            tags = list(pool.map(copy, numbers))
        for number in numbers:
            if tags[number - 1] is None:
                content = made.read((number - 1) * part, part)
                tags[number - 1] = put("upload-part", content, *where, "--part-number", str(number))["ETag"]
        with open(path, "w", encoding="utf-8") as file:
            parts = [{"PartNumber": number, "ETag": tag} for number, tag in zip(numbers, tags)]
            json.dump({"Parts": parts}, file)
        began = time.monotonic()
        complete = ["complete-multipart-upload", "--bucket", bucket, *where, "--cli-read-timeout", "600"]
        aws("s3api", *complete, "--multipart-upload", f"file://{path}")
        print(f"{len(numbers)} {time.monotonic() - began:.1f}")
        aws("s3api", "delete-object", "--bucket", bucket, "--key", source)


def index(path):
    """Prints the packages of an index as <name>-<version>."""
    with tarfile.open(fileobj=io.BytesIO(gzip.open(path).read())) as archive:
        text = archive.extractfile("APKINDEX").read().decode()
    for entry in text.split("\n\n"):
        fields = dict(line.split(":", 1) for line in entry.splitlines() if ":" in line)
        if "P" in fields:
            print(f"{fields['P']}-{fields['V']}")


def signature(path, public_key, key_name):
    """Verifies each signature of an index with a public key, and prints their kinds."""
    with open(path, "rb") as file:
        rest = file.read()
    inflater = zlib.decompressobj(31)
    with tarfile.open(fileobj=io.BytesIO(inflater.decompress(rest) + bytes(1024))) as archive:
        entries = {entry.name: archive.extractfile(entry).read() for entry in archive}
    kinds = []
    with tempfile.TemporaryDirectory() as directory:
        signed, by = os.path.join(directory, "signed"), os.path.join(directory, "signature")
        for name, content in entries.items():
            kind = name.removeprefix(".SIGN.").removesuffix("." + key_name)
            digest = {"RSA": "-sha1", "RSA256": "-sha256"}[kind]
            for file, bytes_ in (signed, inflater.unused_data), (by, content):
                with open(file, "wb") as opened:
                    opened.write(bytes_)
            command = ["openssl", "dgst", digest, "-verify", public_key, "-signature", by, signed]
            if subprocess.run(command, capture_output=True).returncode:
                sys.exit(f"the signature {name} is wrong")
            kinds.append(kind)
    print(" and ".join(kinds))


def anonymous(url, path):
    """Gets an address as it is, without credentials, and prints the status."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    with open(path, "wb") as file:
        file.write(content)
    print(status)


def processor(path):
    """Prints for which processor a program is, as the template's parameter has it."""
    with open(path, "rb") as file:
        begin = file.read(20)
    machines = {62: "x86_64", 183: "arm64"}
    machine = machines.get(struct.unpack("<H", begin[18:20])[0]) if begin[:4] == b"\x7fELF" else None
    print(machine or sys.exit(f"{path} is no program for Linux on x86_64 or arm64"))


# --- executions, messages, metrics, policies ------------------------------------------------------


def executions(machine, prefix):
    """Prints ARN and status of executions for packages below a prefix, latest first."""
    for execution in aws("stepfunctions", "list-executions", "--state-machine-arn", machine, "--max-items", "60")["executions"]:
        described = aws("stepfunctions", "describe-execution", "--execution-arn", execution["executionArn"])
        given = json.loads(described["input"])
        key = given.get("detail", {}).get("object", {}).get("key") or given.get("key", "")
        if key.startswith(prefix):
            print(execution["executionArn"], described["status"], described.get("error", "-"))


def history(execution):
    events = aws("stepfunctions", "get-execution-history", "--execution-arn", execution, "--no-include-execution-data")
    return events["events"]


def seconds_of(event):
    stamp = event["timestamp"]
    if isinstance(stamp, (int, float)):
        return float(stamp)
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def stays(execution, state):
    """Prints for how many seconds an execution stayed in a state, each time."""
    since = None
    for event in history(execution):
        entered = event.get("stateEnteredEventDetails", {}).get("name")
        left = event.get("stateExitedEventDetails", {}).get("name")
        if entered == state:
            since = seconds_of(event)
        elif left == state and since is not None:
            print(f"{seconds_of(event) - since:.1f}")


def message(queue, key, seconds):
    """Waits for the failure message about a package, and prints its subject and its text."""
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        received = aws("sqs", "receive-message", "--queue-url", queue, "--wait-time-seconds", "5", "--max-number-of-messages", "10")
        for it in received.get("Messages", []):
            aws("sqs", "delete-message", "--queue-url", queue, "--receipt-handle", it["ReceiptHandle"])
            body = json.loads(it["Body"])
            if f"Package: {key}" in body["Message"].splitlines():
                print(body.get("Subject", ""))
                print(body["Message"])
                return
    sys.exit(f"no message about {key} within {seconds} s")


def search(path):
    """Prints the search expression of a dashboard."""
    with open(path, encoding="utf-8") as file:
        widgets = json.load(file)["widgets"]
    for widget in widgets:
        for line in widget["properties"].get("metrics", []):
            if isinstance(line[0], dict) and "SEARCH(" in line[0]["expression"]:
                return print(line[0]["expression"])
    sys.exit("the dashboard has no search expression")


def found(expression):
    """Prints the sum of what an expression of CloudWatch finds in the last three hours."""
    now = time.time()

    def stamp(when):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))

    query = json.dumps([{"Id": "found", "Expression": expression, "ReturnData": True}])
    answer = aws(
        "cloudwatch", "get-metric-data", "--start-time", stamp(now - 10800), "--end-time", stamp(now + 300),
        "--metric-data-queries", query,
    )
    print(round(sum(sum(result["Values"]) for result in answer["MetricDataResults"])))


def lock(policy, resource):
    """Prints a policy that lets nobody read one object."""
    with open(policy, encoding="utf-8") as file:
        document = json.load(file)
    document["Statement"].append(
        {"Sid": "SmokeTest", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": resource}
    )
    print(json.dumps(document))


def empty(bucket):
    """Deletes all versions of all objects, and gives up all uploads."""
    for upload in aws("s3api", "list-multipart-uploads", "--bucket", bucket).get("Uploads") or []:
        aws("s3api", "abort-multipart-upload", "--bucket", bucket, "--key", upload["Key"], "--upload-id", upload["UploadId"])
    while True:
        listed = aws("s3api", "list-object-versions", "--bucket", bucket, "--max-items", "500")
        versions = (listed.get("Versions") or []) + (listed.get("DeleteMarkers") or [])
        if not versions:
            return
        objects = [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in versions]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"Objects": objects, "Quiet": True}, file)
            file.flush()
            answer = aws("s3api", "delete-objects", "--bucket", bucket, "--delete", f"file://{file.name}")
        if answer.get("Errors"):
            raise Failed(json.dumps(answer["Errors"][0]))


# --- the states, one by one -----------------------------------------------------------------------

PACKAGE = "3.22/main/x86_64/hello-1.0-r0.apk"
INDEX = "3.22/main/x86_64/APKINDEX.tar.gz"
REJECTION = {"error": "Alpinist.PackageRejected", "cause": f"{PACKAGE} was rejected: \"it\" is <broken> {{% 1 %}}.", "rule": "Package"}
RUN = {"run": "one", "only_stale": False, "sign": False}


def invoked(payload):
    """What Lambda answers. Its model says that the payload is a text, but Step Functions makes JSON of it."""
    return {"result": json.dumps({"ExecutedVersion": "$LATEST", "Payload": payload, "StatusCode": 200}), "fieldValidationMode": "NONE"}


def answered(result):
    return {"result": json.dumps(result), "fieldValidationMode": "NONE"}


def fails(error, cause="mocked"):
    return {"errorOutput": {"error": error, "cause": cause}}


def case(machine, state, what, given, mock=None, status="SUCCEEDED", **expected):
    configuration = expected.pop("configuration", None)
    return {
        "machine": machine, "state": state, "what": what, "input": given, "mock": mock, "status": status,
        "configuration": configuration, "expected": expected,
    }


def task(machine, state, given, payload, output, then, caught=None):
    """The cases of a task that invokes a function: it answers, fails for a while, fails for good."""
    yield case(machine, state, "answers", given, invoked(payload), output=output, next=then)
    for at, (error, most) in enumerate(
        [("Alpinist.Unavailable", 8), ("Lambda.TooManyRequestsException", 60), ("Sandbox.Timedout", 2)]
    ):
        yield case(machine, state, f"{error} is retried", given, fails(error), "RETRIABLE", retry=at,
                   configuration={"retrierRetryCount": most - 1})
        yield case(machine, state, f"{error} ends after {most} retries", given, fails(error), "FAILED", error=error,
                   configuration={"retrierRetryCount": most})
    yield case(machine, state, "Alpinist.Misconfigured ends it", given, fails("Alpinist.Misconfigured"), "FAILED",
               error="Alpinist.Misconfigured")
    if caught:
        error, then = caught
        yield case(machine, state, f"{error} leads to {then}", given, fails(error), "CAUGHT_ERROR", output=given, next=then)


def uploads():
    event = {"version": "0", "source": "aws.s3", "detail-type": "Object Created", "time": "2026-01-01T00:00:00Z",
             "detail": {"bucket": {"name": "packages"}, "object": {"key": PACKAGE, "etag": "e"}}}
    target = {"bucket": "packages", "key": PACKAGE}
    m, superseded = "alpinist", ("Alpinist.Superseded", "ExtractMetadata")
    extracted = {**target, "found": {"accepted": {"package": "e"}}}
    yield from task(m, "ExtractMetadata", event, extracted, extracted, "WriteIndex")
    written = {**target, "changed": True}
    yield from task(m, "WriteIndex", extracted, written, written, "AggregateApkindex", superseded)
    staged = {**written, "staged": {"snapshot": "s", "replaces": None, "is_too_soon": False}}
    yield from task(m, "AggregateApkindex", written, staged, staged, "PublishOrFinish", superseded)
    rejected = {**target, "rejection": REJECTION}
    for given, then in [
        ({**written, "waiting": {"since": {}, "times": 0, "overtook": True}}, "WaitForOvertaken"),
        ({**rejected, "waiting": {"since": {}, "times": 3, "overtook": False}}, "WaitForOther"),
        (staged, "SignAndPublish"),
        ({**rejected, "staged": staged["staged"]}, "SignAndPublish"),
        (rejected, "Rejected"),
        (written, "Published"),
    ]:
        yield case(m, "PublishOrFinish", f"leads to {then}", given, output=given, next=then)
    for times in 0, 1, 4, 60:
        given = {**written, "waiting": {"since": {}, "times": times}}
        yield case(m, "WaitForOther", f"takes its seconds for wait number {times}", given, output=given, next="AggregateApkindex")
    yield case(m, "WaitForOvertaken", "waits", written, output=written, next="AggregateApkindex")
    published = {**written, "index": {"key": INDEX, "etag": "i", "packages": 1}}
    conflict = ("Alpinist.Conflict", "AggregateApkindex")
    yield from task(m, "SignAndPublish", staged, published, published, None, conflict)
    without = {**rejected, "staged": staged["staged"]}
    yield case(m, "SignAndPublish", "Alpinist.PackageRejected leads to Rejected", without,
               fails("Alpinist.PackageRejected"), "CAUGHT_ERROR", output=without, next="Rejected")
    yield case(m, "Published", "succeeds", published, output=published, next=None)
    yield case(m, "Rejected", "fails with the error and the cause of its input", rejected, status="FAILED",
               error=REJECTION["error"], cause=REJECTION["cause"])


def failures():
    m, sent = "failure", answered({"MessageId": "94f20ce6-13c5-43a0-9a9e-ca52d816e90b"})
    arn = f"arn:{PARTITION}:states:{REGION}:{ACCOUNT}:execution:machine:one"

    def event(**detail):
        told = {"executionArn": arn, "name": "one", "status": "FAILED", "error": REJECTION["error"], "cause": REJECTION["cause"]}
        return {"source": "aws.states", "detail": {**told, **detail}}

    upload = json.dumps({"detail": {"bucket": {"name": "packages"}, "object": {"key": PACKAGE}}})
    by_hand = json.dumps({"bucket": "packages", "key": INDEX})
    link = f"/v2/executions/details/{arn}"
    yield case(m, "Tell", "tells of a rejected package", event(input=upload), sent, next=None, says=[
        "Alpinist: hello-1.0-r0.apk was rejected", f"Package: {PACKAGE}", f"Cause: {REJECTION['cause']}", link])
    bug = json.dumps({"errorType": "Alpinist.Bug", "errorMessage": "a \"quoted\" \\ thing"})
    yield case(m, "Tell", "takes the message out of Lambda's error", event(input=by_hand, error="Alpinist.Bug", cause=bug),
               sent, next=None, says=["was not published", "Cause: a \"quoted\" \\ thing", "alpinist replay one"])
    yield case(m, "Tell", "tells of a reindex", event(input="{}", error="Alpinist.Incomplete", cause="see the report"),
               sent, next=None, says=["Alpinist: an execution failed", "Input: {}"])
    yield case(m, "Tell", "tells of a stopped execution", event(input=upload, status="ABORTED", error=None, cause=None),
               sent, next=None, says=["Error: none was given"])
    unknown = event(input=None, inputDetails={"included": False})
    yield case(m, "Tell", "leads to TellAsItIs if the input is no JSON", event(input="{"), sent, "CAUGHT_ERROR",
               output=event(input="{"), next="TellAsItIs")
    yield case(m, "Tell", "leads to TellAsItIs if it can't be evaluated", unknown, fails("States.QueryEvaluationError"),
               "CAUGHT_ERROR", output=unknown, next="TellAsItIs")
    for state in "Tell", "TellAsItIs":
        for error in "Sns.ThrottledException", "States.Timeout":
            yield case(m, state, f"{error} is retried", event(input=upload), fails(error), "RETRIABLE", retry=0,
                       configuration={"retrierRetryCount": 19})
    yield case(m, "TellAsItIs", "tells", unknown, sent, next=None, says=["Alpinist: an execution failed", arn])


def reindexes():
    m = "reindex"
    begun = lambda **changes: {"bucket": "packages", "prefix": "", "reindex": {**RUN, **changes}}
    def has_begun(prefix="", **changes):
        def right(output):
            run = output.get("reindex", {}).get("run")
            return run and output == {"bucket": "packages", "prefix": prefix, "reindex": {**RUN, **changes, "run": run}}
        return right
    yield case(m, "Begin", "takes {}", {}, output=has_begun(), next="Discover")
    yield case(m, "Begin", "takes a prefix and texts", {"prefix": "a/", "only_stale": "true", "sign": True},
               output=has_begun("a/", only_stale=True, sign=True), next="Discover")
    yield case(m, "Begin", "takes nothing else", {"sign": "yes"}, status="FAILED", error="States.QueryEvaluationError")
    discovered = {**begun(), "indexes": [INDEX]}
    yield from task(m, "Discover", begun(), {"indexes": [INDEX]}, discovered, "IsToSign")
    yield case(m, "IsToSign", "leads to EachObject", discovered, output=discovered, next="EachObject")
    signs = {**begun(sign=True), "indexes": [INDEX]}
    yield case(m, "IsToSign", "leads to EachIndex", signs, output=signs, next="EachIndex")
    manifest = ".alpinist/reindex/one/executions/u/manifest.json"
    details = {"MapRunArn": f"arn:{PARTITION}:states:{REGION}:{ACCOUNT}:mapRun:m/l:u",
               "ResultWriterDetails": {"Bucket": "packages", "Key": manifest}}
    listed = json.dumps([{"Etag": "\"e\"", "Key": PACKAGE, "LastModified": 1767225600.0, "Size": 1, "StorageClass": "STANDARD"}])
    item = {"bucket": "packages", "key": PACKAGE, "reindex": RUN}
    after = {**discovered, "manifest": manifest}
    yield case(m, "EachObject", "gives each object to an execution", discovered, answered(details), output=after, next="EachIndex",
               items=[item], configuration={"mapItemReaderData": listed})
    yield case(m, "EachObject", "goes on after failures", discovered, answered(details), output=after, next="EachIndex",
               configuration={"mapItemReaderData": listed, "mapIterationFailureCount": 1})
    for key, then in (PACKAGE, "ExtractMetadata"), (INDEX, "Done"):
        given = {**item, "key": key}
        yield case(m, "IsPackage", f"leads to {then}", given, output=given, next=then)
    accepted = {**item, "found": {"accepted": {"package": "e"}}}
    yield from task(m, "ExtractMetadata", item, accepted, accepted, "IsIndexed")
    for found_, then in ("indexed", "Done"), ({"rejected": REJECTION}, "WriteIndex"), ("nothing", "WriteIndex"):
        given = {**item, "found": found_}
        yield case(m, "IsIndexed", f"leads to {then}", given, output=given, next=then)
    yield from task(m, "WriteIndex", accepted, {"any": "thing"}, {}, None, ("Alpinist.Superseded", "ExtractMetadata"))
    yield case(m, "Done", "returns nothing", accepted, output={}, next=None)
    for results, unpublished in (["", ""], []), ([INDEX, ""], [INDEX]), ([INDEX, INDEX], [INDEX, INDEX]):
        given = {**after, "indexes": [INDEX, INDEX]}
        items = [{"bucket": "packages", "key": INDEX, "reindex": RUN}] * 2
        yield case(m, "EachIndex", f"finds {len(unpublished)} of 2 unpublished", given, answered(results),
                   output={**given, "unpublished": unpublished}, next="Report", items=items)
    given = {**item, "key": INDEX}
    ended = {"ExecutionArn": "a", "Input": "{}", "Name": "n", "Output": {"any": "thing"}, "Status": "SUCCEEDED"}
    yield case(m, "MakeIndex", "waits for the execution", given, answered(ended), output="", next=None)
    for error in "States.TaskFailed", "States.Timeout":
        yield case(m, "MakeIndex", f"{error} leads to Unpublished", given, fails(error), "CAUGHT_ERROR", output=INDEX, next="Unpublished")
    yield case(m, "MakeIndex", "is retried", given, fails("StepFunctions.AWSStepFunctionsException"), "RETRIABLE", retry=0,
               configuration={"retrierRetryCount": 5})
    yield case(m, "Unpublished", "returns the index", INDEX, output=INDEX, next=None)
    done, report = {**after, "unpublished": []}, {"report": "r"}
    yield from task(m, "Report", done, report, report, None)
    yield case(m, "Report", "takes a run without a manifest", {**signs, "unpublished": []}, invoked(report), output=report, next=None,
               says=['"manifest":null', '"unpublished":[]'])


def definition(machine):
    """A definition as the template deploys it."""
    with open(os.path.join(os.environ["SMOKE_ROOT"], "statemachine", machine + ".asl.json"), encoding="utf-8") as file:
        text = file.read()
    values = {
        "Partition": PARTITION, "Region": REGION, "Console": "console.aws.amazon.com", "Stack": os.environ["SMOKE_STACK"],
        "Bucket": "packages", "FailureTopicArn": f"arn:{PARTITION}:sns:{REGION}:{ACCOUNT}:topic",
        "StateMachineArn": f"arn:{PARTITION}:states:{REGION}:{ACCOUNT}:stateMachine:machine",
    }
    function = lambda it: f"arn:{PARTITION}:lambda:{REGION}:{ACCOUNT}:function:{it[1]}"
    text = re.sub(r"\$\{(\w+)FunctionArn\}", function, text)
    return re.sub(r"\$\{(\w+)\}", lambda it: values[it[1]], text)


def names(part):
    for name, state in part["States"].items():
        yield name
        if "ItemProcessor" in state:
            yield from names(state["ItemProcessor"])


def states(directory):
    """Runs each state in each way that it can go, by AWS's own interpreter, and prints a line for each state."""
    cases = [*uploads(), *failures(), *reindexes()]
    for machine in "alpinist", "failure", "reindex":
        text = definition(machine)
        with open(os.path.join(directory, machine), "w", encoding="utf-8") as file:
            file.write(text)
        for state in names(json.loads(text)):
            if not any(it["machine"] == machine and it["state"] == state for it in cases):
                print(f"WRONG|state {machine}.{state}|this script has no case for it", flush=True)
    skeleton = aws("stepfunctions", "test-state", "--generate-cli-skeleton")
    if not {"mock", "stateName", "stateConfiguration"} <= skeleton.keys():
        version = subprocess.run([AWS, "--version"], capture_output=True, text=True).stdout.split()[0]
        print(f"not shown|{len(cases)} ways of the states|{version} is older than TestState's --mock of November 2025")
        return
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ran = zip(cases, pool.map(lambda at: run_state(directory, at, cases[at]), range(len(cases))))
        for (machine, state), group in itertools.groupby(ran, lambda it: (it[0]["machine"], it[0]["state"])):
            print_state(f"state {machine}.{state}", list(group))


def print_state(name, ways):
    wrong = {}
    for it, (verdict, reasons) in ways:
        if verdict == "WRONG":
            wrong.setdefault(reasons[0], []).append(it["what"])
    for reason, (first, *others) in wrong.items():
        print(f"WRONG|{name}, {first}{f' (and {len(others)} others)' if others else ''}|{reason}", flush=True)
    verdicts = [verdict for _, (verdict, _) in ways]
    # Without duplicates, in order.
    reasons = dict.fromkeys(it for _, (verdict, them) in ways if verdict == "not shown" for it in them)
    if reasons:
        right = f"only {verdicts.count('ok')} of {len(ways)} ways are shown in full, since "
        teller = "the emulator's TestState" if EMULATOR else "TestState"
        print(f"not shown|{name}|{right}{teller} {', '.join(reasons)}", flush=True)
    elif "WRONG" not in verdicts:
        print(f"ok|{name}|{len(ways)} way{'s' if len(ways) > 1 else ''}", flush=True)


def run_state(directory, number, it):
    try:
        return judge(it, test_state(directory, number, it))
    except Failed as error:
        reason = str(error)
        if EMULATOR and "Unsupported state type: Map" in reason:
            return "not shown", ["takes no Map"]
        if "mapItemReaderData" in (it["configuration"] or {}) and "ValidationException" in reason:
            return "not shown", [f"does not take a listing as it was guessed: {reason}"]
        return "WRONG", [reason]


def test_state(directory, number, it):
    path, name = os.path.join(directory, it["machine"]), it["state"]
    if EMULATOR:
        path = narrowed(directory, number, it)
    # A Wait may actually wait, for 150 s.
    command = ["stepfunctions", "test-state", "--inspection-level", "DEBUG", "--cli-read-timeout", "330"]
    command += ["--definition", f"file://{path}", "--state-name", name, "--input", json.dumps(it["input"])]
    if it["mock"]:
        command += ["--mock", json.dumps(it["mock"])]
    if it["configuration"]:
        command += ["--state-configuration", json.dumps(it["configuration"])]
    return aws(*command)


def narrowed(directory, number, it):
    """The emulator does not look into Maps: a file with the part of the definition that has the state."""
    with open(os.path.join(directory, it["machine"]), encoding="utf-8") as file:
        part = json.load(file)
    inner = [state["ItemProcessor"] for state in part["States"].values() if "ItemProcessor" in state]
    for processor_ in inner:
        if it["state"] in processor_["States"]:
            part = {"QueryLanguage": part["QueryLanguage"], **processor_}
            del part["ProcessorConfig"]
    path = os.path.join(directory, f"{it['machine']}.{number}")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(part, file)
    return path


def judge(it, answer):
    expected, status = it["expected"], answer.get("status")
    output = json.loads(answer["output"]) if "output" in answer else None
    inspected = answer.get("inspectionData", {})
    # For a task, the emulator evaluates no JSONata here; it counts no retriers, and looks for a
    # catcher first.
    is_in_vain = bool(EMULATOR and it["mock"])
    if is_in_vain and "result" in it["mock"] and it["status"] == "CAUGHT_ERROR":
        return "not shown", ["evaluates nothing in a task"]
    if is_in_vain and (it["status"], status) == ("RETRIABLE", "CAUGHT_ERROR"):
        return "not shown", ["looks at Catch before Retry"]
    wrong, unknown = [], []

    def compare(what, is_right, value, can_be_seen=True):
        if not can_be_seen:
            unknown.append(what)
        elif not is_right:
            wrong.append(f"{what} is {json.dumps(value, ensure_ascii=False)}")

    compare("status", status == it["status"], status)
    if "next" in expected:
        compare("next state", answer.get("nextState") == expected["next"], answer.get("nextState"))
    for key in "error", "cause":
        if key in expected:
            compare(key, answer.get(key) == expected[key], answer.get(key))
    if "output" in expected:
        right = expected["output"]
        right = right(output or {}) if callable(right) else right == output
        compare("output", right, output, not is_in_vain)
    if "retry" in expected:
        at = inspected.get("errorDetails", {}).get("retryIndex")
        compare("retrier", at == expected["retry"], at, not is_in_vain)
    if "says" in expected:
        arguments = json.loads(inspected.get("afterArguments", "{}"))
        texts = [json.dumps(arguments, separators=(",", ":")), *(it for it in arguments.values() if isinstance(it, str))]
        missing = [it for it in expected["says"] if not any(it in text for text in texts)]
        compare("arguments", not missing, arguments, not is_in_vain)
    if "items" in expected:
        items = inspected.get("afterItemSelector")
        items = json.loads(items) if isinstance(items, str) else items
        compare("items", items == expected["items"], items, items is not None)
    if wrong:
        error = f"; {answer['error']}: {answer.get('cause')}" if "error" in answer and "error" not in expected else ""
        return "WRONG", [", ".join(wrong) + error]
    if unknown:
        return "not shown", [f"does not tell the {it}" for it in unknown]
    return "ok", []


if __name__ == "__main__":
    commands = [
        package, large, index, signature, anonymous, processor, executions, stays, message, search, found, lock, empty, states,
    ]
    try:
        {it.__name__: it for it in commands}[sys.argv[1]](*sys.argv[2:])
    except Failed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
PYTHON

helper() { python3 "$scratch/helper.py" "$@"; }

# --------------------------------------------------------------------------------------------------
# Results
# --------------------------------------------------------------------------------------------------

count_ok=0 count_wrong=0 count_not_shown=0

# tell VERDICT WHAT TEXT
tell() {
    printf '%s: %s%s\n' "$1" "$2" "${3:+: $3}"
    case $1 in
        ok) count_ok=$((count_ok + 1)) ;;
        WRONG) count_wrong=$((count_wrong + 1)) ;;
        *) count_not_shown=$((count_not_shown + 1)) ;;
    esac
}

# These end an item, which runs in a subshell. What it prints before is not shown.
ok() { printf '%s' "$*" >"$scratch/verdict" && exit 0; }
wrong() { printf '%s' "$*" >"$scratch/verdict" && exit 1; }
not_shown() { printf '%s' "$*" >"$scratch/verdict" && exit 3; }

# Runs the function of an item, whose name is the item's with underscores, and reports the result.
item() {
    local status=0 text
    say "… $1"
    : >"$scratch/verdict"
    # Within a condition, `set -e` would not hold in the function.
    set +e
    (
        set -e
        "${1// /_}"
    ) >"$scratch/output" 2>"$scratch/errors"
    status=$?
    set -e
    text=$(cat "$scratch/verdict")
    case $status in
        0) tell ok "$1" "$text" ;;
        3) tell "not shown" "$1" "$text" ;;
        130 | 143 | 129) exit "$status" ;;
        *)
            [[ $text != "" ]] || text="a command failed: $(grep -v '^$' "$scratch/errors" | tail -n 1)"
            tell WRONG "$1" "$text"
            return 0
            ;;
    esac
    : >"$scratch/done-${1// /-}"
}

# The same, for items that need the stack.
item_of_stack() {
    if [[ -e $scratch/done-deployment ]]; then
        item "$1"
    else
        tell "not shown" "$1" "nothing is deployed"
    fi
}

keep() { printf '%s' "$2" >"$scratch/value-$1"; }
value() { cat "$scratch/value-$1"; }

# --------------------------------------------------------------------------------------------------
# Clean-up
# --------------------------------------------------------------------------------------------------

left=

# Runs a command of the AWS CLI. Status: 0 if it worked, 1 if there is no such thing, 2 otherwise.
ask() {
    local errors
    if errors=$(aws "$@" 2>&1 >"$scratch/answer"); then
        return 0
    fi
    case $errors in
        *"does not exist"* | *NoSuch* | *NotFound* | *"Not Found"* | *NonExistent* | *"(404)"*) return 1 ;;
    esac
    say "  $(printf '%s' "$errors" | tr -s '\n' ' ')"
    return 2
}

# remains WHAT: notes that something may still be there.
remains() { left="$left${left:+, }$1"; }

# gone WHAT COMMAND...: notes WHAT unless the command says that there is no such thing.
gone() {
    local what=$1 status=0
    shift
    ask "$@" || status=$?
    ((status == 1)) || remains "$what"
}

clean_up() {
    local machine execution subscription group one again status=0
    say
    say "Removing everything called $name. This takes some minutes, and Ctrl-C does not stop it."
    for subscription in $(aws sns list-subscriptions --query "Subscriptions[?ends_with(Endpoint, ':$queue')].SubscriptionArn" --output text 2>/dev/null); do
        ask sns unsubscribe --subscription-arn "$subscription"
    done
    for machine in $(aws cloudformation describe-stack-resources --stack-name "$stack" --output text \
        --query "StackResources[?ResourceType=='AWS::StepFunctions::StateMachine'].PhysicalResourceId" 2>/dev/null); do
        for execution in $(aws stepfunctions list-executions --state-machine-arn "$machine" --status-filter RUNNING \
            --query 'executions[].executionArn' --output text 2>/dev/null); do
            ask stepfunctions stop-execution --execution-arn "$execution"
        done
    done
    if ask cloudformation describe-stacks --stack-name "$stack"; then
        say "  the stack $stack"
        ask cloudformation delete-stack --stack-name "$stack" &&
            ask cloudformation wait stack-delete-complete --stack-name "$stack"
    fi
    # The stack keeps its bucket, and the bucket's policy would protect indexes.
    for one in "$bucket" "$artifacts"; do
        if ask s3api head-bucket --bucket "$one"; then
            say "  the bucket $one, with all versions"
            ask s3api delete-bucket-policy --bucket "$one"
            helper empty "$one" >&2
            ask s3api delete-bucket --bucket "$one"
        fi
    done
    ask ssm delete-parameters --names "$private_key_parameter" "$key_name_parameter"
    ask sqs get-queue-url --queue-name "$queue" --query QueueUrl --output text || status=$?
    if ((status == 0)); then
        ask sqs delete-queue --queue-url "$(cat "$scratch/answer")" || status=$?
    fi
    ((status < 2)) || remains "the queue $queue"
    for group in $(log_groups); do
        ask logs delete-log-group --log-group-name "$group"
    done

    gone "the stack $stack" cloudformation describe-stacks --stack-name "$stack"
    gone "the bucket $bucket" s3api head-bucket --bucket "$bucket"
    gone "the bucket $artifacts" s3api head-bucket --bucket "$artifacts"
    gone "the parameter $private_key_parameter" ssm get-parameter --name "$private_key_parameter"
    gone "the parameter $key_name_parameter" ssm get-parameter --name "$key_name_parameter"
    [[ $(log_groups) == "" ]] || remains "log groups"
    if [[ $left == "" ]]; then
        tell ok "clean-up" "nothing called $name is left"
    else
        again="tests/smoke/aws.sh --clean-up $name${emulator:+ --emulator $emulator}"
        [[ $emulator != "" ]] || again="AWS_REGION=$region $again"
        tell WRONG "clean-up" "may be left: $left. Repeat: $again"
    fi
}

log_groups() {
    local prefix
    for prefix in "/aws/lambda/$stack/" "/aws/vendedlogs/states/$stack"; do
        aws logs describe-log-groups --log-group-name-prefix "$prefix" --query 'logGroups[].logGroupName' --output text 2>/dev/null
    done
}

has_begun=false
states_process=

finish() {
    local status=$?
    trap - EXIT
    # Clean-up must not be interrupted, and must continue after an error.
    trap '' INT TERM HUP
    set +e
    [[ $states_process == "" ]] || kill "$states_process"
    ! $has_begun || clean_up
    rm -rf "$scratch"
    if ((count_ok + count_wrong + count_not_shown > 0)); then
        ((status < 128)) || say "Interrupted: what stands above is not all."
        say
        say "$count_ok ok, $count_wrong wrong, $count_not_shown not shown."
    fi
    ((status != 0 || count_wrong == 0)) || status=1
    exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if $cleans_up_only; then
    say "Account $account, region $region${emulator:+, emulator $emulator}."
    has_begun=true
    exit 0
fi

# --------------------------------------------------------------------------------------------------
# What will be done, and whether to
# --------------------------------------------------------------------------------------------------

missing=
for folder in "$root"/lambdas/*/; do
    one=target/lambda/$(basename "$folder")/bootstrap
    [[ -f $functions/$one ]] || missing="$missing $one"
done
if [[ $missing != "" ]]; then
    say "These functions are not built, in $functions:$missing"
    say "Build them with cargo-lambda, which \`pip install -r tests/requirements-lambda.txt\` installs:"
    say
    say "    cargo lambda build --release"
    exit 2
fi
architecture=$(helper processor "$functions/target/lambda/heal/bootstrap") || exit 2

# Public reading can't be deployed while the account forbids it.
reading=public
if [[ $emulator == "" ]] && blocked=$(aws s3control get-public-access-block --account-id "$account" --output text \
    --query 'PublicAccessBlockConfiguration.[BlockPublicPolicy, RestrictPublicBuckets]' 2>/dev/null) && [[ $blocked == *True* ]]; then
    reading=private
fi

if [[ $emulator != "" ]]; then
    say "Checks Alpinist on the emulator at $emulator, as the stack $stack."
else
    say "This checks Alpinist on AWS."
    say
    say "    account   $account"
    say "    as        $caller"
    say "    region    $region"
    say "    stack     $stack (architecture $architecture, Reading=$reading)"
    say
    say "It creates, and removes at the end or when interrupted:"
    say
    say "    the buckets $bucket and $artifacts"
    say "    the stack $stack, with its functions, roles, state machines, alarms and dashboard"
    say "    the parameters $private_key_parameter and $key_name_parameter, with a key pair made for this"
    say "    the queue $queue, subscribed to the stack's failure topic"
    say
    say "It touches nothing else. What AWS keeps: metrics and traces until they expire, and, shared by all stacks of the"
    say "account, the EventBridge rule and the log policy that Step Functions makes for itself."
    say
    say "It takes about half an hour$($is_large && printf ', and ten minutes more for --large'). Estimated cost, in US dollars, without any free tier:"
    say
    say "    0.01   about 150 tests of states, as state transitions"
    say "    0.02   artifacts, packages and requests in S3"
    say "    0.01   some 40 executions and 200 invocations"
    say "    0.02   a reindex, twice: express executions"
    say "    0.01   seven custom metrics, six alarms and a dashboard, for an hour"
    say "    0.01   logs, traces, messages, requests to CloudWatch"
    if $is_large; then
        say "    0.03   --large: 10 GiB of storage for an hour, 640 parts, some minutes of a function"
    fi
    say
    say "Together that is less than 0.15, if it is cleaned up."
    say
    if ! $is_confirmed; then
        [[ -t 0 ]] || give_up "say --yes to confirm"
        read -r -p "Type yes to go on: " answer
        [[ $answer == yes ]] || give_up "not confirmed, nothing was done"
    fi
fi

# --------------------------------------------------------------------------------------------------
# The items
# --------------------------------------------------------------------------------------------------

directory=smoke/main/x86_64
base_url=

# url KEY: the address of an object for a reader without credentials.
url() { printf '%s/%s' "${base_url:-$(value base-url)}" "$1"; }

make_package() { helper package "$1" "$2" "$scratch/$1-$2.apk"; }

upload() { aws s3 cp --only-show-errors "$scratch/$1" "s3://$bucket/$2/$1"; }

# listed DIRECTORY: prints the packages that the index lists; nothing if there is no index.
listed() {
    local errors
    if errors=$(aws s3api get-object --bucket "$bucket" --key "$1/APKINDEX.tar.gz" "$scratch/index" 2>&1); then
        helper index "$scratch/index"
    elif [[ $errors != *NoSuchKey* ]]; then
        printf '%s\n' "$errors" >&2
        return 1
    fi
}

# wait_for_index DIRECTORY SECONDS ENTRY...: waits until the index lists all, and prints how long
# that took. Status 1 if it does not.
wait_for_index() {
    local began=$SECONDS in=$1 limit=$2 found entry
    shift 2
    while ((SECONDS - began <= limit)); do
        found=$(listed "$in") || return 2
        for entry in "$@"; do
            grep -qxF -- "$entry" <<<"$found" || continue 2
        done
        printf '%s' "$((SECONDS - began))"
        return 0
    done
    return 1
}

output() { aws cloudformation describe-stacks --stack-name "$stack" --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue" --output text; }

deployment() {
    local began=$SECONDS layout=$scratch/layout one reason
    mkdir -p "$layout/target"
    cp "$root/template.yaml" "$layout/"
    cp -r "$root/statemachine" "$layout/"
    ln -s "$(cd "$functions/target/lambda" && pwd)" "$layout/target/lambda"
    aws s3 mb "s3://$artifacts"
    cd "$layout"
    aws cloudformation package --template-file template.yaml --s3-bucket "$artifacts" --output-template-file packaged.yaml
    if ! aws cloudformation deploy --template-file packaged.yaml --stack-name "$stack" --s3-bucket "$artifacts" \
        --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --parameter-overrides "BucketName=$bucket" \
        "PrivateKeyParameter=$private_key_parameter" "KeyNameParameter=$key_name_parameter" \
        "Architecture=$architecture" "Reading=$reading" LogRetentionDays=1; then
        reason=$(tail -n 1 "$scratch/errors")
        # The first failure is the reason; the rest are cancellations. No stack means that nothing
        # was begun.
        aws cloudformation describe-stack-events --stack-name "$stack" --output text >"$scratch/events" 2>/dev/null \
            --query "reverse(StackEvents[?contains(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason])" ||
            wrong "$reason"
        wrong "$(sed -n '1s/\t/: /p' "$scratch/events")"
    fi
    for one in StateMachineArn ReindexStateMachineArn FailureTopicArn DashboardUrl RepositoryBaseUrl; do
        [[ $(output "$one") == ?* ]] || wrong "the stack has no output $one"
        keep "$one" "$(output "$one")"
    done
    if [[ $emulator != "" ]]; then keep base-url "$emulator/$bucket"; else keep base-url "$(value RepositoryBaseUrl)"; fi
    ok "$((SECONDS - began)) s"
}

subscription() {
    local url arn topic policy
    topic=$(value FailureTopicArn)
    url=$(aws sqs create-queue --queue-name "$queue" --query QueueUrl --output text)
    arn=$(aws sqs get-queue-attributes --queue-url "$url" --attribute-names QueueArn --query Attributes.QueueArn --output text)
    policy='{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Principal\": {\"Service\": \"sns.amazonaws.com\"},
        \"Action\": \"sqs:SendMessage\", \"Resource\": \"'$arn'\", \"Condition\": {\"ArnEquals\": {\"aws:SourceArn\": \"'$topic'\"}}}]}'
    aws sqs set-queue-attributes --queue-url "$url" --attributes "{\"Policy\": \"$(tr -d '\n' <<<"$policy")\"}"
    aws sns subscribe --topic-arn "$topic" --protocol sqs --notification-endpoint "$arn"
    keep queue "$url"
}

key_pair() {
    openssl genrsa -out "$scratch/key.rsa" 2048
    openssl rsa -in "$scratch/key.rsa" -pubout -out "$scratch/key.rsa.pub"
    aws ssm put-parameter --name "$private_key_parameter" --type SecureString --value "file://$scratch/key.rsa"
    aws ssm put-parameter --name "$key_name_parameter" --type String --value "$key_name"
    rm "$scratch/key.rsa"
}

# According to S3, it takes up to five minutes until a new bucket sends events to EventBridge.
first_events() {
    local began=$SECONDS
    make_package warm 1.0-r0
    while ((SECONDS - began < 420)); do
        upload warm-1.0-r0.apk smoke/warm/x86_64
        if wait_for_index smoke/warm/x86_64 30 warm-1.0-r0 >/dev/null; then
            ok "uploads are indexed $((SECONDS - began)) s after the deployment"
        fi
    done
    wrong "no upload was indexed within seven minutes of the deployment"
}

upload_and_index() {
    local took
    make_package hello 1.0-r0
    upload hello-1.0-r0.apk "$directory"
    took=$(wait_for_index "$directory" 60 hello-1.0-r0) || wrong "the index does not list hello-1.0-r0 after 60 s"
    ok "listed after $took s"
}

signature() {
    local kinds
    listed "$directory"
    aws s3api get-object --bucket "$bucket" --key "$key_name" "$scratch/published"
    cmp "$scratch/published" "$scratch/key.rsa.pub" || wrong "the published key is another one"
    kinds=$(helper signature "$scratch/index" "$scratch/published" "$key_name")
    ok "$kinds, by the published key"
}

# has LINE TEXT: whether one of the lines is this one.
has() { grep -qxF -- "$1" <<<"$2"; }

# Reads as anyone. anonymous KEY: prints the status; the content is in a file.
anonymous() {
    [[ $reading == public ]] || not_shown "the account blocks public access, so the stack was deployed with Reading=private"
    helper anonymous "$(url "$1")" "$scratch/read"
}

anonymous_reader() {
    local status
    anonymous "$directory/APKINDEX.tar.gz" >"$scratch/status"
    status=$(cat "$scratch/status")
    [[ $status == 200 ]] || wrong "the index is answered with $status"
    has hello-1.0-r0 "$(helper index "$scratch/read")" || wrong "the index does not list hello-1.0-r0"
    anonymous ".alpinist/published/$directory/index" >"$scratch/status"
    status=$(cat "$scratch/status")
    [[ $status == 403 ]] || wrong "an internal object is answered with $status, not with 403"
    ok "reads the index, and nothing internal"
}

missing_index_for_an_anonymous_reader() {
    local status
    anonymous smoke/nowhere/x86_64/APKINDEX.tar.gz >"$scratch/status"
    status=$(cat "$scratch/status")
    if [[ $emulator != "" ]]; then
        not_shown "the emulator answers $status; S3 is said to answer 403 where the reader may not list the bucket"
    fi
    [[ $status == 403 ]] || wrong "it is answered with $status; docs/operations.md says 403"
    ok "403, as docs/operations.md says"
}

names_with_a_plus() {
    local took status address
    make_package smoke++ 1.0-r0
    upload smoke++-1.0-r0.apk "$directory"
    took=$(wait_for_index "$directory" 60 smoke++-1.0-r0) || wrong "the index does not list smoke++-1.0-r0 after 60 s"
    aws s3api get-object --bucket "$bucket" --key "$directory/smoke  -1.0-r0.apk" "$scratch/copy"
    cmp "$scratch/copy" "$scratch/smoke++-1.0-r0.apk" || wrong "the copy has other bytes"
    for address in smoke++-1.0-r0.apk smoke%2B%2B-1.0-r0.apk smoke%20%20-1.0-r0.apk; do
        anonymous "$directory/$address" >"$scratch/status"
        status=$(cat "$scratch/status")
        [[ $status == 200 ]] || wrong "$address is answered with $status"
        cmp "$scratch/read" "$scratch/smoke++-1.0-r0.apk" || wrong "$address is answered with other bytes"
    done
    ok "listed after $took s; +, %2B and the copy all answer with the package"
}

plus_through_origin_access_control() {
    not_shown "the template has no CloudFront distribution, and making one takes too long for this script"
}

uploads_at_once() {
    local took number entries=() statuses waited=0 execution stay seconds=''
    mkdir -p "$scratch/many"
    for number in 1 2 3 4 5 6 7 8 9 10 11 12; do
        helper package "many$number" 1.0-r0 "$scratch/many/many$number-1.0-r0.apk"
        entries+=("many$number-1.0-r0")
    done
    aws s3 cp --recursive --only-show-errors "$scratch/many" "s3://$bucket/smoke/many/x86_64/"
    took=$(wait_for_index smoke/many/x86_64 180 "${entries[@]}") || wrong "the index lacks some of 12 packages after 180 s"
    # Waiting executions end when they have found the published index.
    local until=$((SECONDS + 120))
    while :; do
        statuses=$(helper executions "$(value StateMachineArn)" smoke/many/)
        if ! grep -q ' RUNNING ' <<<"$statuses" || ((SECONDS > until)); then
            break
        fi
        sleep 2
    done
    if grep -v ' SUCCEEDED ' <<<"$statuses" >"$scratch/others"; then
        wrong "all are listed, but an execution did not succeed: $(head -n 1 "$scratch/others")"
    fi
    while read -r execution _; do
        for stay in $(helper stays "$execution" WaitForOther); do
            waited=$((waited + 1))
            seconds="$seconds $stay"
        done
    done <<<"$statuses"
    ((waited > 0)) || not_shown "12 packages were listed after $took s, but no execution had to wait"
    ok "12 packages listed after $took s; WaitForOther took its seconds $waited times:$seconds s"
}

failure_message() {
    local key=$directory/broken-1.0-r0.apk text expected
    printf 'this is no package' >"$scratch/broken-1.0-r0.apk"
    upload broken-1.0-r0.apk "$directory"
    text=$(helper message "$(value queue)" "$key" 120)
    for expected in "Alpinist: broken-1.0-r0.apk was rejected" "Package: $key" "Stack: $stack" \
        "Error: Alpinist.PackageRejected" "Cause: $key was rejected: not an apk package: it begins neither with a gzip header nor with \`ADB\`" \
        "/v2/executions/details/arn:$partition:states:$region:$account:execution:"; do
        grep -qF -- "$expected" <<<"$text" || wrong "the message lacks \"$expected\": $(tr '\n' '|' <<<"$text")"
    done
    ok "it has the package, the rule and a link: $(sed -n 1p <<<"$text")"
}

# reindex INPUT: runs a reindex to its end; its status is in a file, and its report in another.
reindex() {
    local execution status until=$((SECONDS + 600))
    execution=$(aws stepfunctions start-execution --state-machine-arn "$(value ReindexStateMachineArn)" --input "$1" \
        --query executionArn --output text)
    while status=$(aws stepfunctions describe-execution --execution-arn "$execution" --query '[status, error, cause]' --output text) &&
        [[ $status == RUNNING* ]]; do
        ((SECONDS < until)) || wrong "it still runs after ten minutes"
        sleep 2
    done
    printf '%s' "$status" >"$scratch/status"
    aws s3api get-object --bucket "$bucket" --key ".alpinist/reindex/${execution##*:}/report.json" "$scratch/report" ||
        wrong "it wrote no report, and ended as $status"
}

# reported FIELD: prints the keys in a field of the report.
reported() {
    python3 -c 'import json, sys
for it in json.load(open(sys.argv[1]))[sys.argv[2]]: print(it if isinstance(it, str) else it["key"])' "$scratch/report" "$1"
}

# A package that the functions may not read makes an execution of the map fail, unlike a rejected
# one.
reindex_of_everything_with_a_failure() {
    local key=smoke/locked/x86_64/locked-1.0-r0.apk policy status
    make_package locked 1.0-r0
    upload locked-1.0-r0.apk smoke/locked/x86_64
    wait_for_index smoke/locked/x86_64 60 locked-1.0-r0 >/dev/null || wrong "the index does not list locked-1.0-r0 after 60 s"
    aws s3api get-bucket-policy --bucket "$bucket" --query Policy --output text >"$scratch/policy"
    policy=$(helper lock "$scratch/policy" "arn:$partition:s3:::$bucket/$key")
    # However this item ends, the next one needs the original policy.
    trap 'aws s3api put-bucket-policy --bucket "$bucket" --policy "file://$scratch/policy"' EXIT
    aws s3api put-bucket-policy --bucket "$bucket" --policy "$policy"
    # Policies take some seconds to arrive everywhere.
    [[ $emulator != "" ]] || sleep 20
    reindex '{}'
    status=$(cat "$scratch/status")
    [[ $status == *Alpinist.Incomplete* ]] || wrong "it did not fail with Alpinist.Incomplete: $status"
    has "$key" "$(reported failed)" || wrong "the report does not name $key as failed: $(head -c 500 "$scratch/report")"
    has "$directory/broken-1.0-r0.apk" "$(reported rejected)" || wrong "the report does not name the rejected package"
    has "$directory/hello-1.0-r0.apk" "$(reported unchanged)" || wrong "the report does not name the other packages"
    ok "with an empty prefix; the report names one failed and one rejected package, and $(reported unchanged | wc -l | tr -d ' ') others"
}

reindex_of_everything() {
    local status
    # The original policy takes some seconds to arrive everywhere.
    [[ $emulator != "" ]] || sleep 20
    reindex '{}'
    status=$(cat "$scratch/status")
    [[ $status == SUCCEEDED* ]] || wrong "it ended as $status"
    [[ $(reported failed)$(reported unpublished) == "" ]] || wrong "the report names failures: $(head -c 500 "$scratch/report")"
    has "$directory/broken-1.0-r0.apk" "$(reported rejected)" || wrong "the report does not name the rejected package"
    ok "it succeeded, and the report names the rejected package"
}

protection_of_the_index() {
    local errors
    if errors=$(aws s3 rm --only-show-errors "s3://$bucket/$directory/APKINDEX.tar.gz" 2>&1); then
        wrong "aws s3 rm deleted the index"
    fi
    [[ $errors == *AccessDenied* ]] || wrong "aws s3 rm says: $errors"
    if errors=$(aws s3 cp --only-show-errors "$scratch/hello-1.0-r0.apk" "s3://$bucket/$directory/APKINDEX.tar.gz" 2>&1); then
        wrong "aws s3 cp overwrote the index"
    fi
    [[ $errors == *AccessDenied* ]] || wrong "aws s3 cp says: $errors"
    ok "aws s3 rm and aws s3 cp are denied"
}

healing_of_the_index() {
    local took
    aws s3api delete-object --bucket "$bucket" --key "$directory/APKINDEX.tar.gz" --if-match '*'
    [[ $(listed "$directory") == "" ]] || wrong "the index is still there"
    took=$(wait_for_index "$directory" 180 hello-1.0-r0) || wrong "a deleted index did not come back within 180 s"
    ok "a deleted index was back after $took s"
}

deletion() {
    local began=$SECONDS entries
    aws s3 rm --only-show-errors "s3://$bucket/$directory/hello-1.0-r0.apk"
    while ((SECONDS - began <= 60)); do
        entries=$(listed "$directory")
        if ! has hello-1.0-r0 "$entries"; then
            has smoke++-1.0-r0 "$entries" || wrong "the index also lost another package"
            ok "no longer listed after $((SECONDS - began)) s"
        fi
    done
    wrong "the index lists a deleted package after 60 s"
}

search_of_the_dashboard() {
    local expression until=$((SECONDS + 960)) is_known=false swapped found
    aws cloudwatch get-dashboard --dashboard-name "$stack-$region" --query DashboardBody --output text >"$scratch/dashboard"
    expression=$(helper search "$scratch/dashboard")
    [[ $expression == *"Stack=\"$stack\""* ]] || wrong "the expression does not name the stack: $expression"
    if [[ $emulator != "" ]]; then
        not_shown "the dashboard has its expression, but the emulator makes no metrics of what functions log"
    fi
    say "  CloudWatch may take 15 minutes to find a new metric"
    while ((SECONDS < until)); do
        found=$(helper found "$expression")
        ((found == 0)) || ok "it finds the rejected package: $expression"
        [[ $(aws cloudwatch list-metrics --namespace Alpinist --metric-name PackagesRejected --output text \
            --dimensions "Name=Stack,Value=$stack" --query 'length(Metrics)') == 0 ]] || is_known=true
        sleep 20
    done
    $is_known || not_shown "CloudWatch does not know the metric after 16 minutes"
    swapped=${expression/'{Alpinist,Rule,Stack}'/'{Alpinist,Stack,Rule}'}
    wrong "the metric is known, but $expression finds nothing; $swapped finds $(helper found "$swapped")"
}

# A package of the maximum size, in as many parts as `alpinist push` would have sent.
large_name=large++
large_key=smoke/large/x86_64/$large_name-1.0-r0.apk

completion_of_a_large_upload() {
    local parts seconds bytes=$((5 * 1024 * 1024 * 1024)) answer
    $is_large || not_shown "only with --large"
    # The emulator keeps objects in memory.
    [[ $emulator == "" ]] || bytes=$((48 * 1024 * 1024))
    answer=$(helper large "$bucket" "$large_key" "$large_name" 1.0-r0 "$bytes")
    parts=${answer% *} seconds=${answer#* }
    keep large "$bytes"
    if [[ $emulator != "" ]]; then
        not_shown "done with 48 MiB in $parts parts, in $seconds s, since the emulator keeps objects in memory"
    fi
    if ((${seconds%.*} >= 5)); then
        not_shown "CompleteMultipartUpload of $parts parts took $seconds s, longer than the 5 s for which the SDK waits without progress; \`alpinist push\` of a file of 5 GiB shows whether it still succeeds"
    fi
    ok "CompleteMultipartUpload of 5 GiB in $parts parts took $seconds s, less than the 5 s of the SDK"
}

copy_of_a_large_package() {
    local size took stays
    $is_large || not_shown "only with --large"
    [[ -e $scratch/value-large ]] || not_shown "there is no large package"
    took=$(wait_for_index smoke/large/x86_64 900 "$large_name-1.0-r0") || {
        helper executions "$(value StateMachineArn)" smoke/large/ >"$scratch/others"
        wrong "the index does not list it after 15 minutes; its execution: $(head -n 1 "$scratch/others")"
    }
    size=$(aws s3api head-object --bucket "$bucket" --key "${large_key//+/ }" --query ContentLength --output text)
    [[ $size == "$(value large)" ]] || wrong "the copy has $size bytes"
    helper executions "$(value StateMachineArn)" smoke/large/ >"$scratch/others"
    stays=$(helper stays "$(sed -n '1s/ .*//p' "$scratch/others")" WriteIndex | tr '\n' ' ')
    if [[ $emulator != "" ]]; then
        not_shown "done with 48 MiB: listed after $took s, WriteIndex took ${stays}s"
    fi
    ok "5 GiB listed after $took s; WriteIndex, which copies it, took ${stays}s of its 80 s"
}

# --------------------------------------------------------------------------------------------------
# The run
# --------------------------------------------------------------------------------------------------

say "… states, before anything is deployed"
mkdir "$scratch/states"
exec 3< <(exec python3 "$scratch/helper.py" states "$scratch/states" 2>"$scratch/errors")
states_process=$!
while IFS='|' read -r verdict what text <&3; do
    tell "$verdict" "$what" "$text"
done
wait "$states_process" || tell WRONG states "they were not all tested: $(tail -n 1 "$scratch/errors")"
states_process=

has_begun=true
item deployment
item_of_stack subscription
item_of_stack "key pair"
item_of_stack "first events"
item_of_stack "upload and index"
item_of_stack signature
item_of_stack "anonymous reader"
item_of_stack "missing index for an anonymous reader"
item_of_stack "names with a plus"
item_of_stack "plus through origin access control"
item_of_stack "failure message"
item_of_stack "uploads at once"
item_of_stack "protection of the index"
item_of_stack "healing of the index"
item_of_stack "reindex of everything with a failure"
item_of_stack "reindex of everything"
item_of_stack deletion
item_of_stack "completion of a large upload"
item_of_stack "copy of a large package"
item_of_stack "search of the dashboard"
