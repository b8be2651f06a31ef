"""Prints the errors that botocore's models give operations: a list of JSON of service, operation, code and status.

The arguments are the operations, each as `<service>:<operation>`.
"""

import json
import sys

import botocore.session

session = botocore.session.get_session()
found = []
for argument in sys.argv[1:]:
    service, operation = argument.split(":")
    model = session.get_service_model(service)
    for shape in model.operation_model(operation).error_shapes:
        error = shape.metadata.get("error", {})
        status = error.get("httpStatusCode", 500 if shape.metadata.get("fault") else 400)
        found.append([service, operation, error.get("code", shape.name), status])
print(json.dumps(found))
