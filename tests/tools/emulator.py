"""Serves the emulator on loopback, notes each request, and ends with the process that started it.

The arguments are the port, 0 for any free one, and the file that gets a line of JSON for each
request. The port is printed as soon as it is bound. When standard input closes, which it does
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

HOST = "127.0.0.1"


def main():
    threading.Thread(target=end_with_parent, daemon=True).start()
    listener = listen(int(sys.argv[1]))
    port = listener.getsockname()[1]
    # The emulator reads its address while it is imported; its functions inherit the endpoint.
    os.environ["GATEWAY_PORT"] = str(port)
    os.environ["AWS_ENDPOINT_URL"] = f"http://{HOST}:{port}"
    print(port, flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with open(sys.argv[2], "w", buffering=1, encoding="utf-8") as notes:
        asyncio.run(serve(listener, notes))


def end_with_parent():
    # Below Python's buffer, whose lock a thread must not hold while Python ends.
    os.read(sys.stdin.fileno(), 1)
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def listen(port):
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        sys.exit(f"cannot listen on {HOST}:{port}: {error.strerror}")


async def serve(listener, notes):
    import hypercorn.asyncio
    import hypercorn.config
    from ministack.app import app
    from ministack.core import iam_actions

    iam_actions.extract_resource_arn = naming_parameters(iam_actions.extract_resource_arn)
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.fileno()}"]
    # Longer than any client keeps an idle connection, so that none is closed under a request.
    config.keep_alive_timeout = 75
    await hypercorn.asyncio.serve(noting(app, notes), config)


def naming_parameters(resource_of):
    """Has GetParameters judged by the first parameter that it names; the emulator asks for all."""

    def named(service, method, path, headers, body, *others):
        if headers.get("x-amz-target") == "AmazonSSM.GetParameters":
            body = json.dumps({"Name": json.loads(body)["Names"][0]}).encode()
        return resource_of(service, method, path, headers, body, *others)

    return named


def noting(app, notes):
    async def noted(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)

        async def send_noting_status(message):
            if message["type"] == "http.response.start":
                notes.write(note(scope, message["status"]) + "\n")
            await send(message)

        # Clients of AWS speak TLS, and the bucket policy asks for it; on loopback nobody listens.
        headers = [*scope["headers"], (b"x-forwarded-proto", b"https")]
        await app({**scope, "headers": headers}, receive, send_noting_status)

    return noted


def note(scope, status):
    authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    return json.dumps(
        {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "status": status,
            "access_key": authorization.partition("Credential=")[2].partition("/")[0],
            "service": "/".join(authorization.split("/")[3:4]),
        }
    )


main()
