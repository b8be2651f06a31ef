"""Serves the emulator on loopback, notes each request, and ends with the process that started it.

The arguments are the port, 0 for any free one, the file that gets a line of JSON for each request,
for how many milliseconds each request of a function to S3 is held back, the file that says, while
it is there, which of them fail, and the quotas of actions in JSON: for each action the requests that may come at
once, and those that may come each second after that. The port is printed as soon as it is bound. When standard input closes, which it does
however the parent ends, the directory for temporary files is removed, and the whole process group
is killed, and with it the functions' processes.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from urllib.parse import unquote

HOST = "127.0.0.1"


def main():
    threading.Thread(target=end_with_parent, daemon=True).start()
    listener = listen(int(sys.argv[1]))
    port = listener.getsockname()[1]
    # The emulator reads its address when it is imported; its functions inherit the endpoint.
    os.environ["GATEWAY_PORT"] = str(port)
    os.environ["AWS_ENDPOINT_URL"] = f"http://{HOST}:{port}"
    print(port, flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with open(sys.argv[2], "w", buffering=1, encoding="utf-8") as notes:
        quotas = {name: Quota(*quota) for name, quota in json.loads(sys.argv[5]).items()}
        asyncio.run(serve(listener, notes, int(sys.argv[3]) / 1000, sys.argv[4], quotas))


def end_with_parent():
    # Bypasses Python's buffer, whose lock a thread must not hold while Python ends.
    os.read(sys.stdin.fileno(), 1)
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def listen(port):
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        sys.exit(f"cannot listen on {HOST}:{port}: {error.strerror}")


class Quota:
    """A bucket of tokens, one of which each request takes."""

    def __init__(self, size, refill):
        self.size, self.refill = size, refill
        self.tokens, self.looked = size, time.monotonic()

    def is_exceeded(self):
        now = time.monotonic()
        self.tokens = min(self.size, self.tokens + (now - self.looked) * self.refill)
        self.looked = now
        if self.tokens < 1:
            return True
        self.tokens -= 1
        return False


async def serve(listener, notes, latency, faults, quotas):
    import hypercorn.asyncio
    import hypercorn.config
    from ministack.app import app
    import patches

    patches.apply()
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.fileno()}"]
    # Longer than any client keeps an idle connection, so that none is closed during a request.
    config.keep_alive_timeout = 75
    await hypercorn.asyncio.serve(noting(app, notes, latency, faults, quotas), config)


def noting(app, notes, latency, faults, quotas):
    async def noted(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)

        began = time.time()

        async def send_noting_status(message):
            if message["type"] == "http.response.start":
                notes.write(json.dumps(note(scope) | note_answer(scope, message, began)) + "\n")
            await send(message)

        if is_of_function_to_s3(note(scope)):
            await asyncio.sleep(latency)
            fault = fault_of(note(scope), faults)
            if fault is not None and fault["status"] != 200:
                return await fail(fault, receive, send_noting_status)
            if fault is not None and not any(name == b"range" for name, _ in scope["headers"]):
                return await app(scope, receive, cutting(send_noting_status))

        quota = quotas.get(note(scope)["action"])
        if quota is not None and quota.is_exceeded():
            return await throttle(receive, send_noting_status)

        # Clients of AWS use TLS, and the bucket policy requires it; on loopback, there is no need.
        # A test that pretends not to use TLS says so.
        headers = scope["headers"]
        if not any(name == b"x-forwarded-proto" for name, _ in headers):
            headers = [*headers, (b"x-forwarded-proto", b"https")]
        scope = decode_like_s3({**scope, "headers": headers})
        await app(scope, receive, send_noting_status)

    return noted


def fault_of(note, faults):
    """The first fault of a file that fits a request: its method, and parts of its path."""
    if not os.path.exists(faults):
        return None
    with open(faults, encoding="utf-8") as file:
        for fault in json.load(file):
            if fault["method"] == note["method"] and all(part in note["path"] for part in fault["path"]):
                return fault
    return None


async def fail(fault, receive, send):
    """Answers with an error of S3, or never."""
    if fault["status"] == 0:
        await asyncio.Event().wait()
    body = f"<Error><Code>{fault['code']}</Code><Message>injected</Message></Error>"
    await answer(fault["status"], b"application/xml", body, receive, send)


async def throttle(receive, send):
    """Answers as services with JSON do when a quota is used up."""
    body = json.dumps({"__type": "ThrottlingException", "message": "Rate exceeded"})
    await answer(400, b"application/x-amz-json-1.0", body, receive, send)


async def answer(status, content_type, text, receive, send):
    while (await receive()).get("more_body"):
        pass
    body = text.encode()
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def cutting(send):
    """Breaks the connection in the middle of the answer's body."""

    async def cut(message):
        if message["type"] != "http.response.body":
            return await send(message)
        body = message.get("body", b"")
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        raise ConnectionResetError("injected")

    return cut


def decode_like_s3(scope):
    """S3 takes a raw `+` in a path for a space; clients that mean a plus send `%2B`."""
    raw_path = scope.get("raw_path", b"").partition(b"?")[0]
    if b"+" not in raw_path:
        return scope
    return {**scope, "path": unquote(raw_path.decode("latin-1").replace("+", " "))}


def note_answer(scope, message, began):
    headers = {name.lower(): value for name, value in message["headers"]}
    length = 0 if scope["method"] == "HEAD" else int(headers.get(b"content-length", 0))
    return {"status": message["status"], "length": length, "began": began, "ended": time.time()}


def note(scope):
    headers = dict(scope["headers"])
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "access_key": authorization.partition("Credential=")[2].partition("/")[0],
        # Only for services that use JSON.
        "action": headers.get(b"x-amz-target", b"").decode("latin-1").rpartition(".")[2],
        "service": "/".join(authorization.split("/")[3:4]),
        # Each invocation has its own trace, which the function passes on.
        "trace": headers.get(b"x-amzn-trace-id", b"").decode("latin-1"),
    }


def is_of_function_to_s3(note):
    # Only functions get temporary credentials, whose keys begin with this.
    return note["service"] == "s3" and note["access_key"].startswith("ASIA")


main()
