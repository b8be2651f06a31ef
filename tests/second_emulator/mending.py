"""Makes LocalStack run here, and do what AWS does, where it does not."""

import json
import threading

import jsonata
from localstack.services.s3 import provider as s3
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task import lambda_eval_utils
from localstack.services.stepfunctions.asl.jsonata import jsonata as jsonata_in_java
from localstack.utils.patch import patch


def mend(functions):
    """`functions` are those that state machines may call, by ARN."""
    evaluate_jsonata_without_java()
    call_functions_without_docker(functions)
    delete_with_preconditions()


def evaluate_jsonata_without_java():
    def evaluate(expression):
        try:
            return jsonata.Jsonata(expression).evaluate(None)
        except Exception as error:
            raise jsonata_in_java.JSONataException("UNKNOWN", str(error))

    jsonata_in_java._eval_jsonata = evaluate


def call_functions_without_docker(functions):
    def invoke(parameters, region, state_credentials):
        answer, is_error = functions[parameters["FunctionName"]].invoke(parameters["Payload"])
        result = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": answer}
        return result | ({"FunctionError": "Unhandled"} if is_error else {})

    lambda_eval_utils._invoke_lambda_function = invoke


def delete_with_preconditions():
    """S3 takes If-Match of a deletion; LocalStack says that this is not implemented.

    Nothing may be written between the comparison and the deletion.
    """
    writing = threading.RLock()

    @patch(s3.S3Provider.put_object)
    def put_object(put, self, *arguments, **others):
        with writing:
            return put(self, *arguments, **others)

    @patch(s3.S3Provider.delete_object)
    def delete_object(delete, self, context, bucket, key, *arguments, if_match=None, **others):
        with writing:
            if if_match:
                _, found = self._get_cross_account_bucket(context, bucket)
                s3.verify_object_equality_precondition_write(found, key, if_match)
            return delete(self, context, bucket, key, *arguments, **others)
