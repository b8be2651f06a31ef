"""A proxy that stands where the internet and CloudFront's TLS are: it hands requests to the emulator by their host.

The arguments are the address of the emulator, and files with a certificate and its key. The port is printed as soon as
it is bound. `CONNECT` is answered for any host; then the proxy ends TLS with the certificate. It ends when standard
input closes.
"""

import http.client
import http.server
import ssl
import sys
import threading
from urllib.parse import urlsplit

EMULATOR = urlsplit(sys.argv[1]).netloc
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(*sys.argv[2:4])
OF_CONNECTION = {"connection", "transfer-encoding", "content-length", "proxy-connection"}


class Viewer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_CONNECT(self):
        self.send_response_only(200)
        self.end_headers()
        self.request = CONTEXT.wrap_socket(self.request, server_side=True)
        self.setup()

    def do_GET(self):
        # A client that asks for http names the host in the path.
        address = urlsplit(self.path)
        path = self.path if not address.netloc else self.path.split(address.netloc, 1)[1]
        emulator = http.client.HTTPConnection(EMULATOR, timeout=self.timeout)
        emulator.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in OF_CONNECTION:
                emulator.putheader(name, value)
        emulator.putheader("X-Forwarded-Proto", "https" if isinstance(self.request, ssl.SSLSocket) else "http")
        emulator.endheaders()
        answer = emulator.getresponse()
        body = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in OF_CONNECTION:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        emulator.close()

    do_HEAD = do_GET


def end_with_parent():
    sys.stdin.read()
    server.shutdown()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Viewer)
server.daemon_threads = True
threading.Thread(target=end_with_parent, daemon=True).start()
print(server.server_address[1], flush=True)
server.serve_forever()
