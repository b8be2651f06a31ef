"""Serves LocalStack on loopback, with the functions of Alpinist, and ends with the process that started it.

The argument is a directory of built functions. The port is printed as soon as requests are answered. When standard
input closes, which it does however the parent ends, the whole process group is killed, and with it the functions.
"""

import os
import pathlib
import signal
import socket
import sys
import threading

HOST = "127.0.0.1"
# Requests at once. Some wait for requests that LocalStack sends to itself.
THREADS = 200


def main():
    threading.Thread(target=end_with_parent, daemon=True).start()
    output = os.fdopen(os.dup(1), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    listener = socket.create_server((HOST, 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    # LocalStack reads its settings while it is imported. It may not ask other hosts for certificates, resolve
    # names for them, or report to its makers.
    os.environ["GATEWAY_LISTEN"] = f"{HOST}:{port}"
    os.environ.update(SKIP_SSL_CERT_DOWNLOAD="1", DNS_ADDRESS="0", DISABLE_EVENTS="1")
    serve(listener, pathlib.Path(sys.argv[1]), lambda: print(port, file=output, flush=True))


def end_with_parent():
    # Below Python's buffer, whose lock a thread must not hold while Python ends.
    os.read(sys.stdin.fileno(), 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def serve(listener, directory, ready):
    import mending
    from localstack.aws.components import AwsComponents
    from localstack.logging.setup import setup_logging_from_config
    from localstack.runtime import current
    from localstack.runtime.runtime import LocalstackRuntime
    from rolo.serving.twisted import TwistedGateway
    from twisted.internet import reactor

    class Server:
        """LocalStack's own listens on all interfaces."""

        def run(self):
            site = TwistedGateway(components.gateway)
            reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, site)
            reactor.suggestThreadPoolSize(THREADS)
            reactor.callWhenRunning(ready)
            reactor.run(installSignalHandlers=False)

    class Runtime(LocalstackRuntime):
        def _init_gateway_server(self):
            """LocalStack's own makes a certificate for a server that speaks TLS, too."""

    components = AwsComponents()
    components.runtime_server = Server()
    setup_logging_from_config()
    mending.mend(functions(directory, f"http://{HOST}:{listener.getsockname()[1]}"))
    runtime = Runtime(components)
    current.set_current_runtime(runtime)
    runtime.run()


def functions(directory, endpoint):
    from functions import Function
    from template import REGION, Template, function_arn

    of_lambda = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
    }
    template = Template()
    found = {}
    for name, program in template.functions().items():
        properties = template.properties(name)
        of_this = {
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(properties["MemorySize"]),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        }
        variables = template.variables(name) | of_lambda | of_this
        found[function_arn(name)] = Function(directory / program, variables, properties["Timeout"])
    return found


main()
