"""Patches for LocalStack: what it needs to run without Java and Docker, and what it lacks."""

import threading

import jsonata
from localstack.services.s3 import provider as s3
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task import lambda_eval_utils
from localstack.services.stepfunctions.asl.jsonata import jsonata as java_jsonata
from localstack.utils.aws import aws_stack
from localstack.utils.patch import patch


def apply(functions):
    """Patches LocalStack. `functions` are the functions that state machines can call, by ARN."""
    evaluate_jsonata_without_java()
    call_functions_without_docker(functions)
    support_conditional_deletion()
    # It would look up one of its own names with DNS, and behave differently without a network.
    aws_stack.CACHE_S3_HOSTNAME_DNS_STATUS = False


def evaluate_jsonata_without_java():
    def evaluate(expression):
        try:
            return jsonata.Jsonata(expression).evaluate(None)
        except Exception as error:
            raise java_jsonata.JSONataException("UNKNOWN", str(error))

    java_jsonata._eval_jsonata = evaluate


def call_functions_without_docker(functions):
    def invoke(parameters, region, state_credentials):
        is_error, answer = functions[parameters["FunctionName"]].invoke(parameters["Payload"])
        result = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": answer}
        return result | ({"FunctionError": "Unhandled"} if is_error else {})

    lambda_eval_utils._invoke_lambda_function = invoke


def support_conditional_deletion():
    """S3 supports If-Match in DeleteObject; LocalStack answers NotImplemented.

    The lock keeps other writes out between the comparison and the deletion.
    """
    lock = threading.RLock()

    @patch(s3.S3Provider.put_object)
    def put_object(put, *arguments, **others):
        with lock:
            return put(*arguments, **others)

    @patch(s3.S3Provider.delete_object)
    def delete_object(delete, self, context, bucket, key, *arguments, if_match=None, **others):
        with lock:
            if if_match:
                _, objects = self._get_cross_account_bucket(context, bucket)
                s3.verify_object_equality_precondition_write(objects, key, if_match)
            return delete(self, context, bucket, key, *arguments, **others)
