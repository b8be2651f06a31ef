"""Runs built functions as Lambda does: as processes that poll the Lambda runtime API over HTTP.

A process serves one invocation after another. Concurrent invocations start more processes, up to a limit.
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


class Function:
    """A built function with its environment variables, and the seconds that an invocation may take."""

    def __init__(self, program, variables, timeout):
        self.program, self.variables, self.timeout = program, variables, timeout
        self.slots = threading.BoundedSemaphore(PROCESSES)
        self.idle = []

    def invoke(self, event):
        """Returns whether the invocation failed, and the function's answer or its error."""
        with self.slots:
            try:
                process = self.idle.pop()
            except IndexError:
                process = Process(self.program, self.variables)
            result = process.invoke(event, self.timeout)
            if process.is_running():
                self.idle.append(process)
        return result


class Process:
    """A process of a function, and the API that it polls."""

    def __init__(self, program, variables):
        self.events, self.results = queue.SimpleQueue(), queue.SimpleQueue()
        self.api = http.server.ThreadingHTTPServer((HOST, 0), type("Handler", (Handler,), {"process": self}))
        threading.Thread(target=self.api.serve_forever, daemon=True).start()
        variables = variables | {"AWS_LAMBDA_RUNTIME_API": f"{HOST}:{self.api.server_port}"}
        self.child = subprocess.Popen([program], env=variables, stdin=subprocess.DEVNULL)
        threading.Thread(target=self.report_exit, daemon=True).start()

    def report_exit(self):
        status = self.child.wait()
        self.results.put((True, {"errorType": "Runtime.ExitError", "errorMessage": f"exit status {status}"}))
        self.api.shutdown()
        self.api.server_close()

    def is_running(self):
        return self.child.poll() is None

    def invoke(self, event, timeout):
        self.events.put((event, time.time() + timeout))
        try:
            return self.results.get(timeout=timeout)
        except queue.Empty:
            self.child.kill()
            self.child.wait()
            return True, {"errorType": "Sandbox.Timedout", "errorMessage": f"timed out after {timeout} seconds"}


class Handler(http.server.BaseHTTPRequestHandler):
    """The runtime API: GET waits for the next event, POST takes an answer or an error."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        event, deadline = self.process.events.get()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": os.urandom(16).hex(),
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:alpinist",
        }
        self.answer(200, headers, event)

    def do_POST(self):
        result = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.process.results.put((self.path.endswith("/error"), result))
        self.answer(202, {}, b"{}")

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Logs nothing: the functions and LocalStack log enough."""
