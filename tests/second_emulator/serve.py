"""Serves LocalStack on loopback, runs Alpinist's functions, and ends with the process that started it.

The argument is a directory of built functions. Prints the port once LocalStack answers. When standard input closes,
which happens however the parent ends, the whole process group is killed, including the functions.
"""

import os
import pathlib
import signal
import socket
import sys
import threading

HOST = "127.0.0.1"
# Requests at once. Some of them wait for requests that LocalStack sends to itself.
THREADS = 200


def main():
    threading.Thread(target=end_with_parent, daemon=True).start()
    parent = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    listener = socket.create_server((HOST, 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    # LocalStack reads its settings when it is imported. These keep it from contacting other hosts.
    os.environ.update(SKIP_SSL_CERT_DOWNLOAD="1", DNS_ADDRESS="0", DISABLE_EVENTS="1")
    os.environ["GATEWAY_LISTEN"] = f"{HOST}:{port}"
    functions = load_functions(pathlib.Path(sys.argv[1]), f"http://{HOST}:{port}")
    serve(listener, functions, lambda: print(port, file=parent, flush=True))


def end_with_parent():
    # Bypasses Python's buffer, whose lock a thread must not hold while Python ends.
    os.read(sys.stdin.fileno(), 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def load_functions(directory, endpoint):
    """Returns the functions that the state machine calls, by ARN."""
    from functions import Function
    from template import REGION, Template, function_arn

    set_by_lambda = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "alpinist",
        "AWS_LAMBDA_LOG_STREAM_NAME": "alpinist",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
    }
    template = Template()
    functions = {}
    for name, program in template.functions().items():
        properties = template.properties(name)
        memory = {"AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(properties["MemorySize"])}
        variables = template.variables(name) | set_by_lambda | memory
        functions[function_arn(name)] = Function(directory / program, variables, properties["Timeout"])
    return functions


def serve(listener, functions, ready):
    import patches
    from localstack.aws.components import AwsComponents
    from localstack.logging.setup import setup_logging_from_config
    from localstack.runtime import current
    from localstack.runtime.runtime import LocalstackRuntime
    from rolo.serving.twisted import TwistedGateway
    from twisted.internet import reactor

    class Server:
        """Replaces LocalStack's server, which listens on all interfaces."""

        def run(self):
            site = TwistedGateway(components.gateway)
            reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, site)
            reactor.suggestThreadPoolSize(THREADS)
            reactor.callWhenRunning(ready)
            reactor.run(installSignalHandlers=False)

    class Runtime(LocalstackRuntime):
        def _init_gateway_server(self):
            """Makes no certificate: the server does not speak TLS."""

    components = AwsComponents()
    components.runtime_server = Server()
    setup_logging_from_config()
    patches.apply(functions)
    runtime = Runtime(components)
    current.set_current_runtime(runtime)
    runtime.run()


main()
