"""Prints a token as a CI system gives one to a job, with nobody's signature: the emulator asks for none. The arguments
are the issuer, the audience and the subject.
"""

import base64
import json
import sys


def encode(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


issuer, audience, subject = sys.argv[1:]
print(encode({"alg": "none"}), encode({"iss": issuer, "aud": audience, "sub": subject}), "", sep=".", end="")
