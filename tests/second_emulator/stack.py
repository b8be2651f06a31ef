"""Starts LocalStack, and deploys to it what the template makes, as far as it is needed for the pipeline."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

import boto3
from botocore.config import Config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from packages import read_index
from template import REGION, Template

DIRECTORY = "3.22/main/x86_64"
KEY_NAME = "second@example.com-5f3c2a1b.rsa.pub"
ROLE = "arn:aws:iam::000000000000:role/local"
# How many seconds to wait for executions. One takes seconds; several that wait for each other, half a minute.
PATIENCE = 180


@contextlib.contextmanager
def emulator(functions, directory):
    """Runs the emulator with a directory of functions, and tells its port. It writes to `directory`."""
    # It keeps files in the home directory, in that for temporary files, and below a root of its own.
    places = {"HOME": directory, "TMPDIR": directory, "FILESYSTEM_ROOT": directory / "localstack"}
    environment = {"PATH": os.environ["PATH"]} | {name: str(place) for name, place in places.items()}
    command = [sys.executable, pathlib.Path(__file__).with_name("serve.py"), functions]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(command, **pipes, stderr=log, env=environment, start_new_session=True)
    try:
        port = process.stdout.readline()
        if not port:
            sys.exit("LocalStack did not start")
        yield int(port)
    finally:
        process.stdin.close()
        process.wait()


class Stack:
    """A deployed pipeline with two buckets, one of which is versioned."""

    def __init__(self, port):
        session = boto3.Session("test", "test", region_name=REGION)
        settings = {"endpoint_url": f"http://127.0.0.1:{port}", "config": Config(s3={"addressing_style": "path"})}
        self.s3, self.ssm, self.events, self.machines = (
            session.client(name, **settings) for name in ("s3", "ssm", "events", "stepfunctions")
        )
        self.key = rsa.generate_private_key(65537, 2048)
        self.put_key()
        created = self.machines.create_state_machine(name="alpinist", definition=Template().definition(), roleArn=ROLE)
        self.machine = created["stateMachineArn"]
        self.seen = set()
        self.make_bucket("packages")
        self.make_bucket("versions")
        self.s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})

    def put_key(self):
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private_key = self.key.private_bytes(*pem).decode()
        names = Template().values
        self.ssm.put_parameter(Name=names["PrivateKeyParameter"], Type="SecureString", Value=private_key)
        self.ssm.put_parameter(Name=names["KeyNameParameter"], Type="String", Value=KEY_NAME)

    def make_bucket(self, name):
        self.s3.create_bucket(Bucket=name)
        notifications = {"EventBridgeConfiguration": {}}
        self.s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=notifications)
        pattern = json.dumps(Template(BucketName=name).event_pattern())
        self.events.put_rule(Name=name, EventPattern=pattern)
        self.events.put_targets(Rule=name, Targets=[{"Id": "machine", "Arn": self.machine, "RoleArn": ROLE}])

    def put(self, name, content, bucket="packages"):
        self.s3.put_object(Bucket=bucket, Key=key(name), Body=content)

    def delete(self, name, bucket="packages", **version):
        """Deletes a package, and returns the answer."""
        return self.s3.delete_object(Bucket=bucket, Key=key(name), **version)

    def ended(self, count=1):
        """Waits until so many further executions have ended, and returns them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.machines.get_paginator("list_executions").paginate(stateMachineArn=self.machine)
            all_found = [execution for page in found for execution in page["executions"]]
            new = [execution for execution in all_found if execution["executionArn"] not in self.seen]
            if len(new) >= count and all(execution["status"] != "RUNNING" for execution in new):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} executions should have ended: {[one['status'] for one in new]}")
            time.sleep(0.2)
        self.seen |= {execution["executionArn"] for execution in new}
        return [self.machines.describe_execution(executionArn=one["executionArn"]) for one in new]

    def states(self, execution):
        """Returns the names of the states that an execution entered."""
        history = self.machines.get_paginator("get_execution_history")
        pages = history.paginate(executionArn=execution["executionArn"])
        entered = [event.get("stateEnteredEventDetails") for page in pages for event in page["events"]]
        return [details["name"] for details in entered if details]

    def index(self, bucket="packages"):
        return self.s3.get_object(Bucket=bucket, Key=f"{DIRECTORY}/APKINDEX.tar.gz")["Body"].read()

    def listed(self, bucket="packages"):
        """Returns the names that the index lists, with their descriptions."""
        return {name: entry["T"] for name, entry in read_index(self.index(bucket)).items()}


def key(name):
    return f"{DIRECTORY}/{name}-1.0-r0.apk"
