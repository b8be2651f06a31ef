"""Starts LocalStack and deploys the pipeline to it."""

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
from template import ACCOUNT, REGION, Template

DIRECTORY = "3.22/main/x86_64"
KEY_NAME = "second@example.com-5f3c2a1b.rsa.pub"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/alpinist"
# How many seconds to wait for executions. Those that wait for each other take the longest, some ten
# seconds.
PATIENCE = 180


@contextlib.contextmanager
def emulator(functions, directory):
    """Runs LocalStack with a directory of built functions, and yields its port. It writes to `directory` only."""
    places = {"HOME": directory, "TMPDIR": directory, "FILESYSTEM_ROOT": directory / "localstack"}
    environment = {"PATH": os.environ["PATH"]} | {name: str(place) for name, place in places.items()}
    command = [sys.executable, "-B", pathlib.Path(__file__).with_name("serve.py"), functions]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(command, **pipes, stderr=log, env=environment, start_new_session=True)
    try:
        port = process.stdout.readline()
        if not port:
            sys.exit(f"LocalStack did not start; see {directory / 'log'}")
        yield int(port)
    finally:
        process.stdin.close()
        process.wait()


class Stack:
    """The pipeline with two buckets, of which one is versioned."""

    def __init__(self, port):
        session = boto3.Session("test", "test", region_name=REGION)
        settings = {"endpoint_url": f"http://127.0.0.1:{port}", "config": Config(s3={"addressing_style": "path"})}
        self.s3, self.ssm, self.events, self.machines = (
            session.client(name, **settings) for name in ("s3", "ssm", "events", "stepfunctions")
        )
        self.key = rsa.generate_private_key(65537, 2048)
        self.store_key()
        created = self.machines.create_state_machine(name="alpinist", definition=Template().definition(), roleArn=ROLE)
        self.machine = created["stateMachineArn"]
        self.seen = set()
        self.create_bucket("packages")
        self.create_bucket("versions")
        self.s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})

    def store_key(self):
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private_key = self.key.private_bytes(*pem).decode()
        parameters = Template().values
        self.ssm.put_parameter(Name=parameters["PrivateKeyParameter"], Type="SecureString", Value=private_key)
        self.ssm.put_parameter(Name=parameters["KeyNameParameter"], Type="String", Value=KEY_NAME)

    def create_bucket(self, name):
        """Creates a bucket whose packages start the state machine."""
        self.s3.create_bucket(Bucket=name)
        notifications = {"EventBridgeConfiguration": {}}
        self.s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=notifications)
        pattern = json.dumps(Template(BucketName=name).event_pattern())
        self.events.put_rule(Name=name, EventPattern=pattern)
        self.events.put_targets(Rule=name, Targets=[{"Id": "state-machine", "Arn": self.machine, "RoleArn": ROLE}])

    def put(self, name, content, bucket="packages"):
        self.s3.put_object(Bucket=bucket, Key=key(name), Body=content)

    def delete(self, name, bucket="packages", **version):
        return self.s3.delete_object(Bucket=bucket, Key=key(name), **version)

    def finished_executions(self, count=1):
        """Waits until this many more executions have finished, and returns them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            pages = self.machines.get_paginator("list_executions").paginate(stateMachineArn=self.machine)
            executions = [execution for page in pages for execution in page["executions"]]
            new = [execution for execution in executions if execution["executionArn"] not in self.seen]
            if len(new) >= count and all(execution["status"] != "RUNNING" for execution in new):
                break
            if time.monotonic() > deadline:
                statuses = [execution["status"] for execution in new]
                raise TimeoutError(f"{count} executions should have finished; there are {statuses}")
            time.sleep(0.2)
        self.seen |= {execution["executionArn"] for execution in new}
        return [self.machines.describe_execution(executionArn=execution["executionArn"]) for execution in new]

    def states(self, execution):
        """Returns the names of the states that an execution entered."""
        history = self.machines.get_paginator("get_execution_history")
        pages = history.paginate(executionArn=execution["executionArn"])
        details = [event.get("stateEnteredEventDetails") for page in pages for event in page["events"]]
        return [entered["name"] for entered in details if entered]

    def index(self, bucket="packages"):
        return self.s3.get_object(Bucket=bucket, Key=f"{DIRECTORY}/APKINDEX.tar.gz")["Body"].read()

    def listed(self, bucket="packages"):
        """Returns the names of the packages in the index, with their descriptions."""
        return {name: entry["T"] for name, entry in read_index(self.index(bucket)).items()}


def key(name):
    return f"{DIRECTORY}/{name}-1.0-r0.apk"
