"""Runs built functions as Lambda does: processes that ask an HTTP API of Lambda for invocations.

A process serves one invocation after another. More are started for invocations at once, up to a bound.
"""

import http.server
import json
import os
import queue
import subprocess
import threading
import time

HOST = "127.0.0.1"
PROCESSES = 4
REQUEST_ID = "Lambda-Runtime-Aws-Request-Id"


class Function:
    """A built function. `variables` is its environment, `timeout` the seconds that an invocation may take."""

    def __init__(self, program, variables, timeout):
        self.program, self.variables, self.timeout = program, variables, timeout
        self.places = threading.BoundedSemaphore(PROCESSES)
        self.idle = []

    def invoke(self, event):
        """Returns the answer and whether it is an error, both as Lambda does."""
        with self.places:
            try:
                process = self.idle.pop()
            except IndexError:
                process = Process(self.program, self.variables)
            is_error, answer = process.invoke(event, self.timeout)
            if process.is_running():
                self.idle.append(process)
        return answer, is_error


class Process:
    """A process of a function, and the API that it asks."""

    def __init__(self, program, variables):
        self.events, self.answers = queue.SimpleQueue(), queue.SimpleQueue()
        api = http.server.ThreadingHTTPServer((HOST, 0), type("Handler", (Handler,), {"served": self}))
        threading.Thread(target=api.serve_forever, daemon=True).start()
        address = {"AWS_LAMBDA_RUNTIME_API": f"{HOST}:{api.server_port}"}
        self.process = subprocess.Popen([program], env=variables | address, stdin=subprocess.DEVNULL)
        threading.Thread(target=self.answer_when_it_ends, args=[api], daemon=True).start()

    def answer_when_it_ends(self, api):
        status = self.process.wait()
        self.answers.put((True, {"errorType": "Runtime.ExitError", "errorMessage": f"exit status {status}"}))
        api.shutdown()
        api.server_close()

    def is_running(self):
        return self.process.poll() is None

    def invoke(self, event, timeout):
        self.events.put((event, time.time() + timeout))
        try:
            return self.answers.get(timeout=timeout)
        except queue.Empty:
            self.process.kill()
            self.process.wait()
            return True, {"errorType": "Sandbox.Timedout", "errorMessage": f"timed out after {timeout} seconds"}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what a function's process asks: for the next event, or to take an answer or an error."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        event, deadline = self.served.events.get()
        headers = {
            REQUEST_ID: os.urandom(16).hex(),
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:local",
        }
        self.answer(200, headers, event)

    def do_POST(self):
        answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.served.answers.put((self.path.endswith("/error"), answer))
        self.answer(202, {}, b"{}")

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
